"""Repositories with kernels."""

load(":archives.bzl", "unpack_archives")

_ROOT = "root"

# Directories with a kernel's files, as distributions lay them out: files are beside
# the modules, or in /boot with the release in their names.
_MODULE_DIRECTORIES = ["usr/lib/modules", "lib/modules"]

def find_in_package(files):
    """Finds the parts of a kernel in an unpacked package.

    Args:
      files: dict of the names in the directories `boot` and, for each release,
        `lib/modules/<release>` or `usr/lib/modules/<release>`.

    Returns:
      A struct with the paths `image`, `config` (None when there is none), the list
      of directories `modules`, and `problem`, which is empty when there is an image.
    """
    images = ["boot/" + name for name in files.get("boot", []) if name.startswith("vmlinuz-")]
    plain = ["boot/" + name for name in files.get("boot", []) if name.startswith("vmlinux-")]
    configs = ["boot/" + name for name in files.get("boot", []) if name.startswith("config-")]
    directories = [directory for directory in files if directory != "boot"]
    for directory in directories:
        images += [directory + "/" + name for name in files[directory] if name == "vmlinuz"]
        plain += [directory + "/" + name for name in files[directory] if name == "vmlinux"]
        configs += [directory + "/" + name for name in files[directory] if name == "config"]

    # Beside a vmlinuz, vmlinux is for debuggers. Debian's kernel for riscv64 is a vmlinux alone.
    images = images or plain
    problem = ""
    if not images:
        problem = "has no boot/vmlinuz-* and no lib/modules/*/vmlinuz: is it an unpacked package of a kernel?"
    elif len(images) > 1 or len(configs) > 1:
        problem = "has more than one kernel: {}".format(", ".join(images + configs))
    return struct(
        config = configs[0] if configs else None,
        image = images[0] if images else None,
        modules = directories,
        problem = problem,
    )

_BUILD = """\
load("{bpf_kernel_bzl}", "bpf_kernel")

bpf_kernel(
    name = {name},
    config = {config},
    cpu = {cpu},
    image = {image},
    modules = glob(
        {modules},
        allow_empty = True,
    ),
    visibility = ["//visibility:public"],
)
"""

_NO_KERNEL_BUILD = """\
load("{bpf_kernel_bzl}", "bpf_kernel")

bpf_kernel(
    name = {name},
    cpu = {cpu},
    error = {error},
    visibility = ["//visibility:public"],
)
"""

_BPF_KERNEL_BZL = Label("//rules/private:bpf_kernel.bzl")

def _write_build(rctx, *, image, config, module_directories):
    patterns = []
    for directory in module_directories:
        patterns += [
            directory + "/**/*.ko",
            directory + "/**/*.ko.*",
            directory + "/modules.builtin",
        ]
    rctx.file("BUILD.bazel", _BUILD.format(
        bpf_kernel_bzl = _BPF_KERNEL_BZL,
        config = repr(config),
        cpu = repr(rctx.attr.cpu),
        image = repr(image),
        modules = repr(patterns),
        name = repr(rctx.attr.kernel),
    ))

def _write_problem(rctx, problem):
    # Not fail(): that would also end builds of other targets that only come
    # across the repository.
    rctx.file("BUILD.bazel", _NO_KERNEL_BUILD.format(
        bpf_kernel_bzl = _BPF_KERNEL_BZL,
        cpu = repr(rctx.attr.cpu),
        error = repr(problem),
        name = repr(rctx.attr.kernel),
    ))

def _package_files(root):
    """Returns what find_in_package takes."""
    files = {}
    boot = root.get_child("boot")
    if boot.exists:
        files["boot"] = [path.basename for path in boot.readdir()]
    seen = {}
    for parent in _MODULE_DIRECTORIES:
        modules = root.get_child(*parent.split("/"))
        if not modules.exists or modules.realpath in seen:
            continue
        seen[modules.realpath] = None
        for directory in modules.readdir():
            if directory.is_dir:
                files[parent + "/" + directory.basename] = [path.basename for path in directory.readdir()]
    return files

def _build_of_package(rctx, root, described):
    found = find_in_package(_package_files(root))
    if found.problem:
        return "{} {}".format(described, found.problem)
    _write_build(
        rctx,
        image = "{}/{}".format(_ROOT, found.image),
        config = "{}/{}".format(_ROOT, found.config) if found.config else None,
        module_directories = ["{}/{}".format(_ROOT, directory) for directory in found.modules],
    )
    return ""

def _archive_kernel_repo_impl(rctx):
    unpack_archives(rctx, urls = rctx.attr.urls, sha256s = rctx.attr.sha256s, output = _ROOT)
    problem = _build_of_package(rctx, rctx.path(_ROOT), "the archive {}".format(", ".join(rctx.attr.urls)))
    if problem:
        fail("kernel {}: {}".format(rctx.attr.kernel, problem))

archive_kernel_repo = repository_rule(
    implementation = _archive_kernel_repo_impl,
    doc = "Has a bpf_kernel of what one or more archives contain.",
    attrs = {
        "cpu": attr.string(mandatory = True),
        "kernel": attr.string(mandatory = True, doc = "Name of the target."),
        "sha256s": attr.string_list(mandatory = True, doc = "The checksum of each archive."),
        "urls": attr.string_list(mandatory = True, doc = "Of each archive its mirrors, with spaces between."),
    },
)

def _local_kernel_repo_impl(rctx):
    paths = {name: getattr(rctx.attr, name) for name in ["image", "config", "modules"] if getattr(rctx.attr, name)}
    for name, path in paths.items():
        if not rctx.path(path).exists:
            _write_problem(rctx, "the {} {} does not exist".format(name, path))
            return
        rctx.symlink(path, "{}/{}".format(_ROOT, name))
    _write_build(
        rctx,
        image = _ROOT + "/image",
        config = _ROOT + "/config" if "config" in paths else None,
        module_directories = [_ROOT + "/modules"] if "modules" in paths else [],
    )

local_kernel_repo = repository_rule(
    implementation = _local_kernel_repo_impl,
    doc = "Has a bpf_kernel of files of this machine.",
    attrs = {
        "config": attr.string(),
        "cpu": attr.string(mandatory = True),
        "image": attr.string(mandatory = True),
        "kernel": attr.string(mandatory = True, doc = "Name of the target."),
        "modules": attr.string(),
    },
    # Another kernel can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)

def _environ_kernel_repo_impl(rctx):
    directory = rctx.getenv(rctx.attr.variable, "")
    if not directory:
        _write_problem(rctx, "set --repo_env={}=DIRECTORY, a directory with the unpacked packages of the kernel in its directory {}".format(
            rctx.attr.variable,
            rctx.attr.kernel,
        ))
        return
    root = rctx.path(directory).get_child(rctx.attr.kernel)
    if not root.exists:
        _write_problem(rctx, "{} ({}) has no directory {} with the kernel's unpacked packages".format(
            directory,
            rctx.attr.variable,
            rctx.attr.kernel,
        ))
        return
    rctx.symlink(root, _ROOT)
    problem = _build_of_package(rctx, root, str(root))
    if problem:
        _write_problem(rctx, problem)

environ_kernel_repo = repository_rule(
    implementation = _environ_kernel_repo_impl,
    doc = "Has a bpf_kernel of the unpacked packages in a directory that an environment variable names.",
    attrs = {
        "cpu": attr.string(mandatory = True),
        "kernel": attr.string(mandatory = True, doc = "Name of the target, and of the directory in the one of the variable."),
        "variable": attr.string(mandatory = True),
    },
    # Another kernel can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)

_ALIAS = """\
alias(
    name = {name},
    actual = {actual},
    visibility = ["//visibility:public"],
)
"""

def _kernels_repo_impl(rctx):
    rctx.file("BUILD.bazel", "\n".join([
        _ALIAS.format(name = repr(kernel), actual = repr("@{}//:{}".format(repo, kernel)))
        for kernel, repo in rctx.attr.kernels.items()
    ]))

kernels_repo = repository_rule(
    implementation = _kernels_repo_impl,
    doc = "Has all kernels by their names.",
    attrs = {
        "kernels": attr.string_dict(mandatory = True, doc = "The repository of each kernel."),
    },
)
