"""bpf_test: a Go test that uses the kernel."""

load("@rules_go//go:def.bzl", "go_test")
load("//rules/private:vm.bzl", "FOREIGN_VM", "VM_ATTRS", "bpfvm_executable", "rlocation_path", "vm_config", "vm_kernels", "vm_transition")

# What a test needs that loads programs into this machine's kernel: the sandbox's
# user namespace has no right to, and a result holds for the running kernel only.
_NATIVE_TAGS = ["no-cache", "no-remote", "no-sandbox"]

# bpf_test has an argument of this name.
_native = native

# Attributes of all test rules that say how a test runs. The others say how it is
# built, and are go_test's.
_RUN_ATTRS = ["args", "flaky", "local", "shard_count", "size", "timeout"]

def _bpf_run_test_impl(ctx):
    # With a transition there is a list.
    test = ctx.attr.test[0]
    program = test[DefaultInfo].files_to_run.executable
    runfiles = test[DefaultInfo].default_runfiles
    bpfvm = ctx.attr._bpfvm
    if ctx.attr.kernel:
        config, files = vm_config(ctx, program = program, runfiles = runfiles)
    else:
        config, files = {"test": rlocation_path(ctx, program)}, []

        # The data of a test in a foreign machine, which runs it in there.
        if FOREIGN_VM in ctx.features:
            bpfvm = ctx.attr._bpfvm_in_vm
    return [
        bpfvm_executable(
            ctx,
            bpfvm = bpfvm,
            config = config,
            runfiles = ctx.runfiles([program] + files).merge(runfiles),
        ),
        test[RunEnvironmentInfo],
        coverage_common.instrumented_files_info(ctx, dependency_attributes = ["test"]),
    ]

_bpf_run_test = rule(
    implementation = _bpf_run_test_impl,
    doc = "Runs a go_test in a kernel: the one of VM_ATTRS, or the machine's.",
    attrs = VM_ATTRS | {
        "data": attr.label_list(
            doc = "For the expansion of $(location) in args. The go_test has the files.",
            allow_files = True,
            cfg = vm_transition,
        ),
        "test": attr.label(
            mandatory = True,
            executable = True,
            cfg = vm_transition,
        ),
        "_bpfvm_in_vm": attr.label(
            default = Label("//rules/private:bpfvm"),
            executable = True,
            cfg = "target",
        ),
        # `bazel coverage` reads by it what C and C++ code, such as that of a test with
        # cgo, has counted.
        "_collect_cc_coverage": attr.label(
            default = "@bazel_tools//tools/test:collect_cc_coverage",
            cfg = "exec",
        ),
        # It gives a test's coverage to this, and drops that of tests without.
        "_lcov_merger": attr.label(
            default = configuration_field(fragment = "coverage", name = "output_generator"),
            cfg = "exec",
        ),
    },
    test = True,
)

# The attributes of what runs a test that users may set.
KERNEL_TEST_ATTRS = _RUN_ATTRS + ["compatible_with", "deprecation", "exec_compatible_with", "exec_properties", "features", "restricted_to", "target_compatible_with", "toolchains"]

def kernel_tests(
        name,
        executable,
        kernels,
        native,
        kernel_args,
        modules,
        memory_mb,
        cpu_count,
        platforms,
        tags,
        visibility,
        target_compatible_with = [],
        **common):
    """Makes the tests of an executable in kernels, and the suite of them.

    Args:
      name: name of the test, or of the suite.
      executable: label of what runs in each kernel, with RunEnvironmentInfo.
      kernels: as of bpf_test, as all that follow.
      native: as of bpf_test.
      kernel_args: as of bpf_test.
      modules: as of bpf_test.
      memory_mb: as of bpf_test.
      cpu_count: as of bpf_test.
      platforms: as of bpf_test.
      tags: as of bpf_test.
      visibility: as of bpf_test.
      target_compatible_with: of the test in the machine's kernel.
      **common: attributes of all of the tests.
    """
    if native == None:
        native = not kernels
    if not kernels and not native:
        fail("{}: has no kernels and native = False: nothing would run it".format(name))
    if not kernels and (kernel_args or modules or memory_mb or cpu_count or platforms):
        fail("{}: kernel_args, modules, memory_mb, cpu_count and platforms are for kernels that QEMU boots: set kernels, too".format(name))
    if memory_mb < 0 or cpu_count < 0:
        fail("{}: memory_mb and cpu_count are not negative".format(name))

    linux = [Label("@platforms//os:linux")]
    if native:
        _bpf_run_test(
            name = name + "_native" if kernels else name,
            tags = tags + _NATIVE_TAGS,
            target_compatible_with = target_compatible_with + linux,
            test = executable,
            visibility = visibility,
            **common
        )
    tests = []
    for kernel in vm_kernels(name, kernels, platforms):
        tests.append(kernel.test)
        _bpf_run_test(
            name = kernel.test,
            cpu_count = cpu_count,
            kernel_args = kernel_args,
            memory_mb = memory_mb,
            modules = modules,
            tags = tags + kernel.tags,
            # What the test itself is compatible with holds for the platform that it
            # is built for.
            target_compatible_with = linux,
            test = executable,
            visibility = visibility,
            **(common | kernel.attrs)
        )
    if kernels:
        _native.test_suite(
            name = name,
            # Those of the suite choose among its tests.
            tags = [tag for tag in tags if tag == "manual"],
            tests = tests + ([name + "_native"] if native else []),
            visibility = visibility,
        )

def bpf_test(
        name,
        kernels = [],
        native = None,
        kernel_args = [],
        modules = [],
        memory_mb = 0,
        cpu_count = 0,
        platforms = {},
        tags = [],
        visibility = None,
        **kwargs):
    """A `go_test` that uses the kernel: this machine's, or others in QEMU.

    Without `kernels` it is a test like `go_test`, which runs in the kernel of the
    machine. Where it may not use BPF, or is built for another cpu (`--platforms`), it
    is skipped, with the reason in its report. The tags that such a test needs are set.

    With `kernels`, there is a test per kernel, named `<name>_<kernel>` with `_`
    for what is neither a letter nor a digit, and `name` is a test suite of them:
    each runs, is cached and is chosen by itself. These need no rights, and no tags.
    Each is built for the cpu of its kernel, its BPF objects included.

    ```starlark
    bpf_test(
        name = "filter_test",
        srcs = ["filter_test.go"],
        embed = [":filter"],
        kernels = [
            "@bpf_kernels//:5.10",
            "@bpf_kernels//:6.12_arm64",
        ],
        modules = ["veth"],
        native = True,
    )
    ```

    makes the tests `filter_test_5_10`, `filter_test_6_12_arm64` and
    `filter_test_native`, and the suite `filter_test`.

    The attributes of `go_test` mean what they mean there, so that Gazelle writes
    this instead of it:

    ```
    # gazelle:map_kind go_test bpf_test @rules_bpf//rules:defs.bzl
    ```

    Args:
      name: name of the test, or of the suite.
      kernels: list of targets with BpfKernelInfo (`bpf_kernel`, or of the module
        extension `bpf_kernels`). They boot on Linux machines with a QEMU for their
        cpu. The names of those that are not for x86_64 end in `_arm64`, `_riscv64` or
        `_s390x`; for kernels with other names, a dict of cpus by kernels:
        `{"//kernels:board": "arm64"}`.
      native: whether to run in the machine's kernel as well as in `kernels`. By
        default a test does when it has no `kernels`.
      kernel_args: arguments for the command line of the kernels.
      modules: names of kernel modules to load before the test, with those that
        they depend on. What a kernel has built in is left out.
      memory_mb: memory of the machines in MB, which holds the test's files as well.
        The default is 1024.
      cpu_count: number of cpus of the machines. The default is 2.
      platforms: dict of platforms by cpus, to build the tests for:
        `{"arm64": "//platforms:linux_arm64"}`. By default the target platform, where
        that has the cpu of the kernel, and rules_go's platform `linux_<goarch>`
        elsewhere, without cgo.
      tags: tags of the tests. In addition, the test in the kernel 6.12_arm64 has the
        tags `kernel-6.12_arm64` and `cpu-arm64`.
      visibility: visibility of the tests and the suite.
      **kwargs: attributes of `go_test`.
    """
    go_test(
        name = name + "_go_test",
        # What runs it is below.
        tags = tags + ["manual"],
        visibility = ["//visibility:private"],
        **{key: value for key, value in kwargs.items() if key not in _RUN_ATTRS}
    )

    # Some attributes hold for go_test and for what runs it.
    kernel_tests(
        name = name,
        cpu_count = cpu_count,
        executable = ":" + name + "_go_test",
        kernel_args = kernel_args,
        kernels = kernels,
        memory_mb = memory_mb,
        modules = modules,
        native = native,
        platforms = platforms,
        tags = tags,
        visibility = visibility,
        **{key: kwargs[key] for key in KERNEL_TEST_ATTRS + ["data"] if key in kwargs}
    )
