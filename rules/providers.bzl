"""Providers of the BPF rules."""

BpfObjectInfo = provider(
    doc = "A BPF object file that a loader takes as it is.",
    fields = {
        "object": "File: the object, ELF of machine type BPF with BTF, ready to load.",
    },
)

BpfKernelInfo = provider(
    doc = "A kernel that tests run in.",
    fields = {
        "config": "File: the kernel's configuration, or None.",
        "image": "File: the kernel as a boot loader loads it. None when `problem` is set.",
        "modules": "depset of File: modules, and `modules.builtin`.",
        "name": "str: what people call the kernel, as `6.1`.",
        "problem": "str: why the kernel is not there, in words for the user. Empty when it is.",
    },
)
