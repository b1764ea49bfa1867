"""Go packages of generated source, for all rules that make one."""

load("@rules_go//go:def.bzl", "GoArchive", "GoInfo", "go_context", "new_go_info")
load(":go_names.bzl", "go_package_name", "is_go_identifier")

# The attributes of a Go package.
GO_PACKAGE_ATTRS = {
    # rules_go's aspect for editors walks the attributes deps, embed,
    # compiler(s) and library, and nothing else; by another name, gopls would
    # not find what the generated file imports.
    "compiler": attr.label(
        doc = "The Go packages that generated code imports. Not meant to be set.",
        default = Label("//rules/private:skeleton_imports"),
        providers = [GoInfo],
    ),
    "importpath": attr.string(
        doc = "The path by which Go code imports the package. May be left out for a package that is only embedded.",
    ),
    "package": attr.string(
        doc = """
        The name of the Go package. By default the last element of `importpath`, or of the target's name,
        with `_` for what Go does not allow in names.
        """,
    ),
    "types": attr.string_list(
        doc = """
        C types to declare in Go although no map and no global variable has them, such as the records of
        a ring buffer: `types = ["event"]` or `types = ["struct event"]`. The object's BTF must have the type, and
        has it only when something in it uses the type: `struct event *unused __hidden;` is enough.
        """,
    ),
    "_go_context_data": attr.label(default = Label("@rules_go//:go_context_data")),
}

def package_name(ctx, default = None):
    """Returns the name of the Go package that a target makes, empty when there is none.

    Args:
      ctx: the context of a rule with GO_PACKAGE_ATTRS.
      default: path whose last element names the package where no attribute does,
          by default the target's name.
    """
    return ctx.attr.package or go_package_name(ctx.attr.importpath, default or ctx.label.name)

def package_problem(ctx, default = None):
    """Returns what is wrong with the name of the Go package.

    Args:
      ctx: the context of a rule with GO_PACKAGE_ATTRS.
      default: see package_name.

    Returns:
      A message, or None when nothing is.
    """
    if ctx.attr.package and not is_go_identifier(ctx.attr.package):
        return "package = \"{}\" is not a name that a Go package can have".format(ctx.attr.package)
    if not package_name(ctx, default):
        return "no Go package name can be made of \"{}\": set the attribute package".format(
            ctx.attr.importpath or default or ctx.label.name,
        )
    return None

def source_path(name, suffix):
    """Makes the path of a Go file from the name of a target.

    Args:
      name: the target's name, or what stands for it.
      suffix: what comes after it, which keeps the file apart from the sources of
          the package that embeds it. Go leaves out files that end in _test.go,
          _linux.go and the like.

    Returns:
      The path, relative to what the name is relative to.
    """
    directory, slash, base = name.rpartition("/")
    if base[0] in "_.":
        # Go ignores files whose names begin so.
        base = "x" + base
    return directory + slash + base + suffix + ".go"

def generated_package(ctx, *, source, generate, embedsrcs = [], deps = []):
    """Makes a Go package of one generated file.

    Args:
      ctx: the context of a go_rule with GO_PACKAGE_ATTRS.
      source: File, the Go file.
      generate: a function that declares the action which writes it.
      embedsrcs: list of File, what the Go file embeds.
      deps: list of Target, packages that the file imports besides those of all.

    Returns:
      A struct with `providers`, GoInfo, GoArchive, DefaultInfo and InstrumentedFilesInfo;
      and `groups`, the output groups of a Go package.
    """
    go = go_context(ctx, importpath = ctx.attr.importpath, maybe_needs_cc_toolchain = False)
    generate(source)
    go_info = new_go_info(
        go,
        # Not ctx.attr: new_go_info reads the attributes of go_library from it,
        # and deps, copts, ... mean other things here.
        struct(embedsrcs = [struct(files = depset(embedsrcs))]),
        generated_srcs = [source],
        deps = ctx.attr.compiler[GoInfo].deps + [dep[GoArchive] for dep in deps],
        coverage_instrumented = False,
    )
    archive = go.archive(go, go_info)
    return struct(
        groups = {
            "compilation_outputs": [archive.data.file],
            "go_srcs": [source],
        },
        providers = [
            go_info,
            archive,
            DefaultInfo(files = depset([archive.data.export_file])),
            # Empty: neither the generated file nor BPF code is instrumented. Without this
            # provider Bazel would collect the files of all dependencies, C headers too.
            coverage_common.instrumented_files_info(ctx),
        ],
    )

# What a target with a Go package provides.
GO_PACKAGE_PROVIDERS = [GoArchive, GoInfo]
