"""bpf_object: a BPF object, linked and ready to load."""

load("//rules:providers.bzl", "BpfObjectInfo")
load(":objects.bzl", "COMPILE_ATTRS", "SECTION_ATTRS", "compile_srcs_problem", "final_object", "section_args")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _bpf_object_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = compile_srcs_problem(ctx, toolchain)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    args = section_args(ctx)
    if ctx.attr.strict_sections:
        args.append("-strict-sections")
    object = final_object(ctx, toolchain, ctx.files.srcs, section_args = args, allow_undefined = ctx.attr.allow_undefined)
    return [
        BpfObjectInfo(object = object, variants = {}),
        DefaultInfo(files = depset([object])),
        OutputGroupInfo(bpf_object = [object]),
    ]

bpf_object = rule(
    implementation = _bpf_object_impl,
    doc = """Compiles C files and links them with BPF libraries to a final object, `NAME.bpf.o`.

The object is for any loader: libbpf and `bpftool` take it, and a `bpf_skeleton`
takes the target as its `src`. A `bpf_skeleton` with a C file as `src` needs none.

The build warns of what loaders silently leave out: static functions in program
sections, and variables and struct_ops tables in sections that no loader reads. A
`bpf_skeleton` refuses them.

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
    attrs = COMPILE_ATTRS | SECTION_ATTRS | {
        "allow_undefined": attr.string_list(
            doc = """
            Names that sources declare and nothing needs to define, as patterns like `hook_*`: a loader of your
            own fills them in when it loads the object. A name that matches and that a library defines is
            that library's. libbpf, cilium/ebpf and a `bpf_skeleton` take no object with names that are not
            defined.
            """,
        ),
        "srcs": attr.label_list(
            doc = "C files.",
            mandatory = True,
            allow_empty = False,
            allow_files = [".c"],
        ),
        "strict_sections": attr.bool(
            doc = """
            Refuses programs whose section is no [form of `SEC()`](attach.md) and not among `sections`. Without it
            the build warns of them, as a loader that is not libbpf may have names of its own.
            """,
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = [BpfObjectInfo],
)
