"""What the rules with tests in kernels that QEMU boots have in common."""

load("@platforms//host:constraints.bzl", "HOST_CONSTRAINTS")
load("//rules:providers.bzl", "BpfKernelInfo")
load("//rules/private:kernel_cpus.bzl", "KERNEL_CPUS", "kernel_cpu")
load("//rules/private/actions:modules.bzl", "pack_modules")

_PLATFORMS_OPTION = "//command_line_option:platforms"

_FEATURES_OPTION = "//command_line_option:features"

# The feature of what is built for a machine in QEMU whose cpu is not the host's. A build
# setting of Starlark would reach the tools too, and Bazel would build them once more: what
# is built to run in the build itself has features of its own.
FOREIGN_VM = "bpf_foreign_vm"

# By the constraint value of each cpu.
_CONSTRAINTS = {
    Label("@platforms//cpu:aarch64"): "arm64",
    Label("@platforms//cpu:riscv64"): "riscv64",
    Label("@platforms//cpu:s390x"): "s390x",
    Label("@platforms//cpu:x86_64"): "x86_64",
}

# The cpu of the target platform, for the attribute target_cpu of VM_ATTRS. The
# transition cannot ask a platform for its constraints.
TARGET_CPU = select(_CONSTRAINTS | {"//conditions:default": ""})

def _is_host(cpu):
    """Reports whether Bazel itself runs on the cpu."""
    constraints = {label.name: name for label, name in _CONSTRAINTS.items()}
    constraints["arm64"] = "arm64"
    return cpu in [constraints.get(constraint.split(":")[-1]) for constraint in HOST_CONSTRAINTS]

def _vm_transition_impl(settings, attr):
    if not attr.cpu:
        return settings
    changed = dict(settings)

    # Users' own platforms stay as they are where their cpu is the kernel's.
    if attr.platform:
        changed[_PLATFORMS_OPTION] = [Label(attr.platform)]
    elif attr.cpu != attr.target_cpu:
        changed[_PLATFORMS_OPTION] = [Label("@rules_go//go/toolchain:linux_" + KERNEL_CPUS[attr.cpu])]
    features = [feature for feature in settings[_FEATURES_OPTION] if feature != FOREIGN_VM]
    changed[_FEATURES_OPTION] = features + ([] if _is_host(attr.cpu) else [FOREIGN_VM])
    return changed

# For attributes of rules with VM_ATTRS: what runs in the machine is built for the
# cpu of its kernel. Without a kernel nothing changes.
vm_transition = transition(
    implementation = _vm_transition_impl,
    inputs = [_PLATFORMS_OPTION, _FEATURES_OPTION],
    outputs = [_PLATFORMS_OPTION, _FEATURES_OPTION],
)

# Attributes of a rule whose tests run in a kernel. The macro over it sets the
# first ones from what vm_kernels returns.
VM_ATTRS = {
    "cpu": attr.string(
        doc = "The cpu of the kernel: a transition cannot ask the kernel itself.",
        values = [""] + KERNEL_CPUS.keys(),
    ),
    "cpu_count": attr.int(doc = "How many cpus the machine has. 0 is for the default."),
    "kernel": attr.label(
        doc = "The kernel to boot.",
        providers = [BpfKernelInfo],
    ),
    "kernel_args": attr.string_list(doc = "What comes last on the kernel's command line."),
    "memory_mb": attr.int(doc = "Memory of the machine. 0 is for the default."),
    "modules": attr.string_list(doc = "Names of the kernel modules to load."),
    "platform": attr.string(doc = "Label of the platform to build for, in its canonical form. By default one of rules_go's."),
    "target_cpu": attr.string(doc = "TARGET_CPU."),
    "_allowlist_function_transition": attr.label(
        default = Label("@bazel_tools//tools/allowlists/function_transition_allowlist"),
    ),
    # It runs where tests run.
    "_bpfvm": attr.label(
        default = Label("//rules/private:bpfvm"),
        executable = True,
        cfg = "exec",
    ),
    "_guest": attr.label(
        default = Label("//tool/bpfvm/guest"),
        allow_single_file = True,
        cfg = vm_transition,
    ),
    "_modules": attr.label(
        default = Label("//rules/private:modules"),
        executable = True,
        cfg = "exec",
    ),
    "_qemu": attr.label_list(
        default = [Label("@bpf_qemu//:{}.json".format(cpu)) for cpu in KERNEL_CPUS],
        allow_files = True,
    ),
}

def vm_kernels(name, kernels, platforms):
    """Returns the kernels of a test.

    For macros: a rule's transition is applied before its dependencies are known.

    Args:
      name: name of the test.
      kernels: list of labels of kernels, or a dict of their cpus by their labels.
      platforms: dict of labels of platforms by the names of cpus.

    Returns:
      A list of structs with `test`, the name of the kernel's test; `tags` of it; and
      `attrs`, a dict of attributes of VM_ATTRS.
    """
    for cpu in platforms:
        if cpu not in KERNEL_CPUS:
            fail("{}: platforms has {}, and the cpus of kernels are {}".format(name, repr(cpu), ", ".join(KERNEL_CPUS)))
    cpus = kernels if type(kernels) == type({}) else {}
    if not cpus and len({kernel: None for kernel in kernels}) != len(kernels):
        fail("{}: a kernel is in kernels twice".format(name))
    found = {}
    for kernel in kernels:
        kernel_name = native.package_relative_label(kernel).name
        cpu = kernel_cpu(kernel_name, cpus.get(kernel, ""))
        test = name + "_" + "".join([c if c.isalnum() else "_" for c in kernel_name.elems()])
        if test in found:
            fail("{}: two of the kernels have the name {}".format(name, kernel_name))
        found[test] = struct(
            test = test,
            tags = ["kernel-" + kernel_name, "cpu-" + cpu],
            attrs = {
                "cpu": cpu,
                "kernel": kernel,
                "platform": str(native.package_relative_label(platforms[cpu])) if cpu in platforms else "",
                "target_cpu": TARGET_CPU,
            },
        )
    return found.values()

def rlocation_path(ctx, file):
    """Returns the path of a file among the runfiles.

    Args:
      ctx: the rule's context.
      file: a File.
    """
    return _rlocation_path(ctx.workspace_name, file)

def _rlocation_path(workspace, file):
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return workspace + "/" + file.short_path

def _runfiles_list(ctx, program, runfiles):
    """Returns a file with the paths of all files that the machine has."""

    # The functions below run after ctx has become unusable.
    workspace = ctx.workspace_name
    list = ctx.actions.declare_file(ctx.label.name + ".runfiles_list")
    args = ctx.actions.args()
    args.set_param_file_format("multiline")
    args.add_all(
        depset([program], transitive = [runfiles.files]),
        map_each = lambda file: _rlocation_path(workspace, file),
        allow_closure = True,
        expand_directories = False,
    )
    args.add_all(runfiles.symlinks, map_each = lambda link: workspace + "/" + link.path, allow_closure = True)
    args.add_all(runfiles.root_symlinks, map_each = lambda link: link.path, allow_closure = True)
    args.add_all(runfiles.empty_filenames, map_each = lambda path: workspace + "/" + path, allow_closure = True)
    ctx.actions.write(list, args)
    return list

def vm_config(ctx, *, program, runfiles):
    """Describes to bpfvm what runs in a kernel.

    Args:
      ctx: context of a rule with VM_ATTRS, of which `kernel` is set.
      program: File, the executable that runs, built with vm_transition.
      runfiles: the runfiles that it has.

    Returns:
      A dict for the configuration of bpfvm, and a list of files that bpfvm needs
      among its runfiles, beside those that were given.
    """
    kernel = ctx.attr.kernel[BpfKernelInfo]
    if kernel.cpu != ctx.attr.cpu:
        fail("{label}: the kernel {kernel} is for {cpu}, and its name says {named}: write kernels as a dict, with {kernel}: \"{cpu}\"".format(
            cpu = kernel.cpu,
            kernel = repr(str(ctx.attr.kernel.label)),
            label = ctx.label,
            named = ctx.attr.cpu,
        ))
    config = {
        "kernel": {"name": kernel.name, "problem": kernel.problem},
        "test": rlocation_path(ctx, program),
    }
    if kernel.problem:
        return config, []
    qemu = [file for file in ctx.files._qemu if file.basename == kernel.cpu + ".json"][0]
    list = _runfiles_list(ctx, program, runfiles)
    config["cpu_count"] = ctx.attr.cpu_count
    config["files"] = rlocation_path(ctx, list)
    config["guest"] = rlocation_path(ctx, ctx.file._guest)
    config["kernel"]["image"] = rlocation_path(ctx, kernel.image)
    config["kernel_args"] = ctx.attr.kernel_args
    config["memory_mb"] = ctx.attr.memory_mb
    config["qemu"] = rlocation_path(ctx, qemu)
    files = [list, ctx.file._guest, qemu, kernel.image]
    if kernel.config:
        config["kernel"]["config"] = rlocation_path(ctx, kernel.config)
        files.append(kernel.config)
    if ctx.attr.modules:
        modules = ctx.actions.declare_file(ctx.label.name + ".modules.cpio")
        pack_modules(
            ctx.actions,
            label = ctx.label,
            packer = ctx.attr._modules[DefaultInfo].files_to_run,
            kernel = kernel,
            modules = ctx.attr.modules,
            output = modules,
        )
        config["modules"] = rlocation_path(ctx, modules)
        files.append(modules)
    return config, files

def bpfvm_executable(ctx, *, bpfvm, config, runfiles):
    """Makes bpfvm the executable of a rule.

    Args:
      ctx: the rule's context.
      bpfvm: the target of bpfvm, an attribute of the rule.
      config: dict, what bpfvm is to do.
      runfiles: what it needs for that.

    Returns:
      DefaultInfo.
    """
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = bpfvm[DefaultInfo].files_to_run.executable, is_executable = True)

    # Beside the executable, which finds it by its own name.
    config_file = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(config_file, json.encode_indent(config))
    return DefaultInfo(
        executable = executable,
        runfiles = ctx.runfiles([config_file]).merge_all([
            runfiles,
            bpfvm[DefaultInfo].default_runfiles,
        ]),
    )
