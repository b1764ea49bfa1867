"""A macro in the place of bpf_skeleton."""

load("@rules_bpf//rules:defs.bzl", "bpf_skeleton")

def my_skeleton(name, **kwargs):
    """Makes a skeleton.

    Args:
      name: the name.
      **kwargs: attributes of bpf_skeleton.
    """
    bpf_skeleton(name = name, **kwargs)
