"""Module extension of rules_bpf.

Only rules_bpf itself uses it, to register the clang of the machine as the
default toolchain. Users need not: see toolchain.bzl for how to register another.
"""

load("//rules/private:clang_repo.bzl", "bpf_clang_repo", "bpf_toolchains_repo")

def _bpf_impl(mctx):
    bpf_clang_repo(name = "bpf_clang")
    bpf_toolchains_repo(name = "bpf_toolchains", clang_repo = "bpf_clang")

    # The same repositories on every machine. What a machine has is found out
    # when they are fetched, so it must not be, and is not, in a lockfile.
    return mctx.extension_metadata(reproducible = True)

bpf = module_extension(
    implementation = _bpf_impl,
    doc = "Declares the repositories of the default toolchain.",
)
