"""The action BpfCompile: from a C file to a relocatable BPF object."""

load(
    "//rules/private:include_dirs.bzl",
    "add_include_dirs",
    "add_prefix_maps",
    "context_dirs",
    "include_dir",
    "normalize",
    "package_dirs",
)

# -mcpu=v3: 32-bit registers and jumps, atomic operations. Kernels since 5.12.
_COPTS = ["-g", "-O2", "-mcpu=v3", "-Wall"]

def compile(actions, *, output, **kwargs):
    """Compiles a C file.

    Args:
      actions: the target's actions.
      output: File, the object to write.
      **kwargs: see prepare_compile.
    """
    unused_inputs_list = actions.declare_file(output.basename + ".unused", sibling = output)
    action = prepare_compile(actions, output = output, unused_inputs_list = unused_inputs_list, **kwargs)
    actions.run(
        mnemonic = "BpfCompile",
        progress_message = action.progress_message,
        executable = action.executable,
        arguments = action.arguments,
        inputs = action.inputs,
        outputs = [output, unused_inputs_list],
        unused_inputs_list = unused_inputs_list,
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = Label("//rules:toolchain_type"),
    )

def compile_problem(*, label, toolchain, cpu, includes):
    """Tells why a compile is not possible.

    The caller fails with it, and not compile, because each function between adds
    to the trace that Bazel prints above the message.

    Args:
      label: see prepare_compile.
      toolchain: see prepare_compile.
      cpu: see prepare_compile.
      includes: see prepare_compile.

    Returns:
      A message, or None when it is possible.
    """
    if cpu.error:
        return cpu.error
    if toolchain.error:
        return toolchain.error
    for path in includes:
        if path.startswith("/") or normalize(label.package + "/" + path).startswith(".."):
            return "includes: {} leads out of the repository".format(path)
    return None

def _generated(headers):
    return [header for header in headers if not header.is_source]

def _system_includes(context):
    return context.system_includes.to_list() + context.external_includes.to_list()

def prepare_compile(
        actions,
        *,
        label,
        toolchain,
        cpu,
        src,
        output,
        unused_inputs_list,
        hdrs = [],
        deps = [],
        copts = [],
        defines = [],
        includes = []):
    """Makes the parts of the action, for compile and for tests that expect it to fail.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      cpu: TargetCpuInfo.
      src: File, the C file.
      output: File, the object to write.
      unused_inputs_list: File, the list of headers to write that were not read.
      hdrs: list of File, headers of the target.
      deps: list of CompilationContext, whose headers can be included.
      copts: flags of the target.
      defines: macros of the target.
      includes: folders of the target, relative to its package.

    Returns:
      A struct with arguments for actions.run.
    """
    dep_headers = [dep.headers.to_list() for dep in deps]
    libbpf_headers = toolchain.libbpf.headers.to_list()
    directories = [toolchain.builtin_headers] + toolchain.uapi_headers
    headers = depset(hdrs, transitive = [
        dep.headers
        for dep in deps + [toolchain.libbpf]
    ] + [
        directory.transitive_files
        for directory in directories
    ])

    args = actions.args()
    args.add("compile")
    args.add("-o", output)
    args.add("-unused", unused_inputs_list)

    inputs_args = actions.args()
    inputs_args.set_param_file_format("multiline")
    inputs_args.use_param_file("-inputs=%s", use_always = True)
    inputs_args.add_all(headers)

    clang_args = actions.args()
    clang_args.add("--")
    clang_args.add(toolchain.clang)
    clang_args.add("-target", cpu.target)
    clang_args.add("-c", src)

    # Debug information and __FILE__ hold paths as they are in the source tree.
    clang_args.add("-fdebug-compilation-dir=.")
    generated = [output]
    for some_headers in dep_headers + [libbpf_headers]:
        generated += _generated(some_headers)
    add_prefix_maps(clang_args, generated)

    clang_args.add_all(_COPTS)
    clang_args.add_all(toolchain.copts)

    # Nothing but declared headers.
    clang_args.add("-nostdinc")
    clang_args.add("__TARGET_ARCH_" + cpu.arch, format = "-D%s")
    clang_args.add_all(cpu.defines, format_each = "-D%s")
    for dep in deps:
        clang_args.add_all(dep.defines, format_each = "-D%s")
    clang_args.add_all(defines, format_each = "-D%s")

    root = label.workspace_root or "."
    add_include_dirs(clang_args, "-iquote", package_dirs(label, ["."], output))
    add_include_dirs(clang_args, "-iquote", [include_dir(root), include_dir(root, output)])
    add_include_dirs(clang_args, "-I", package_dirs(label, includes, output))
    for dep, hdrs_of_dep in zip(deps, dep_headers):
        add_include_dirs(clang_args, "-iquote", context_dirs(dep.quote_includes.to_list(), hdrs_of_dep))
        add_include_dirs(clang_args, "-I", context_dirs(dep.includes.to_list(), hdrs_of_dep))
        add_include_dirs(clang_args, "-isystem", context_dirs(_system_includes(dep), hdrs_of_dep))

    # As the headers of a system, whose warnings are not for the user.
    libbpf_includes = toolchain.libbpf.includes.to_list() + _system_includes(toolchain.libbpf)
    add_include_dirs(clang_args, "-isystem", context_dirs(libbpf_includes, libbpf_headers))
    add_include_dirs(clang_args, "-isystem", [include_dir(directory.path) for directory in directories])

    # Last of all, for files that say bpf_helpers.h without bpf/ before it.
    add_include_dirs(clang_args, "-idirafter", context_dirs(
        [path + "/bpf" for path in libbpf_includes],
        libbpf_headers,
    ))
    clang_args.add_all(copts)

    return struct(
        arguments = [args, inputs_args, clang_args],
        executable = toolchain.bpfgen,
        inputs = depset(
            [src, toolchain.clang],
            transitive = [headers, toolchain.clang_files],
        ),
        progress_message = "Compiling {} for BPF".format(src.short_path),
    )
