"""The repository that describes the QEMU of this machine."""

QEMU = "qemu-system-x86_64"

def parse_qemu_version(output):
    """Finds QEMU's version, so that tests run again with another one.

    Args:
      output: what `qemu --version` prints.

    Returns:
      The version, or "" when the output has none.
    """
    words = output.split("\n")[0].split(" ")
    if "version" not in words[:-1]:
        return ""
    return words[words.index("version") + 1]

def _qemu_repo_impl(rctx):
    # which() alone would not make Bazel look again when PATH changes.
    path = rctx.getenv("PATH", "")
    found = rctx.which(QEMU)
    version = ""
    if found:
        result = rctx.execute([found, "--version"])
        version = parse_qemu_version(result.stdout) if result.return_code == 0 else ""
    if version:
        description = {"path": str(found), "version": version}
    elif found:
        description = {"problem": "{} --version does not say its version: reinstall it".format(found)}
    else:
        description = {"problem": "{} is not on Bazel's PATH ({}): install QEMU for x86_64 (Debian: qemu-system-x86)".format(QEMU, path)}
    rctx.file("qemu.json", json.encode_indent(description))
    rctx.file("BUILD.bazel", "exports_files([\"qemu.json\"])\n")

qemu_repo = repository_rule(
    implementation = _qemu_repo_impl,
    doc = """Has the target `qemu.json`: where QEMU is, and its version.

    A file, and not a search by the test: so that a test that was skipped, which
    Bazel caches, runs again when there is QEMU.""",
    # Another QEMU can be at the same path when a server starts the next time.
    local = True,
    configure = True,
)
