"""bpf_kernel: a kernel that tests run in."""

load("//rules:providers.bzl", "BpfKernelInfo")
load("//rules/private:kernel_cpus.bzl", "KERNEL_CPUS", "kernel_cpu")

def _bpf_kernel_impl(ctx):
    if bool(ctx.attr.error) == bool(ctx.file.image):
        fail("{}: set either image, or error to say why there is none".format(ctx.label))
    return [
        BpfKernelInfo(
            config = ctx.file.config,
            cpu = kernel_cpu(ctx.label.name, ctx.attr.cpu),
            image = ctx.file.image,
            modules = depset(ctx.files.modules),
            name = ctx.label.name,
            problem = ctx.attr.error,
        ),
        DefaultInfo(files = depset([ctx.file.image] if ctx.file.image else [])),
    ]

bpf_kernel = rule(
    implementation = _bpf_kernel_impl,
    doc = """A Linux kernel that `bpf_test` boots.

For kernels that are built, or checked in, in the repository. Those of a
distribution come from the module extension `bpf_kernels`.

```starlark
bpf_kernel(
    name = "patched",
    config = "config",
    image = "bzImage",
    modules = glob(["modules/**"]),
)

bpf_kernel(
    name = "board_arm64",
    image = "Image",
)
```

The kernel needs, built in: `CONFIG_DEVTMPFS`, `CONFIG_TMPFS` and
`CONFIG_BLK_DEV_INITRD`, for CO-RE `CONFIG_DEBUG_INFO_BTF`, and the serial ports of
QEMU's machine:

| cpu | what it needs for them |
|---|---|
| `arm64` | `CONFIG_SERIAL_AMBA_PL011_CONSOLE`, `CONFIG_SERIAL_8250_PCI`, `CONFIG_PCI_HOST_GENERIC` |
| `riscv64` | `CONFIG_SERIAL_8250_CONSOLE`, `CONFIG_SERIAL_OF_PLATFORM`, `CONFIG_SERIAL_8250_PCI`, `CONFIG_PCI_HOST_GENERIC` |
| `s390x` | `CONFIG_SCLP_CONSOLE`, `CONFIG_SCLP_VT220_CONSOLE` |
| `x86_64` | `CONFIG_SERIAL_8250_CONSOLE` |
""",
    attrs = {
        "config": attr.label(
            doc = "The kernel's configuration (`.config`). Tests find it in `/boot`, where `__kconfig` variables are read from.",
            allow_single_file = True,
        ),
        "cpu": attr.string(
            doc = "The cpu that the kernel is for. By default the one that its name ends in, as `_arm64` or `_s390x`, and `x86_64` without.",
            values = [""] + KERNEL_CPUS.keys(),
        ),
        "error": attr.string(
            doc = "Instead of `image`: why there is no kernel, and what to do. Tests in it are skipped, with this reason.",
        ),
        "image": attr.label(
            doc = "What a boot loader loads, which distributions call `vmlinuz`: `bzImage`, and `Image` for arm64 and riscv64.",
            allow_single_file = True,
        ),
        "modules": attr.label_list(
            doc = """
            Kernel modules (`.ko`, `.ko.gz`, `.ko.xz`), in any directories, and the file `modules.builtin`, which has the
            names of what is built in. A test gets those that it asks for and what they depend on.
            """,
            allow_files = True,
        ),
    },
    provides = [BpfKernelInfo],
)
