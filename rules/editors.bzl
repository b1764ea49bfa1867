"""The Go packages of BPF for editors, through rules_go's driver for gopls.

The driver builds rules_go's aspect, which writes a description of each Go package that it
reaches. It walks the attributes of rules_go's own rules, `deps` and `embed`, and so misses a
package that only the attribute `subskeletons` or `types_from` of a skeleton leads to. The
aspect here describes these. docs/editors.md shows how to give it to the driver.
"""

load("@rules_go//go:def.bzl", "GoArchive")
load("@rules_go//go/tools/gopackagesdriver:aspect.bzl", "make_pkg_json_with_archive")

# The attributes of bpf_skeleton that rules_go does not know.
_OWN_ATTRS = ["subskeletons", "types_from"]

# What leads to a skeleton.
_ATTRS = ["deps", "embed"] + _OWN_ATTRS

_BpfPackagesInfo = provider(
    doc = "The packages that the attributes of skeletons lead to.",
    fields = {
        "export_files": "depset of File: export data of the compiled packages.",
        "pkg_json_files": "depset of File: their descriptions, for the driver.",
        "srcs": "depset of File: their Go files.",
    },
)

def _targets(ctx, name):
    """Returns the targets in an attribute of a label or of labels, none without it."""
    value = getattr(ctx.rule.attr, name, None) or []
    return [t for t in (value if type(value) == type([]) else [value]) if type(t) == "Target"]

def _bpf_pkg_info_aspect_impl(target, ctx):
    export_files, pkg_json_files, srcs = [], [], []
    if GoArchive in target:
        for name in _OWN_ATTRS:
            for i, dep in enumerate(_targets(ctx, name)):
                if GoArchive not in dep:
                    continue
                archive = dep[GoArchive]
                export_files.append(archive.data.export_file)
                srcs += list(archive.data.srcs)
                pkg_json_files.append(make_pkg_json_with_archive(
                    ctx,
                    "{}_/{}_{}".format(ctx.label.name, name, i),
                    archive,
                ))
    below = [
        dep[_BpfPackagesInfo]
        for name in _ATTRS
        for dep in _targets(ctx, name)
        if _BpfPackagesInfo in dep
    ]
    info = _BpfPackagesInfo(
        export_files = depset(export_files, transitive = [b.export_files for b in below]),
        pkg_json_files = depset(pkg_json_files, transitive = [b.pkg_json_files for b in below]),
        srcs = depset(srcs, transitive = [b.srcs for b in below]),
    )
    return [
        info,
        # The groups of rules_go's aspect, which the driver asks for.
        OutputGroupInfo(
            go_pkg_driver_export_file = info.export_files,
            go_pkg_driver_json_file = info.pkg_json_files,
            go_pkg_driver_srcs = info.srcs,
        ),
    ]

bpf_pkg_info_aspect = aspect(
    implementation = _bpf_pkg_info_aspect_impl,
    doc = """Describes the packages that `subskeletons` and `types_from` lead to, for rules_go's gopackagesdriver.

Set `GOPACKAGESDRIVER_BAZEL_ADDTL_ASPECTS` to `@rules_bpf//rules:editors.bzl%bpf_pkg_info_aspect`.
""",
    attr_aspects = _ATTRS,
    attrs = {
        "_pkgjson": attr.label(
            executable = True,
            cfg = "exec",
            default = Label("@rules_go//go/tools/gopackagesdriver/pkgjson:reset_pkgjson"),
        ),
    },
)
