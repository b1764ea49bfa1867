"""Make variables for tests."""

make_variables = rule(
    implementation = lambda ctx: [platform_common.TemplateVariableInfo(ctx.attr.values)],
    doc = "Defines make variables for targets that have this one in `toolchains`.",
    attrs = {"values": attr.string_dict(doc = "The values by the names.")},
)
