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

def coverage_test_suite(name, generated, embedding):
    """Declares the tests.

    Args:
      name: the suite's name.
      generated: targets of the same package whose Go packages are generated.
      embedding: a go_library of consumer.go that embeds one of part_skel.go.
    """
    tests = []
    for target in generated:
        test = "coverage_{}_test".format(target.lstrip(":"))
        _generated_test(name = test, target_under_test = target)
        tests.append(":" + test)
    _embedding_test(name = "coverage_embedding_test", target_under_test = embedding)
    native.test_suite(name = name, tests = tests + [":coverage_embedding_test"])
