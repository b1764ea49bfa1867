"""The action BpfLink: from relocatable objects to a final one."""

def link(actions, *, label, toolchain, objects, output, section_args, allow_undefined = []):
    """Links objects.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      objects: depset of File, the objects in the order in which they are linked.
      output: File, the object to write.
      section_args: list of string, the flags that say which sections programs may be in.
      allow_undefined: list of patterns, of names that may stay undefined.

    Returns:
      output.
    """
    args = actions.args()
    args.add("link")
    args.add_all(section_args)
    args.add("-o", output)
    args.add_all(allow_undefined, before_each = "-allow-undefined")

    inputs_args = actions.args()
    inputs_args.set_param_file_format("multiline")
    inputs_args.use_param_file("@%s")
    inputs_args.add_all(objects)
    actions.run(
        mnemonic = "BpfLink",
        progress_message = "Linking BPF object {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args, inputs_args],
        inputs = objects,
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )
    return output
