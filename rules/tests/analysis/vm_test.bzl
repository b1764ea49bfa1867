"""Tests of //rules/private:vm.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:vm.bzl", "TARGET_CPU", "vm_transition")

_ToolsInfo = provider("What actions of a target run.", fields = {"paths": "list of paths"})

def _tools_aspect_impl(target, _):
    return [_ToolsInfo(paths = [a.argv[0] for a in target.actions if a.mnemonic == "BpfSkeleton"])]

_tools_aspect = aspect(implementation = _tools_aspect_impl)

# What a machine of another cpu has in it is built by the tools that build all else, and
# those are not built for it once more.

def _tools_test_impl(ctx):
    env = unittest.begin(ctx)
    want = ctx.attr.target[_ToolsInfo].paths
    asserts.equals(env, 1, len(want))
    asserts.equals(env, want, ctx.attr.target_in_vm[0][_ToolsInfo].paths)
    return unittest.end(env)

_tools_test = unittest.make(
    _tools_test_impl,
    attrs = {
        "cpu": attr.string(),
        "platform": attr.string(),
        "target": attr.label(aspects = [_tools_aspect]),
        "target_cpu": attr.string(),
        "target_in_vm": attr.label(
            aspects = [_tools_aspect],
            cfg = vm_transition,
        ),
        "_allowlist_function_transition": attr.label(
            default = Label("@bazel_tools//tools/allowlists/function_transition_allowlist"),
        ),
    },
)

def vm_test_suite(name, target):
    """Declares the tests.

    Args:
      name: the suite's name.
      target: a skeleton.
    """
    _tools_test(
        name = "tools_of_vm_test",
        cpu = "s390x",
        target = target,
        target_cpu = TARGET_CPU,
        target_in_vm = target,
    )
    native.test_suite(name = name, tests = [":tools_of_vm_test"])
