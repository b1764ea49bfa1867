"""Finds the cpu of the target platform."""

load(":cpus.bzl", "CPUS", "OTHER_CPUS")

TargetCpuInfo = provider(
    doc = "The cpu that the target platform has.",
    fields = {
        "arch": "str: the suffix of `__TARGET_ARCH_`. Empty when `error` is set.",
        "defines": "list of str: macros that the cpu's asm/ headers need, as `NAME` or `NAME=value`.",
        "error": "str: why BPF cannot be compiled for the platform. Empty when it can.",
        "target": "str: `bpfel` or `bpfeb`.",
    },
)

def _unknown(reason):
    known = {cpu.arch: None for cpu in CPUS.values()}
    return TargetCpuInfo(
        arch = "",
        defines = [],
        error = "{}. Known architectures: {}".format(reason, ", ".join(sorted(known))),
        target = "",
    )

def _target_cpu_impl(ctx):
    def matches(target):
        return ctx.target_platform_has_constraint(target[platform_common.ConstraintValueInfo])

    for i, target in enumerate(ctx.attr._cpus):
        if matches(target):
            cpu = CPUS.values()[i]
            return [TargetCpuInfo(arch = cpu.arch, defines = cpu.defines, error = "", target = cpu.target)]

    platform = ctx.fragments.platform.platform
    for target in ctx.attr._other_cpus:
        if matches(target):
            return [_unknown("the cpu of the target platform {} is {}, which has no BPF".format(platform, target.label))]
    return [_unknown("the target platform {} has a cpu (a value of @platforms//cpu) that rules_bpf does not know, or none".format(platform))]

target_cpu = rule(
    implementation = _target_cpu_impl,
    doc = "Provides TargetCpuInfo of the configuration that it is built in.",
    attrs = {
        # In the order of CPUS, which is how a match finds its description.
        "_cpus": attr.label_list(
            default = CPUS.keys(),
            providers = [platform_common.ConstraintValueInfo],
        ),
        "_other_cpus": attr.label_list(
            default = OTHER_CPUS,
            providers = [platform_common.ConstraintValueInfo],
        ),
    },
    fragments = ["platform"],
    provides = [TargetCpuInfo],
)
