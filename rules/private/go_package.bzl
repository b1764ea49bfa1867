"""Go packages of generated source, for all rules that make one."""

load("@rules_go//go:def.bzl", "GoArchive", "GoInfo", "go_context", "new_go_info")
load(":go_names.bzl", "go_package_name", "is_go_package_name")

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
        a ring buffer: `types = ["event"]` for `struct event`. The object's BTF must have the type, and has it
        only when something in it uses the type: `struct event *unused __hidden;` is enough.
        """,
    ),
    "_go_context_data": attr.label(default = Label("@rules_go//:go_context_data")),
}

def package_name(ctx):
    """Returns the name of the Go package that a target makes, empty when there is none.

    Args:
      ctx: the context of a rule with GO_PACKAGE_ATTRS.
    """
    return ctx.attr.package or go_package_name(ctx.attr.importpath, ctx.label.name)

def package_problem(ctx):
    """Tells what is wrong with the name of the Go package.

    Args:
      ctx: the context of a rule with GO_PACKAGE_ATTRS.

    Returns:
      A message, or None when nothing is.
    """
    if ctx.attr.package and not is_go_package_name(ctx.attr.package):
        return "package = \"{}\" is not a name that a Go package can have".format(ctx.attr.package)
    if not package_name(ctx):
        return "no Go package name can be made of \"{}\": set the attribute package".format(
            ctx.attr.importpath or ctx.label.name,
        )
    return None

def generated_package(ctx, *, suffix, generate, deps = []):
    """Makes a Go package of one generated file.

    Args:
      ctx: the context of a go_rule with GO_PACKAGE_ATTRS.
      suffix: what comes after the target's name in the name of the file, which
          keeps it apart from the sources of the package that embeds it. Go leaves
          out files that end in _test.go, _linux.go and the like.
      generate: a function that declares the action which writes the File that
          it is given.
      deps: list of Target, packages that the file imports besides those of all.

    Returns:
      A struct with `providers`, GoInfo, GoArchive and DefaultInfo; and `groups`,
      the output groups of a Go package.
    """
    go = go_context(ctx, importpath = ctx.attr.importpath, maybe_needs_cc_toolchain = False)
    folder, slash, base = ctx.label.name.rpartition("/")
    if base[0] in "_.":
        # Go leaves out files that begin so.
        base = "x" + base
    source = go.declare_file(go, path = folder + slash + base + suffix + ".go")
    generate(source)
    go_info = new_go_info(
        go,
        # Not ctx.attr: new_go_info reads the attributes of go_library from it,
        # and deps, copts, ... mean other things here.
        struct(),
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
        ],
    )

# What a target with a Go package provides.
GO_PACKAGE_PROVIDERS = [GoArchive, GoInfo]
