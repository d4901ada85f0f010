"""One page over many runs.

    python -m merclip_jax.report runs/casme2 runs/samm --out=runs/index.html

Every folder with a card below those that are given is in it, task by task, with scores,
what guessing gives, and a link to its report. Columns sort by a click on their head.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from merclip_jax import atomic
from merclip_jax.printable import printable
from merclip_jax.results.index import find_runs, render_index


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 written, 1 there is no run or no place for it."""
    flags = _parser().parse_args(argv)
    runs = find_runs(flags.runs)
    if not any((run / "card.json").exists() for run in runs):
        told = ", ".join(map(str, flags.runs))
        print(printable(f"error: {told}: no card.json in or below"), file=sys.stderr)
        return 1
    try:
        page = render_index(runs, out=flags.out, title=flags.title)
        atomic.write_atomically(flags.out, page.encode())
    except OSError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    print(printable(f"{flags.out}: {len(runs)} runs"))
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("runs", nargs="+", type=Path, help="folders of runs, or of those")
    made.add_argument("--out", type=Path, default=Path("index.html"))
    made.add_argument("--title", default="Runs", help="heading of the page")
    return made


if __name__ == "__main__":
    sys.exit(main())
