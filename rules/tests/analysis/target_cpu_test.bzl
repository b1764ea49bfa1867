"""Tests of //rules/private:target_cpu.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules/private:target_cpu.bzl", "TargetCpuInfo")

def _known_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[TargetCpuInfo]
    asserts.equals(env, ("s390", "bpfeb", "", []), (info.arch, info.target, info.error, info.defines))
    return analysistest.end(env)

def _platform(name):
    return {"//command_line_option:platforms": str(Label("//rules/tests/analysis:" + name))}

_known_test = analysistest.make(_known_test_impl, config_settings = _platform("linux_s390x"))

def _unknown_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[TargetCpuInfo]
    asserts.equals(env, ("", ""), (info.arch, info.target))
    for message in ctx.attr.messages:
        asserts.true(env, message in info.error, info.error)
    return analysistest.end(env)

_UNKNOWN_ATTRS = {"messages": attr.string_list(mandatory = True)}

_other_cpu_test = analysistest.make(
    _unknown_test_impl,
    attrs = _UNKNOWN_ATTRS,
    config_settings = _platform("linux_wasm32"),
)

_no_cpu_test = analysistest.make(
    _unknown_test_impl,
    attrs = _UNKNOWN_ATTRS,
    config_settings = _platform("linux_no_cpu"),
)

def target_cpu_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    target = "//rules/private:target_cpu"
    _known_test(name = "known_cpu_test", target_under_test = target)
    _other_cpu_test(
        name = "other_cpu_test",
        messages = [
            "//rules/tests/analysis:linux_wasm32 is ",
            "//cpu:wasm32, which has no BPF",
            "Known architectures: arm, arm64, ",
        ],
        target_under_test = target,
    )
    _no_cpu_test(
        name = "no_cpu_test",
        messages = ["//rules/tests/analysis:linux_no_cpu has a cpu (a value of @platforms//cpu) that rules_bpf does not know, or none"],
        target_under_test = target,
    )
    native.test_suite(name = name, tests = [":known_cpu_test", ":other_cpu_test", ":no_cpu_test"])
