"""bpf_min_btf: what objects need of the types of kernels without BTF."""

load("//rules:providers.bzl", "BpfObjectInfo")
load("//rules/private/actions:min_btf.bzl", "generate_min_btf")
load(":objects.bzl", "all_objects")

_TOOLCHAIN_TYPE = Label("//rules:toolchain_type")

def _bpf_min_btf_impl(ctx):
    archive = ctx.actions.declare_file(ctx.label.name + ".btfs")
    generate_min_btf(
        ctx.actions,
        label = ctx.label,
        toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].bpf,
        kernels = ctx.files.kernels,
        objects = all_objects(ctx.attr.objects),
        output = archive,
    )
    return [DefaultInfo(files = depset([archive]))]

bpf_min_btf = rule(
    implementation = _bpf_min_btf_impl,
    doc = """Writes `NAME.btfs`, what BPF objects need of the types of kernels that have no BTF.

A Go package embeds the file and gives it to `Load`, which takes the types of the
running kernel's architecture and release out of it when the kernel has no BTF of
its own: see [kernels without BTF](kernels.md#kernels-without-btf).

```starlark
bpf_min_btf(
    name = "kernels",
    kernels = glob(["btfhub/**/*.btf"]),
    objects = ["//edge"],
)

go_library(
    name = "app",
    srcs = ["app.go"],
    embedsrcs = [":kernels"],
    importpath = "example.com/app",
    deps = ["//edge"],
)
```

```go
//go:embed kernels.btfs
var kernels []byte

err := skel.LoadWithOptions(skeleton.LoadOptions{KernelArchive: kernels})
```
""",
    attrs = {
        "kernels": attr.label_list(
            doc = """
            Files of raw BTF, one for each kernel, whose paths end in
            `DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.btf`, as those of btfhub-archive do when they are
            unpacked. The architecture is that of `uname -m` or `GOARCH`, and the release that of `uname -r`.
            """,
            allow_files = [".btf"],
            mandatory = True,
            allow_empty = False,
        ),
        "objects": attr.label_list(
            doc = "Targets with BPF objects: `bpf_skeleton`, `bpf_object` or `bpf2go`. An object without CO-RE relocations needs nothing, but one must have some.",
            providers = [BpfObjectInfo],
            mandatory = True,
            allow_empty = False,
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
)
