"""bpf_object: a BPF object, linked and ready to load."""

load("//rules:providers.bzl", "BpfObjectInfo")
load(":objects.bzl", "COMPILE_ATTRS", "compile_srcs_problem", "final_object")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _bpf_object_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = compile_srcs_problem(ctx, toolchain)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    object = final_object(ctx, toolchain, ctx.files.srcs)
    return [
        BpfObjectInfo(object = object),
        DefaultInfo(files = depset([object])),
        OutputGroupInfo(bpf_object = [object]),
    ]

bpf_object = rule(
    implementation = _bpf_object_impl,
    doc = """Compiles C files and links them with BPF libraries to a final object, `NAME.bpf.o`.

The object is for any loader: libbpf and `bpftool` take it, and a `bpf_skeleton`
takes the target as its `src`. A `bpf_skeleton` with a C file as `src` needs none.

```starlark
bpf_object(
    name = "edge_bpf",
    srcs = ["edge.bpf.c", "parse.bpf.c"],
    deps = ["//ratelimit:ratelimit_bpf"],
)

bpf_skeleton(
    name = "edge",
    src = ":edge_bpf",
    importpath = "example.com/app/edge",
)
```
""",
    attrs = COMPILE_ATTRS | {
        "srcs": attr.label_list(
            doc = "C files.",
            mandatory = True,
            allow_empty = False,
            allow_files = [".c"],
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = [BpfObjectInfo],
)
