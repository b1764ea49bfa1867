"""Module extension of rules_bpf.

Rules_bpf itself uses it to register the clang of the machine as the default
toolchain: see toolchain.bzl for how to register another. Users need it for the
types of the kernel that builds, `@bpf_kernel_btf//:vmlinux`, and nothing else.
"""

load("//rules/private:clang_repo.bzl", "bpf_clang_repo", "bpf_toolchains_repo")
load("//rules/private:kernel_btf_repo.bzl", "kernel_btf_repo")

def _bpf_impl(mctx):
    bpf_clang_repo(name = "bpf_clang")
    bpf_toolchains_repo(name = "bpf_toolchains", clang_repo = "bpf_clang")
    kernel_btf_repo(name = "bpf_kernel_btf")

    # The same repositories on every machine. What a machine has is found out
    # when they are fetched, so it must not be, and is not, in a lockfile.
    return mctx.extension_metadata(reproducible = True)

bpf = module_extension(
    implementation = _bpf_impl,
    doc = "Declares the repositories of the default toolchain, and `bpf_kernel_btf`.",
)
