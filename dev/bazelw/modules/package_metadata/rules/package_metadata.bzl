"""The macro that Gazelle calls in the repository of every Go module."""

def package_metadata(name, visibility = None, **_kwargs):
    """Declares a target without metadata, to be the repository's default.

    Args:
      name: name of the target.
      visibility: visibility of the target.
      **_kwargs: the metadata, which is not kept.
    """
    native.filegroup(
        name = name,
        # The repository's default is this very target: leaving the attribute
        # out would make the target depend on itself.
        applicable_licenses = [],
        visibility = visibility,
    )
