"""The headers of libbpf and of the kernel's UAPI: their names, where distributions
install them, and the stubs for those that a machine lacks.

Headers in linux/ and asm-generic/ are the same for all cpus. Those in asm/ are
not, and the ones of another cpu are worse than none: they compile.
"""

def _arch(triples, packages):
    return struct(triples = triples, packages = packages)

# By the kernel's name of the architecture: the names by which Debian's
# multiarch and the distributions' cross compilers call it, and the packages that
# bring its headers on a machine of another one.
_ARCHES = {
    "arm": _arch(
        ["arm-linux-gnueabihf", "arm-linux-gnueabi"],
        "linux-libc-dev-armhf-cross",
    ),
    "arm64": _arch(
        ["aarch64-linux-gnu"],
        "linux-libc-dev-arm64-cross",
    ),
    "loongarch": _arch(
        ["loongarch64-linux-gnu"],
        "linux-libc-dev-loong64-cross",
    ),
    "mips": _arch(
        ["mips64el-linux-gnuabi64", "mips64-linux-gnuabi64", "mipsel-linux-gnu", "mips-linux-gnu"],
        "linux-libc-dev-mips64el-cross",
    ),
    "powerpc": _arch(
        ["powerpc64le-linux-gnu", "powerpc64-linux-gnu", "powerpc-linux-gnu"],
        "linux-libc-dev-ppc64el-cross",
    ),
    "riscv": _arch(
        ["riscv64-linux-gnu"],
        "linux-libc-dev-riscv64-cross",
    ),
    "s390": _arch(
        ["s390x-linux-gnu"],
        "linux-libc-dev-s390x-cross",
    ),
    "x86": _arch(
        ["x86_64-linux-gnu", "i386-linux-gnu"],
        "linux-libc-dev-amd64-cross",
    ),
}

ARCHES = sorted(_ARCHES)

# Java's and the kernel's names for the cpu of a host, by the kernel's name for
# its architecture.
_HOSTS = {
    "aarch64": "arm64",
    "amd64": "x86",
    "arm": "arm",
    "i386": "x86",
    "i686": "x86",
    "loongarch64": "loongarch",
    "mips64el": "mips",
    "ppc64": "powerpc",
    "ppc64le": "powerpc",
    "riscv64": "riscv",
    "s390x": "s390",
    "x86": "x86",
    "x86_64": "x86",
}

def asm_candidates(arch, host_cpu):
    """Lists where an architecture's asm/ may be.

    Args:
      arch: the kernel's name of the architecture.
      host_cpu: the cpu of the machine, as repository_ctx.os.arch calls it.

    Returns:
      Paths of directories below the root, the best first.
    """
    triples = _ARCHES[arch].triples

    # Debian's linux-libc-dev since 2024 (Debian 13), which is the same for all cpus. Ubuntu's is not.
    candidates = ["usr/lib/linux/uapi/{}/asm".format(arch)]

    # The same package before, and the package of another cpu.
    candidates += ["usr/include/{}/asm".format(triple) for triple in triples]

    # Packages for cross compilers.
    candidates += ["usr/{}/include/asm".format(triple) for triple in triples]

    # Other distributions, which have the headers of the machine's own cpu alone.
    if _HOSTS.get(host_cpu) == arch:
        candidates.append("usr/include/asm")
    return candidates

# The headers in asm/ that all architectures have and that headers in linux/
# include. No stub is needed for others: a program that includes them compiles for one
# architecture only.
ASM_HEADERS = [
    "auxvec.h",
    "bitsperlong.h",
    "bpf_perf_event.h",
    "byteorder.h",
    "errno.h",
    "fcntl.h",
    "ioctl.h",
    "ioctls.h",
    "ipcbuf.h",
    "kvm.h",
    "kvm_para.h",
    "mman.h",
    "msgbuf.h",
    "param.h",
    "perf_regs.h",
    "poll.h",
    "posix_types.h",
    "ptrace.h",
    "resource.h",
    "sembuf.h",
    "setup.h",
    "shmbuf.h",
    "sigcontext.h",
    "siginfo.h",
    "signal.h",
    "socket.h",
    "sockios.h",
    "stat.h",
    "statfs.h",
    "swab.h",
    "termbits.h",
    "termios.h",
    "types.h",
    "ucontext.h",
    "unistd.h",
]

# The headers in linux/ that BPF programs begin with.
LINUX_HEADERS = [
    "bpf.h",
    "bpf_common.h",
    "bpf_perf_event.h",
    "errno.h",
    "fcntl.h",
    "icmp.h",
    "icmpv6.h",
    "if.h",
    "if_arp.h",
    "if_ether.h",
    "if_packet.h",
    "if_tunnel.h",
    "if_vlan.h",
    "in.h",
    "in6.h",
    "ip.h",
    "ipv6.h",
    "limits.h",
    "netfilter.h",
    "perf_event.h",
    "pkt_cls.h",
    "ptrace.h",
    "sched.h",
    "socket.h",
    "stddef.h",
    "string.h",
    "tcp.h",
    "time.h",
    "types.h",
    "udp.h",
    "unistd.h",
]

# Headers of the C library that BPF programs include for the kernel's constants: signals,
# errors and flags. There is no C library, so each includes the kernel's header.
LIBC_HEADERS = {
    "errno.h": "linux/errno.h",
    "fcntl.h": "linux/fcntl.h",
    "signal.h": "linux/signal.h",
}

def _stub(header, error):
    # clang goes on after #error, and would report every type that the header
    # does not define. A missing file ends the compile.
    return """\
#error "{error}"
#include "{header}: see the error above"
""".format(error = error, header = header)

def asm_stub(arch, header, archive = None):
    """Makes the stub of a header in asm/ that is missing.

    Args:
      arch: the kernel's name of the architecture.
      header: the header's name, without asm/.
      archive: the archive that lacks it, None when the machine does.

    Returns:
      The text of the header.
    """
    return _stub("asm/" + header, (
        ("asm/{header}: {archive} has no kernel headers for {arch} cpus, which the target platform has. " +
         "Add {packages} (Debian, Ubuntu) with another bpf.uapi_headers, " if archive else "asm/{header}: this machine has no kernel headers for {arch} cpus, which the target platform has. " +
                                                                                           "Install linux-libc-dev of Debian 13 or newer, or {packages} (Debian, Ubuntu), or name one of them with bpf.uapi_headers in MODULE.bazel, ") +
        "use a vmlinux.h of an {arch} kernel instead, " +
        "or register a bpf_toolchain with uapi_headers"
    ).format(arch = arch, archive = archive, header = header, packages = _ARCHES[arch].packages))

def linux_stub(os, header):
    """Makes a header in linux/ that the machine does not have.

    Args:
      os: the operating system that the machine runs.
      header: the header's name, without linux/.

    Returns:
      The text of the header.
    """
    if os == "linux":
        advice = "Install linux-libc-dev (Debian, Ubuntu), kernel-headers (Fedora), linux-headers (Alpine) or linux-api-headers (Arch Linux)"
    else:
        advice = "A machine that runs {} has none: use a vmlinux.h".format(os)
    return _stub("linux/" + header, (
        "linux/{header}: found no kernel headers in /usr/include/linux. {advice}, " +
        "name an archive of them with bpf.uapi_headers in MODULE.bazel, or register a bpf_toolchain with uapi_headers"
    ).format(advice = advice, header = header))

# The headers of libbpf that BPF programs begin with.
LIBBPF_HEADERS = [
    "bpf_core_read.h",
    "bpf_endian.h",
    "bpf_helpers.h",
    "bpf_tracing.h",
    "usdt.bpf.h",
]

def is_bpf_side(header):
    """Reports whether a header of libbpf is for BPF programs, and not for those that load them.

    Args:
      header: the header's name.
    """
    return header.endswith(".bpf.h") or (
        header.startswith("bpf_") and header.endswith(".h") and not header.endswith("_internal.h")
    )

def libbpf_stub(path, header):
    """Makes the stub of a header of libbpf that the named directory lacks.

    Args:
      path: the directory that should have it.
      header: the header's name, without bpf/.

    Returns:
      The text of the header.
    """
    return _stub("bpf/" + header, (
        "bpf/{header}: {path}, which the tag libbpf of MODULE.bazel names, has no bpf/bpf_helpers.h. " +
        "Install libbpf-dev (Debian, Ubuntu) or libbpf-devel (Fedora), or leave the tag out for the module libbpf"
    ).format(header = header, path = path))
