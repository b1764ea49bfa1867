"""Tests of //rules/private:include_dirs.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:include_dirs.bzl", "context_dirs", "include_dir", "normalize", "package_dirs")

def _normalize_test_impl(ctx):
    env = unittest.begin(ctx)
    for path, want in [
        ("", "."),
        (".", "."),
        ("a", "a"),
        ("a/./b//c/", "a/b/c"),
        ("a/../b", "b"),
        ("a/..", "."),
        ("..", ".."),
        ("a/../../b", "../b"),
        ("../../a", "../../a"),
    ]:
        asserts.equals(env, want, normalize(path), path)
    return unittest.end(env)

_normalize_test = unittest.make(_normalize_test_impl)

def _header(path, root = None):
    return struct(path = path, is_source = root == None, root = struct(path = root or ""))

def _context_dirs_test_impl(ctx):
    env = unittest.begin(ctx)
    generated = _header("bazel-out/k8/bin/a/_virtual_includes/a/a.h", "bazel-out/k8/bin")
    tool = _header("bazel-out/exec/bin/b/b.h", "bazel-out/exec/bin")
    asserts.equals(
        env,
        [
            include_dir("external/a/include"),
            include_dir("."),
            include_dir(".", generated),
            include_dir("a/_virtual_includes/a", generated),
            include_dir("b", tool),
        ],
        context_dirs(
            [
                "external/a/include",
                ".",
                "bazel-out/k8/bin",
                "bazel-out/k8/bin/a/_virtual_includes/a",
                "bazel-out/exec/bin/b",
                # No header is below this root.
                "bazel-out/other/bin/c",
            ],
            [_header("external/a/include/a.h"), generated, tool],
        ),
    )
    return unittest.end(env)

_context_dirs_test = unittest.make(_context_dirs_test_impl)

def _package_dirs_test_impl(ctx):
    env = unittest.begin(ctx)
    output = _header("bazel-out/k8/bin/p/x.o", "bazel-out/k8/bin")
    for workspace_root, package, paths, want in [
        ("", "p/q", ["."], ["p/q"]),
        ("", "p/q", ["include", "../r"], ["p/q/include", "p/r"]),
        ("", "", ["."], ["."]),
        ("external/m", "p", ["include"], ["external/m/p/include"]),
    ]:
        label = struct(workspace_root = workspace_root, package = package)
        asserts.equals(
            env,
            [dir for path in want for dir in [include_dir(path), include_dir(path, output)]],
            package_dirs(label, paths, output),
        )
    return unittest.end(env)

_package_dirs_test = unittest.make(_package_dirs_test_impl)

def include_dirs_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(name, _normalize_test, _context_dirs_test, _package_dirs_test)
