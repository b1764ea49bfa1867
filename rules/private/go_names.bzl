"""Names of Go packages."""

_KEYWORDS = [
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
]

_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"

def is_go_identifier(name):
    """Reports whether a Go file may call something by a name, as in `package name`.

    Go allows letters of all alphabets, this only those of ASCII: the name is
    also typed into BUILD files and file names.

    Args:
      name: the name.
    """
    if not name or name == "_" or name[0] in _DIGITS or name in _KEYWORDS:
        return False
    return all([c in _LETTERS or c in _DIGITS for c in name.elems()])

def _is_major_version(element):
    return element.startswith("v") and element[1:].isdigit()

def go_package_name(importpath, name):
    """Returns the package name that belongs to an import path.

    Args:
      importpath: the import path, may be empty.
      name: the target's name, which stands in for an empty import path.

    Returns:
      A valid package name, or None where only the user can tell.
    """
    elements = [e for e in (importpath or name).split("/") if e]
    if len(elements) > 1 and _is_major_version(elements[-1]):
        elements.pop()
    if not elements:
        return None

    package = "".join([c if c in _LETTERS or c in _DIGITS else "_" for c in elements[-1].elems()])
    if not package.strip("_"):
        return None
    if package[0] in _DIGITS:
        package = "_" + package
    if package in _KEYWORDS:
        package += "_"
    return package
