"""Tests of //rules/private:expand.bzl."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:expand.bzl", "expand_make_variables")

def _make_variables_test_impl(ctx):
    env = unittest.begin(ctx)
    for text, want in [
        ("", ""),
        ("-O2", "-O2"),
        ("-DA=$(A)", "-DA=1"),
        ("$(A)$(LONG_NAME)/$(A)", "1two $(A)/1"),
        ("$$(A) $$", "$(A) $"),
        ("$$$(A)", "$1"),
    ]:
        asserts.equals(env, (want, None), expand_make_variables(text, {"A": "1", "LONG_NAME": "two $(A)"}), text)
    for text, want in [
        ("$(B)", "\"$(B)\": $(B) is not defined: define it with --define=B=VALUE"),
        ("$()", "\"$()\": $() is not defined"),
        ("a$b", "\"a$b\": has a $ that begins no $(NAME): write $$"),
        ("a$", "\"a$\": has a $ that begins"),
        ("$(A", "\"$(A\": has a $ that begins"),
    ]:
        expanded, problem = expand_make_variables(text, {"A": "1"})
        asserts.equals(env, None, expanded, text)
        asserts.true(env, problem.startswith(want), problem)
    return unittest.end(env)

_make_variables_test = unittest.make(_make_variables_test_impl)

def expand_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name.
    """
    unittest.suite(name, _make_variables_test)
