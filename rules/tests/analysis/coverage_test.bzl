"""Tests of what `bazel coverage` instruments."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load(":target_actions.bzl", "find_action")

_COVERAGE = {
    "//command_line_option:collect_code_coverage": True,
    "//command_line_option:instrumentation_filter": "^//rules/tests[/:]",
}

def _covered(argv):
    """Returns the base names of the Go files that the compiler counts in."""
    return [argv[i + 1].split("/")[-1] for i in range(len(argv) - 1) if argv[i] == "-cover"]

# A generated package by itself.

def _generated_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[InstrumentedFilesInfo]
    asserts.equals(env, [], info.instrumented_files.to_list())
    asserts.equals(env, [], _covered(find_action(env, "GoCompilePkg").argv))
    return analysistest.end(env)

_generated_test = analysistest.make(_generated_test_impl, config_settings = _COVERAGE)

# A package that embeds a generated file beside its own.

def _embedding_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[InstrumentedFilesInfo]
    asserts.equals(env, ["consumer.go"], [f.basename for f in info.instrumented_files.to_list()])
    argv = find_action(env, "GoCompilePkg").argv
    asserts.true(env, [arg for arg in argv if arg.endswith("/part_skel.go")], "the generated file is compiled")
    asserts.equals(env, ["consumer.go"], _covered(argv))
    return analysistest.end(env)

_embedding_test = analysistest.make(_embedding_test_impl, config_settings = _COVERAGE)

# What runs a test in a kernel.

def _kernel_test_impl(ctx):
    env = analysistest.begin(ctx)
    sources = analysistest.target_under_test(env)[InstrumentedFilesInfo].instrumented_files
    asserts.equals(env, ["consumer.go"], [f.basename for f in sources.to_list()])
    inputs = [f.basename for f in find_action(env, "TestRunner").inputs.to_list()]
    for script in ["collect_coverage.sh", "collect_cc_coverage.sh"]:
        asserts.true(env, script in inputs, "{} is not run after the test: its inputs are {}".format(script, inputs))
    return analysistest.end(env)

_kernel_test = analysistest.make(_kernel_test_impl, config_settings = _COVERAGE)

def coverage_test_suite(name, generated, embedding, kernel_test):
    """Declares the tests.

    Args:
      name: the suite's name.
      generated: targets of the same package whose Go packages are generated.
      embedding: a go_library of consumer.go that embeds one of part_skel.go.
      kernel_test: a bpf_test of it.
    """
    tests = []
    for target in generated:
        test = "coverage_{}_test".format(target.lstrip(":"))
        _generated_test(name = test, target_under_test = target)
        tests.append(":" + test)
    _embedding_test(name = "coverage_embedding_test", target_under_test = embedding)
    _kernel_test(name = "coverage_kernel_test", target_under_test = kernel_test)
    native.test_suite(name = name, tests = tests + [":coverage_embedding_test", ":coverage_kernel_test"])
