"""Tests of //rules/private:kernel_cpus.bzl and of the repositories with kernels and QEMU."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:kernel_cpus.bzl", "kernel_cpu")
load("//rules/private:kernel_repo.bzl", "find_in_package")
load("//rules/private:qemu_repo.bzl", "parse_qemu_version")

def _kernel_cpu_test_impl(ctx):
    env = unittest.begin(ctx)
    for name, cpu, want in [
        ("6.1", "", "x86_64"),
        ("6.12_arm64", "", "arm64"),
        ("7.2_s390x", "", "s390x"),
        ("6.12_16k_riscv64", "", "riscv64"),
        ("mine_x86_64", "", "x86_64"),
        # Only what stands after a _ at the end is a cpu.
        ("arm64", "", "x86_64"),
        ("6.12-arm64", "", "x86_64"),
        ("arm64_6.12", "", "x86_64"),
        # The cpu that is given comes first.
        ("board", "arm64", "arm64"),
        ("6.12_arm64", "s390x", "s390x"),
    ]:
        asserts.equals(env, want, kernel_cpu(name, cpu), name)
    return unittest.end(env)

_kernel_cpu_test = unittest.make(_kernel_cpu_test_impl)

def _find_in_package_test_impl(ctx):
    env = unittest.begin(ctx)
    for files, image, config in [
        (
            {"boot": ["System.map-6.1", "config-6.1", "vmlinuz-6.1"], "lib/modules/6.1": ["kernel", "modules.builtin"]},
            "boot/vmlinuz-6.1",
            "boot/config-6.1",
        ),
        # Debian since 7.2.
        (
            {"usr/lib/modules/7.2": ["config", "kernel", "vmlinuz"]},
            "usr/lib/modules/7.2/vmlinuz",
            "usr/lib/modules/7.2/config",
        ),
        # Debian's for riscv64.
        ({"boot": ["vmlinux-6.12"]}, "boot/vmlinux-6.12", None),
    ]:
        found = find_in_package(files)
        asserts.equals(env, ("", image, config), (found.problem, found.image, found.config))
        asserts.equals(env, [directory for directory in files if directory != "boot"], found.modules)
    for files, problem in [
        ({"usr": []}, "has no boot/vmlinuz-*"),
        ({"boot": ["vmlinuz-6.1", "vmlinuz-6.2"]}, "has more than one kernel: boot/vmlinuz-6.1, boot/vmlinuz-6.2"),
    ]:
        found = find_in_package(files)
        asserts.true(env, problem in found.problem, found.problem)
    return unittest.end(env)

_find_in_package_test = unittest.make(_find_in_package_test_impl)

def _parse_qemu_version_test_impl(ctx):
    env = unittest.begin(ctx)
    for output, want in [
        ("QEMU emulator version 11.1.2 (Debian 1:11.1.2+ds-1)\nCopyright", "11.1.2"),
        ("QEMU emulator version", ""),
        ("", ""),
    ]:
        asserts.equals(env, want, parse_qemu_version(output))
    return unittest.end(env)

_parse_qemu_version_test = unittest.make(_parse_qemu_version_test_impl)

def kernels_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(
        name,
        _kernel_cpu_test,
        _find_in_package_test,
        _parse_qemu_version_test,
    )
