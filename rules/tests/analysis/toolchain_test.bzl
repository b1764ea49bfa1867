"""Tests of bpf_toolchain: what it provides, and its errors."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def _error_test_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.message)
    return analysistest.end(env)

_error_test = analysistest.make(
    _error_test_impl,
    attrs = {"message": attr.string(mandatory = True)},
    expect_failure = True,
)

# Clang's own headers, given as files.

def _header_files_test_impl(ctx):
    env = analysistest.begin(ctx)
    headers = analysistest.target_under_test(env)[platform_common.ToolchainInfo].bpf.builtin_headers
    include = ctx.label.package + "/llvm/lib/clang/20/include"
    asserts.equals(env, include, headers.path)
    asserts.equals(
        env,
        [include + "/stdarg.h", include + "/stddef.h"],
        sorted([f.path for f in headers.transitive_files.to_list()]),
        "libc++'s are left out",
    )
    return analysistest.end(env)

_header_files_test = analysistest.make(_header_files_test_impl)

def toolchain_test_suite(name, errors, header_files):
    """Declares the tests.

    Args:
      name: the suite's name.
      errors: by bpf_toolchain, the message with which it fails.
      header_files: a bpf_toolchain whose builtin_headers are files.
    """
    _header_files_test(name = "toolchain_header_files_test", target_under_test = header_files)
    tests = [":toolchain_header_files_test"]
    for target, message in errors.items():
        test = target.lstrip(":") + "_test"
        _error_test(name = test, message = message, target_under_test = target)
        tests.append(":" + test)
    native.test_suite(name = name, tests = tests)
