"""The cpus that BPF programs are compiled for.

BPF's instructions are the same on every cpu. What differs is the byte order and
what a program knows about the machine it runs on: the registers of a kprobe, the
constants of system calls. Programs learn it from `__TARGET_ARCH_*`, which
libbpf's bpf_tracing.h defines the names of.
"""

def _cpu(arch, big_endian = False, defines = []):
    """Describes a cpu.

    Args:
      arch: libbpf's and the kernel's name of the architecture.
      big_endian: the cpu's byte order.
      defines: macros by which headers in asm/ tell the variants of an
        architecture apart, which clang defines for the cpu but not for BPF.
        Only those without which the headers fail or are wrong.

    Returns:
      A struct with the arguments and `target`, the name that clang gives to BPF
      of this byte order.
    """
    return struct(
        arch = arch,
        target = "bpfeb" if big_endian else "bpfel",
        defines = defines,
    )

def _mips(big_endian, long_bits):
    return _cpu(
        "mips",
        big_endian = big_endian,
        defines = [
            "__MIPSEB__" if big_endian else "__MIPSEL__",
            "_MIPS_SZLONG={}".format(long_bits),
            "_MIPS_SZPTR={}".format(long_bits),
            # The numbers by which asm/sgidefs.h calls the o32 and n64 ABIs.
            "_MIPS_SIM={}".format(3 if long_bits == 64 else 1),
            # Keeps __u64 the `long long` that it is everywhere else.
            "__SANE_USERSPACE_TYPES__",
        ],
    )

_ARM = _cpu("arm", defines = ["__ARM_EABI__"])

# By constraint value of @platforms//cpu. rules_go has values of its own for the
# cpus that are missing there.
CPUS = {
    Label("@platforms//cpu:aarch32"): _ARM,
    Label("@platforms//cpu:aarch64"): _cpu("arm64"),
    Label("@platforms//cpu:armv7"): _ARM,
    Label("@platforms//cpu:i386"): _cpu("x86"),
    Label("@platforms//cpu:loongarch64"): _cpu("loongarch"),
    Label("@platforms//cpu:mips64"): _mips(big_endian = True, long_bits = 64),
    Label("@platforms//cpu:ppc"): _cpu("powerpc", big_endian = True),
    Label("@platforms//cpu:ppc32"): _cpu("powerpc", big_endian = True),
    Label("@platforms//cpu:ppc64le"): _cpu("powerpc"),
    Label("@platforms//cpu:riscv32"): _cpu("riscv"),
    Label("@platforms//cpu:riscv64"): _cpu("riscv"),
    Label("@platforms//cpu:s390x"): _cpu("s390", big_endian = True),
    Label("@platforms//cpu:x86_32"): _cpu("x86"),
    Label("@platforms//cpu:x86_64"): _cpu("x86"),
    Label("@rules_go//go/toolchain:mips"): _mips(big_endian = True, long_bits = 32),
    Label("@rules_go//go/toolchain:mips64"): _mips(big_endian = True, long_bits = 64),
    Label("@rules_go//go/toolchain:mips64le"): _mips(big_endian = False, long_bits = 64),
    Label("@rules_go//go/toolchain:mipsle"): _mips(big_endian = False, long_bits = 32),
}

# Known cpus without Linux or without a name in bpf_tracing.h, which an error can then
# name.
OTHER_CPUS = [
    Label("@platforms//cpu:arm64_32"),
    Label("@platforms//cpu:arm64e"),
    Label("@platforms//cpu:armv6-m"),
    Label("@platforms//cpu:armv7-m"),
    Label("@platforms//cpu:armv7e-m"),
    Label("@platforms//cpu:armv7e-mf"),
    Label("@platforms//cpu:armv7k"),
    Label("@platforms//cpu:armv8-m"),
    Label("@platforms//cpu:cortex-r52"),
    Label("@platforms//cpu:cortex-r82"),
    Label("@platforms//cpu:wasm32"),
    Label("@platforms//cpu:wasm64"),
    Label("@rules_go//go/toolchain:wasm"),
]
