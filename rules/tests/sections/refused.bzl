"""The error output of bpfgen for an object that it refuses, as a file."""

load("//rules:providers.bzl", "BpfObjectInfo")

def _refused_impl(ctx):
    stderr = ctx.actions.declare_file(ctx.label.name + ".stderr")
    object = ctx.attr.object[BpfObjectInfo].object
    bpfgen = ctx.toolchains["//rules:toolchain_type"].bpf.bpfgen
    args = ctx.actions.args()
    args.add(stderr)
    args.add(bpfgen.executable)
    args.add_all(ctx.attr.args_of_bpfgen)
    args.add("-o", "/dev/null")
    args.add(object)
    ctx.actions.run(
        mnemonic = "BpfRefused",
        executable = ctx.executable._mustfail,
        arguments = [args],
        inputs = [object],
        outputs = [stderr],
        tools = [bpfgen],
    )
    return [DefaultInfo(files = depset([stderr]), runfiles = ctx.runfiles([stderr]))]

refused = rule(
    implementation = _refused_impl,
    doc = "Runs bpfgen on an object that it has to refuse, and outputs its stderr.",
    attrs = {
        "args_of_bpfgen": attr.string_list(doc = "The subcommand and its flags.", mandatory = True),
        "object": attr.label(doc = "The object.", mandatory = True, providers = [BpfObjectInfo]),
        "_mustfail": attr.label(
            default = "//rules/tests/compile/mustfail",
            executable = True,
            cfg = "exec",
        ),
    },
    toolchains = ["//rules:toolchain_type"],
)
