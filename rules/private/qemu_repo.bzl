"""The repository that describes the QEMU of this machine."""

load("//rules/private:kernel_cpus.bzl", "KERNEL_CPUS")

def parse_qemu_version(output):
    """Finds QEMU's version, so that tests are not cached across versions.

    Args:
      output: what `qemu --version` prints.

    Returns:
      The version, or "" when the output has none.
    """
    words = output.split("\n")[0].split(" ")
    if "version" not in words[:-1]:
        return ""
    return words[words.index("version") + 1]

def _describe(rctx, cpu, emulator):
    """Describes the emulator of a cpu, for bpfvm."""
    name = emulator["qemu"]
    found = rctx.which(name)
    if not found:
        return {"problem": "{} is not on Bazel's PATH ({}): install QEMU for {} ({})".format(
            name,
            rctx.getenv("PATH", ""),
            cpu,
            emulator["packages"],
        )}
    result = rctx.execute([found, "--version"])
    version = parse_qemu_version(result.stdout) if result.return_code == 0 else ""
    if not version:
        return {"problem": "{} --version prints no version: reinstall QEMU".format(found)}
    return {"path": str(found), "version": version}

def _qemu_repo_impl(rctx):
    # which() alone would not make Bazel repeat the search when PATH changes.
    rctx.getenv("PATH", "")
    emulators = json.decode(rctx.read(rctx.attr._emulators))
    for cpu in KERNEL_CPUS:
        rctx.file(cpu + ".json", json.encode_indent(_describe(rctx, cpu, emulators[cpu])))
    rctx.file("BUILD.bazel", "exports_files(glob([\"*.json\"]))\n")

qemu_repo = repository_rule(
    implementation = _qemu_repo_impl,
    doc = """Has a file for each cpu, such as `x86_64.json`: where QEMU for it is, and its version.

    Files, and not a search by the test, because Bazel caches a test that was skipped:
    it has to run when QEMU is installed later.""",
    attrs = {
        "_emulators": attr.label(default = Label("//tool/bpfvm:emulators.json")),
    },
    # Another QEMU can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)
