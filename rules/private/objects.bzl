"""From C files to objects, for all rules that compile."""

load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("//rules:providers.bzl", "BpfLibraryInfo", "BpfObjectInfo")
load("//rules/private/actions:compile.bzl", "compile", "compile_problem")
load("//rules/private/actions:link.bzl", "link")
load(":expand.bzl", "expand_flags")
load(":target_cpu.bzl", "TargetCpuInfo")

# The attributes that say how to compile.
COMPILE_ATTRS = {
    "additional_compiler_inputs": attr.label_list(
        doc = """
        Files that `copts` and `defines` name, with `$(execpath LABEL)`, and that no source includes. A change of
        one compiles the sources again.
        """,
        allow_files = True,
    ),
    "copts": attr.string_list(
        doc = """
        Flags for clang, after those of the rule (`-g -O2 -mcpu=v3 -Wall`) and the toolchain. `$(execpath LABEL)`, or `$(location LABEL)`, is
        the path of a file in `hdrs` or `additional_compiler_inputs`, or of a source; `$(NAME)` is a make variable,
        of `--define` or a target in `toolchains`; `$$` is a dollar sign.
        """,
    ),
    "defines": attr.string_list(
        doc = "Macros for the compile, as `NAME` or `NAME=value`, with variables as in `copts`.",
    ),
    "deps": attr.label_list(
        doc = """
        Libraries to link, `bpf_library`, and targets with headers to include, as `cc_library`. Of the
        latter only the headers are used. A `cc_library` needs a C++ toolchain for the target platform: list
        the files in `hdrs` to build for another cpu without one.
        """,
        providers = [[BpfLibraryInfo], [CcInfo]],
    ),
    "hdrs": attr.label_list(
        doc = "Headers and other files that the sources include.",
        allow_files = True,
    ),
    "includes": attr.string_list(
        doc = """
        Directories, relative to this package, to search for headers. The repository's root, as in
        `#include "path/to/header.h"`, and the directories of the source and of this package are searched
        without being named.
        """,
    ),
    "_target_cpu": attr.label(
        default = Label("//rules/private:target_cpu"),
        providers = [TargetCpuInfo],
    ),
}

# The attributes that say which sections programs may be in.
SECTION_ATTRS = {
    "legacy_sections": attr.bool(
        doc = """
        Takes names that libbpf took by their prefix until 1.0, and that libbpf refuses today, for the form of
        `SEC()` that they begin with: `tc_ingress`, `socket1`, `xdp_entry`, `classifier/x`. The build warns of
        each and names the form to write.
        """,
    ),
    "sections": attr.string_list(
        doc = """
        Sections of your own that programs are in, by name; `*` stands for any characters. Such a section gives
        a program no type: Go code calls `SetType` before `Load`. Any other section that is no
        [form of `SEC()`](attach.md) is a misspelling. Variables in a section of your own, which no loader of
        this project reads, get no warning when an object is linked.
        """,
    ),
}

def section_args(ctx):
    """Returns the flags of bpfgen that say which sections programs may be in.

    Args:
      ctx: the context of a rule with SECTION_ATTRS.

    Returns:
      A list of strings.
    """
    args = ["-section=" + name for name in ctx.attr.sections]
    if ctx.attr.legacy_sections:
        args.append("-legacy-sections")
    return args

def _expand(ctx, values):
    """Puts paths and make variables into flags: see expand_flags."""
    return expand_flags(ctx, values, ctx.attr.hdrs + ctx.attr.additional_compiler_inputs + _sources(ctx))

def _sources(ctx):
    """Returns the targets that are compiled."""
    return ctx.attr.srcs if hasattr(ctx.attr, "srcs") else [ctx.attr.src]

def expanded_defines(ctx):
    """Returns the macros of a target, with the values of variables.

    Args:
      ctx: the context of a rule with COMPILE_ATTRS, for which compile_srcs_problem has returned
          None.

    Returns:
      A list of strings.
    """
    return _expand(ctx, ctx.attr.defines)[0]

def compile_srcs_problem(ctx, toolchain, copts = []):
    """Returns what keeps the sources of a target from being compiled.

    Args:
      ctx: the context of a rule with COMPILE_ATTRS.
      toolchain: BpfToolchainInfo.
      copts: flags for clang after those of the target, of all variants.

    Returns:
      A message, or None when nothing does.
    """
    for attribute, values in {"copts": ctx.attr.copts, "defines": ctx.attr.defines, "variants": copts}.items():
        _, problem = _expand(ctx, values)
        if problem:
            return "{}: {}".format(attribute, problem)
    return compile_problem(
        label = ctx.label,
        toolchain = toolchain,
        cpu = ctx.attr._target_cpu[TargetCpuInfo],
        includes = ctx.attr.includes,
    )

def _object_path(label, src, variant):
    """Returns the path of a source's object in the package, without its ending."""
    name = label.name + "/" + variant if variant else label.name
    package = label.package + "/" if label.package else ""
    path = src.short_path.removesuffix("." + src.extension)
    in_repository = path.removeprefix("../{}/".format(label.repo_name))
    if src.owner.repo_name == label.repo_name and in_repository.startswith(package):
        return "_bpf_objs/{}/{}".format(name, in_repository.removeprefix(package))

    # Another package may have a source of the same path. Of another repository,
    # short_path is ../repository/path.
    return "_bpf_objs_of_others/{}/{}".format(name, path.removeprefix("../"))

def compile_srcs(ctx, toolchain, srcs, variant = None, copts = []):
    """Compiles sources, each to an object of its own.

    Args:
      ctx: the context of a rule with COMPILE_ATTRS.
      toolchain: BpfToolchainInfo.
      srcs: list of File, the C files.
      variant: name of the variant of the target that the objects are of, where it has some.
      copts: flags for clang after those of the target.

    Returns:
      A list of File, the objects in the order of srcs.
    """
    objects = []
    copts, _ = _expand(ctx, ctx.attr.copts + copts)
    defines = expanded_defines(ctx)

    # Merged, so that a directory that several of them need has one flag.
    headers = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps if CcInfo in dep],
    ).compilation_context
    for src in srcs:
        object = ctx.actions.declare_file(_object_path(ctx.label, src, variant) + ".o")
        compile(
            ctx.actions,
            label = ctx.label,
            toolchain = toolchain,
            cpu = ctx.attr._target_cpu[TargetCpuInfo],
            src = src,
            hdrs = ctx.files.hdrs,
            additional_inputs = ctx.files.additional_compiler_inputs,
            headers = headers,
            copts = copts,
            defines = defines,
            includes = ctx.attr.includes,
            output = object,
        )
        objects.append(object)
    return objects

def link_order(objects, deps):
    """Puts objects and the libraries that they need into the order in which they are linked.

    A library comes after all that needs it, and once. The order is that of the
    BUILD files: it does not depend on what else is built.

    Args:
      objects: list of File.
      deps: list of Target, those with BpfLibraryInfo among them are libraries.

    Returns:
      A depset of File.
    """
    return depset(
        objects,
        order = "topological",
        transitive = [dep[BpfLibraryInfo].transitive_objects for dep in deps if BpfLibraryInfo in dep],
    )

def object_file(ctx, name = None, variant = None):
    """Declares a final object.

    Args:
      ctx: the target's context.
      name: path of the object in the package, without its ending. The target's
          name unless given.
      variant: name of the variant of the target that the object is, where it has some.

    Returns:
      File, the object.
    """
    path = name or ctx.label.name
    if variant:
        # In a directory of the variant: the file's name is the object's, which must not depend on it.
        directory, slash, base = path.rpartition("/")
        path = "{}{}{}_variants/{}/{}".format(directory, slash, base, variant, base)
    return ctx.actions.declare_file(path + ".bpf.o")

def objects_to_link(ctx, toolchain, srcs, variant = None, copts = []):
    """Compiles sources, and puts the libraries in deps behind their objects.

    Args:
      ctx: the context of a rule with COMPILE_ATTRS.
      toolchain: BpfToolchainInfo.
      srcs: list of File, the C files.
      variant: name of the variant of the target that the objects are of, where it has some.
      copts: flags for clang after those of the target.

    Returns:
      A depset of File, in the order in which they are linked.
    """
    return link_order(compile_srcs(ctx, toolchain, srcs, variant, copts), ctx.attr.deps)

def final_object(ctx, toolchain, srcs, section_args, name = None, allow_undefined = [], variant = None, copts = []):
    """Compiles sources and links them with the libraries in deps.

    A single object without libraries is linked too, for the linker to report what is
    undefined in it.

    Args:
      ctx: the context of a rule with COMPILE_ATTRS.
      toolchain: BpfToolchainInfo.
      srcs: list of File, the C files.
      section_args: list of string, the flags that say which sections programs may be in.
      name: path of the object in the package, without its ending. The target's
          name unless given.
      allow_undefined: list of patterns, of names that may stay undefined.
      variant: name of the variant of the target that the object is, where it has some.
      copts: flags for clang after those of the target.

    Returns:
      File, the object.
    """
    return link(
        ctx.actions,
        label = ctx.label,
        toolchain = toolchain,
        objects = objects_to_link(ctx, toolchain, srcs, variant, copts),
        output = object_file(ctx, name, variant),
        allow_undefined = allow_undefined,
        section_args = section_args,
    )

def all_objects(targets):
    """Returns the objects of targets, all variants where there are some.

    Args:
      targets: list of Target, which provide BpfObjectInfo.

    Returns:
      A list of File.
    """
    objects = []
    for target in targets:
        info = target[BpfObjectInfo]
        objects += getattr(info, "variants", {}).values() or [info.object]
    return objects
