"""Tests of //rules/private:uapi.bzl and cpus.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:cpus.bzl", "CPUS", "OTHER_CPUS")
load("//rules/private:uapi.bzl", "ARCHES", "LIBBPF_HEADERS", "asm_candidates", "asm_stub", "is_bpf_side", "libbpf_stub", "linux_stub")

def _candidates_test_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, [
        "usr/lib/linux/uapi/arm64/asm",
        "usr/include/aarch64-linux-gnu/asm",
        "usr/aarch64-linux-gnu/include/asm",
    ], asm_candidates("arm64", "amd64"))

    # Only the headers of the machine's own cpu are in a directory without a name.
    for arch in ARCHES:
        asserts.equals(env, arch == "x86", "usr/include/asm" in asm_candidates(arch, "amd64"), arch)
        asserts.equals(env, arch == "arm64", "usr/include/asm" in asm_candidates(arch, "aarch64"), arch)
        asserts.false(env, "usr/include/asm" in asm_candidates(arch, "z80"), arch)
    return unittest.end(env)

_candidates_test = unittest.make(_candidates_test_impl)

def _stub_test_impl(ctx):
    env = unittest.begin(ctx)
    stub = asm_stub("riscv", "types.h")
    for part in ["#error \"asm/types.h: ", "for riscv cpus", "linux-libc-dev-riscv64-cross", "bpf.uapi_headers", "bpf_toolchain"]:
        asserts.true(env, part in stub, stub)

    stub = linux_stub("linux", "bpf.h")
    for part in ["#error \"linux/bpf.h: ", "linux-libc-dev", "kernel-headers", "bpf_toolchain"]:
        asserts.true(env, part in stub, stub)

    stub = linux_stub("mac os x", "bpf.h")
    asserts.true(env, "A machine that runs mac os x has none" in stub, stub)

    stub = asm_stub("riscv", "types.h", archive = "https://example.com/headers.deb")
    for part in ["#error \"asm/types.h: https://example.com/headers.deb has no", "with another bpf.uapi_headers"]:
        asserts.true(env, part in stub, stub)

    stub = libbpf_stub("/opt/libbpf", "usdt.bpf.h")
    for part in ["#error \"bpf/usdt.bpf.h: /opt/libbpf, which the tag libbpf", "libbpf-dev"]:
        asserts.true(env, part in stub, stub)

    # A quote or an end of line would end the message early.
    for stub in [asm_stub(arch, "types.h") for arch in ARCHES] + [linux_stub("linux", "bpf.h"), stub]:
        asserts.equals(env, 2, stub.count("\n"), stub)
        asserts.equals(env, 4, stub.count("\""), stub)
    return unittest.end(env)

_stub_test = unittest.make(_stub_test_impl)

def _bpf_side_test_impl(ctx):
    env = unittest.begin(ctx)
    for header in LIBBPF_HEADERS + ["bpf_helper_defs.h"]:
        asserts.true(env, is_bpf_side(header), header)
    for header in ["bpf.h", "bpf.c", "bpf_gen_internal.h", "btf.h", "libbpf.h", "skel_internal.h"]:
        asserts.false(env, is_bpf_side(header), header)
    return unittest.end(env)

_bpf_side_test = unittest.make(_bpf_side_test_impl)

def _cpus_test_impl(ctx):
    env = unittest.begin(ctx)

    # Every architecture has headers to look for, and the other way round.
    asserts.equals(env, ARCHES, sorted({cpu.arch: None for cpu in CPUS.values()}))
    for label in OTHER_CPUS:
        asserts.false(env, label in CPUS, str(label))
    for cpu, arch, target in [
        ("x86_64", "x86", "bpfel"),
        ("aarch64", "arm64", "bpfel"),
        ("s390x", "s390", "bpfeb"),
        ("ppc", "powerpc", "bpfeb"),
        ("ppc64le", "powerpc", "bpfel"),
        ("mips64", "mips", "bpfeb"),
        ("riscv64", "riscv", "bpfel"),
    ]:
        description = CPUS[Label("@platforms//cpu:" + cpu)]
        asserts.equals(env, (arch, target), (description.arch, description.target), cpu)
    return unittest.end(env)

_cpus_test = unittest.make(_cpus_test_impl)

def uapi_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(name, _candidates_test, _stub_test, _bpf_side_test, _cpus_test)
