"""bpf_test: a Go test that uses the kernel."""

load("@rules_go//go:def.bzl", "go_test")
load("//rules:providers.bzl", "BpfKernelInfo")
load("//rules/private/actions:modules.bzl", "pack_modules")

# What a test needs that loads programs into this machine's kernel: the sandbox's
# user namespace has no right to, and a result says something of the kernel of
# now only.
_NATIVE_TAGS = ["no-cache", "no-remote", "no-sandbox"]

# bpf_test has an argument of this name.
_native = native

# Attributes of all test rules that say how a test runs. The others say how it is
# built, and are go_test's.
_RUN_ATTRS = ["args", "flaky", "local", "shard_count", "size", "timeout"]

def _rlocation_path(workspace, file):
    """Returns the path of a file among the runfiles."""
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return workspace + "/" + file.short_path

def _runfiles_list(ctx, test):
    """Returns a file with the paths of all runfiles of the test itself."""
    runfiles = test[DefaultInfo].default_runfiles

    # The functions below run when ctx cannot be asked any more.
    workspace = ctx.workspace_name
    list = ctx.actions.declare_file(ctx.label.name + ".runfiles_list")
    args = ctx.actions.args()
    args.set_param_file_format("multiline")
    args.add_all(
        depset([test[DefaultInfo].files_to_run.executable], transitive = [runfiles.files]),
        map_each = lambda file: _rlocation_path(workspace, file),
        allow_closure = True,
        expand_directories = False,
    )
    args.add_all(runfiles.symlinks, map_each = lambda link: workspace + "/" + link.path, allow_closure = True)
    args.add_all(runfiles.root_symlinks, map_each = lambda link: link.path, allow_closure = True)
    args.add_all(runfiles.empty_filenames, map_each = lambda path: workspace + "/" + path, allow_closure = True)
    ctx.actions.write(list, args)
    return list

def _vm(ctx, kernel):
    """Returns (the part of the configuration that is about the kernel, runfiles)."""
    config = {"kernel": {"name": kernel.name, "problem": kernel.problem}}
    if kernel.problem:
        return config, []
    list = _runfiles_list(ctx, ctx.attr.test)
    config["files"] = _rlocation_path(ctx.workspace_name, list)
    config["guest"] = _rlocation_path(ctx.workspace_name, ctx.file._guest)
    config["qemu"] = _rlocation_path(ctx.workspace_name, ctx.file._qemu)
    config["kernel"]["image"] = _rlocation_path(ctx.workspace_name, kernel.image)
    config["kernel_args"] = ctx.attr.kernel_args
    runfiles = [list, ctx.file._guest, ctx.file._qemu, kernel.image]
    if kernel.config:
        config["kernel"]["config"] = _rlocation_path(ctx.workspace_name, kernel.config)
        runfiles.append(kernel.config)
    if ctx.attr.modules:
        modules = ctx.actions.declare_file(ctx.label.name + ".modules.cpio")
        pack_modules(
            ctx.actions,
            label = ctx.label,
            packer = ctx.attr._modules[DefaultInfo].files_to_run,
            kernel = kernel,
            modules = ctx.attr.modules,
            output = modules,
        )
        config["modules"] = _rlocation_path(ctx.workspace_name, modules)
        runfiles.append(modules)
    return config, runfiles

def _bpf_run_test_impl(ctx):
    config, files = {}, []
    if ctx.attr.kernel:
        config, files = _vm(ctx, ctx.attr.kernel[BpfKernelInfo])
    config["test"] = _rlocation_path(ctx.workspace_name, ctx.executable.test)

    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = ctx.executable._bpfvm, is_executable = True)

    # Beside the executable, which finds it by its own name.
    config_file = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(config_file, json.encode_indent(config))

    runfiles = ctx.runfiles([config_file, ctx.executable.test] + files).merge_all([
        ctx.attr.test[DefaultInfo].default_runfiles,
        ctx.attr._bpfvm[DefaultInfo].default_runfiles,
    ])
    return [
        DefaultInfo(executable = executable, runfiles = runfiles),
        ctx.attr.test[RunEnvironmentInfo],
        coverage_common.instrumented_files_info(ctx, dependency_attributes = ["test"]),
    ]

_bpf_run_test = rule(
    implementation = _bpf_run_test_impl,
    doc = "Runs a go_test in a kernel.",
    attrs = {
        "data": attr.label_list(
            doc = "For the expansion of $(location) in args. The go_test has the files.",
            allow_files = True,
        ),
        "kernel": attr.label(
            doc = "The kernel to boot. Without it, the test runs in the machine's.",
            providers = [BpfKernelInfo],
        ),
        "kernel_args": attr.string_list(),
        "modules": attr.string_list(),
        "test": attr.label(
            mandatory = True,
            executable = True,
            # The configuration of the test's executable.
            cfg = "target",
        ),
        "_bpfvm": attr.label(
            default = Label("//rules/private:bpfvm"),
            executable = True,
            cfg = "target",
        ),
        "_guest": attr.label(
            default = Label("//tool/bpfvm/guest"),
            allow_single_file = True,
        ),
        # `bazel coverage` gives a test's coverage to it, and drops that of tests
        # without.
        "_lcov_merger": attr.label(
            default = configuration_field(fragment = "coverage", name = "output_generator"),
            cfg = "exec",
        ),
        "_modules": attr.label(
            default = Label("//rules/private:modules"),
            executable = True,
            cfg = "exec",
        ),
        "_qemu": attr.label(
            default = Label("@bpf_qemu//:qemu.json"),
            allow_single_file = True,
        ),
    },
    test = True,
)

def bpf_test(
        name,
        kernels = [],
        native = None,
        kernel_args = [],
        modules = [],
        tags = [],
        visibility = None,
        **kwargs):
    """A `go_test` that uses the kernel: this machine's, or others in QEMU.

    Without `kernels` it is a test like `go_test`, which runs in the kernel of the
    machine. Where it may not use BPF, it is skipped, and says why. The tags that
    such a test needs are set.

    With `kernels`, there is a test per kernel, named `<name>_<kernel>` with `_`
    for what is neither a letter nor a digit, and `name` is a test suite of them:
    each runs, is cached and is chosen by itself. These need no rights, and no tags.

    ```starlark
    bpf_test(
        name = "filter_test",
        srcs = ["filter_test.go"],
        embed = [":filter"],
        kernels = [
            "@bpf_kernels//:5.10",
            "@bpf_kernels//:6.12",
        ],
        modules = ["veth"],
        native = True,
    )
    ```

    makes the tests `filter_test_5_10`, `filter_test_6_12` and
    `filter_test_native`, and the suite `filter_test`.

    The attributes of `go_test` mean what they mean there, so that Gazelle writes
    this instead of it:

    ```
    # gazelle:map_kind go_test bpf_test @rules_bpf//rules:defs.bzl
    ```

    Args:
      name: name of the test, or of the suite.
      kernels: list of targets with BpfKernelInfo (`bpf_kernel`, or of the module
        extension `bpf_kernels`). They boot on Linux machines with an x86_64 cpu
        and QEMU.
      native: whether to run in the machine's kernel as well as in `kernels`. By
        default a test does when it has no `kernels`.
      kernel_args: arguments for the command line of the kernels.
      modules: names of kernel modules to load before the test, with those that
        they depend on. What a kernel has built in is left out.
      tags: tags of the tests. In addition, the test in the kernel 6.1 has the tag
        `kernel-6.1`.
      visibility: visibility of the tests and the suite.
      **kwargs: attributes of `go_test`.
    """
    if native == None:
        native = not kernels
    if not kernels and not native:
        fail("{}: has no kernels and native = False: nothing would run it".format(name))
    if not kernels and (kernel_args or modules):
        fail("{}: kernel_args and modules are for kernels that QEMU boots: set kernels, too".format(name))

    go_test(
        name = name + "_go_test",
        # What runs it is below.
        tags = tags + ["manual"],
        visibility = ["//visibility:private"],
        **{key: value for key, value in kwargs.items() if key not in _RUN_ATTRS}
    )

    # These hold for go_test and for what runs it.
    common = {
        key: kwargs[key]
        for key in _RUN_ATTRS + ["compatible_with", "data", "deprecation", "exec_compatible_with", "exec_properties", "features", "restricted_to", "toolchains"]
        if key in kwargs
    }
    compatible_with = kwargs.get("target_compatible_with", []) + [Label("@platforms//os:linux")]
    if native:
        _bpf_run_test(
            name = name + "_native" if kernels else name,
            tags = tags + _NATIVE_TAGS,
            target_compatible_with = compatible_with,
            test = ":" + name + "_go_test",
            visibility = visibility,
            **common
        )
    tests = []
    for kernel in kernels:
        kernel_name = _native.package_relative_label(kernel).name
        test = name + "_" + "".join([c if c.isalnum() else "_" for c in kernel_name.elems()])
        if test in tests:
            fail("{}: two of the kernels have the name {}".format(name, kernel_name))
        tests.append(test)
        _bpf_run_test(
            name = test,
            kernel = kernel,
            kernel_args = kernel_args,
            modules = modules,
            tags = tags + ["kernel-" + kernel_name],
            target_compatible_with = compatible_with + [Label("@platforms//cpu:x86_64")],
            test = ":" + name + "_go_test",
            visibility = visibility,
            **common
        )
    if kernels:
        _native.test_suite(
            name = name,
            # Those of the suite choose among its tests.
            tags = [tag for tag in tags if tag == "manual"],
            tests = tests + ([name + "_native"] if native else []),
            visibility = visibility,
        )
