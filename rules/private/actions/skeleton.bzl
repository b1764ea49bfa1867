"""The action BpfSkeleton: from a BPF object to a Go file."""

def generate_skeleton(actions, *, label, toolchain, object, package, types, output):
    """Generates the Go file of an object.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      object: File, the final object.
      package: name of the Go package.
      types: names of C types to declare in Go besides those of maps and variables.
      output: File, the Go file to write.

    Returns:
      output.
    """
    args = actions.args()
    args.add("skeleton")
    args.add("-package", package)
    args.add_all(types, before_each = "-type")
    args.add("-o", output)
    args.add(object)
    actions.run(
        mnemonic = "BpfSkeleton",
        progress_message = "Generating Go skeleton of {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = [object],
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )
    return output
