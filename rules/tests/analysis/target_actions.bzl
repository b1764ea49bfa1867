"""Functions on the actions of a target under test."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def find_action(env, mnemonic):
    """Returns the one action of the target that has the mnemonic.

    Args:
      env: what analysistest.begin returned.
      mnemonic: the mnemonic.
    """
    actions = find_actions(env, mnemonic)
    asserts.equals(env, 1, len(actions), "actions with mnemonic " + mnemonic)
    return actions[0]

def find_actions(env, mnemonic):
    """Returns all actions of the target that have the mnemonic.

    Args:
      env: what analysistest.begin returned.
      mnemonic: the mnemonic.
    """
    return [a for a in analysistest.target_actions(env) if a.mnemonic == mnemonic]

def short_paths(files):
    """Returns the paths of a depset of files as they are in all configurations.

    Args:
      files: depset of File.
    """
    return [file.short_path for file in files.to_list()]

def assert_in_order(env, want, argv):
    """Asserts that the arguments `want` are in argv, in this order.

    Args:
      env: what analysistest.begin returned.
      want: arguments.
      argv: the arguments of an action.
    """
    rest = argv
    for arg in want:
        asserts.true(env, arg in rest, "{} comes after what is before it in {}: {}".format(arg, want, argv))
        if arg not in rest:
            return
        rest = rest[rest.index(arg) + 1:]
