"""The action that packs kernel modules."""

def pack_modules(actions, *, label, packer, kernel, modules, output):
    """Packs kernel modules, and what they depend on, for a guest to load.

    Args:
      actions: ctx.actions.
      label: the target, for messages.
      packer: FilesToRunProvider of //tool/bpfvm/modules.
      kernel: BpfKernelInfo, without a problem.
      modules: list of str, names of modules.
      output: File to write, a cpio archive.
    """
    args = actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("-o", output)
    args.add_joined("-names", modules, join_with = ",")
    args.add_all(kernel.modules)
    actions.run(
        executable = packer,
        arguments = [args],
        inputs = kernel.modules,
        outputs = [output],
        mnemonic = "BpfModules",
        progress_message = "Packing modules of kernel {} for {}".format(kernel.name, label),
    )
