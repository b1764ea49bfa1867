"""The repository with the BTF of the kernel that builds."""

_KERNEL_BTF = "/sys/kernel/btf/vmlinux"

_BUILD = """\
filegroup(
    name = "vmlinux",
    srcs = ["vmlinux.btf"],
    visibility = ["//visibility:public"],
)
"""

# Not fail(): a build of "//..." leaves out what is incompatible, and Bazel names
# the constraint to whoever asks for a target that needs the file.
_NO_BTF_BUILD = """\
constraint_setting(name = "kernel_btf")

constraint_value(
    name = "this_machine_has_no_sys_kernel_btf_vmlinux",
    constraint_setting = ":kernel_btf",
)

filegroup(
    name = "vmlinux",
    target_compatible_with = [":this_machine_has_no_sys_kernel_btf_vmlinux"],
    visibility = ["//visibility:public"],
)
"""

def _kernel_btf_repo_impl(rctx):
    if rctx.os.name == "linux" and rctx.path(_KERNEL_BTF).exists:
        rctx.symlink(_KERNEL_BTF, "vmlinux.btf")
        rctx.file("BUILD.bazel", _BUILD)
    else:
        rctx.file("BUILD.bazel", _NO_BTF_BUILD)

kernel_btf_repo = repository_rule(
    implementation = _kernel_btf_repo_impl,
    doc = "Has the target `vmlinux`: the BTF of the running kernel.",
    # The kernel can be another one when a server starts the next time.
    local = True,
    configure = True,
)
