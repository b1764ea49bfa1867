"""The toolchain that compiles C for BPF.

A clang found on PATH is registered by default. To use another one, declare it
and register it in MODULE.bazel; a root module's registrations come first.
docs/toolchains.md has whole examples.

```starlark
load("@rules_bpf//rules:defs.bzl", "bpf_toolchain")

bpf_toolchain(
    name = "my_clang",
    builtin_headers = "@my_llvm//:builtin_headers",
    clang = "@my_llvm//:bin/clang",
    clang_files = ["@my_llvm//:clang_libs"],
    uapi_headers = ["@my_linux_headers//:include"],
)

toolchain(
    name = "my_clang_toolchain",
    toolchain = ":my_clang",
    toolchain_type = "@rules_bpf//rules:toolchain_type",
)
```
"""

load("@bazel_skylib//rules/directory:providers.bzl", "DirectoryInfo")

BpfToolchainInfo = provider(
    doc = "Field `bpf` of the ToolchainInfo of a `bpf_toolchain`.",
    fields = {
        "bpfgen": "FilesToRunProvider: the tool whose subcommands are the actions of the rules.",
        "builtin_headers": "DirectoryInfo, or a struct with `path` and `transitive_files` as it has: clang's own headers (`stddef.h`, `stdarg.h`, ...), None without clang.",
        "clang": "File: the compiler, None when `error` is set.",
        "clang_files": "depset of File: what clang needs beside its executable.",
        "copts": "list of str: flags for every compile, after those of the rules and before those of a target.",
        "error": "str: why there is no compiler, in words for the user. Empty when there is one.",
        "libbpf": "DirectoryInfo: libbpf's headers for programs (`bpf/bpf_helpers.h`, ...).",
        "uapi_headers": "list of DirectoryInfo: the kernel's UAPI headers (`linux/`, `asm-generic/`, `asm/` of the target's cpu), in search order.",
    },
)

def _builtin_headers(ctx):
    """Returns the directory of clang's own headers, None without any."""
    target = ctx.attr.builtin_headers
    if not target or DirectoryInfo in target:
        return target and target[DirectoryInfo]

    # Files of a repository without `directory` targets, as toolchains_llvm's. The headers of
    # libc++ may be among them, and they have no stdarg.h.
    files = target[DefaultInfo].files.to_list()
    paths = [f.dirname for f in files if f.basename == "stdarg.h"]
    if len(paths) != 1:
        fail("{}: builtin_headers: {} has {} files stdarg.h, and has to have one, beside which clang's own headers are: give the files of lib/clang/VERSION/include alone".format(
            ctx.label,
            target.label,
            len(paths) or "no",
        ))
    return struct(
        path = paths[0],
        transitive_files = depset([f for f in files if f.path.startswith(paths[0] + "/")]),
    )

def _bpf_toolchain_impl(ctx):
    if bool(ctx.attr.error) == bool(ctx.file.clang):
        fail("{}: set either clang, or error to say why there is none".format(ctx.label))
    if ctx.file.clang and not ctx.attr.builtin_headers:
        fail("{}: clang needs builtin_headers, a directory with its own stddef.h, stdarg.h and so on".format(ctx.label))
    return [platform_common.ToolchainInfo(
        bpf = BpfToolchainInfo(
            bpfgen = ctx.attr.bpfgen[DefaultInfo].files_to_run,
            builtin_headers = _builtin_headers(ctx),
            clang = ctx.file.clang,
            clang_files = depset(transitive = [t[DefaultInfo].files for t in ctx.attr.clang_files]),
            copts = ctx.attr.copts,
            error = ctx.attr.error,
            libbpf = ctx.attr.libbpf[DirectoryInfo],
            uapi_headers = [t[DirectoryInfo] for t in ctx.attr.uapi_headers],
        ),
    )]

bpf_toolchain = rule(
    implementation = _bpf_toolchain_impl,
    doc = "A clang that compiles for BPF, and the headers that programs include.",
    attrs = {
        "bpfgen": attr.label(
            doc = "The tool that the actions run. Not meant to be set outside of rules_bpf.",
            default = Label("//rules/private:bpfgen"),
            executable = True,
            cfg = "exec",
        ),
        "builtin_headers": attr.label(
            doc = """
            The directory `include` of clang's resource directory (`clang -print-resource-dir`),
            as a `directory` or `subdirectory` of bazel_skylib; or its files, of which the one called
            `stdarg.h` shows where it is. Compiles get `-nostdinc` and this.
            """,
            allow_files = True,
            cfg = "exec",
        ),
        "clang": attr.label(
            doc = "clang 14 or newer with the BPF target.",
            allow_single_file = True,
            cfg = "exec",
        ),
        "clang_files": attr.label_list(
            doc = "Files that clang opens when it runs, as shared libraries. Headers have attributes of their own.",
            allow_files = True,
            cfg = "exec",
        ),
        "copts": attr.string_list(
            doc = "Flags for every compile. A target's `copts` come after them.",
        ),
        "error": attr.string(
            doc = """
            Instead of `clang`: what a user reads who builds a BPF target with this toolchain.
            Targets without BPF are not affected.
            """,
        ),
        "libbpf": attr.label(
            doc = """
            The directory that has `bpf/bpf_helpers.h` and the rest of libbpf's headers for programs, as a
            `directory` or `subdirectory` of bazel_skylib. That of the module libbpf unless set, or the one that
            the tag `libbpf` of the extension `bpf` names.
            """,
            default = Label("@bpf_libbpf//:headers"),
            providers = [DirectoryInfo],
        ),
        "uapi_headers": attr.label_list(
            doc = """
            Directories that hold the kernel's UAPI headers, as bazel_skylib `directory` or
            `subdirectory`: `linux/` and `asm-generic/`, and `asm/` of the target platform's
            cpu (use `select`). Unless set, of the archive that the tag `uapi_headers` of the extension
            `bpf` names; without that tag those of the machine, in `/usr/include`, which differ from
            machine to machine: a hermetic toolchain sets this, or its user the tag.
            """,
            default = [
                Label("@bpf_uapi//uapi"),
                Label("@bpf_uapi//:asm"),
            ],
            providers = [DirectoryInfo],
        ),
    },
    provides = [platform_common.ToolchainInfo],
)
