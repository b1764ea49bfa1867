"""Tests of what bpf_library, bpf_object and bpf_subskeleton declare."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("@rules_go//go:def.bzl", "GoArchive", "GoInfo")
load("//rules:providers.bzl", "BpfLibraryInfo", "BpfObjectInfo", "BpfSubskeletonInfo")
load("//rules/tests/analysis:target_actions.bzl", "assert_in_order", "find_action", "find_actions", "short_paths")

_PACKAGE = Label(":libraries_test.bzl").package
_BASE_OBJECTS = [
    _PACKAGE + "/_bpf_objs/base_bpf/base.bpf.o",
    _PACKAGE + "/_bpf_objs/base_bpf/more/base.bpf.o",
]

# A library.

def _library_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    compiles = find_actions(env, "BpfCompile")
    library = target[BpfLibraryInfo]
    headers = target[CcInfo].compilation_context

    # Assert: two sources of one name are two objects, and nothing is linked.
    asserts.equals(env, 2, len(compiles))
    asserts.equals(env, _BASE_OBJECTS, [f.short_path for f in library.objects])
    asserts.equals(env, _BASE_OBJECTS, short_paths(library.transitive_objects))
    asserts.equals(env, _BASE_OBJECTS, short_paths(target[DefaultInfo].files))
    asserts.equals(env, [], find_actions(env, "BpfLink"))

    # Assert: the library's own compile.
    bin = analysistest.target_bin_dir_path(env)
    assert_in_order(env, [
        "-c",
        _PACKAGE + "/base.bpf.c",
        "-DBASE=1",
        "-I{}/include".format(_PACKAGE),
        "-I{}/{}/include".format(bin, _PACKAGE),
        "-O1",
    ], compiles[0].argv)

    # Assert: what others get.
    asserts.equals(env, [_PACKAGE + "/include/base.bpf.h"], short_paths(headers.headers))
    asserts.equals(env, ["BASE=1"], headers.defines.to_list())
    asserts.equals(
        env,
        ["{}/include".format(_PACKAGE), "{}/{}/include".format(bin, _PACKAGE)],
        headers.includes.to_list(),
    )
    return analysistest.end(env)

_library_test = analysistest.make(_library_test_impl)

# An object at the top of a diamond.

def _object_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    compiles = find_actions(env, "BpfCompile")
    link = find_action(env, "BpfLink")

    # Assert: it compiles its own sources only, with the headers of all libraries.
    asserts.equals(env, 2, len(compiles))
    argv = compiles[0].argv
    assert_in_order(env, ["-DBASE=1", "-I{}/include".format(_PACKAGE)], argv)
    asserts.false(env, "-O1" in argv, "copts of a library")
    inputs = short_paths(compiles[0].inputs)
    for header in ["/include/base.bpf.h", "/headers.bpf.h"]:
        asserts.true(env, _PACKAGE + header in inputs, header)

    # Assert: own objects first, libraries after those that need them, each once.
    bin = analysistest.target_bin_dir_path(env)
    object = _PACKAGE + "/final_bpf.bpf.o"
    asserts.equals(
        env,
        ["{}/{}".format(bin, path) for path in [
            object,
            _PACKAGE + "/_bpf_objs/final_bpf/final.bpf.o",
            _PACKAGE + "/_bpf_objs/final_bpf/second.bpf.o",
            _PACKAGE + "/_bpf_objs/left_bpf/left.bpf.o",
            _PACKAGE + "/_bpf_objs/right_bpf/right.bpf.o",
        ] + _BASE_OBJECTS],
        link.argv[3:],
    )
    asserts.equals(env, [object], short_paths(link.outputs))
    asserts.equals(env, object, target[BpfObjectInfo].object.short_path)
    asserts.equals(env, [object], short_paths(target[DefaultInfo].files))
    asserts.equals(env, [object], short_paths(target[OutputGroupInfo].bpf_object))
    return analysistest.end(env)

_object_test = analysistest.make(_object_test_impl)

# A subskeleton.

def _subskeleton_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    action = find_action(env, "BpfSubskeleton")
    info = target[BpfSubskeletonInfo]

    # Assert
    bin = analysistest.target_bin_dir_path(env)
    source = "{}/{}/base_/base_subskel.go".format(bin, _PACKAGE)
    asserts.equals(
        env,
        ["subskeleton", "-package", "basepkg", "-type", "event", "-o", source] +
        ["{}/{}".format(bin, path) for path in _BASE_OBJECTS],
        action.argv[1:],
    )
    asserts.equals(env, "example.com/base", target[GoInfo].importpath)
    asserts.equals(env, "example.com/base", info.importpath)
    asserts.equals(env, "basepkg", info.package)
    asserts.equals(env, _BASE_OBJECTS, [f.short_path for f in info.objects])
    asserts.equals(env, _BASE_OBJECTS, [f.short_path for f in target[BpfLibraryInfo].objects])
    asserts.equals(env, [source], [f.path for f in target[OutputGroupInfo].go_srcs.to_list()])
    return analysistest.end(env)

_subskeleton_test = analysistest.make(_subskeleton_test_impl)

# A subskeleton whose name no Go file can begin with.

def _hidden_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    sources = short_paths(target[OutputGroupInfo].go_srcs)

    # Assert
    asserts.equals(env, [_PACKAGE + "/more/_hidden_/more/x_hidden_subskel.go"], sources)
    return analysistest.end(env)

_hidden_test = analysistest.make(_hidden_test_impl)

# An object of a source of another package, with a subskeleton for a library.

def _others_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act
    compiles = find_actions(env, "BpfCompile")
    link = find_action(env, "BpfLink")

    # Assert: two sources of one path are two objects, and the library is linked.
    bin = analysistest.target_bin_dir_path(env)
    asserts.equals(
        env,
        ["{}/{}".format(bin, path) for path in [
            _PACKAGE + "/_bpf_objs/others_bpf/rules/tests/analysis/other.bpf.o",
            _PACKAGE + "/_bpf_objs_of_others/others_bpf/rules/tests/analysis/other.bpf.o",
        ] + _BASE_OBJECTS],
        link.argv[8:],
    )

    # Assert: names may stay undefined.
    assert_in_order(env, ["-allow-undefined", "hook_*", "-allow-undefined", "limit"], link.argv)

    # Assert: its headers are there.
    assert_in_order(env, ["-DBASE=1", "-I{}/include".format(_PACKAGE)], compiles[0].argv)
    asserts.true(env, _PACKAGE + "/include/base.bpf.h" in short_paths(compiles[0].inputs), "the library's header")
    return analysistest.end(env)

_others_test = analysistest.make(_others_test_impl)

# A skeleton with a subskeleton.

def _skeleton_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    check = find_action(env, "BpfCheck")
    skeleton = find_action(env, "BpfSkeleton")

    # Assert: the check has the object and the library, and is done in each build.
    bin = analysistest.target_bin_dir_path(env)
    stamp = "{}/{}/final_check/0".format(bin, _PACKAGE)
    asserts.equals(
        env,
        ["check", "-o", stamp, "-object", target[BpfObjectInfo].object.path] +
        ["{}/{}".format(bin, path) for path in _BASE_OBJECTS],
        check.argv[1:],
    )
    asserts.true(env, stamp in [f.path for f in target[OutputGroupInfo]._validation.to_list()])

    # Assert: the generated file imports the package.
    assert_in_order(env, ["-subskeleton", "basepkg=example.com/base"], skeleton.argv)
    asserts.true(
        env,
        "example.com/base" in [dep.data.importpath for dep in target[GoArchive].direct],
        "the subskeleton is a dep of the package",
    )
    return analysistest.end(env)

_skeleton_test = analysistest.make(_skeleton_test_impl)

# Variants with a subskeleton.

def _variants_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    bin = analysistest.target_bin_dir_path(env)

    # Act
    checks = find_actions(env, "BpfCheck")

    # Assert: each variant is checked.
    asserts.equals(
        env,
        [
            ["-o", "{}/{}/variants_check/{}/0".format(bin, _PACKAGE, name), "-object", object.path]
            for name, object in target[BpfObjectInfo].variants.items()
        ],
        [check.argv[2:6] for check in checks],
    )
    stamps = [f.path for f in target[OutputGroupInfo]._validation.to_list()]
    asserts.true(env, all([check.argv[3] in stamps for check in checks]), "all are done in each build")
    return analysistest.end(env)

_variants_test = analysistest.make(_variants_test_impl)

# Errors.

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

def libraries_test_suite(name, base, object, subskeleton, hidden, others, skeleton, variants, errors):
    """Declares the tests.

    Args:
      name: the suite's name.
      base: a bpf_library with all attributes set.
      object: a bpf_object at the top of a diamond of libraries.
      subskeleton: the bpf_subskeleton of `base`.
      hidden: a bpf_subskeleton with an underscore in front of its name.
      others: a bpf_object of sources of two packages, with `subskeleton` in deps.
      skeleton: a bpf_skeleton of `object` with `subskeleton`.
      variants: a bpf_skeleton of two variants with `subskeleton`.
      errors: by target, parts of the message with which it fails.
    """
    _library_test(name = "library_test", target_under_test = base)
    _object_test(name = "object_test", target_under_test = object)
    _subskeleton_test(name = "subskeleton_test", target_under_test = subskeleton)
    _skeleton_test(name = "skeleton_test", target_under_test = skeleton)
    _hidden_test(name = "hidden_test", target_under_test = hidden)
    _others_test(name = "others_test", target_under_test = others)
    _variants_test(name = "variants_test", target_under_test = variants)
    tests = [":library_test", ":object_test", ":subskeleton_test", ":skeleton_test", ":hidden_test", ":others_test", ":variants_test"]
    for target, messages in errors.items():
        test = target.lstrip(":") + "_test"
        _error_test(name = test, messages = messages, target_under_test = target)
        tests.append(":" + test)
    native.test_suite(name = name, tests = tests)
