"""Tests of //rules/private:clang.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:clang.bzl", "clang_names", "clang_problem", "no_clang_message", "parse_clang_version")

_DEBIAN = """\
Debian clang version 14.0.6
Target: x86_64-pc-linux-gnu
Thread model: posix
InstalledDir: /usr/bin
"""

_UBUNTU = "Ubuntu clang version 18.1.3 (1ubuntu1)\nTarget: x86_64-pc-linux-gnu\n"

_PLAIN = "clang version 21.1.8\n"

_GIT = "clang version 22.0.0git (url 0123abc)\n"

_SHORT = "clang version 17-rc1\n"

_OLD = "clang version 13.0.1\n"

_APPLE = "Apple clang version 15.0.0 (clang-1500.3.9.4)\nTarget: arm64-apple-darwin23.4.0\n"

_GCC = "gcc (Debian 12.2.0-14) 12.2.0\n"

_TARGETS = """\

  Registered Targets:
    avr        - Atmel AVR Microcontroller
    bpf        - BPF (host endian)
    bpfeb      - BPF (big endian)
    bpfel      - BPF (little endian)
    x86-64     - 64-bit X86: EM64T and AMD64
"""

_APPLE_TARGETS = """\
  Registered Targets:
    aarch64    - AArch64 (little endian)
    x86-64     - 64-bit X86: EM64T and AMD64
"""

def _version_test_impl(ctx):
    env = unittest.begin(ctx)
    for text, want in [
        (_DEBIAN, "14.0.6"),
        (_UBUNTU, "18.1.3"),
        (_PLAIN, "21.1.8"),
        (_GIT, "22.0.0git"),
        (_APPLE, "15.0.0"),
        (_GCC, None),
        ("", None),
        ("clang version", None),
    ]:
        asserts.equals(env, want, parse_clang_version(text), text)
    return unittest.end(env)

_version_test = unittest.make(_version_test_impl)

def _problem_test_impl(ctx):
    env = unittest.begin(ctx)
    for text in [_DEBIAN, _UBUNTU, _PLAIN, _GIT, _SHORT]:
        asserts.equals(env, None, clang_problem(text, _TARGETS), text)
    for text, targets, want in [
        (_OLD, _TARGETS, "is clang 13.0.1, and 14 or newer is needed"),
        (_APPLE, _APPLE_TARGETS, "is clang 15.0.0 without the BPF target"),
        (_PLAIN, "", "is clang 21.1.8 without the BPF target"),
        (_GCC, _TARGETS, "is not a clang"),
        ("", "", "is not a clang"),
        ("clang version main\n", _TARGETS, "is clang main, and 14 or newer is needed"),
    ]:
        asserts.equals(env, want, clang_problem(text, targets), text)
    return unittest.end(env)

_problem_test = unittest.make(_problem_test_impl)

def _names_test_impl(ctx):
    env = unittest.begin(ctx)
    names = clang_names()
    asserts.equals(env, "clang", names[0])
    asserts.equals(env, "clang-14", names[-1])
    asserts.true(env, names.index("clang-21") < names.index("clang-20"))
    return unittest.end(env)

_names_test = unittest.make(_names_test_impl)

def _message_test_impl(ctx):
    env = unittest.begin(ctx)
    message = no_clang_message("/usr/bin:/bin", [])
    for part in ["on PATH (/usr/bin:/bin)", "found:      nothing", "apt install clang", "bpf_toolchain", "register_toolchains"]:
        asserts.true(env, part in message, part)

    message = no_clang_message("/usr/bin", [("/usr/bin/clang", "is too old"), ("/usr/bin/clang-15", "is broken")])
    asserts.true(env, "/usr/bin/clang is too old\n" in message, message)
    asserts.true(env, "/usr/bin/clang-15 is broken\n" in message, message)
    asserts.false(env, "nothing" in message, message)
    return unittest.end(env)

_message_test = unittest.make(_message_test_impl)

def clang_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(name, _version_test, _problem_test, _names_test, _message_test)
