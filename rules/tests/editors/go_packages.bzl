"""The packages that an editor sees."""

load("@rules_go//go/tools/gopackagesdriver:aspect.bzl", "go_pkg_info_aspect")
load("//rules:editors.bzl", "bpf_pkg_info_aspect")

_TARGETS = {
    "doc": "The targets, the same in both attributes: the driver builds each aspect by itself, and both have the same output groups.",
    "mandatory": True,
}

def _go_packages_impl(ctx):
    files, srcs = [], []
    for target in ctx.attr.bpf_targets + ctx.attr.go_targets:
        groups = target[OutputGroupInfo]
        files.append(getattr(groups, "go_pkg_driver_json_file", depset()))
        srcs.append(getattr(groups, "go_pkg_driver_srcs", depset()))
    for target in ctx.attr.go_targets:
        files.append(target[OutputGroupInfo].go_pkg_driver_stdlib_json_file)
    return [DefaultInfo(
        files = depset(transitive = files),
        runfiles = ctx.runfiles(transitive_files = depset(transitive = srcs)),
    )]

go_packages = rule(
    implementation = _go_packages_impl,
    doc = "The output of rules_go's driver for gopls of targets: files that describe packages, and their Go files as runfiles.",
    attrs = {
        "bpf_targets": attr.label_list(aspects = [bpf_pkg_info_aspect], **_TARGETS),
        "go_targets": attr.label_list(aspects = [go_pkg_info_aspect], **_TARGETS),
    },
)
