"""Public rules and providers. Everything outside this file, extensions.bzl and
toolchain.bzl is private and may change without notice.
"""

load("//rules:providers.bzl", _BpfObjectInfo = "BpfObjectInfo")
load("//rules:toolchain.bzl", _bpf_toolchain = "bpf_toolchain")
load("//rules/private:bpf_skeleton.bzl", _bpf_skeleton = "bpf_skeleton")
load("//rules/private:bpf_vmlinux_header.bzl", _bpf_vmlinux_header = "bpf_vmlinux_header")

# The Go package of a BPF object.
bpf_skeleton = _bpf_skeleton

# The C header of a kernel's types.
bpf_vmlinux_header = _bpf_vmlinux_header

# A clang with what it needs to compile for BPF.
bpf_toolchain = _bpf_toolchain

# What a target that makes a BPF object provides.
BpfObjectInfo = _BpfObjectInfo
