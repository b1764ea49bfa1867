"""Tests of what bpf_skeleton declares: actions, providers, errors."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_go//go:def.bzl", "GoArchive", "GoInfo")
load("//rules:providers.bzl", "BpfObjectInfo", "BpfTypesInfo")
load(":target_actions.bzl", "assert_in_order", "find_action", "find_actions", "short_paths")

_PLATFORMS = "//command_line_option:platforms"
_EXTRA_TOOLCHAINS = "//command_line_option:extra_toolchains"

def _platform(name):
    return {_PLATFORMS: str(Label(name))}

def _toolchain(name):
    return {_EXTRA_TOOLCHAINS: str(Label(name))}

# The actions of a target with all attributes.

def _actions_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act
    compile = find_action(env, "BpfCompile")
    skeleton = find_action(env, "BpfSkeleton")

    # Assert: compile
    argv = compile.argv
    bin = analysistest.target_bin_dir_path(env)
    package = analysistest.target_under_test(env).label.package
    assert_in_order(env, [
        "compile",
        "--",
        "-target",
        "bpfel",
        "-c",
        package + "/prog.bpf.c",
        "-fdebug-compilation-dir=.",
        "-ffile-prefix-map={}/=".format(bin),
        "-g",
        "-O2",
        "-mcpu=v3",
        "-Wall",
        "-nostdinc",
        "-D__TARGET_ARCH_x86",
        "-DFROM_DEP=1",
        "-DOWN=2",
        "-iquote" + package,
        "-iquote{}/{}".format(bin, package),
        "-iquote.",
        "-iquote" + bin,
        "-I{}/include".format(package),
        "-I{}/{}/include".format(bin, package),
        "-isystem{}/dep_include".format(package),
        "-O3",
    ], argv)

    # Assert: declared inputs. Where the kernel's headers are depends on the
    # machine, or on it that there are stubs for them.
    inputs = short_paths(compile.inputs)
    for name in ["prog.bpf.c", "prog.h", "dep_include/dep.h", "generated.h"]:
        asserts.true(env, package + "/" + name in inputs, name)
    for suffix in ["/bpf/bpf_helpers.h", "/builtin/stddef.h", "/uapi/linux/types.h", "/asm_x86/asm/types.h", "/bin/clang"]:
        asserts.true(env, [i for i in inputs if i.endswith(suffix)], suffix)
    asserts.false(env, [i for i in inputs if "/asm_arm64/" in i], "headers of another cpu")

    # Assert: skeleton, which links too.
    object = "{}/{}/full.bpf.o".format(bin, package)
    compiled = "{}/{}/_bpf_objs/full/prog.bpf.o".format(bin, package)
    source = "{}/{}/full_/full_skel.go".format(bin, package)
    asserts.equals(env, [], find_actions(env, "BpfLink"))
    asserts.equals(env, ["skeleton", "-package", "pkgname", "-type", "event", "-type", "config", "-section=mine/*", "-legacy-sections", "-o", source, "-link", object, compiled], skeleton.argv[1:])
    asserts.equals(env, [source, object], [f.path for f in skeleton.outputs.to_list()])
    asserts.true(env, compiled in [f.path for f in skeleton.inputs.to_list()], "what is linked is an input")
    asserts.true(env, compiled in [f.path for f in compile.outputs.to_list()], "what is compiled is linked")
    return analysistest.end(env)

_actions_test = analysistest.make(
    _actions_test_impl,
    config_settings = _platform("//rules/tests/analysis:linux_x86_64"),
)

# The cpu of the target platform.

def _cpu_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act
    argv = find_action(env, "BpfCompile").argv

    # Assert
    asserts.equals(env, ctx.attr.target, argv[argv.index("-target") + 1])
    asserts.equals(
        env,
        ["-D__TARGET_ARCH_" + ctx.attr.arch],
        [arg for arg in argv if arg.startswith("-D__TARGET_ARCH_")],
    )
    asserts.equals(
        env,
        1,
        len([arg for arg in argv if arg.startswith("-isystem") and arg.endswith("/asm_" + ctx.attr.arch)]),
    )
    return analysistest.end(env)

_CPU_ATTRS = {"arch": attr.string(mandatory = True), "target": attr.string(mandatory = True)}

_cpu_x86_64_test = analysistest.make(
    _cpu_test_impl,
    attrs = _CPU_ATTRS,
    config_settings = _platform("//rules/tests/analysis:linux_x86_64"),
)

_cpu_aarch64_test = analysistest.make(
    _cpu_test_impl,
    attrs = _CPU_ATTRS,
    config_settings = _platform("//rules/tests/analysis:linux_aarch64"),
)

_cpu_s390x_test = analysistest.make(
    _cpu_test_impl,
    attrs = _CPU_ATTRS,
    config_settings = _platform("//rules/tests/analysis:linux_s390x"),
)

_cpu_mips64le_test = analysistest.make(
    _cpu_test_impl,
    attrs = _CPU_ATTRS,
    config_settings = _platform("@rules_go//go/toolchain:linux_mips64le"),
)

# Programs for Linux may be built into a binary for another system, that only
# looks at them.
_cpu_darwin_test = analysistest.make(
    _cpu_test_impl,
    attrs = _CPU_ATTRS,
    config_settings = _platform("@rules_go//go/toolchain:darwin_arm64"),
)

# What the target provides.

def _providers_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package

    # Act
    object = target[BpfObjectInfo].object
    groups = target[OutputGroupInfo]
    go_info = target[GoInfo]
    archive = target[GoArchive]

    # Assert
    asserts.equals(env, package + "/full.bpf.o", object.short_path)
    asserts.equals(env, [object.short_path], short_paths(groups.bpf_object))
    asserts.equals(env, [package + "/full_/full_skel.go"], short_paths(groups.go_srcs))
    asserts.equals(env, short_paths(groups.go_srcs), [f.short_path for f in go_info.srcs])
    asserts.equals(env, "example.com/full", go_info.importpath)
    asserts.equals(
        env,
        [
            "github.com/cilium/ebpf/link",
            "github.com/rules-bpf/rules_bpf/runtime/skeleton",
            "github.com/rules-bpf/rules_bpf/runtime/skelimpl",
        ],
        sorted([dep.data.importpath for dep in archive.direct]),
    )
    asserts.equals(env, [archive.data.export_file], target[DefaultInfo].files.to_list())
    return analysistest.end(env)

_providers_test = analysistest.make(_providers_test_impl)

# A source that is an object already.

def _object_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package

    # Act
    skeleton = find_action(env, "BpfSkeleton")

    # Assert
    asserts.equals(env, [], find_actions(env, "BpfCompile") + find_actions(env, "BpfLink"))
    asserts.equals(env, package + "/full.bpf.o", target[BpfObjectInfo].object.short_path)
    asserts.equals(env, target[BpfObjectInfo].object.path, skeleton.argv[-1])
    return analysistest.end(env)

_object_test = analysistest.make(_object_test_impl)

# Variants.

def _variants_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    package = target.label.package
    bin = analysistest.target_bin_dir_path(env)

    # Act
    compiles = find_actions(env, "BpfCompile")
    links = find_actions(env, "BpfLink")
    skeleton = find_action(env, "BpfSkeleton")

    # Assert: each is compiled with its own flags, after those of all.
    asserts.equals(env, [["-O3", "-DKERNEL=510"], ["-O3", "-DKERNEL=601", "-DMORE"]], [
        compile.argv[compile.argv.index("-O3"):]
        for compile in compiles
    ])
    objects = [
        "{}/with_variants_variants/{}/with_variants.bpf.o".format(package, name)
        for name in ["v510", "v61"]
    ]
    asserts.equals(env, objects, [link.outputs.to_list()[0].short_path for link in links])

    # Assert: one package of all.
    assert_in_order(env, ["-variant", "v510={}/{}".format(bin, objects[0]), "-variant", "v61={}/{}".format(bin, objects[1])], skeleton.argv)
    asserts.equals(env, objects, [f.short_path for f in target[OutputGroupInfo].bpf_object.to_list()])
    info = target[BpfObjectInfo]
    asserts.equals(env, dict(zip(["v510", "v61"], objects)), {name: f.short_path for name, f in info.variants.items()})
    asserts.equals(env, objects[0], info.object.short_path)
    return analysistest.end(env)

_variants_test = analysistest.make(_variants_test_impl)

# Variables in flags.

def _variables_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package

    # Act
    compile = find_action(env, "BpfCompile")

    # Assert
    assert_in_order(env, [
        "-DSOURCE={}/prog.bpf.c".format(package),
        "-include",
        package + "/prog.h",
        "-fprofile-list={}/list.txt".format(package),
        "-DCOST=$1",
        "-DKERNEL=601",
    ], compile.argv)
    asserts.true(env, package + "/list.txt" in short_paths(compile.inputs), "what flags name is an input")
    before = compile.argv[:compile.argv.index("--")]
    asserts.true(env, package + "/prog.h" in before, "a header may turn out to be unused")
    asserts.false(env, package + "/list.txt" in before, "what flags name is always used")
    return analysistest.end(env)

_variables_test = analysistest.make(_variables_test_impl)

def _of_generated_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package
    bin = analysistest.target_bin_dir_path(env)

    # Act
    compile = find_action(env, "BpfCompile")

    # Assert
    assert_in_order(env, ["-include", "{}/{}/generated.h".format(bin, package)], compile.argv)
    asserts.true(env, package + "/generated.h" in short_paths(compile.inputs), "what flags name is an input")
    return analysistest.end(env)

_of_generated_test = analysistest.make(_of_generated_test_impl)

def _overlaps_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package

    # Act
    compile = find_action(env, "BpfCompile")

    # Assert: what several attributes have, and what has two names, by each of them.
    assert_in_order(env, [
        "-DSOURCE={}/prog.bpf.c".format(package),
        "-include",
        package + "/prog.h",
        "-include",
        package + "/prog.h",
    ], compile.argv)
    return analysistest.end(env)

_overlaps_test = analysistest.make(_overlaps_test_impl)

# Headers that are needed in several ways.

def _shared_headers_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    package = analysistest.target_under_test(env).label.package

    # Act
    argv = find_action(env, "BpfCompile").argv

    # Assert: each flag once.
    for flag in ["-DFROM_DEP=1", "-isystem{}/dep_include".format(package), "-I{}/own_include".format(package), "-iquote."]:
        asserts.equals(env, [flag], [arg for arg in argv if arg == flag])
    includes = [arg for arg in argv if arg.startswith("-I") or arg.startswith("-i")]
    asserts.equals(env, {flag: None for flag in includes}.keys(), includes)
    return analysistest.end(env)

_shared_headers_test = analysistest.make(_shared_headers_test_impl)

# Types that objects share.

def _types_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    types = find_action(env, "BpfTypes")

    # Assert: of all objects, of a target with variants too.
    names = target[BpfTypesInfo].names
    asserts.equals(env, ["types", "-package", "shared", "-type", "event", "-o"], types.argv[1:7])
    asserts.equals(env, ["-names", names.path], types.argv[8:10])
    asserts.equals(env, ["full.bpf.o", "with_variants.bpf.o", "with_variants.bpf.o"], [
        path.rpartition("/")[2]
        for path in types.argv[10:]
    ])
    asserts.equals(env, "example.com/shared", target[BpfTypesInfo].importpath)
    return analysistest.end(env)

_types_test = analysistest.make(_types_test_impl)

def _types_from_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)

    # Act
    skeleton = find_action(env, "BpfSkeleton")

    # Assert: it reads the names, and imports the package.
    flag = skeleton.argv[skeleton.argv.index("-types-from") + 1]
    path, _, names = flag.partition("=")
    asserts.equals(env, "example.com/shared", path)
    asserts.true(env, names in [f.path for f in skeleton.inputs.to_list()], names)
    asserts.true(env, path in [dep.data.importpath for dep in target[GoArchive].direct], "the types are a dep of the package")
    return analysistest.end(env)

_types_from_test = analysistest.make(_types_from_test_impl)

# The toolchain that is registered first.

def _own_toolchain_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act
    compile = find_action(env, "BpfCompile")

    # Assert
    argv = compile.argv
    package = Label("//rules/tests/analysis").package
    asserts.equals(env, package + "/own_clang", argv[argv.index("--") + 1])
    assert_in_order(env, ["-Wall", "-DOWN_TOOLCHAIN", "-isystem" + package, "-O3"], argv)
    inputs = short_paths(compile.inputs)
    for name in ["own_clang", "own_library"]:
        asserts.true(env, "{}/{}".format(package, name) in inputs, name)
    asserts.false(env, [i for i in inputs if i.endswith("/bin/clang")])
    return analysistest.end(env)

_own_toolchain_test = analysistest.make(
    _own_toolchain_test_impl,
    config_settings = _toolchain("//rules/tests/analysis:own"),
)

# Errors.

def _error_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act: the target under test fails.

    # Assert
    for message in ctx.attr.messages:
        asserts.expect_failure(env, message)
    return analysistest.end(env)

_ERROR_ATTRS = {"messages": attr.string_list(mandatory = True)}

_error_test = analysistest.make(_error_test_impl, attrs = _ERROR_ATTRS, expect_failure = True)

_no_clang_test = analysistest.make(
    _error_test_impl,
    attrs = _ERROR_ATTRS,
    config_settings = _toolchain("//rules/tests/analysis:no_clang"),
    expect_failure = True,
)

_unknown_cpu_test = analysistest.make(
    _error_test_impl,
    attrs = _ERROR_ATTRS,
    # The one cpu that rules_go has a toolchain for and BPF does not know.
    config_settings = _platform("@rules_go//go/toolchain:js_wasm"),
    expect_failure = True,
)

# The sections that a bpf_object allows.

def _sections_test_impl(ctx):
    # Arrange
    env = analysistest.begin(ctx)

    # Act
    link = find_action(env, "BpfLink")

    # Assert
    asserts.equals(
        env,
        ["link", "-section=mine", "-section=mine/*", "-legacy-sections", "-strict-sections", "-o"],
        link.argv[1:7],
    )
    return analysistest.end(env)

_sections_test = analysistest.make(_sections_test_impl)

def bpf_skeleton_test_suite(name, full, of_object, of_generated, shared_headers, strict_object, with_overlaps, with_variables, with_variants, types, types_from, errors):
    """Declares the tests.

    Args:
      name: the suite's name.
      full: a bpf_skeleton with all attributes set.
      of_object: a bpf_skeleton with `full` as its source.
      of_generated: a bpf_skeleton whose flags name a generated file.
      shared_headers: a bpf_skeleton that needs libraries of headers in several ways.
      strict_object: a bpf_object with all attributes about sections set.
      with_overlaps: a bpf_skeleton with files in several of its attributes, and variables in its flags.
      with_variables: a bpf_skeleton with variables in its flags, and a variant.
      with_variants: a bpf_skeleton with two variants.
      types: a bpf_types of `full` and `with_variants`.
      types_from: a bpf_skeleton that imports `types`.
      errors: by bpf_skeleton, parts of the message with which it fails.
    """
    _actions_test(name = "actions_test", target_under_test = full)
    _providers_test(name = "providers_test", target_under_test = full)
    _object_test(name = "object_test", target_under_test = of_object)
    _own_toolchain_test(name = "own_toolchain_test", target_under_test = full)
    _sections_test(name = "sections_test", target_under_test = strict_object)
    _variants_test(name = "variants_test", target_under_test = with_variants)
    _types_test(name = "types_test", target_under_test = types)
    _types_from_test(name = "types_from_test", target_under_test = types_from)
    _variables_test(name = "variables_test", target_under_test = with_variables)
    _of_generated_test(name = "of_generated_test", target_under_test = of_generated)
    _overlaps_test(name = "overlaps_test", target_under_test = with_overlaps)
    _shared_headers_test(name = "shared_headers_test", target_under_test = shared_headers)
    tests = [
        ":actions_test",
        ":providers_test",
        ":object_test",
        ":own_toolchain_test",
        ":sections_test",
        ":variables_test",
        ":of_generated_test",
        ":overlaps_test",
        ":shared_headers_test",
        ":variants_test",
        ":types_test",
        ":types_from_test",
    ]

    for cpu, test, arch, target in [
        ("x86_64", _cpu_x86_64_test, "x86", "bpfel"),
        ("aarch64", _cpu_aarch64_test, "arm64", "bpfel"),
        ("s390x", _cpu_s390x_test, "s390", "bpfeb"),
        ("mips64le", _cpu_mips64le_test, "mips", "bpfel"),
        ("darwin_aarch64", _cpu_darwin_test, "arm64", "bpfel"),
    ]:
        test(name = "cpu_{}_test".format(cpu), arch = arch, target = target, target_under_test = full)
        tests.append(":cpu_{}_test".format(cpu))

    _no_clang_test(
        name = "no_clang_test",
        messages = ["//rules/tests/analysis:full: no clang, says the test"],
        target_under_test = full,
    )
    _unknown_cpu_test(
        name = "unknown_cpu_test",
        messages = [
            "//rules/tests/analysis:full: the cpu of the target platform ",
            "//go/toolchain:wasm, which has no BPF. Known architectures: arm, arm64, ",
        ],
        target_under_test = full,
    )
    tests += [":no_clang_test", ":unknown_cpu_test"]

    for target, messages in errors.items():
        test = target.lstrip(":") + "_test"
        _error_test(name = test, messages = messages, target_under_test = target)
        tests.append(":" + test)

    native.test_suite(name = name, tests = tests)
