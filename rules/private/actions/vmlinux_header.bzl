"""The action BpfVmlinuxHeader: from BTF to a C header."""

def generate_vmlinux_header(actions, *, label, toolchain, btf, base, types, output):
    """Writes the C header of BTF.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      btf: File, raw BTF or an ELF file with it.
      base: File, the BTF that a module's builds on, or None.
      types: names of the types to write; all when there are none.
      output: File, the header to write.
    """
    args = actions.args()
    args.add("vmlinux")
    args.add("-o", output)
    if base:
        args.add("-base", base)
    args.add_joined("-types", types, join_with = ",")
    args.add(btf)
    actions.run(
        mnemonic = "BpfVmlinuxHeader",
        progress_message = "Writing C header {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = [btf] + ([base] if base else []),
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )
