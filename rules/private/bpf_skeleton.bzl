"""bpf_skeleton: the Go package of a BPF object."""

load("@rules_go//go:def.bzl", "go_rule")
load("//rules:providers.bzl", "BpfObjectInfo", "BpfSubskeletonInfo", "BpfTypesInfo")
load("//rules/private/actions:check.bzl", "check")
load("//rules/private/actions:skeleton.bzl", "generate_skeleton")
load(":go_names.bzl", "is_go_identifier")
load(":go_package.bzl", "GO_PACKAGE_ATTRS", "GO_PACKAGE_PROVIDERS", "generated_package", "package_name", "package_problem", "source_path")
load(":objects.bzl", "COMPILE_ATTRS", "SECTION_ATTRS", "compile_srcs_problem", "final_object", "object_file", "objects_to_link", "section_args")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

# Attributes for compiling and linking, which have no effect on an object that exists.
_COMPILED_ATTRS = ["additional_compiler_inputs", "hdrs", "deps", "copts", "defines", "includes", "variants"]

def _problem(ctx, toolchain):
    """Returns what is wrong with the target, or None."""
    problem = package_problem(ctx)
    if problem:
        return problem
    for subskeleton in ctx.attr.subskeletons:
        if not subskeleton[BpfSubskeletonInfo].importpath:
            return "subskeletons: {} has no importpath, by which the skeleton could import it: set it there".format(
                subskeleton.label,
            )
    if BpfObjectInfo in ctx.attr.src:
        for name in _COMPILED_ATTRS:
            if getattr(ctx.attr, name):
                return "{} has no effect because src, {}, is compiled already: set it there".format(
                    name,
                    ctx.attr.src.label,
                )
        if getattr(ctx.attr.src[BpfObjectInfo], "variants", {}):
            return "src, {}, has variants, of which this takes one: give bpf_skeleton the sources and the variants".format(
                ctx.attr.src.label,
            )
        return None
    if [src.extension for src in ctx.files.src] != ["c"]:
        return "src must be one C file (.c) or a target that provides BpfObjectInfo; {} is neither".format(
            ctx.attr.src.label,
        )
    for variant in ctx.attr.variants:
        if not is_go_identifier(variant):
            return "variants: \"{}\" is not a name from which Go names can be made: use letters, digits and underscores, starting with a letter".format(
                variant,
            )
    return compile_srcs_problem(ctx, toolchain, [flag for flags in ctx.attr.variants.values() for flag in flags])

def _objects(ctx, toolchain):
    """Returns the objects that the skeleton is generated from.

    Args:
      ctx: the rule's context.
      toolchain: BpfToolchainInfo.

    Returns:
      A struct with `final`, a dict of the final objects by the names of their variants, where a
      single one has the name ""; `link`, a depset of the objects that the single one is still
      to be linked from, or None; `linked`, whether this target has linked them.
    """
    if BpfObjectInfo in ctx.attr.src:
        return struct(final = {"": ctx.attr.src[BpfObjectInfo].object}, link = None, linked = False)
    if not ctx.attr.variants:
        return struct(
            final = {"": object_file(ctx)},
            link = objects_to_link(ctx, toolchain, ctx.files.src),
            linked = False,
        )
    return struct(
        final = {
            variant: final_object(
                ctx,
                toolchain,
                ctx.files.src,
                # The action BpfSkeleton checks the sections.
                section_args = ["-section=*"],
                variant = variant,
                copts = copts,
            )
            for variant, copts in ctx.attr.variants.items()
        },
        link = None,
        linked = True,
    )

def _bpf_skeleton_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = _problem(ctx, toolchain)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    objects = _objects(ctx, toolchain)

    def generate(output):
        generate_skeleton(
            ctx.actions,
            label = ctx.label,
            toolchain = toolchain,
            objects = objects.final,
            package = package_name(ctx),
            types = ctx.attr.types,
            section_args = section_args(ctx),
            subskeletons = [sub[BpfSubskeletonInfo] for sub in ctx.attr.subskeletons],
            types_from = ctx.attr.types_from[BpfTypesInfo] if ctx.attr.types_from else None,
            link = objects.link,
            linked = objects.linked,
            embed_elf = ctx.attr.embed_elf,
            output = output,
        )

    made = generated_package(
        ctx,
        source = ctx.actions.declare_file("{}_/{}".format(ctx.label.name, source_path(ctx.label.name, "_skel"))),
        generate = generate,
        deps = ctx.attr.subskeletons + ([ctx.attr.types_from] if ctx.attr.types_from else []),
    )
    checks = [
        check(
            ctx.actions,
            label = ctx.label,
            toolchain = toolchain,
            object = object,
            library = sub.label,
            objects = sub[BpfSubskeletonInfo].objects,
            output = ctx.actions.declare_file("{}_check/{}".format(ctx.label.name, "/".join([variant, str(i)]) if variant else i)),
        )
        for variant, object in objects.final.items()
        for i, sub in enumerate(ctx.attr.subskeletons)
    ]
    return made.providers + [
        BpfObjectInfo(object = objects.final.values()[0], variants = objects.final if ctx.attr.variants else {}),
        OutputGroupInfo(
            bpf_object = objects.final.values(),
            _validation = checks,
            **made.groups
        ),
    ]

bpf_skeleton = go_rule(
    implementation = _bpf_skeleton_impl,
    doc = """Makes a Go package of a BPF object.

The package has a typed field for each map, program, link and global variable of
the object, and the object in itself. The target is a `go_library`: other Go
targets have it in `deps`, or in `embed` when it is a part of their package.

```starlark
bpf_skeleton(
    name = "minimal",
    src = "minimal.bpf.c",
    importpath = "example.com/app/minimal",
)
```

The object fits the target platform's cpu: its byte order, and
`-D__TARGET_ARCH_x86` (`arm64`, `s390`, ...) for libbpf's `bpf_tracing.h`.
Programs can include `bpf/bpf_helpers.h` and the rest of libbpf's headers, the
kernel's UAPI headers (`linux/`, `asm/`) and the compiler's own (`stddef.h`), and
no other header of the machine that builds.

A program that uses a `bpf_library` has it in `deps`, and the library is linked in.

One source for several kernels, or with parts to choose from, is compiled once for each of
`variants`, and one Go package has all of them:

```starlark
bpf_skeleton(
    name = "probe",
    src = "probe.bpf.c",
    importpath = "example.com/app/probe",
    variants = {
        "v510": ["-DKERNEL=510"],
        "v61": ["-DKERNEL=601"],
    },
)
```

`probe.Open(probe.V61)` opens one of them: see [variants.md](variants.md).

The output group `bpf_object` has the object file, as the linker wrote it, for any
loader; `go_srcs` has the Go file. That carries an image of the object, which is what
the package's own loader needs of it: no ELF file, unless `embed_elf` asks for it.
""",
    attrs = COMPILE_ATTRS | GO_PACKAGE_ATTRS | SECTION_ATTRS | {
        "src": attr.label(
            doc = "A C file, or a target that provides BpfObjectInfo, as `bpf_object`.",
            mandatory = True,
            allow_files = True,
        ),
        "embed_elf": attr.bool(
            doc = """
            Whether the Go package has the object file too, which the method `ELF` of the skeleton returns: for
            programs that read it with cilium/ebpf's `LoadCollectionSpecFromReader`. The skeleton's
            own loader does not use it.
            """,
        ),
        "subskeletons": attr.label_list(
            doc = """
            The subskeletons, `bpf_subskeleton`, of libraries that the object holds. The build checks that it
            does: that each variable, map, struct_ops map and program which the subskeleton looks up is
            there, with the same type. The skeleton then has them opened, as its field `Subskeletons`.
            """,
            providers = [BpfSubskeletonInfo],
        ),
        "types_from": attr.label(
            doc = """
            A package of types that several objects share, `bpf_types`: the skeleton imports those of its types
            that are in it, with the same layout, and declares the others.
            """,
            providers = [BpfTypesInfo],
        ),
        "variants": attr.string_list_dict(
            doc = """
            The variants of the object, by names that Go can have: the source is compiled and linked for each, with
            flags for clang after `copts`. What is the same in all variants is in the Go package once; what differs
            has a field for each of its types, which is nil in a variant without it. Subskeletons are checked
            against each variant.
            """,
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = GO_PACKAGE_PROVIDERS + [BpfObjectInfo],
)
