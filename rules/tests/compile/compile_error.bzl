"""The error output of a compile that fails, as a file."""

load("//rules/private:target_cpu.bzl", "TargetCpuInfo")
load("//rules/private/actions:compile.bzl", "prepare_compile")

def _compile_error_impl(ctx):
    stderr = ctx.actions.declare_file(ctx.label.name + ".stderr")
    object = ctx.actions.declare_file(ctx.label.name + ".bpf.o")
    unused_inputs_list = ctx.actions.declare_file(ctx.label.name + ".unused")
    toolchain = ctx.toolchains["//rules:toolchain_type"].bpf
    action = prepare_compile(
        ctx.actions,
        label = ctx.label,
        toolchain = toolchain,
        cpu = ctx.attr._target_cpu[TargetCpuInfo],
        src = ctx.file.src,
        output = object,
        unused_inputs_list = unused_inputs_list,
        hdrs = ctx.files.hdrs,
        copts = ctx.attr.copts,
    )

    # They are never written, but a declared file needs an action.
    for output in [object, unused_inputs_list]:
        ctx.actions.write(output, "")

    args = ctx.actions.args()
    args.add(stderr)
    args.add(action.executable.executable)
    ctx.actions.run(
        mnemonic = "BpfCompileError",
        executable = ctx.executable._mustfail,
        arguments = [args] + action.arguments,
        inputs = action.inputs,
        outputs = [stderr],
        tools = [action.executable],
    )
    return [DefaultInfo(files = depset([stderr]), runfiles = ctx.runfiles([stderr]))]

compile_error = rule(
    implementation = _compile_error_impl,
    doc = "Runs the action BpfCompile, which has to fail, and outputs its stderr.",
    attrs = {
        "copts": attr.string_list(doc = "As in bpf_skeleton."),
        "hdrs": attr.label_list(allow_files = True, doc = "As in bpf_skeleton."),
        "src": attr.label(allow_single_file = True, doc = "As in bpf_skeleton.", mandatory = True),
        "_mustfail": attr.label(
            default = "//rules/tests/compile/mustfail",
            executable = True,
            cfg = "exec",
        ),
        "_target_cpu": attr.label(default = "//rules/private:target_cpu"),
    },
    toolchains = ["//rules:toolchain_type"],
)
