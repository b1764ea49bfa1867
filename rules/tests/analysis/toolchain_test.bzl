"""Tests of the errors of bpf_toolchain."""

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

def toolchain_test_suite(name, errors):
    """Declares the tests.

    Args:
      name: the suite's name.
      errors: by bpf_toolchain, the message with which it fails.
    """
    tests = []
    for target, message in errors.items():
        test = target.lstrip(":") + "_test"
        _error_test(name = test, message = message, target_under_test = target)
        tests.append(":" + test)
    native.test_suite(name = name, tests = tests)
