"""Repositories with the headers that BPF programs include: libbpf's and the kernel's.

They hold files, and targets of bazel_skylib's `directory`. There is no library
behind them, and so nothing that needs a C++ toolchain.
"""

load(":archives.bzl", "unpack_archives")
load(":cpus.bzl", "CPUS")
load(":uapi.bzl", "ARCHES", "ASM_HEADERS", "LIBBPF_HEADERS", "LIBC_HEADERS", "LINUX_HEADERS", "asm_candidates", "asm_stub", "is_bpf_side", "libbpf_stub", "linux_stub")

# directory measures paths from the directory of its BUILD file.
_DIRECTORY = """\
load("{directory_bzl}", "directory")

directory(
    name = "{name}",
    srcs = glob(
        ["**/*.h"],
        allow_empty = True,
    ),
    visibility = ["//visibility:public"],
)
"""

def headers_build(name):
    """Returns the BUILD file of a directory of headers.

    Args:
      name: the target's name.
    """
    return _DIRECTORY.format(
        directory_bzl = Label("@bazel_skylib//rules/directory:directory.bzl"),
        name = name,
    )

# libbpf.

def _libbpf_repo_impl(rctx):
    # A repository rule can read the files of a module's repository whatever its BUILD file
    # exports, and without the dependencies of its targets.
    src = rctx.path(Label("@libbpf//:src/bpf_helpers.h")).dirname
    for header in src.readdir():
        if is_bpf_side(header.basename):
            rctx.symlink(header, "bpf/" + header.basename)

    # Of the kernel that this libbpf is made for.
    uapi = src.dirname.get_child("include", "uapi", "linux")
    if uapi.exists:
        for header in uapi.readdir():
            rctx.symlink(header, "linux/" + header.basename)
    rctx.file("BUILD.bazel", headers_build("headers"))

libbpf_repo = repository_rule(
    implementation = _libbpf_repo_impl,
    doc = "Has libbpf's headers for BPF programs, from the module libbpf, and the kernel's that are with them.",
)

def _local_libbpf_repo_impl(rctx):
    bpf = rctx.path(rctx.attr.path).get_child("bpf")
    if bpf.get_child("bpf_helpers.h").exists:
        for header in bpf.readdir():
            if is_bpf_side(header.basename):
                rctx.symlink(header, "bpf/" + header.basename)
    else:
        # Not fail(): that would also end builds of other targets that only come across
        # the repository.
        for header in LIBBPF_HEADERS:
            rctx.file("bpf/" + header, libbpf_stub(rctx.attr.path, header))
    rctx.file("BUILD.bazel", headers_build("headers"))

local_libbpf_repo = repository_rule(
    implementation = _local_libbpf_repo_impl,
    doc = "Has libbpf's headers for BPF programs, of this machine.",
    attrs = {
        "path": attr.string(mandatory = True, doc = "Absolute path of the directory with `bpf/bpf_helpers.h`."),
    },
    # Other headers can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)

# The kernel's UAPI.

_UAPI_BUILD = """\
# The headers of the target platform's cpu.
alias(
    name = "asm",
    actual = select({asm}),
    visibility = ["//visibility:public"],
)
"""

def _write_uapi_builds(rctx):
    rctx.file("uapi/BUILD.bazel", headers_build("uapi"))
    for arch in ARCHES:
        rctx.file("asm_{}/BUILD.bazel".format(arch), headers_build("asm_" + arch))

    # Platforms whose cpu has no BPF.
    rctx.file("none/BUILD.bazel", headers_build("none"))
    asm = {str(label): "//asm_" + cpu.arch for label, cpu in CPUS.items()}
    asm["//conditions:default"] = "//none"
    rctx.file("BUILD.bazel", _UAPI_BUILD.format(asm = repr(asm)))

def _link_libc_headers(rctx):
    for header, kernels in LIBC_HEADERS.items():
        rctx.file("uapi/" + header, "#include <{}>\n".format(kernels))

def _link_asm(rctx, arch, candidates, stub):
    """Links the first of the directories that has headers, or writes stubs with a message for whoever needs them."""
    for path in candidates:
        if path.get_child("types.h").exists:
            rctx.symlink(path, "asm_{}/asm".format(arch))
            return
    for header in ASM_HEADERS:
        rctx.file("asm_{}/asm/{}".format(arch, header), stub(header))

def _local_uapi_repo_impl(rctx):
    is_linux = rctx.os.name == "linux"
    include = rctx.path("/usr/include")
    if is_linux and include.get_child("linux", "types.h").exists:
        for directory in ["asm-generic", "linux"]:
            rctx.symlink(include.get_child(directory), "uapi/" + directory)
    else:
        for header in LINUX_HEADERS:
            rctx.file("uapi/linux/" + header, linux_stub(rctx.os.name, header))
    _link_libc_headers(rctx)
    for arch in ARCHES:
        _link_asm(
            rctx,
            arch,
            [rctx.path("/" + path) for path in (asm_candidates(arch, rctx.os.arch) if is_linux else [])],
            lambda header: asm_stub(arch, header),
        )
    _write_uapi_builds(rctx)

local_uapi_repo = repository_rule(
    implementation = _local_uapi_repo_impl,
    doc = "Has the kernel's UAPI headers of this machine.",
    # Other headers can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)

def _archive_uapi_repo_impl(rctx):
    unpack_archives(rctx, urls = rctx.attr.urls, sha256s = rctx.attr.sha256s, output = "archive")
    archive = rctx.path("archive")
    include = archive.get_child("usr", "include")
    if not include.get_child("linux", "types.h").exists:
        fail("uapi_headers: no usr/include/linux/types.h in {}: is it linux-libc-dev of Debian or Ubuntu, or an archive that is laid out like it?".format(
            ", ".join(rctx.attr.urls),
        ))
    for directory in ["asm-generic", "linux"]:
        rctx.symlink(include.get_child(directory), "uapi/" + directory)
    _link_libc_headers(rctx)
    for arch in ARCHES:
        _link_asm(
            rctx,
            arch,
            [archive.get_child(*path.split("/")) for path in asm_candidates(arch, "")],
            lambda header: asm_stub(arch, header, archive = rctx.attr.urls[0]),
        )
    _write_uapi_builds(rctx)

archive_uapi_repo = repository_rule(
    implementation = _archive_uapi_repo_impl,
    doc = "Has the kernel's UAPI headers of archives, which are the same on every machine.",
    attrs = {
        "sha256s": attr.string_list(mandatory = True, doc = "The checksum of each archive."),
        "urls": attr.string_list(mandatory = True, doc = "Of each archive its mirrors, with spaces between."),
    },
)
