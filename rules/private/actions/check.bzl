"""The action BpfCheck: whether a final object holds a library."""

def check(actions, *, label, toolchain, object, library, objects, output):
    """Checks that an object has what the subskeleton of a library looks up in it.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      object: File, the final object.
      library: Label, the subskeleton's.
      objects: list of File, the objects of the library.
      output: File, an empty file that is written when the check succeeds.

    Returns:
      output.
    """
    args = actions.args()
    args.add("check")
    args.add("-o", output)
    args.add("-object", object)
    args.add_all(objects)
    actions.run(
        mnemonic = "BpfCheck",
        progress_message = "Checking that {} holds the library of {}".format(label, library),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = [object] + objects,
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )
    return output
