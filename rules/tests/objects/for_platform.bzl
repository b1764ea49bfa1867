"""The files that a target has for another platform."""

def _platform_transition_impl(_settings, attr):
    return {"//command_line_option:platforms": str(attr.platform)}

_platform_transition = transition(
    implementation = _platform_transition_impl,
    inputs = [],
    outputs = ["//command_line_option:platforms"],
)

def _files_for_platform_impl(ctx):
    # A transition on the attribute makes it a list.
    groups = ctx.attr.target[0][OutputGroupInfo]
    links = []
    for group in ctx.attr.output_groups:
        for file in groups[group].to_list():
            # In a runfiles tree the same file of two platforms has one path.
            link = ctx.actions.declare_file("{}/{}".format(ctx.label.name, file.basename))
            ctx.actions.symlink(output = link, target_file = file)
            links.append(link)
    return [DefaultInfo(files = depset(links))]

files_for_platform = rule(
    implementation = _files_for_platform_impl,
    doc = "Builds output groups of a target, and nothing else of it, for a platform.",
    attrs = {
        "output_groups": attr.string_list(
            mandatory = True,
            doc = "The output groups whose files become the default outputs.",
        ),
        "platform": attr.label(
            mandatory = True,
            doc = "The platform to build for.",
        ),
        "target": attr.label(
            mandatory = True,
            cfg = _platform_transition,
            doc = "What to build.",
        ),
    },
)
