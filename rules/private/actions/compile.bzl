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
        execution_requirements = action.execution_requirements,
        toolchain = Label("//rules:toolchain_type"),
    )

def compile_problem(*, label, toolchain, cpu, includes):
    """Returns what makes a compile impossible.

    The caller fails with it, and not compile, because each function between adds
    to the trace that Bazel prints above the message.

    Args:
      label: see prepare_compile.
      toolchain: see prepare_compile.
      cpu: see prepare_compile.
      includes: see prepare_compile.

    Returns:
      A message, or None when nothing does.
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

def _names_output(flags):
    """Reports whether flags have the path of a generated file, which Bazel does not map in strings."""
    return bool([flag for flag in flags if "bazel-out/" in flag])

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
        headers = None,
        additional_inputs = [],
        copts = [],
        defines = [],
        includes = []):
    """Makes the arguments of the action, for compile and for tests that expect it to fail.

    Args:
      actions: the target's actions.
      label: the target's label.
      toolchain: BpfToolchainInfo.
      cpu: TargetCpuInfo.
      src: File, the C file.
      output: File, the object to write.
      unused_inputs_list: File, the list of headers to write that were not read.
      hdrs: list of File, headers of the target.
      headers: CompilationContext of the dependencies, whose headers can be included, or None.
      additional_inputs: list of File, what copts and defines name, besides headers.
      copts: flags of the target.
      defines: macros of the target.
      includes: directories of the target, relative to its package.

    Returns:
      A struct with arguments for actions.run.
    """
    dep_headers = headers.headers.to_list() if headers else []

    # In the order in which they are searched.
    directories = [toolchain.libbpf, toolchain.builtin_headers] + toolchain.uapi_headers
    all_headers = depset(hdrs, transitive = [directory.transitive_files for directory in directories] + (
        [headers.headers] if headers else []
    ))

    args = actions.args()
    args.add("compile")
    args.add("-o", output)
    args.add("-unused", unused_inputs_list)

    inputs_args = actions.args()
    inputs_args.set_param_file_format("multiline")
    inputs_args.use_param_file("-inputs=%s", use_always = True)
    inputs_args.add_all(all_headers)

    tool_args = actions.args()
    tool_args.add("--")
    tool_args.add(toolchain.clang)

    # In a file where the line is long. Bpfgen reads it, as compilers differ in how they read
    # quotes in such a file.
    clang_args = actions.args()
    clang_args.set_param_file_format("multiline")
    clang_args.use_param_file("-bpfgen-args=%s")
    clang_args.add("-target", cpu.target)
    clang_args.add("-c", src)

    # Debug information and __FILE__ hold paths as they are in the source tree.
    clang_args.add("-fdebug-compilation-dir=.")
    add_prefix_maps(clang_args, [output] + _generated(dep_headers + additional_inputs))

    clang_args.add_all(_COPTS)
    clang_args.add_all(toolchain.copts)

    # Nothing but declared headers.
    clang_args.add("-nostdinc")
    clang_args.add("__TARGET_ARCH_" + cpu.arch, format = "-D%s")
    clang_args.add_all(cpu.defines, format_each = "-D%s")
    dep_defines = headers.defines.to_list() if headers else []
    clang_args.add_all(dep_defines, format_each = "-D%s")
    clang_args.add_all(defines, format_each = "-D%s")

    root = label.workspace_root or "."
    quote_dirs = package_dirs(label, ["."], output) + [include_dir(root), include_dir(root, output)]
    dirs = package_dirs(label, includes, output)
    system_dirs = []
    if headers:
        quote_dirs += context_dirs(headers.quote_includes.to_list(), dep_headers)
        dirs += context_dirs(headers.includes.to_list(), dep_headers)
        system_dirs += context_dirs(_system_includes(headers), dep_headers)

    # As system headers, in which clang does not warn.
    system_dirs += [include_dir(directory.path) for directory in directories]
    add_include_dirs(clang_args, "-iquote", quote_dirs)
    add_include_dirs(clang_args, "-I", dirs)
    add_include_dirs(clang_args, "-isystem", system_dirs)

    # Last of all, for files that include bpf_helpers.h without bpf/ before it.
    add_include_dirs(clang_args, "-idirafter", [include_dir(toolchain.libbpf.path + "/bpf")])
    clang_args.add_all(copts)

    return struct(
        arguments = [args, inputs_args, tool_args, clang_args],
        executable = toolchain.bpfgen,
        execution_requirements = {} if _names_output(copts + defines + dep_defines) else {"supports-path-mapping": "1"},
        inputs = depset(
            [src, toolchain.clang] + additional_inputs,
            transitive = [all_headers, toolchain.clang_files],
        ),
        progress_message = "Compiling {} for BPF".format(src.short_path),
    )
