"""The provider that rules_go looks for on a target's metadata."""

PackageMetadataInfo = provider(
    doc = "What is known about the package that a target comes from. No target here provides it.",
    fields = {
        "files": "depset of File: everything that a reader of the metadata needs.",
        "metadata": "File: the metadata itself.",
    },
)
