"""Repositories with the toolchain of this machine's clang.

There are two: one that declares the toolchain, which Bazel reads in every build
with any toolchain in it, and one with the compiler, which it reads when a BPF
target is built and not before.
"""

load(":clang.bzl", "clang_names", "clang_problem", "no_clang_message")
load(":headers_repo.bzl", "headers_build")

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
    rctx.file("builtin/BUILD.bazel", headers_build("builtin"))

def _clang_repo_impl(rctx):
    # which() alone would not make Bazel repeat the search when PATH changes.
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
    # this input stands for the libraries in the keys of shared caches.
    rctx.file("version.txt", _output(rctx, [clang, "--version"]))
    _link_builtin_headers(rctx, clang)

    copts = []

    # Since clang 16: no flags from files in /etc and in the user's home.
    if rctx.execute([clang, "--no-default-config", "--version"]).return_code == 0:
        copts.append("--no-default-config")
    rctx.file("BUILD.bazel", _TOOLCHAIN_BUILD.format(
        copts = repr(copts),
        toolchain_bzl = toolchain_bzl,
    ))

bpf_clang_repo = repository_rule(
    implementation = _clang_repo_impl,
    doc = "Finds clang and its headers on this machine, and declares a `bpf_toolchain` of them.",
    # Another clang can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)
