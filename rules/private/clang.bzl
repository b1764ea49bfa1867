"""What makes a clang usable for BPF, and the message for a machine without one."""

# The first with everything that libbpf's headers and CO-RE relocations need.
MIN_CLANG_VERSION = 14

# How far above MIN_CLANG_VERSION to look for a clang-N. Two come out each year.
_MAX_CLANG_VERSION = 40

def clang_names():
    """Returns the names that clang goes by, the best first.

    Distributions install clang-N beside or without clang, and where clang is too
    old or lacks BPF, as Apple's, another one may be installed.
    """
    return ["clang"] + ["clang-{}".format(n) for n in range(_MAX_CLANG_VERSION, MIN_CLANG_VERSION - 1, -1)]

def parse_clang_version(text):
    """Finds the version in the output of `clang --version`.

    Args:
      text: the output.

    Returns:
      The version as a string, or None when it is not clang's output.
    """
    words = text.replace("\n", " ").split(" ")
    for i in range(len(words) - 2):
        if words[i] == "clang" and words[i + 1] == "version":
            return words[i + 2]
    return None

def _major(version):
    digits = version.split(".")[0].split("-")[0]
    return int(digits) if digits.isdigit() else None

def clang_problem(version_output, targets_output):
    """Checks a compiler.

    Args:
      version_output: what it prints for `--version`.
      targets_output: what it prints for `-print-targets`.

    Returns:
      Why it cannot be used, or None when it can.
    """
    version = parse_clang_version(version_output)
    if not version:
        return "is not a clang"
    major = _major(version)
    if major == None or major < MIN_CLANG_VERSION:
        return "is clang {}, and {} or newer is needed".format(version, MIN_CLANG_VERSION)
    if not [line for line in targets_output.split("\n") if line.split("-")[0].strip() == "bpfel"]:
        return "is clang {} without the BPF target".format(version)
    return None

_INSTALL_CLANG = """\
  install:    Debian, Ubuntu: apt install clang
              Fedora: dnf install clang
              Alpine: apk add clang
              Arch Linux: pacman -S clang
              macOS: brew install llvm, and put its bin directory first on PATH
  or register another compiler with bpf_toolchain and register_toolchains:
              see rules/toolchain.bzl of rules_bpf"""

def no_clang_message(path, problems):
    """Returns the message for a machine without a clang that can be used.

    Args:
      path: the PATH that was searched.
      problems: list of (path of a compiler, problem) of what was found.
    """
    found = ["{} {}".format(compiler, problem) for compiler, problem in problems] or ["nothing"]
    return "\n".join([
        "found no clang that compiles for BPF.",
        "  looked for: clang, clang-{} to clang-{} on PATH ({})".format(_MAX_CLANG_VERSION, MIN_CLANG_VERSION, path),
        "  found:      " + "\n              ".join(found),
        _INSTALL_CLANG,
    ])
