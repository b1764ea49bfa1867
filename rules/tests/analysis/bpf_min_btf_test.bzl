"""Tests of what bpf_min_btf declares: its action and its file."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def _archive_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package
    archive = "{}/{}/{}.btfs".format(analysistest.target_bin_dir_path(env), package, target.label.name)

    # Act
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == "BpfMinBtf"]
    asserts.equals(env, 1, len(actions), "actions with mnemonic BpfMinBtf")
    action = actions[0]

    # Assert
    argv = action.argv[1:]
    asserts.equals(env, ["vmlinux", "-btf", "-archive", "-o", archive, "-object"], argv[:6])
    asserts.true(env, argv[6].endswith(".bpf.o"), "{} is an object".format(argv[6]))
    asserts.equals(env, [package + "/kernel.btf", package + "/module.btf"], argv[7:])
    asserts.equals(env, [archive], [f.path for f in action.outputs.to_list()])
    asserts.equals(env, [archive], [f.path for f in target[DefaultInfo].files.to_list()])
    inputs = [f.path for f in action.inputs.to_list()]
    for path in argv[6:]:
        asserts.true(env, path in inputs, path + " is an input")
    return analysistest.end(env)

_archive_test = analysistest.make(_archive_test_impl)

def bpf_min_btf_test_suite(name, archive):
    """Declares the tests.

    Args:
      name: the suite's name.
      archive: a bpf_min_btf of kernel.btf and module.btf, and of one object.
    """
    _archive_test(name = name + "_archive", target_under_test = archive)
    native.test_suite(name = name, tests = [":" + name + "_archive"])
