"""How a file that does not fit is told: every problem at once, the first ten shown."""

from collections.abc import Iterable, Sequence

from merclip_jax.errors import UserError

# A file of another model has hundreds of problems, and ten tell what it is.
SHOWN = 10


class ConversionError(ValueError):
    """A checkpoint that does not fit: the message lists the problems found."""


def listed(headline: str, problems: Iterable[str]) -> str:
    """A headline and the first problems, a line each.

    Args:
        headline: without its colon.
        problems: all of them; they are put in order.

    Returns:
        The lines, with how many more there are.
    """
    problems = sorted(problems)
    lines = [headline + ":", *problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n  ".join(lines)


def misfit(name: str, problems: Sequence[str]) -> UserError:
    """The one error about a file that does not fit.

    Args:
        name: of the file, as the user knows it.
        problems: all of them.

    Returns:
        The error, to be raised.
    """
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return UserError(listed(f"{name}: {count}", problems))
