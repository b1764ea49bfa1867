"""The extension that `bazel mod tidy` gets its BUILD file editor from."""

def _buildozer_repository_impl(ctx):
    go = ctx.which("go")
    if not go:
        fail("buildozer is built with Go, and no go is on PATH: install Go and add its bin directory to PATH")
    ctx.file("BUILD.bazel", 'exports_files(["buildozer"])')
    result = ctx.execute(
        [go, "install", "github.com/bazelbuild/buildtools/buildozer@v0.0.0-20260904073137-eaa4d125b423"],
        environment = {"GOBIN": str(ctx.path(".")), "GOFLAGS": "", "GOWORK": "off"},
    )
    if result.return_code:
        fail("cannot build buildozer: " + result.stderr)
    ctx.symlink("buildozer", "buildozer.exe")

_buildozer_repository = repository_rule(
    implementation = _buildozer_repository_impl,
    doc = "The editor, built from its Go module: there is no archive of it to download.",
)

def _buildozer_binary_impl(_ctx):
    _buildozer_repository(name = "buildozer_binary")

buildozer_binary = module_extension(implementation = _buildozer_binary_impl)
