"""bpf_types: the Go package of the C types that several objects share."""

load("@rules_go//go:def.bzl", "go_rule")
load("//rules:providers.bzl", "BpfObjectInfo", "BpfTypesInfo")
load("//rules/private/actions:skeleton.bzl", "generate_types")
load(":go_package.bzl", "GO_PACKAGE_ATTRS", "GO_PACKAGE_PROVIDERS", "generated_package", "package_name", "package_problem", "source_path")
load(":objects.bzl", "all_objects")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _problem(ctx):
    """Returns what is wrong with the target, or None."""
    if not ctx.attr.importpath:
        return "no importpath, by which skeletons could import the types: set it"
    return package_problem(ctx)

def _bpf_types_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = _problem(ctx)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    package = package_name(ctx)
    names = ctx.actions.declare_file("{}_/{}.names".format(ctx.label.name, package))

    def generate(output):
        generate_types(
            ctx.actions,
            label = ctx.label,
            toolchain = toolchain,
            objects = all_objects(ctx.attr.objects),
            package = package,
            types = ctx.attr.types,
            names = names,
            output = output,
        )

    made = generated_package(
        ctx,
        source = ctx.actions.declare_file("{}_/{}".format(ctx.label.name, source_path(ctx.label.name, "_types"))),
        generate = generate,
    )
    return made.providers + [
        BpfTypesInfo(importpath = ctx.attr.importpath, names = names),
        OutputGroupInfo(**made.groups),
    ]

bpf_types = go_rule(
    implementation = _bpf_types_impl,
    doc = """Makes a Go package of the C types that several BPF objects share.

The skeletons of these objects import it, with `types_from`, in place of declaring the types
each for itself, so that values pass from one to the other:

```starlark
bpf_object(
    name = "edge_bpf",
    srcs = ["edge.bpf.c"],
)

bpf_object(
    name = "core_bpf",
    srcs = ["core.bpf.c"],
)

bpf_types(
    name = "types",
    importpath = "example.com/app/types",
    objects = [
        ":core_bpf",
        ":edge_bpf",
    ],
)

bpf_skeleton(
    name = "edge",
    src = ":edge_bpf",
    importpath = "example.com/app/edge",
    types_from = ":types",
)
```

The package has the types that the skeletons declare for maps, variables and `types`. A type
that differs between the objects is not in it, as two of one name, nor is what has such a type
as a part: each skeleton has its own. The comment of the package names them. Not shared
either are types without a name in C, which are called after the map or variable.

The layout of each type is asserted in the package and in all that import it.

The output group `go_srcs` has the Go file.
""",
    attrs = GO_PACKAGE_ATTRS | {
        "importpath": attr.string(
            doc = "The path by which Go code imports the package.",
            mandatory = True,
        ),
        "objects": attr.label_list(
            doc = """
            The objects, `bpf_object`; of a `bpf_skeleton` with `variants`, all of them. The skeletons that
            import the types have these as their `src`: a skeleton that compiles its source itself cannot be
            among them and import them too.
            """,
            mandatory = True,
            allow_empty = False,
            providers = [BpfObjectInfo],
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = GO_PACKAGE_PROVIDERS + [BpfTypesInfo],
)
