"""bpf_subskeleton: the Go package of a BPF library."""

load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("@rules_go//go:def.bzl", "go_rule")
load("//rules:providers.bzl", "BpfLibraryInfo", "BpfSubskeletonInfo")
load("//rules/private/actions:skeleton.bzl", "generate_subskeleton")
load(":go_package.bzl", "GO_PACKAGE_ATTRS", "GO_PACKAGE_PROVIDERS", "generated_package", "package_name", "package_problem", "source_path")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _problem(ctx):
    """Returns what is wrong with the target, or None."""
    if not ctx.attr.library[BpfLibraryInfo].objects:
        return "library {} has no sources, and so nothing that a subskeleton could show".format(ctx.attr.library.label)
    return package_problem(ctx)

def _bpf_subskeleton_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = _problem(ctx)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    library = ctx.attr.library[BpfLibraryInfo]
    package = package_name(ctx)

    def generate(output):
        generate_subskeleton(
            ctx.actions,
            label = ctx.label,
            toolchain = toolchain,
            objects = library.objects,
            package = package,
            types = ctx.attr.types,
            output = output,
        )

    made = generated_package(
        ctx,
        source = ctx.actions.declare_file("{}_/{}".format(ctx.label.name, source_path(ctx.label.name, "_subskel"))),
        generate = generate,
    )

    # In deps, it stands for the library.
    headers = [ctx.attr.library[CcInfo]] if CcInfo in ctx.attr.library else []
    return made.providers + headers + [
        library,
        BpfSubskeletonInfo(
            importpath = ctx.attr.importpath,
            objects = library.objects,
            package = package,
        ),
        OutputGroupInfo(**made.groups),
    ]

bpf_subskeleton = go_rule(
    implementation = _bpf_subskeleton_impl,
    doc = """Makes a Go package of a BPF library.

The package opens the part of a skeleton that is the library's: its maps, programs
and links, its struct_ops tables, and a pointer to each of its global variables. It
works with every final object that the library is linked into, so that the library's
user-space code is written once, and without knowledge of these objects.

```starlark
bpf_subskeleton(
    name = "ratelimit",
    importpath = "example.com/app/ratelimit",
    library = ":ratelimit_bpf",
)
```

```go
lib, err := ratelimit.Open(skel) // the skeleton of any object that holds the library
```

It shows what `library` itself defines, not what the libraries in its `deps` do: these
have subskeletons of their own.

The output group `go_srcs` has the Go file.
""",
    attrs = GO_PACKAGE_ATTRS | {
        "library": attr.label(
            doc = "The `bpf_library`.",
            mandatory = True,
            providers = [BpfLibraryInfo],
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = GO_PACKAGE_PROVIDERS + [BpfLibraryInfo, BpfSubskeletonInfo],
)
