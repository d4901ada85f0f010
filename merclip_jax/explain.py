"""What a finished run's models saw: maps on clips, features, in its report.

    python -m merclip_jax.explain runs/demo
    python -m merclip_jax.explain runs/demo --clip=synthetic/s03/0012 --au=12 --au=4

The run must have kept its weights (--config.train.keep_weights=True). Every clip is
explained by a model that never trained on its subject. Writes explained.html into the
run's folder: its report, with heat maps on the clips (what speaks for the class, for
an AU, where the model looked) and t-SNE of its features; explained/ has the maps.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merclip_jax import atomic
from merclip_jax.errors import UserError
from merclip_jax.explaining import saw
from merclip_jax.explaining.finished import Finished, open_run
from merclip_jax.printable import printable
from merclip_jax.results import collect, findings, report
from merclip_jax.results.shown import Example

PAGE, FOLDER = "explained.html", "explained"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 explained, 1 not."""
    flags = _parser().parse_args(argv)
    try:
        run = open_run(flags.run, data_dir=flags.data_dir)
        page, examples = explained(run, clips=flags.clip, aus=flags.au)
        out = flags.out or run.path / PAGE
        atomic.write_atomically(out, page.encode())
        for example in examples:
            _write(out.parent / FOLDER, example)
    except (UserError, OSError, ValueError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    print(printable(f"explained: {out}"))
    return 0


def explained(
    run: Finished, *, clips: Sequence[str] = (), aus: Sequence[int] = ()
) -> tuple[str, list[Example]]:
    """The report of a run with what its models saw, and the clips with their maps.

    Args:
        run: whose weights were kept.
        clips: names of test clips; none: those that the report shows.
        aus: AUs to ask for; none: those that were annotated.

    Raises:
        UserError: a clip is not among the tested ones.
        ValueError: an AU is none that the method knows.
    """
    plan, members, results = run.plan, run.members, run.results
    if clips:
        chosen = [run.member_of(name) for name in clips]
        examples = [
            collect.example(plan, member, results[members.index(member)], index)
            for member, index in chosen
        ]
    else:
        examples = collect.examples(plan, members, results)
    examples = saw.with_maps(run, examples, aus=aus)
    page = report.render_report(
        run.card,
        run.predictions,
        scalars=collect.scalars(plan),
        curves=collect.curves(plan, members, results),
        examples=examples,
        findings=[
            findings.calibrated(run.predictions),
            *findings.retrieval(plan, members, results),
            *saw.scatters(run),
        ],
    )
    return page, examples


def _write(folder: Path, example: Example) -> None:
    """A clip's maps as arrays [t, h, w], by what they are of."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in example.clip)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        frames=example.frames,
        **{title: maps.astype(np.float16) for title, maps in example.heats},
    )
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_atomically(folder / f"{name}.npz", buffer.getvalue())


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("run", type=Path, help="folder of a finished run")
    made.add_argument("--clip", action="append", default=[], help="a test clip")
    made.add_argument("--au", action="append", type=int, default=[], help="such as 12")
    made.add_argument("--data_dir", default="", help="where the datasets lie now")
    made.add_argument("--out", type=Path, help="the page; in the run's folder, unasked")
    return made


if __name__ == "__main__":
    sys.exit(main())
