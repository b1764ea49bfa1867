"""Module extensions of rules_bpf.

`bpf_kernels` declares the kernels that tests boot.

Rules_bpf itself uses `bpf` to register the clang of the machine as the default
toolchain: see toolchain.bzl for how to register another. Users need it for the
types of the kernel that builds, `@bpf_kernel_btf//:vmlinux`, and nothing else.
"""

load("//rules/private:clang_repo.bzl", "bpf_clang_repo", "bpf_toolchains_repo")
load("//rules/private:headers_repo.bzl", "archive_uapi_repo", "libbpf_repo", "local_libbpf_repo", "local_uapi_repo")
load("//rules/private:kernel_btf_repo.bzl", "kernel_btf_repo")
load("//rules/private:kernel_cpus.bzl", "KERNEL_CPUS", "kernel_cpu")
load("//rules/private:kernel_repo.bzl", "archive_kernel_repo", "environ_kernel_repo", "kernels_repo", "local_kernel_repo")
load("//rules/private:qemu_repo.bzl", "qemu_repo")

def _root_tags(mctx, name):
    """Returns the tags of the root module: those of other modules have no effect."""
    return [tag for module in mctx.modules if module.is_root for tag in getattr(module.tags, name)]

def _declare_libbpf(tags):
    if len(tags) > 1:
        fail("bpf.libbpf: there are {} tags, and one is allowed: remove the others".format(len(tags)))
    if tags:
        local_libbpf_repo(name = "bpf_libbpf", path = tags[0].path)
    else:
        libbpf_repo(name = "bpf_libbpf")

def _declare_uapi(tags):
    for tag in tags:
        if not tag.urls:
            fail("bpf.uapi_headers: has no urls")
    if tags:
        archive_uapi_repo(
            name = "bpf_uapi",
            sha256s = [tag.sha256 for tag in tags],
            urls = [" ".join(tag.urls) for tag in tags],
        )
    else:
        local_uapi_repo(name = "bpf_uapi")

def _bpf_impl(mctx):
    _declare_libbpf(_root_tags(mctx, "libbpf"))
    _declare_uapi(_root_tags(mctx, "uapi_headers"))
    bpf_clang_repo(name = "bpf_clang")
    bpf_toolchains_repo(name = "bpf_toolchains", clang_repo = "bpf_clang")
    kernel_btf_repo(name = "bpf_kernel_btf")
    qemu_repo(name = "bpf_qemu")

    # The same repositories on every machine. What a machine has is found out
    # when they are fetched, so it must not be, and is not, in a lockfile.
    return mctx.extension_metadata(reproducible = True)

bpf = module_extension(
    implementation = _bpf_impl,
    doc = """Declares the repositories of the default toolchain, `bpf_kernel_btf`, and QEMU for `bpf_test`.

The headers of toolchains can be others than the machine's and the module libbpf's. Tags of the root
module count:

```starlark
bpf = use_extension("@rules_bpf//rules:extensions.bzl", "bpf")
bpf.uapi_headers(
    sha256 = "...",
    urls = ["https://mirror.example.com/linux-libc-dev_6.12.107-1_all.deb"],
)
bpf.libbpf(path = "/usr/include")
```
""",
    tag_classes = {
        "libbpf": tag_class(
            doc = "libbpf's headers of this machine, as of libbpf-dev, in the place of those of the module libbpf.",
            attrs = {
                "path": attr.string(mandatory = True, doc = "Absolute path of the directory with `bpf/bpf_helpers.h`, as `/usr/include`."),
            },
        ),
        "uapi_headers": tag_class(
            doc = """An archive with the kernel's UAPI headers, in the place of those of this machine: the same for all who build. It is
            Debian's linux-libc-dev, which has the headers of all cpus since Debian 13, or laid out like it: `usr/include/linux`,
            `usr/include/asm-generic`, `usr/lib/linux/uapi/<arch>/asm`. Ubuntu's has those of one cpu: several tags are several
            archives, of which linux-libc-dev-arm64-cross can be one.""",
            attrs = {
                "sha256": attr.string(mandatory = True, doc = "The archive's SHA-256."),
                "urls": attr.string_list(mandatory = True, doc = "Where the archive is; each is tried."),
            },
        ),
    },
)

def _repo_name(kernel):
    return "bpf_kernel_" + "".join([c if c.isalnum() else "_" for c in kernel.elems()])

def _add(kernels, kernel):
    """Notes a kernel, and returns the name of its repository."""
    if kernel in kernels:
        fail("bpf_kernels: there are two kernels with the name {}".format(repr(kernel)))
    repo = _repo_name(kernel)
    if repo in kernels.values():
        fail("bpf_kernels: the name {} differs from another kernel's in punctuation only".format(repr(kernel)))
    kernels[kernel] = repo
    return repo

def _declare_archives(kernels, tags):
    archives = {}
    for tag in tags:
        if not tag.urls:
            fail("bpf_kernels.archive: the kernel {} has no urls".format(repr(tag.name)))
        archives.setdefault(tag.name, []).append(tag)
    for kernel, parts in archives.items():
        cpus = {tag.cpu: None for tag in parts}
        if len(cpus) > 1:
            fail("bpf_kernels.archive: the tags of the kernel {} have different cpus".format(repr(kernel)))
        archive_kernel_repo(
            name = _add(kernels, kernel),
            cpu = kernel_cpu(kernel, parts[0].cpu),
            kernel = kernel,
            sha256s = [tag.sha256 for tag in parts],
            urls = [" ".join(tag.urls) for tag in parts],
        )

def _bpf_kernels_impl(mctx):
    kernels = {}
    for module in mctx.modules:
        # Kernels are for a module's own tests, which only run where it is the root module.
        if not module.is_root:
            continue
        _declare_archives(kernels, module.tags.archive)
        for tag in module.tags.local:
            local_kernel_repo(
                name = _add(kernels, tag.name),
                config = tag.config,
                cpu = kernel_cpu(tag.name, tag.cpu),
                image = tag.image,
                kernel = tag.name,
                modules = tag.modules,
            )
        for tag in module.tags.environ:
            for kernel in tag.names:
                environ_kernel_repo(
                    name = _add(kernels, kernel),
                    cpu = kernel_cpu(kernel, tag.cpu),
                    kernel = kernel,
                    variable = tag.variable,
                )
    kernels_repo(name = "bpf_kernels", kernels = kernels)
    return mctx.extension_metadata(reproducible = True)

_CPU = attr.string(
    doc = "The cpu that the kernel is for. By default the one that its name ends in, as `_arm64` or `_s390x`, and `x86_64` without.",
    values = [""] + KERNEL_CPUS.keys(),
)
_NAME = attr.string(mandatory = True, doc = "Name of the kernel's target in `@bpf_kernels`.")

bpf_kernels = module_extension(
    implementation = _bpf_kernels_impl,
    doc = """Declares the kernels that `bpf_test` boots, all of them in the repository `bpf_kernels`.

Only tags of the root module are used: mark the use as `dev_dependency`.

```starlark
bpf_kernels = use_extension("@rules_bpf//rules:extensions.bzl", "bpf_kernels", dev_dependency = True)
bpf_kernels.archive(
    name = "6.12",
    sha256 = "...",
    urls = ["https://mirror.example.com/linux-image-6.12.107+deb13-cloud-amd64_6.12.107-1_amd64.deb"],
)
use_repo(bpf_kernels, "bpf_kernels")
```

A kernel is fetched when a test in it is built. `@bpf_kernels//:6.12` has BpfKernelInfo.
""",
    tag_classes = {
        "archive": tag_class(
            doc = """An archive with a kernel: a Debian package, or another one that Bazel unpacks, with a kernel in `boot/vmlinuz-*` or
            `lib/modules/*/vmlinuz`. When a kernel is in several packages, each has a tag, with the same name.""",
            attrs = {
                "cpu": _CPU,
                "name": _NAME,
                "sha256": attr.string(mandatory = True, doc = "The archive's SHA-256."),
                "urls": attr.string_list(mandatory = True, doc = "Where the archive is; each is tried."),
            },
        ),
        "environ": tag_class(
            doc = """Kernels in a directory that an environment variable names (`--repo_env`), each in a directory of its name, laid out as in
            an unpacked package. Where they are missing, their tests are skipped, with the reason in their reports.""",
            attrs = {
                "cpu": _CPU,
                "names": attr.string_list(mandatory = True, doc = "Names of the kernels' targets and directories."),
                "variable": attr.string(mandatory = True, doc = "Name of the variable."),
            },
        ),
        "local": tag_class(
            doc = "A kernel of this machine. Where a file of it is missing, its tests are skipped, with the reason in their reports.",
            attrs = {
                "config": attr.string(doc = "Absolute path of the kernel's configuration."),
                "cpu": _CPU,
                "image": attr.string(mandatory = True, doc = "Absolute path of the kernel, as `/boot/vmlinuz-6.1`."),
                "modules": attr.string(doc = "Absolute path of the directory of modules, as `/lib/modules/6.1`."),
                "name": _NAME,
            },
        ),
    },
)
