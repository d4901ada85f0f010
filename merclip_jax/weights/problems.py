"""How a file that does not fit is told: every problem at once, the first ten shown."""

from collections.abc import Iterable, Sequence

from merclip_jax.errors import UserError

SHOWN = 10


class ConversionError(ValueError):
    """A checkpoint that does not fit: the message lists the problems found."""


def listed(headline: str, problems: Iterable[str]) -> str:
    """A headline and the first ten problems in order, a line each."""
    problems = sorted(problems)
    lines = [headline + ":", *problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n  ".join(lines)


def misfit(name: str, problems: Sequence[str]) -> UserError:
    """The one error about a file that does not fit: its name and the first problems."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return UserError(listed(f"{name}: {count}", problems))
