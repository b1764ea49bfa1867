"""Tests of what bpf_vmlinux_header declares: its action and providers."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")

def _action(env):
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == "BpfVmlinuxHeader"]
    asserts.equals(env, 1, len(actions), "actions with mnemonic BpfVmlinuxHeader")
    return actions[0]

def _header(env):
    return "{}/{}/vmlinux.h".format(
        analysistest.target_bin_dir_path(env),
        analysistest.target_under_test(env).label.package + "/" + analysistest.target_under_test(env).label.name,
    )

# All types of a kernel.

def _kernel_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package
    header = _header(env)

    # Act
    action = _action(env)
    context = target[CcInfo].compilation_context

    # Assert
    asserts.equals(env, ["vmlinux", "-o", header, package + "/kernel.btf"], action.argv[1:])
    asserts.equals(env, [header], [f.path for f in action.outputs.to_list()])
    asserts.equals(env, [header], [f.path for f in target[DefaultInfo].files.to_list()])
    asserts.equals(env, [header], [f.path for f in context.headers.to_list()])
    asserts.equals(env, [header.removesuffix("/vmlinux.h")], context.system_includes.to_list())
    asserts.equals(env, [], context.includes.to_list() + context.quote_includes.to_list())
    return analysistest.end(env)

_kernel_test = analysistest.make(_kernel_test_impl)

# Some types of a module.

def _module_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package

    # Act
    action = _action(env)

    # Assert
    asserts.equals(env, [
        "vmlinux",
        "-o",
        _header(env),
        "-base",
        package + "/kernel.btf",
        "-types",
        "nf_conn,BPF_ANY",
        package + "/module.btf",
    ], action.argv[1:])
    inputs = [f.short_path for f in action.inputs.to_list()]
    for name in ["kernel.btf", "module.btf"]:
        asserts.true(env, package + "/" + name in inputs, name)
    return analysistest.end(env)

_module_test = analysistest.make(_module_test_impl)

# A program that has the header among its deps.

def _program_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package

    # Act
    compile = [a for a in analysistest.target_actions(env) if a.mnemonic == "BpfCompile"][0]

    # Assert
    directory = "{}/{}/kernel_header".format(analysistest.target_bin_dir_path(env), package)
    asserts.true(env, "-isystem" + directory in compile.argv, "-isystem{} in {}".format(directory, compile.argv))
    asserts.true(env, directory + "/vmlinux.h" in [f.path for f in compile.inputs.to_list()], "the header is an input")
    return analysistest.end(env)

_program_test = analysistest.make(_program_test_impl)

def bpf_vmlinux_header_test_suite(name, kernel, module, program):
    """Declares the tests.

    Args:
      name: the suite's name.
      kernel: a bpf_vmlinux_header called kernel_header, of kernel.btf.
      module: a bpf_vmlinux_header of module.btf and kernel.btf, with types.
      program: a bpf_skeleton with `kernel` in deps.
    """
    _kernel_test(name = name + "_kernel", target_under_test = kernel)
    _module_test(name = name + "_module", target_under_test = module)
    _program_test(name = name + "_program", target_under_test = program)
    native.test_suite(name = name, tests = [":" + name + suffix for suffix in ["_kernel", "_module", "_program"]])
