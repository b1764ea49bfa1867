"""Providers of the BPF rules."""

BpfLibraryInfo = provider(
    doc = """BPF objects that are linked into final objects.

The headers of the library are in its CcInfo.
""",
    fields = {
        "objects": "list of File: what the library itself compiles, one object of each source, in the order of `srcs`.",
        "transitive_objects": "depset of File: `objects` and those of the libraries that it needs, in the order in which they are linked.",
    },
)

BpfObjectInfo = provider(
    doc = "A BPF object file that a loader takes as it is.",
    fields = {
        "object": "File: the object, ELF of machine type BPF with BTF, ready to load. The first one where there are variants.",
        "variants": "dict of File by str: the objects of all variants by their names, empty where there is one object.",
    },
)

BpfSubskeletonInfo = provider(
    doc = "The Go package of a BPF library.",
    fields = {
        "importpath": "str: the path by which Go code imports the package.",
        "objects": "list of File: the objects of the library.",
        "package": "str: the name of the package.",
    },
)

BpfTypesInfo = provider(
    doc = "The Go package of C types that several objects share.",
    fields = {
        "importpath": "str: the path by which Go code imports the package.",
        "names": "File: the names of the types, for skeletons.",
    },
)

BpfKernelInfo = provider(
    doc = "A kernel that tests run in.",
    fields = {
        "config": "File: the kernel's configuration, or None.",
        "cpu": "str: the cpu that the kernel is for: `arm64`, `riscv64`, `s390x` or `x86_64`.",
        "image": "File: the kernel as a boot loader loads it. None when `problem` is set.",
        "modules": "depset of File: modules, and `modules.builtin`.",
        "name": "str: what people call the kernel, as `6.1`.",
        "problem": "str: why the kernel is not there, in words for the user. Empty when it is.",
    },
)
