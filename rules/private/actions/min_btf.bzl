"""The action BpfMinBtf: from kernels' types to what objects need of them."""

def generate_min_btf(actions, *, label, toolchain, kernels, objects, output):
    """Writes the types that objects need of kernels.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      kernels: list of File, the BTF of kernels.
      objects: list of File, BPF objects.
      output: File, the archive to write.
    """
    args = actions.args()
    args.add("vmlinux")
    args.add_all(["-btf", "-archive"])
    args.add("-o", output)
    args.add_all(objects, before_each = "-object")
    args.add_all(kernels)

    # A collection has thousands of kernels.
    args.use_param_file("@%s")
    args.set_param_file_format("multiline")
    actions.run(
        mnemonic = "BpfMinBtf",
        progress_message = "Writing kernels' types {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = kernels + objects,
        outputs = [output],
        toolchain = Label("//rules:toolchain_type"),
    )
