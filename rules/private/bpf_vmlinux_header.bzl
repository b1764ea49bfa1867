"""bpf_vmlinux_header: the C header of a kernel's types."""

load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("//rules/private/actions:vmlinux_header.bzl", "generate_vmlinux_header")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _bpf_vmlinux_header_impl(ctx):
    # In a directory of its own, which is all that is searched for headers.
    header = ctx.actions.declare_file(ctx.label.name + "/vmlinux.h")
    generate_vmlinux_header(
        ctx.actions,
        label = ctx.label,
        toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf,
        btf = ctx.file.btf,
        base = ctx.file.base,
        types = ctx.attr.types,
        output = header,
    )
    files = depset([header])
    return [
        CcInfo(compilation_context = cc_common.create_compilation_context(
            headers = files,
            system_includes = depset([header.dirname]),
        )),
        DefaultInfo(files = files),
    ]

bpf_vmlinux_header = rule(
    implementation = _bpf_vmlinux_header_impl,
    doc = """Writes `vmlinux.h`, a C header with the types of a kernel.

BPF programs that have the target in `deps` include it as `vmlinux.h`, in the
place of the kernel's own headers. CO-RE fits what they read to the kernel that
they run on.

```starlark
bpf_vmlinux_header(
    name = "vmlinux",
    btf = "kernel.btf",
    types = ["task_struct"],
)

bpf_skeleton(
    name = "tasks",
    src = "tasks.bpf.c",
    importpath = "example.com/app/tasks",
    deps = [":vmlinux"],
)
```

The types of the kernel that builds come from `@bpf_kernel_btf//:vmlinux`:

```starlark
bpf = use_extension("@rules_bpf//rules:extensions.bzl", "bpf")
use_repo(bpf, "bpf_kernel_btf")
```

That kernel is the machine's, also when the target has another CPU: `btf` is a `select`
then, with a file for each.

For builds that are the same on every machine, check in the BTF, or the part of
it that the programs need, some kilobytes that `bpfgen` writes:

```
bpfgen vmlinux -btf -types task_struct -o kernel.btf /sys/kernel/btf/vmlinux
```
""",
    attrs = {
        "base": attr.label(
            doc = "The BTF of the kernel when `btf` is of a module. The header has the types of both.",
            allow_single_file = True,
        ),
        "btf": attr.label(
            doc = "A file of raw BTF, as `/sys/kernel/btf/vmlinux` is, or an ELF file with BTF.",
            mandatory = True,
            allow_single_file = True,
        ),
        "types": attr.string_list(
            doc = """
            Names of structs, unions, enums, typedefs, values of enums and kfuncs. The header has these
            and what they consist of; what they point to is declared only. The typedefs that libbpf's
            headers need (`__u32`, ...) are always there. By default the header has all types.
            """,
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
    provides = [CcInfo],
)
