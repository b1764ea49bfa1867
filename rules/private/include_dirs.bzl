"""Directories that the C compiler searches for headers."""

def include_dir(path, witness = None):
    """Describes a directory.

    With path mapping, Bazel rewrites the configuration's part of the paths of
    files (`bazel-out/k8-fastbuild/bin`), but leaves strings as they are. The
    directory of generated headers is therefore derived from a file below the same root.

    Args:
      path: the directory. Relative to the witness's root when there is one.
      witness: a generated file, when the directory is for generated headers.

    Returns:
      A struct for `add_include_dirs`.
    """
    return struct(path = path, witness = witness)

def package_dirs(label, paths, output):
    """Returns directories of a package, once for its sources and once for its outputs.

    Args:
      label: a target in the package.
      paths: directories relative to the package.
      output: a file that a target of the package makes.

    Returns:
      A list for `add_include_dirs`.
    """
    dirs = []
    for path in paths:
        path = normalize("/".join([p for p in [label.workspace_root, label.package, path] if p]))
        dirs.append(include_dir(path))
        dirs.append(include_dir(path, output))
    return dirs

def normalize(path):
    """Resolves `.` and `..` in a relative path, as far as they can be.

    Args:
      path: the path.

    Returns:
      The path, `.` for the directory it is relative to. Begins with `..` when it
      leads out of that directory.
    """
    parts = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."

def context_dirs(context_paths, headers):
    """Describes the directories that a CompilationContext lists.

    Args:
      context_paths: the directories, as paths in the execution root.
      headers: list of File, the headers of the same context.

    Returns:
      A list for `add_include_dirs`. Output directories in which none of the headers
      can be are left out.
    """
    witnesses = {h.root.path: h for h in headers if not h.is_source}
    dirs = []
    for path in context_paths:
        if not path.startswith("bazel-out/"):
            dirs.append(include_dir(path))
            continue
        for root, witness in witnesses.items():
            if path == root:
                dirs.append(include_dir(".", witness))
            elif path.startswith(root + "/"):
                dirs.append(include_dir(path[len(root) + 1:], witness))
    return dirs

def _root(file):
    return file.root.path

def add_include_dirs(args, flag, dirs):
    """Adds a flag for each directory, once.

    Args:
      args: the Args to add to.
      flag: `-I`, `-iquote` or `-isystem`.
      dirs: list of include_dir.
    """
    seen = {}
    for dir in dirs:
        key = (dir.path, dir.witness.root.path if dir.witness else None)
        if key in seen:
            continue
        seen[key] = None
        if not dir.witness:
            args.add(dir.path, format = flag + "%s")
            continue
        suffix = "" if dir.path == "." else "/" + dir.path.replace("%", "%%")
        args.add_all([dir.witness], map_each = _root, format_each = flag + "%s" + suffix)

def add_prefix_maps(args, witnesses):
    """Keeps the configuration's part of paths out of what the compiler writes.

    Args:
      args: the Args to add to.
      witnesses: generated files, at least one of each root.
    """
    args.add_all(witnesses, map_each = _root, format_each = "-ffile-prefix-map=%s/=", uniquify = True)
