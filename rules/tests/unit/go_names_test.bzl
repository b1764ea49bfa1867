"""Tests of //rules/private:go_names.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:go_names.bzl", "go_package_name", "is_go_identifier")

def _package_name_test_impl(ctx):
    env = unittest.begin(ctx)
    for importpath, name, want in [
        ("example.com/app/minimal", "x", "minimal"),
        ("example.com/app/minimal/", "x", "minimal"),
        ("example.com/app/minimal/v2", "x", "minimal"),
        ("v2", "x", "v2"),
        ("example.com/app/v2x", "x", "v2x"),
        ("example.com/app/rate-limit.v3", "x", "rate_limit_v3"),
        ("example.com/app/7layers", "x", "_7layers"),
        ("example.com/app/type", "x", "type_"),
        ("", "minimal", "minimal"),
        ("", "edge-bpf", "edge_bpf"),
        ("", "dir/edge", "edge"),
        ("example.com/app/-", "x", None),
        ("/", "x", None),
    ]:
        asserts.equals(env, want, go_package_name(importpath, name), "{}, {}".format(importpath, name))
    return unittest.end(env)

_package_name_test = unittest.make(_package_name_test_impl)

def _is_identifier_test_impl(ctx):
    env = unittest.begin(ctx)
    for name in ["a", "A9", "_a", "main", "go_"]:
        asserts.true(env, is_go_identifier(name), name)
    for name in ["", "_", "9a", "a-b", "a.b", "a/b", "func", "é"]:
        asserts.false(env, is_go_identifier(name), name)
    return unittest.end(env)

_is_identifier_test = unittest.make(_is_identifier_test_impl)

def go_names_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(name, _package_name_test, _is_identifier_test)
