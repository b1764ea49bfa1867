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
      cpu: the cpu, empty to take it from the name.

    Returns:
      One of KERNEL_CPUS: `cpu`, or what the name ends in, such as `_arm64`. A name
      without such an end is of a kernel for x86_64.
    """
    if cpu:
        if cpu not in KERNEL_CPUS:
            fail("kernel {}: unknown cpu {}: give one of {}".format(name, repr(cpu), ", ".join(KERNEL_CPUS)))
        return cpu
    for known in KERNEL_CPUS:
        if name.endswith("_" + known):
            return known
    return "x86_64"
