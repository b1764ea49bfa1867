"""A rule whose action reads an undeclared input."""

def _wrong_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".txt")
    ctx.actions.run_shell(
        command = "{{ {}; }} >{}".format(ctx.attr.command, output.path),
        inputs = ctx.files.srcs,
        mnemonic = "Wrong",
        outputs = [output],
    )
    return [DefaultInfo(files = depset([output]))]

wrong = rule(
    implementation = _wrong_impl,
    attrs = {
        "command": attr.string(mandatory = True),
        "srcs": attr.label_list(allow_files = True),
    },
)
