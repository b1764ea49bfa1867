"""The action Bpf2Go: from a BPF object to the Go file of cilium/ebpf's generator."""

def generate_bpf2go(actions, *, label, bpf2go, object, package, ident, types, global_types, constraint, output):
    """Generates the Go file of an object.

    Args:
      actions: the target's actions.
      label: the target's label.
      bpf2go: FilesToRunProvider, the generator.
      object: File, the final object, in the directory of output, which embeds it.
      package: name of the Go package.
      ident: what all names in the file start with.
      types: names of C types to declare in Go besides those of maps and variables.
      global_types: whether to declare those.
      constraint: expression of a go:build line, or "".
      output: File, the Go file to write.
    """
    args = actions.args()
    args.add("-package", package)
    args.add("-ident", ident)
    args.add_all(types, before_each = "-type")
    if not global_types:
        args.add("-global-types=false")
    if constraint:
        args.add("-constraint", constraint)
    args.add("-o", output)
    args.add(object)
    actions.run(
        mnemonic = "Bpf2Go",
        progress_message = "Generating Go file of {}".format(label),
        executable = bpf2go,
        arguments = [args],
        inputs = [object],
        outputs = [output],
        execution_requirements = {"supports-path-mapping": "1"},
    )
