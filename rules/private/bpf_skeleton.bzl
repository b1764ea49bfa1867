"""bpf_skeleton: the Go package of a BPF object."""

load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("@rules_go//go:def.bzl", "GoArchive", "GoInfo", "go_context", "go_rule", "new_go_info")
load("//rules:providers.bzl", "BpfObjectInfo")
load("//rules/private/actions:compile.bzl", "compile", "compile_problem")
load("//rules/private/actions:skeleton.bzl", "generate_skeleton")
load(":go_names.bzl", "go_package_name", "is_go_package_name")
load(":target_cpu.bzl", "TargetCpuInfo")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

# They say how to compile, which an object has behind it.
_COMPILE_ATTRS = ["hdrs", "deps", "copts", "defines", "includes"]

def _problem(ctx, toolchain, package):
    """Returns what is wrong with the target, or None."""
    if ctx.attr.package and not is_go_package_name(ctx.attr.package):
        return "package = \"{}\" is not a name that a Go package can have".format(ctx.attr.package)
    if not package:
        return "no Go package name can be made of \"{}\": set the attribute package".format(
            ctx.attr.importpath or ctx.label.name,
        )
    if BpfObjectInfo in ctx.attr.src:
        for name in _COMPILE_ATTRS:
            if getattr(ctx.attr, name):
                return "{} has no effect because src, {}, is compiled already: set it there".format(
                    name,
                    ctx.attr.src.label,
                )
        return None
    if [src.extension for src in ctx.files.src] != ["c"]:
        return "src must be one C file (.c) or a target that provides BpfObjectInfo; {} is neither".format(
            ctx.attr.src.label,
        )
    return compile_problem(
        label = ctx.label,
        toolchain = toolchain,
        cpu = ctx.attr._target_cpu[TargetCpuInfo],
        includes = ctx.attr.includes,
    )

def _object(ctx, toolchain):
    """Returns the object that the skeleton is for."""
    if BpfObjectInfo in ctx.attr.src:
        return ctx.attr.src[BpfObjectInfo].object

    # One source needs no linking: what the compiler makes of it is final.
    object = ctx.actions.declare_file(ctx.label.name + ".bpf.o")
    compile(
        ctx.actions,
        label = ctx.label,
        toolchain = toolchain,
        cpu = ctx.attr._target_cpu[TargetCpuInfo],
        src = ctx.files.src[0],
        hdrs = ctx.files.hdrs,
        deps = [dep[CcInfo].compilation_context for dep in ctx.attr.deps],
        copts = ctx.attr.copts,
        defines = ctx.attr.defines,
        includes = ctx.attr.includes,
        output = object,
    )
    return object

def _bpf_skeleton_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    package = ctx.attr.package or go_package_name(ctx.attr.importpath, ctx.label.name)
    problem = _problem(ctx, toolchain, package)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    object = _object(ctx, toolchain)

    go = go_context(ctx, importpath = ctx.attr.importpath, maybe_needs_cc_toolchain = False)
    source = generate_skeleton(
        ctx.actions,
        label = ctx.label,
        toolchain = toolchain,
        object = object,
        package = package,
        types = ctx.attr.types,
        # Apart from the sources of the package, whose names it must not take. Go
        # leaves out files that end in _test.go, _linux.go and the like.
        output = go.declare_file(go, path = ctx.label.name + "_skel.go"),
    )
    go_info = new_go_info(
        go,
        # Not ctx.attr: new_go_info reads the attributes of go_library from it,
        # and deps, copts, ... mean other things here.
        struct(),
        generated_srcs = [source],
        deps = ctx.attr.compiler[GoInfo].deps,
        coverage_instrumented = False,
    )
    archive = go.archive(go, go_info)

    return [
        go_info,
        archive,
        BpfObjectInfo(object = object),
        DefaultInfo(files = depset([archive.data.export_file])),
        OutputGroupInfo(
            bpf_object = [object],
            go_srcs = [source],
            compilation_outputs = [archive.data.file],
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

The output group `bpf_object` has the object file, as the compiler or the linker
wrote it; `go_srcs` has the Go file. That carries the object in the form that
cilium/ebpf loads, without debug information: what libbpf takes and cilium/ebpf does
not (weak `__kconfig` variables and maps, sections `.bss.x`) works in a skeleton.
""",
    attrs = {
        # rules_go's aspect for editors walks the attributes deps, embed,
        # compiler(s) and library, and nothing else; by another name, gopls would
        # not find what the generated file imports.
        "compiler": attr.label(
            doc = "The Go packages that generated code imports. Not meant to be set.",
            default = Label("//rules/private:skeleton_imports"),
            providers = [GoInfo],
        ),
        "copts": attr.string_list(
            doc = "Flags for clang, after those of the rule (`-g -O2 -mcpu=v3 -Wall`) and the toolchain.",
        ),
        "defines": attr.string_list(
            doc = "Macros for the compile, as `NAME` or `NAME=value`.",
        ),
        "deps": attr.label_list(
            doc = """
            Targets with headers that `src` includes, as `cc_library`. Only the headers are used.
            A `cc_library` needs a C++ toolchain for the target platform: list the files in `hdrs`
            to build for another cpu without one.
            """,
            providers = [CcInfo],
        ),
        "hdrs": attr.label_list(
            doc = "Headers and other files that `src` includes.",
            allow_files = [".c", ".h", ".inc"],
        ),
        "importpath": attr.string(
            doc = "The path by which Go code imports the package. May be left out for a package that is only embedded.",
        ),
        "includes": attr.string_list(
            doc = """
            Folders, relative to this package, to search for headers. The repository's root, as in
            `#include "path/to/header.h"`, and the folders of `src` and of this package are searched
            without being named.
            """,
        ),
        "package": attr.string(
            doc = """
            The name of the Go package. By default the last element of `importpath`, or of the target's name,
            with `_` for what Go does not allow in names.
            """,
        ),
        "src": attr.label(
            doc = "A C file, or a target that provides BpfObjectInfo.",
            mandatory = True,
            allow_files = True,
        ),
        "types": attr.string_list(
            doc = """
            C types to declare in Go although no map and no global variable has them, such as the records of
            a ring buffer: `types = ["event"]` for `struct event`. The object's BTF must have the type, and has it
            only when something in it uses the type: `struct event *unused __hidden;` is enough.
            """,
        ),
        "_go_context_data": attr.label(default = Label("@rules_go//:go_context_data")),
        "_target_cpu": attr.label(
            default = Label("//rules/private:target_cpu"),
            providers = [TargetCpuInfo],
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = [BpfObjectInfo, GoArchive, GoInfo],
)
