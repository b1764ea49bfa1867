"""Macros that call rules."""

load("@rules_bpf//rules:defs.bzl", "bpf_library", "bpf_skeleton")

def my_library(name, **kwargs):
    """Makes a library.

    Args:
      name: the name.
      **kwargs: attributes of bpf_library.
    """
    bpf_library(name = name, **kwargs)

def my_skeleton(name, **kwargs):
    """Makes a skeleton.

    Args:
      name: the name.
      **kwargs: attributes of bpf_skeleton.
    """
    bpf_skeleton(name = name, **kwargs)
