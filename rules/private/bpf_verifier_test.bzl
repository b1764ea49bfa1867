"""bpf_verifier_test: what the verifier makes of objects, without any Go."""

load("//rules:providers.bzl", "BpfObjectInfo")
load(":bpf_test.bzl", "KERNEL_TEST_ATTRS", "kernel_tests")
load(":objects.bzl", "all_objects")

# bpf_verifier_test has an argument of this name.
_native = native

# What a file of a preset is in the rule's attribute, in place of JSON.
_FILE = "file:"

def _path(file):
    """Returns the path of a file from the directory that tests start in."""
    return file.short_path

def _objects(ctx, targets):
    """Returns the objects of targets: those with BpfObjectInfo, and files."""
    objects = []
    for target in targets:
        if BpfObjectInfo in target:
            objects += all_objects([target])
            continue
        files = target[DefaultInfo].files.to_list()
        if not files:
            fail("{}: {} has no files: list objects, or targets with BpfObjectInfo".format(ctx.label, target.label))
        for file in files:
            if file.extension not in ["o", "image"]:
                fail("{}: {} is not an object: list files whose names end in .o, or targets with BpfObjectInfo".format(ctx.label, file.short_path))
        objects += files

    # Targets may have an object in common, as a `bpf_skeleton` and the `bpf_object` that is its src.
    return depset(objects).to_list()

def _bpf_verify_impl(ctx):
    objects = _objects(ctx, ctx.attr.objects)
    targets = dict(ctx.attr.table_targets)
    files = objects + ctx.files.preset_files
    for program, target in ctx.attr.program_targets.items():
        index, _, rest = target.partition(":")
        of = _objects(ctx, [ctx.attr.target_objects[int(index)]])
        if len(of) != 1:
            fail("{}: targets: {}: {} has {} objects: name a target with one".format(ctx.label, program, ctx.attr.target_objects[int(index)].label, len(of)))
        files += of
        targets[program] = _path(of[0]) + ":" + rest
    presets = []
    for name, text in ctx.attr.presets.items():
        if text.startswith(_FILE):
            presets.append({"file": _path(ctx.files.preset_files[int(text.removeprefix(_FILE))]), "name": name})
        else:
            presets.append({"name": name, "text": text})
    if ctx.file.kernel_types:
        files.append(ctx.file.kernel_types)
    config = {
        "kernel_types": _path(ctx.file.kernel_types) if ctx.file.kernel_types else "",
        "limits": ctx.attr.limits,
        "max_entries": ctx.attr.max_entries,
        "may_fail": ctx.attr.may_fail,
        "objects": [_path(file) for file in objects],
        "presets": presets,
        "programs": ctx.attr.programs,
        "sections": ctx.attr.sections,
        "targets": targets,
    }
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = ctx.executable._bpfverify, is_executable = True)

    # Beside the executable, which finds it by its own name.
    config_file = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(config_file, json.encode_indent(config))
    return [
        DefaultInfo(
            executable = executable,
            runfiles = ctx.runfiles([config_file] + files).merge(ctx.attr._bpfverify[DefaultInfo].default_runfiles),
        ),
        RunEnvironmentInfo(),
    ]

_bpf_verify = rule(
    implementation = _bpf_verify_impl,
    doc = "An executable that loads the programs of objects and reports what the verifier makes of them.",
    attrs = {
        "kernel_types": attr.label(allow_single_file = True),
        "limits": attr.string_list_dict(),
        "max_entries": attr.int(),
        "may_fail": attr.string_list_dict(),
        "objects": attr.label_list(
            mandatory = True,
            allow_empty = False,
            allow_files = True,
        ),
        "preset_files": attr.label_list(allow_files = True),
        "presets": attr.string_dict(),
        "program_targets": attr.string_dict(),
        "programs": attr.string_list(),
        "sections": attr.string_dict(),
        "table_targets": attr.string_dict(),
        "target_objects": attr.label_list(allow_files = True),
        "_bpfverify": attr.label(
            default = Label("//tool/bpfverify"),
            executable = True,
            cfg = "target",
        ),
    },
    executable = True,
)

def _split_targets(name, targets):
    """Splits targets into (those of tables, those of programs by indices of labels, labels)."""
    tables, programs, labels = {}, {}, []
    for program, target in targets.items():
        label, space, rest = target.partition(" ")
        if not space:
            if "." not in target or ":" in target or "/" in target:
                fail("{}: targets: {}: want \"LABEL PROGRAM:FUNCTION\", or \"TYPE.MEMBER\" for a program of struct_ops".format(name, program))
            tables[program] = target
            continue
        if label not in labels:
            labels.append(label)
        programs[program] = "{}:{}".format(labels.index(label), rest)
    return tables, programs, labels

def _split_presets(presets):
    """Splits presets into (dict of JSON or an index of a file by name, labels of files)."""
    texts, files = {}, []
    for preset, value in presets.items():
        if type(value) == "dict":
            texts[preset] = json.encode(value)
        else:
            texts[preset] = _FILE + str(len(files))
            files.append(value)
    return texts, files

def bpf_verifier_test(
        name,
        objects,
        kernels = [],
        native = None,
        limits = {},
        may_fail = {},
        presets = {},
        programs = [],
        sections = {},
        targets = {},
        max_entries = 65536,
        kernel_types = None,
        kernel_args = [],
        modules = [],
        memory_mb = 0,
        cpu_count = 0,
        platforms = {},
        tags = [],
        visibility = None,
        **kwargs):
    """Loads each program of BPF objects into kernels, and reports what the verifier makes of it.

    It needs none of your Go code. Each program is loaded by itself, with all others of its
    object left out, and fails the test when the kernel rejects it, or when it takes more than
    its limits. A program for which a kernel lacks a helper, a kfunc, a type of programs or maps
    or what it attaches to is reported as not applicable there, and fails nothing.

    ```starlark
    bpf_verifier_test(
        name = "edge_verifier_test",
        objects = [":edge"],
        kernels = [
            "@bpf_kernels//:5.10",
            "@bpf_kernels//:6.12",
        ],
        limits = {"xdp_main": ["insns=200000", "stack=400"]},
        may_fail = {"5.10": ["xdp_main: bpf_loop is not in 5.10"]},
    )
    ```

    makes a test per kernel and a suite of them, as `bpf_test` does. The log of each has a table
    with the figures, which are those of veristat; `test.xml` has a case for each program;
    `verifier.json` and `verifier.html`, a page with the log of each program, are among the
    undeclared outputs. See [testing.md](testing.md#what-the-verifier-makes-of-programs).

    Args:
      name: name of the test, or of the suite.
      objects: targets with BpfObjectInfo (`bpf_object`, `bpf_skeleton`, all variants), and files
        with objects that others have made, whose names end in `.o`.
      kernels: as of `bpf_test`.
      native: as of `bpf_test`.
      limits: dictionary of programs to lists of `FIGURE=NUMBER`: the most that a program may take of
        `insns` (instructions processed), `states`, `peak_states`, `max_states_per_insn`, `stack`,
        `jited` (bytes), `ns`, `memory` (bytes of maps). A program is the C function's name, in
        which `*` stands for any letters, or `edge.bpf.o/NAME` for one object's. The limits of
        a name come in place of those of a pattern with `*`.
      may_fail: dictionary of kernels, by the names of their targets or `native`, to lists of
        `PROGRAM: REASON`: programs that need not load there, nor keep their limits. The log names
        those that do both.
      presets: dictionary of names to presets, each of which is a row: a file with JSON, or a
        dictionary with `variables` (values of `const volatile` variables by C name), `maps`
        (max_entries by C name) and `programs`. The file may be what `bpftool -j map dump` prints
        of a map `.rodata`.
      programs: names of the programs to load; all unless given.
      sections: dictionary of programs to what takes the place of their `SEC()`, for those whose
        target is set by Go code: `{"on_entry": "fentry/do_exit"}`.
      targets: dictionary of programs to what they replace or trace of another object,
        `"LABEL PROGRAM:FUNCTION"`, in which `:FUNCTION` may be left out; or, for a struct_ops
        program that is in no table, to the member that it implements, `"TYPE.MEMBER"`.
      max_entries: the most elements that maps are made for, 0 for as many as their definitions have.
        It does not apply to maps whose size a preset has.
      kernel_types: file with the types of kernels without BTF, for CO-RE: `bpf_min_btf`, or raw BTF.
      kernel_args: as of `bpf_test`.
      modules: as of `bpf_test`.
      memory_mb: as of `bpf_test`.
      cpu_count: as of `bpf_test`.
      platforms: as of `bpf_test`.
      tags: as of `bpf_test`.
      visibility: visibility of the tests and the suite.
      **kwargs: attributes of all tests.
    """
    texts, preset_files = _split_presets(presets)
    tables, program_targets, target_objects = _split_targets(name, targets)
    known = ["native"] + [_native.package_relative_label(kernel).name for kernel in kernels]
    for kernel in may_fail:
        if kernel not in known:
            fail("{}: may_fail: the test has no kernel {}: give one of {}".format(name, kernel, ", ".join(known)))
    run = {key: kwargs[key] for key in KERNEL_TEST_ATTRS if key in kwargs}
    _bpf_verify(
        name = name + "_verify",
        kernel_types = kernel_types,
        limits = limits,
        max_entries = max_entries,
        may_fail = may_fail,
        objects = objects,
        preset_files = preset_files,
        presets = texts,
        program_targets = program_targets,
        programs = programs,
        sections = sections,
        table_targets = tables,
        tags = tags + ["manual"],
        target_objects = target_objects,
        testonly = True,
        visibility = ["//visibility:private"],
        **{key: value for key, value in kwargs.items() if key not in KERNEL_TEST_ATTRS}
    )
    kernel_tests(
        name = name,
        cpu_count = cpu_count,
        executable = ":" + name + "_verify",
        kernel_args = kernel_args,
        kernels = kernels,
        memory_mb = memory_mb,
        modules = modules,
        native = native,
        platforms = platforms,
        tags = tags,
        visibility = visibility,
        **run
    )
