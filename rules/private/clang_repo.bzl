"""Repositories with the toolchain of this machine's clang.

There are two: one that declares the toolchain, which Bazel reads in every build
with any toolchain in it, and one with the compiler, which it reads when a BPF
target is built and not before.
"""

load(":clang.bzl", "clang_names", "clang_problem", "no_clang_message")
load(":cpus.bzl", "CPUS")
load(":uapi.bzl", "ARCHES", "ASM_HEADERS", "LIBC_HEADERS", "LINUX_HEADERS", "asm_candidates", "asm_stub", "linux_stub")

_TOOLCHAINS_BUILD = """\
load("{host_constraints}", "HOST_CONSTRAINTS")

toolchain(
    name = "clang",
    # A clang of this machine runs on no other.
    exec_compatible_with = HOST_CONSTRAINTS,
    toolchain = "@{clang_repo}//:toolchain",
    toolchain_type = "{toolchain_type}",
)
"""

def _toolchains_repo_impl(rctx):
    rctx.file("BUILD.bazel", _TOOLCHAINS_BUILD.format(
        clang_repo = rctx.attr.clang_repo,
        host_constraints = Label("@platforms//host:constraints.bzl"),
        toolchain_type = Label("//rules:toolchain_type"),
    ))

bpf_toolchains_repo = repository_rule(
    implementation = _toolchains_repo_impl,
    doc = "Declares the toolchain of a `bpf_clang_repo`.",
    attrs = {
        "clang_repo": attr.string(mandatory = True, doc = "Name of the other repository."),
    },
)

_TOOLCHAIN_BUILD = """\
load("{toolchain_bzl}", "bpf_toolchain")

bpf_toolchain(
    name = "toolchain",
    builtin_headers = "//builtin",
    clang = "bin/clang",
    clang_files = ["version.txt"],
    copts = {copts},
    uapi_headers = ["//uapi"] + select({asm}),
    visibility = ["//visibility:public"],
)
"""

_NO_TOOLCHAIN_BUILD = """\
load("{toolchain_bzl}", "bpf_toolchain")

bpf_toolchain(
    name = "toolchain",
    error = {error},
    visibility = ["//visibility:public"],
)
"""

# directory measures paths from the folder of its BUILD file.
_HEADERS_BUILD = """\
load("{directory_bzl}", "directory")

directory(
    name = "{name}",
    srcs = glob(["**/*.h"]),
    visibility = ["//:__pkg__"],
)
"""

def _headers_build(rctx, folder):
    rctx.file(folder + "/BUILD.bazel", _HEADERS_BUILD.format(
        directory_bzl = Label("@bazel_skylib//rules/directory:directory.bzl"),
        name = folder.split("/")[-1],
    ))

def _output(rctx, command):
    result = rctx.execute(command)
    return result.stdout if result.return_code == 0 else ""

def _find_clang(rctx):
    """Returns (path of a usable clang or None, problems of the others)."""
    problems = []
    seen = {}
    for name in clang_names():
        clang = rctx.which(name)
        if not clang or clang.realpath in seen:
            continue
        seen[clang.realpath] = None
        problem = clang_problem(
            _output(rctx, [clang, "--version"]),
            _output(rctx, [clang, "-print-targets"]),
        )
        if not problem and not _builtin_dir(rctx, clang).get_child("stddef.h").exists:
            problem = "has no headers of its own in {}; on Debian they are in libclang-common-*-dev".format(_builtin_dir(rctx, clang))
        if not problem:
            return clang, []
        problems.append((str(clang), problem))
    return None, problems

def _builtin_dir(rctx, clang):
    return rctx.path(_output(rctx, [clang, "-print-resource-dir"]).strip() or ".").get_child("include")

# The beginnings of the names of what a freestanding C program can include. The
# other headers are for the vector units of real cpus, for CUDA, OpenMP and so on,
# or are a part of the C library's header of the same name.
_BUILTIN_HEADERS = ("__float", "__std", "float", "iso646", "limits", "std")

def _link_builtin_headers(rctx, clang):
    for header in _builtin_dir(rctx, clang).readdir():
        if header.basename.startswith(_BUILTIN_HEADERS) and header.basename.endswith(".h"):
            rctx.symlink(header, "builtin/" + header.basename)
    _headers_build(rctx, "builtin")

def _link_uapi_headers(rctx):
    is_linux = rctx.os.name == "linux"
    include = rctx.path("/usr/include")
    if is_linux and include.get_child("linux", "types.h").exists:
        for folder in ["asm-generic", "linux"]:
            rctx.symlink(include.get_child(folder), "uapi/" + folder)
    else:
        for header in LINUX_HEADERS:
            rctx.file("uapi/linux/" + header, linux_stub(rctx.os.name, header))
    for header, kernels in LIBC_HEADERS.items():
        rctx.file("uapi/" + header, "#include <{}>\n".format(kernels))
    _headers_build(rctx, "uapi")

    for arch in ARCHES:
        found = [
            path
            for path in (asm_candidates(arch, rctx.os.arch) if is_linux else [])
            if rctx.path(path).get_child("types.h").exists
        ]
        folder = "asm_" + arch
        if found:
            rctx.symlink(found[0], folder + "/asm")
        else:
            for header in ASM_HEADERS:
                rctx.file("{}/asm/{}".format(folder, header), asm_stub(arch, header))
        _headers_build(rctx, folder)

def _clang_repo_impl(rctx):
    # which() alone would not make Bazel look again when PATH changes.
    path = rctx.getenv("PATH", "")
    clang, problems = _find_clang(rctx)
    toolchain_bzl = Label("//rules:toolchain.bzl")
    if not clang:
        # Not fail(): that would also end builds and queries of other targets
        # that only come across the repository.
        rctx.file("BUILD.bazel", _NO_TOOLCHAIN_BUILD.format(
            error = repr(no_clang_message(path, problems)),
            toolchain_bzl = toolchain_bzl,
        ))
        return

    rctx.symlink(clang, "bin/clang")

    # The file at clang's path may be a small program that loads its libraries:
    # this input stands for them in the keys of shared caches.
    rctx.file("version.txt", _output(rctx, [clang, "--version"]))
    _link_builtin_headers(rctx, clang)
    _link_uapi_headers(rctx)

    copts = []

    # Since clang 16: no flags from files in /etc and in the user's home.
    if rctx.execute([clang, "--no-default-config", "--version"]).return_code == 0:
        copts.append("--no-default-config")
    asm = {str(label): ["//asm_" + cpu.arch] for label, cpu in CPUS.items()}
    asm["//conditions:default"] = []
    rctx.file("BUILD.bazel", _TOOLCHAIN_BUILD.format(
        asm = repr(asm),
        copts = repr(copts),
        toolchain_bzl = toolchain_bzl,
    ))

bpf_clang_repo = repository_rule(
    implementation = _clang_repo_impl,
    doc = "Finds clang, its headers and the kernel's on this machine, and declares a `bpf_toolchain` of them.",
    # Another clang can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)
