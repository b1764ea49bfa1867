"""bpf_library: BPF code that final objects share."""

load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("//rules:providers.bzl", "BpfLibraryInfo")
load(":include_dirs.bzl", "normalize")
load(":objects.bzl", "COMPILE_ATTRS", "compile_srcs", "compile_srcs_problem", "expanded_defines", "link_order")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _join(*parts):
    return normalize("/".join([part for part in parts if part]))

def _header_info(ctx):
    """Returns CcInfo with the headers of the library and the directories to find them in."""
    bin = ctx.bin_dir.path
    root = ctx.label.workspace_root

    def both(path):
        return [_join(root, path), _join(bin, root, path)]

    return cc_common.merge_cc_infos(
        direct_cc_infos = [CcInfo(compilation_context = cc_common.create_compilation_context(
            defines = depset(expanded_defines(ctx)),
            headers = depset(ctx.files.hdrs),
            includes = depset([
                dir
                for path in ctx.attr.includes
                for dir in both(_join(ctx.label.package, path))
            ]),
            quote_includes = depset(both(".")),
        ))],
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps if CcInfo in dep],
    )

def _bpf_library_impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf
    problem = compile_srcs_problem(ctx, toolchain)
    if problem:
        fail("{}: {}".format(ctx.label, problem))
    objects = compile_srcs(ctx, toolchain, ctx.files.srcs)
    return [
        BpfLibraryInfo(
            objects = objects,
            transitive_objects = link_order(objects, ctx.attr.deps),
        ),
        _header_info(ctx),
        DefaultInfo(files = depset(objects)),
    ]

bpf_library = rule(
    implementation = _bpf_library_impl,
    doc = """Compiles BPF code that final objects share.

```starlark
bpf_library(
    name = "ratelimit_bpf",
    srcs = ["ratelimit.bpf.c"],
    hdrs = ["ratelimit.bpf.h"],
    visibility = ["//visibility:public"],
)

bpf_skeleton(
    name = "edge",
    src = "edge.bpf.c",
    importpath = "example.com/app/edge",
    deps = ["//ratelimit:ratelimit_bpf"],
)
```

A library may have functions, global variables, maps and programs. Other files
declare what they use of it as `extern`, best in a header of the library. Each
source is compiled once, for all objects that link it; a library that an object
needs by several ways is linked once.

The target provides CcInfo with its headers and those of its `deps`, so that a
`cc_library` can include them too.
""",
    attrs = COMPILE_ATTRS | {
        "defines": attr.string_list(
            doc = "Macros, as `NAME` or `NAME=value`, for this library and for all that depends on it, with variables as in `copts`.",
        ),
        "hdrs": attr.label_list(
            doc = "Headers of the library, which those who depend on it may include.",
            allow_files = True,
        ),
        "includes": attr.string_list(
            doc = """
            Directories, relative to this package, to search for headers, for this library and for all that depends
            on it. The repository's root, as in `#include "path/to/header.h"`, is searched without being named.
            """,
        ),
        "srcs": attr.label_list(
            doc = "C files. There may be none, in a library of headers.",
            allow_files = [".c"],
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = [BpfLibraryInfo, CcInfo],
)
