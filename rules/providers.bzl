"""Providers of the BPF rules."""

BpfObjectInfo = provider(
    doc = "A BPF object file that a loader takes as it is.",
    fields = {
        "object": "File: the object, ELF of machine type BPF with BTF, ready to load.",
    },
)
