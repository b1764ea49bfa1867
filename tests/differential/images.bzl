"""images: objects as libbpf and as the runtime load them."""

load("@rules_bpf//rules:providers.bzl", "BpfObjectInfo")

def _images_impl(ctx):
    files = []
    for target in ctx.attr.objects:
        object = target[BpfObjectInfo].object

        # By package, as base names are not unique. libbpf reads the object's name from
        # its base name.
        path = "{}/{}/{}".format(ctx.label.name, target.label.package, object.basename)
        copy = ctx.actions.declare_file(path)
        ctx.actions.symlink(output = copy, target_file = object)
        image = ctx.actions.declare_file(path + ".image")
        ctx.actions.run(
            arguments = [ctx.actions.args().add("image").add("-o", image).add(object)],
            executable = ctx.executable._bpfgen,
            inputs = [object],
            mnemonic = "BpfImage",
            outputs = [image],
        )
        files += [copy, image]
    return [DefaultInfo(files = depset(files), runfiles = ctx.runfiles(files))]

images = rule(
    implementation = _images_impl,
    doc = "The object files of targets, each with its image beside it.",
    attrs = {
        "objects": attr.label_list(
            mandatory = True,
            providers = [BpfObjectInfo],
        ),
        "_bpfgen": attr.label(
            default = Label("//tool/bpfgen"),
            cfg = "exec",
            executable = True,
        ),
    },
)
