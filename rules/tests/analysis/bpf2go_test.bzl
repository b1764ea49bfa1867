"""Tests of what bpf2go declares: actions, providers, errors."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_go//go:def.bzl", "GoArchive", "GoInfo")
load("//rules:providers.bzl", "BpfObjectInfo")
load(":target_actions.bzl", "assert_in_order", "find_action", "find_actions")

_PLATFORMS = "//command_line_option:platforms"

def _platform(name):
    return {_PLATFORMS: str(Label(name))}

def _actions_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    bin = analysistest.target_bin_dir_path(env)
    package = analysistest.target_under_test(env).label.package

    # Act
    compiles = find_actions(env, "BpfCompile")
    link = find_action(env, "BpfLink")
    generate = find_action(env, "Bpf2Go")

    # Assert
    asserts.equals(env, 2, len(compiles))
    assert_in_order(env, ["-mcpu=v3", "-DVARIANT=1", "-mcpu=v1"], compiles[0].argv)
    object = "{}/{}/some_app.bpf.o".format(bin, package)
    asserts.equals(env, ["link", "-legacy-sections", "-o", object, "-allow-undefined", "*"], link.argv[1:7])
    asserts.equals(env, sorted([f.path for c in compiles for f in c.outputs.to_list() if f.extension == "o"]), sorted(link.argv[7:]))
    source = "{}/{}/{}".format(bin, package, ctx.attr.source)
    asserts.equals(env, [
        "-package",
        "pkgname",
        "-ident",
        "App",
        "-type",
        "event",
        "-global-types=false",
        "-constraint",
        "linux",
        "-o",
        source,
        object,
    ], generate.argv[1:])
    asserts.equals(env, [source], [f.path for f in generate.outputs.to_list()])
    return analysistest.end(env)

_ACTIONS_ATTRS = {"source": attr.string(mandatory = True)}

_actions_x86_64_test = analysistest.make(
    _actions_test_impl,
    attrs = _ACTIONS_ATTRS,
    config_settings = _platform("//rules/tests/analysis:linux_x86_64"),
)

_actions_s390x_test = analysistest.make(
    _actions_test_impl,
    attrs = _ACTIONS_ATTRS,
    config_settings = _platform("//rules/tests/analysis:linux_s390x"),
)

# What stands in for attributes that are not set.

def _defaults_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    bin = analysistest.target_bin_dir_path(env)
    package = analysistest.target_under_test(env).label.package

    # Act
    generate = find_action(env, "Bpf2Go")

    # Assert
    asserts.equals(env, [
        "-package",
        "analysis",
        "-ident",
        "counter",
        "-o",
        "{}/{}/counter_bpfel.go".format(bin, package),
        "{}/{}/counter.bpf.o".format(bin, package),
    ], generate.argv[1:])
    return analysistest.end(env)

_defaults_test = analysistest.make(
    _defaults_test_impl,
    config_settings = _platform("//rules/tests/analysis:linux_x86_64"),
)

def _providers_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package

    # Act
    object = target[BpfObjectInfo].object
    groups = target[OutputGroupInfo]
    go_info = target[GoInfo]
    archive = target[GoArchive]

    # Assert
    asserts.equals(env, package + "/counter.bpf.o", object.short_path)
    asserts.equals(env, [object], groups.bpf_object.to_list())
    asserts.equals(env, groups.go_srcs.to_list(), go_info.srcs)
    asserts.equals(env, [object], go_info.embedsrcs)
    asserts.equals(env, [object.dirname], [f.dirname for f in go_info.srcs])
    asserts.equals(env, ["github.com/cilium/ebpf"], [dep.data.importpath for dep in archive.direct])
    asserts.equals(env, [archive.data.export_file], target[DefaultInfo].files.to_list())
    return analysistest.end(env)

_providers_test = analysistest.make(_providers_test_impl)

def _error_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act: the target under test fails.

    # Assert
    for message in ctx.attr.messages:
        asserts.expect_failure(env, message)
    return analysistest.end(env)

_error_test = analysistest.make(
    _error_test_impl,
    attrs = {"messages": attr.string_list(mandatory = True)},
    expect_failure = True,
)

def bpf2go_test_suite(name, full, plain, errors):
    """Declares the tests.

    Args:
      name: the suite's name.
      full: a bpf2go with all attributes set.
      plain: a bpf2go with `srcs` alone.
      errors: by bpf2go, parts of the message with which it fails.
    """
    _actions_x86_64_test(name = "bpf2go_actions_x86_64_test", source = "stem_bpfel.go", target_under_test = full)
    _actions_s390x_test(name = "bpf2go_actions_s390x_test", source = "stem_bpfeb.go", target_under_test = full)
    _defaults_test(name = "bpf2go_defaults_test", target_under_test = plain)
    _providers_test(name = "bpf2go_providers_test", target_under_test = plain)
    tests = [
        ":bpf2go_actions_x86_64_test",
        ":bpf2go_actions_s390x_test",
        ":bpf2go_defaults_test",
        ":bpf2go_providers_test",
    ]
    for target, messages in errors.items():
        test = target.lstrip(":") + "_test"
        _error_test(name = test, messages = messages, target_under_test = target)
        tests.append(":" + test)

    native.test_suite(name = name, tests = tests)
