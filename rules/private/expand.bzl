"""Variables in attributes, as rules_cc has them in copts and defines."""

def expand_make_variables(value, variables):
    """Puts the values of make variables into a text.

    Args:
      value: the text, with `$(NAME)` for a variable and `$$` for a dollar sign.
      variables: dict of the values by their names.

    Returns:
      The text, and None; or None, and what is wrong with it.
    """
    parts = []
    rest = value

    # Each iteration consumes one dollar sign.
    for _ in range(len(value) + 1):
        before, dollar, rest = rest.partition("$")
        parts.append(before)
        if not dollar:
            break
        if rest.startswith("$"):
            parts.append("$")
            rest = rest[1:]
            continue
        name, parenthesis, behind = rest.removeprefix("(").partition(")")
        if not rest.startswith("(") or not parenthesis:
            return None, "{}: has a $ that begins no $(NAME): write $$ for a dollar sign".format(repr(value))
        if name not in variables:
            return None, "{}: $({}) is not defined: define it with --define={}=VALUE, or with a target in toolchains that does; write $$ for a dollar sign".format(repr(value), name, name)
        parts.append(variables[name])
        rest = behind
    return "".join(parts), None

def expand_flags(ctx, values, targets):
    """Puts the paths of targets and the values of make variables into flags.

    Args:
      ctx: the context of the rule.
      values: list of string, with `$(location LABEL)` and `$(NAME)`.
      targets: list of Target, whose labels the flags may name. One may be there several times.

    Returns:
      A list of string, and None; or None, and what is wrong with the flags.
    """
    expanded = []

    # Bazel's server crashes on a target that it gets twice (bazelbuild/bazel#14681). An alias
    # has the label of its actual target and is another key here.
    targets = {target: None for target in targets}.keys()
    for value in values:
        if "$" not in value:
            expanded.append(value)
            continue
        text, problem = expand_make_variables(ctx.expand_location(value, targets), ctx.var)
        if problem:
            return None, problem
        expanded.append(text)
    return expanded, None
