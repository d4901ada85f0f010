"""What a finished run's card says, whether it holds, and a model card made of it.

    python -m merclip_jax.card show runs/demo/card.json
    python -m merclip_jax.card verify runs/demo/card.json
    python -m merclip_jax.card publish runs/demo/card.json --out=README.md

`verify` makes every number again from the predictions that lie beside the card, and
compares these with the files of the members; it needs no dataset. `publish` writes a
README.md for Hugging Face's hub, of a card that holds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from merclip_jax import atomic
from merclip_jax.printable import printable
from merclip_jax.results.card import CardError, read_card
from merclip_jax.results.model_card import model_card
from merclip_jax.results.terminal import format_card
from merclip_jax.results.verify import told, verify


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 the card does not hold or cannot be read."""
    flags = _parser().parse_args(argv)
    path = flags.card / "card.json" if flags.card.is_dir() else flags.card
    try:
        if flags.what == "show":
            print(printable(format_card(read_card(path))))
            return 0
        wrong = verify(path)
        text = printable(told(wrong, path))
        if wrong or flags.what == "verify":
            print(text, file=sys.stderr if wrong else sys.stdout)
            return 1 if wrong else 0
        atomic.write_atomically(flags.out, model_card(read_card(path)).encode())
    except (CardError, OSError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    print(f"{flags.out}: put it beside the weights, as README.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("what", choices=("show", "verify", "publish"))
    made.add_argument("card", type=Path, help="card.json, or the folder of its run")
    made.add_argument(
        "--out", type=Path, default=Path("README.md"), help="of publish: the file"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
