"""The actions BpfSkeleton, BpfSubskeleton and BpfTypes: from BPF objects to a Go file."""

def generate_skeleton(actions, *, label, toolchain, objects, package, types, subskeletons, types_from, section_args, link, linked, embed_elf, output):
    """Generates the Go file of an object, or of several variants of one.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      objects: dict of File by the names of variants, the final objects; one without a name where
          there are no variants.
      package: name of the Go package.
      types: names of C types to declare in Go besides those of maps and variables.
      subskeletons: list of BpfSubskeletonInfo, of libraries that the object holds.
      types_from: BpfTypesInfo of the package of shared types, None for none.
      section_args: list of string, the flags that say which sections programs may be in.
      link: depset of File, the objects that the one in `objects` is linked from. This action then
          links them too, as an action of its own would take longer to start than to run. None
          for objects that are linked already.
      linked: whether the target linked the objects itself. The warnings of BpfLink are not
          repeated then.
      embed_elf: whether the Go file has the object file too.
      output: File, the Go file to write.
    """
    args = actions.args()
    args.add("skeleton")
    args.add("-package", package)
    args.add_all(types, before_each = "-type")
    args.add_all(
        ["{}={}".format(sub.package, sub.importpath) for sub in subskeletons],
        before_each = "-subskeleton",
    )
    inputs = []
    outputs = [output]
    if types_from:
        args.add("-types-from")
        args.add(types_from.names, format = types_from.importpath + "=%s")
        inputs.append(types_from.names)
    args.add_all(section_args)
    if linked:
        args.add("-linked")
    if embed_elf:
        args.add("-elf")
    args.add("-o", output)
    objects_args = actions.args()
    objects_args.set_param_file_format("multiline")
    objects_args.use_param_file("@%s")
    if link:
        args.add("-link", objects[""])
        outputs.append(objects[""])
        objects_args.add_all(link)
    else:
        inputs += objects.values()
        for variant, object in objects.items():
            if variant:
                objects_args.add("-variant")
                objects_args.add(object, format = variant + "=%s")
            else:
                objects_args.add(object)
    actions.run(
        mnemonic = "BpfSkeleton",
        progress_message = "Generating Go skeleton of {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args, objects_args],
        inputs = depset(inputs, transitive = [link] if link else []),
        outputs = outputs,
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )

def generate_subskeleton(actions, *, label, toolchain, objects, package, types, output):
    """Generates the Go file of a library.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      objects: list of File, the library's objects.
      package: name of the Go package.
      types: names of C types to declare in Go besides those of maps and variables.
      output: File, the Go file to write.
    """
    args = actions.args()
    args.add("subskeleton")
    args.add("-package", package)
    args.add_all(types, before_each = "-type")
    args.add("-o", output)
    args.add_all(objects)
    actions.run(
        mnemonic = "BpfSubskeleton",
        progress_message = "Generating Go subskeleton of {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = objects,
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )

def generate_types(actions, *, label, toolchain, objects, package, types, names, output):
    """Generates the Go file of the types that objects share.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      objects: list of File, the final objects.
      package: name of the Go package.
      types: names of C types to declare in Go besides those of maps and variables.
      names: File, the list of names to write, for skeletons.
      output: File, the Go file to write.
    """
    args = actions.args()
    args.add("types")
    args.add("-package", package)
    args.add_all(types, before_each = "-type")
    args.add("-o", output)
    args.add("-names", names)

    # A skeleton and its src have one object.
    args.add_all(objects, uniquify = True)
    actions.run(
        mnemonic = "BpfTypes",
        progress_message = "Generating Go types of {}".format(label),
        executable = toolchain.bpfgen,
        arguments = [args],
        inputs = objects,
        outputs = [output, names],
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )
