"""A library of headers that needs no C++ toolchain, which is missing for
the platforms of the tests."""

load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")

def _cc_headers_impl(ctx):
    return [CcInfo(compilation_context = cc_common.create_compilation_context(
        defines = depset(ctx.attr.defines),
        headers = depset(ctx.files.hdrs),
        system_includes = depset(["{}/{}".format(ctx.label.package, path) for path in ctx.attr.includes]),
    ))]

cc_headers = rule(
    implementation = _cc_headers_impl,
    doc = "Provides CcInfo with headers.",
    attrs = {
        "defines": attr.string_list(doc = "Macros of whoever includes the headers."),
        "hdrs": attr.label_list(allow_files = True, doc = "The headers."),
        "includes": attr.string_list(doc = "Directories of the package in which the headers are found."),
    },
    provides = [CcInfo],
)
