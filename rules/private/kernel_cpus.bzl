"""The cpus that kernels for tests may have."""

# Go's name of each.
KERNEL_CPUS = {
    "arm64": "arm64",
    "riscv64": "riscv64",
    "s390x": "s390x",
    "x86_64": "amd64",
}

def kernel_cpu(name, cpu = ""):
    """Finds out the cpu of a kernel.

    Args:
      name: name of the kernel, or of its target.
      cpu: the cpu, when somebody has said it.

    Returns:
      One of KERNEL_CPUS: by the end of the name, such as `_arm64`, unless it was
      said. A name without such an end is of a kernel for x86_64.
    """
    if cpu:
        if cpu not in KERNEL_CPUS:
            fail("kernel {}: the cpu {} is none of {}".format(name, repr(cpu), ", ".join(KERNEL_CPUS)))
        return cpu
    for known in KERNEL_CPUS:
        if name.endswith("_" + known):
            return known
    return "x86_64"
