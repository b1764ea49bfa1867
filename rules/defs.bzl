"""Public rules and providers. Everything outside this file, extensions.bzl and
toolchain.bzl is private and may change without notice.
"""

load(
    "//rules:providers.bzl",
    _BpfKernelInfo = "BpfKernelInfo",
    _BpfLibraryInfo = "BpfLibraryInfo",
    _BpfObjectInfo = "BpfObjectInfo",
    _BpfSubskeletonInfo = "BpfSubskeletonInfo",
    _BpfTypesInfo = "BpfTypesInfo",
)
load("//rules:toolchain.bzl", _bpf_toolchain = "bpf_toolchain")
load("//rules/private:bpf2go.bzl", _bpf2go = "bpf2go")
load("//rules/private:bpf_kernel.bzl", _bpf_kernel = "bpf_kernel")
load("//rules/private:bpf_library.bzl", _bpf_library = "bpf_library")
load("//rules/private:bpf_min_btf.bzl", _bpf_min_btf = "bpf_min_btf")
load("//rules/private:bpf_object.bzl", _bpf_object = "bpf_object")
load("//rules/private:bpf_skeleton.bzl", _bpf_skeleton = "bpf_skeleton")
load("//rules/private:bpf_subskeleton.bzl", _bpf_subskeleton = "bpf_subskeleton")
load("//rules/private:bpf_test.bzl", _bpf_test = "bpf_test")
load("//rules/private:bpf_types.bzl", _bpf_types = "bpf_types")
load("//rules/private:bpf_verifier_test.bzl", _bpf_verifier_test = "bpf_verifier_test")
load("//rules/private:bpf_vmlinux_header.bzl", _bpf_vmlinux_header = "bpf_vmlinux_header")

# The Go package of a BPF object.
bpf_skeleton = _bpf_skeleton

# BPF code that final objects share.
bpf_library = _bpf_library

# A final BPF object, for any loader.
bpf_object = _bpf_object

# The Go package of a BPF library.
bpf_subskeleton = _bpf_subskeleton

# The Go package of the C types that several objects share.
bpf_types = _bpf_types

# The Go file that cilium/ebpf's generator writes of a BPF object.
bpf2go = _bpf2go

# A Go test that uses the kernel: this machine's, or others in QEMU.
bpf_test = _bpf_test

# What the verifier of kernels makes of BPF objects.
bpf_verifier_test = _bpf_verifier_test

# A kernel that tests run in.
bpf_kernel = _bpf_kernel

# The C header of a kernel's types.
bpf_vmlinux_header = _bpf_vmlinux_header

# What objects need of the types of kernels without BTF.
bpf_min_btf = _bpf_min_btf

# A clang with what it needs to compile for BPF.
bpf_toolchain = _bpf_toolchain

# What targets with BPF objects provide.
BpfLibraryInfo = _BpfLibraryInfo
BpfObjectInfo = _BpfObjectInfo
BpfSubskeletonInfo = _BpfSubskeletonInfo
BpfTypesInfo = _BpfTypesInfo

# What a kernel for tests provides.
BpfKernelInfo = _BpfKernelInfo
