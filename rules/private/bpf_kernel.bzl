"""bpf_kernel: a kernel that tests run in."""

load("//rules:providers.bzl", "BpfKernelInfo")

def _bpf_kernel_impl(ctx):
    if bool(ctx.attr.error) == bool(ctx.file.image):
        fail("{}: set either image, or error to say why there is none".format(ctx.label))
    return [
        BpfKernelInfo(
            config = ctx.file.config,
            image = ctx.file.image,
            modules = depset(ctx.files.modules),
            name = ctx.label.name,
            problem = ctx.attr.error,
        ),
        DefaultInfo(files = depset([ctx.file.image] if ctx.file.image else [])),
    ]

bpf_kernel = rule(
    implementation = _bpf_kernel_impl,
    doc = """A Linux kernel for x86_64 that `bpf_test` boots.

For kernels that are built, or checked in, in the repository. Those of a
distribution come from the module extension `bpf_kernels`.

```starlark
bpf_kernel(
    name = "patched",
    config = "config",
    image = "bzImage",
    modules = glob(["modules/**"]),
)
```

The kernel needs, built in: `CONFIG_SERIAL_8250_CONSOLE`, `CONFIG_DEVTMPFS`,
`CONFIG_TMPFS` and `CONFIG_BLK_DEV_INITRD`, and for CO-RE `CONFIG_DEBUG_INFO_BTF`.
""",
    attrs = {
        "config": attr.label(
            doc = "The kernel's configuration (`.config`). Tests find it in `/boot`, where `__kconfig` variables are read from.",
            allow_single_file = True,
        ),
        "error": attr.string(
            doc = "Instead of `image`: why there is no kernel, and what to do. Tests in it are skipped, with these words.",
        ),
        "image": attr.label(
            doc = "What a boot loader loads: `bzImage`, which distributions call `vmlinuz`.",
            allow_single_file = True,
        ),
        "modules": attr.label_list(
            doc = """
            Kernel modules (`.ko`, `.ko.gz`, `.ko.xz`), in any folders, and the file `modules.builtin`, which has the
            names of what is built in. A test gets those that it asks for and what they depend on.
            """,
            allow_files = True,
        ),
    },
    provides = [BpfKernelInfo],
)
