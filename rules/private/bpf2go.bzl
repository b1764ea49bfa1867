"""bpf2go: the Go file that cilium/ebpf's generator writes of a BPF object."""

load("@rules_go//go:def.bzl", "GoInfo", "go_rule")
load("//rules:providers.bzl", "BpfObjectInfo")
load("//rules/private/actions:bpf2go.bzl", "generate_bpf2go")
load(":go_names.bzl", "is_go_identifier")
load(":go_package.bzl", "GO_PACKAGE_ATTRS", "GO_PACKAGE_PROVIDERS", "generated_package", "package_name", "package_problem", "source_path")
load(":objects.bzl", "COMPILE_ATTRS", "compile_srcs_problem", "final_object")
load(":target_cpu.bzl", "TargetCpuInfo")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

# What the names of files that Go embeds can hold: the pattern in //go:embed is
# written without quotes, and others mean something in it.
_FILE_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+=@/"

def _file_name_problem(attribute, name):
    for c in name.elems():
        if c not in _FILE_CHARACTERS:
            return "{} = \"{}\" has a character that the name of an embedded file cannot have: use letters, digits and _ - . + = @".format(attribute, name)
    return None

def _directory(label):
    """Returns the path that names the Go package when no attribute does, that of its other files."""
    return label.package or label.name

def _problem(ctx, toolchain):
    """Returns what is wrong with the target, or None."""
    if not is_go_identifier(ctx.attr.ident or ctx.label.name):
        return "{} = \"{}\" is not a Go identifier, and names start with it: set ident to one".format(
            "ident" if ctx.attr.ident else "name",
            ctx.attr.ident or ctx.label.name,
        )
    if "/" in ctx.attr.output_stem:
        return "output_stem = \"{}\" leads to another directory: it is the name of a file".format(ctx.attr.output_stem)
    return (
        _file_name_problem("name", ctx.label.name) or
        _file_name_problem("output_stem", ctx.attr.output_stem) or
        package_problem(ctx, _directory(ctx.label)) or
        compile_srcs_problem(ctx, toolchain)
    )

def _bpf2go_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = _problem(ctx, toolchain)
    if problem:
        fail("{}: {}".format(ctx.label, problem))

    # Both files are in the package's directory itself, not in one of the target's
    # name: rules_go refuses files that embed in a directory below that of another.
    stem = ctx.label.name.replace("/", "_")
    object = final_object(
        ctx,
        toolchain,
        ctx.files.srcs,
        name = stem,
        # cilium/ebpf takes such names.
        section_args = ["-legacy-sections"],
        # It reads objects with undefined names, for Go code to fill in.
        allow_undefined = ["*"],
    )
    source = ctx.actions.declare_file(source_path(
        ctx.attr.output_stem or stem,
        "_" + ctx.attr._target_cpu[TargetCpuInfo].target,
    ))

    def generate(output):
        generate_bpf2go(
            ctx.actions,
            label = ctx.label,
            bpf2go = ctx.attr._bpf2go[DefaultInfo].files_to_run,
            object = object,
            package = package_name(ctx, _directory(ctx.label)),
            ident = ctx.attr.ident or ctx.label.name,
            types = ctx.attr.types,
            global_types = ctx.attr.global_types,
            constraint = ctx.attr.build_constraint,
            output = output,
        )

    made = generated_package(ctx, source = source, generate = generate, embedsrcs = [object])
    return made.providers + [
        BpfObjectInfo(object = object, variants = {}),
        OutputGroupInfo(
            bpf_object = [object],
            **made.groups
        ),
    ]

bpf2go = go_rule(
    implementation = _bpf2go_impl,
    doc = """Makes the Go file that cilium/ebpf's `bpf2go` writes of BPF C, for Go code that uses it already.

```starlark
# For //go:generate bpf2go -type event counter counter.c -- -I../headers
bpf2go(
    name = "counter",
    srcs = ["counter.c"],
    package = "main",
    types = ["event"],
    deps = ["//headers"],
)

go_library(
    name = "app_lib",
    srcs = ["main.go"],       # not counter_bpfel.go, where that is checked in
    embed = [":counter"],
    importpath = "example.com/app",
    deps = ["@com_github_cilium_ebpf//:ebpf"],
)
```

The file has `loadCounter`, `counterObjects`, `counterSpecs` and so on, as
cilium/ebpf's own generator writes them, in the version that the build uses, and
the object. Both are for the target platform alone. A package with several objects,
or variants of one (other `defines`), embeds a target for each.

The object is compiled and linked as by all rules: `-mcpu=v3`, where the command
`bpf2go` has v1 (`copts = ["-mcpu=v1"]`); `__TARGET_ARCH_x86` and the like are
always defined. What goes into it is for cilium/ebpf to judge: sections of any
name, `SEC("maps")`, externs that Go code defines before it loads the object.

The target is also a `src` for `bpf_skeleton`, the next step: see
[migrate.md](migrate.md).
""",
    attrs = COMPILE_ATTRS | GO_PACKAGE_ATTRS | {
        "build_constraint": attr.string(
            doc = """
            The expression of a `//go:build` line for the file, as `linux && !race`: the flag `-tags` of
            the command. The cpu is not needed in it.
            """,
        ),
        "compiler": attr.label(
            doc = "The Go packages that the file imports. Not meant to be set: those of the package that embeds it come first.",
            default = Label("//rules/private:bpf2go_imports"),
            providers = [GoInfo],
        ),
        "global_types": attr.bool(
            doc = "Whether the types of maps and variables are declared. False is the flag `-no-global-types`.",
            default = True,
        ),
        "ident": attr.string(
            doc = """
            What the names in the file start with: `counter` gives `loadCounter` and `counterObjects`, and
            `Counter`, which exports them, `LoadCounter` and `CounterObjects`. The target's name unless set.
            """,
        ),
        "output_stem": attr.string(
            doc = "The name of the Go file, which `_bpfel.go` or `_bpfeb.go` is added to. The target's name unless set.",
        ),
        "package": attr.string(
            doc = """
            The name of the Go package that embeds the target. By default the last element of `importpath`,
            or of the directory's path.
            """,
        ),
        "srcs": attr.label_list(
            doc = "C files, which are linked to one object.",
            mandatory = True,
            allow_empty = False,
            allow_files = [".c"],
        ),
        "_bpf2go": attr.label(
            default = Label("//rules/private:bpf2go_tool"),
            executable = True,
            cfg = "exec",
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = GO_PACKAGE_PROVIDERS + [BpfObjectInfo],
)
