"""The macro that Gazelle calls in the repository of every Go module."""

def package_metadata(name, purl = None, attributes = [], visibility = None, **_kwargs):
    """Declares a target without metadata, to be the repository's default.

    Args:
      name: name of the target.
      purl: where the package comes from; not kept.
      attributes: further metadata; not kept.
      visibility: visibility of the target.
    """
    native.filegroup(
        name = name,
        # The repository's default is this very target: leaving the attribute
        # out would make the target depend on itself.
        applicable_licenses = [],
        visibility = visibility,
    )
