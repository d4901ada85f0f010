"""Runs side by side on the clips that all of them judged, with paired differences.

    python -m merclip_jax.compare runs/a runs/b
    python -m merclip_jax.compare --out runs/casme2 --configs configs/casme2_5class.py
        configs/fdp/casme2_5class.py configs/micro_au_clip/casme2.py

With --configs each is trained first, in a folder of its own under --out, by the same
command as ever: what is finished there is not trained again; --table=NAME stands for
the configs of all rows of a table of configs/ablations.py. Runs that one program can
serve train side by side, in shared stacks. Whatever else is given
(--config.data.data_dir=..., --config.protocol.seeds="(0,1)") goes to every one. A
detector of AUs takes part by the emotions that fixed rules read off its AUs.
"""

import argparse
import dataclasses
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from merclip_jax import atomic, packaged
from merclip_jax.errors import UserError
from merclip_jax.printable import printable
from merclip_jax.results import comparison, figures


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 compared, 1 not."""
    flags, passed = _parser().parse_known_args(argv)
    try:
        configs = _named(flags.configs) | _rows_of(flags.table)
        if configs and not flags.out:
            raise UserError("--configs goes with --out, where the runs will lie")
        if passed and not configs:
            raise UserError(f"{' '.join(passed)}: nothing is trained without --configs")
        folders = [*flags.runs, *_train(configs, flags.out, passed)]
        if len(folders) < 2:
            raise UserError("expected two runs or more to compare")
        runs = [comparison.load(folder) for folder in folders]
        rows, told = comparison.compare(runs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = comparison.table(rows, told)
    if flags.published:
        text += "\n\n" + comparison.published_on(runs)
    print(printable(text))
    if flags.out:
        kept = [dataclasses.asdict(row) for row in rows]
        report = json.dumps({"clips": told, "rows": kept}, indent=1)
        for name, data in (
            ("comparison.json", report.encode()),
            ("comparison.txt", f"{printable(text)}\n".encode()),
            ("comparison.png", figures.forest(rows)),
        ):
            flags.out.mkdir(parents=True, exist_ok=True)
            atomic.write_atomically(flags.out / name, data)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    made.add_argument("--configs", nargs="+", default=[], help="to train and compare")
    made.add_argument(
        "--table", default="", help="all rows of a table of configs/ablations.py"
    )
    made.add_argument(
        "--out", type=Path, help="folder of trained runs, and of table and plot"
    )
    made.add_argument(
        "--published", action="store_true", help="what others printed on this task"
    )
    return made


def _train(
    configs: Mapping[str, str], out: Path | None, passed: Sequence[str]
) -> list[Path]:
    """Each config's run, in a process of its own; the first trains what can share.

    Args:
        configs: folder below `out` -> config.
        out: where they lie.
        passed: what goes to every one.
    """
    for config in configs.values():
        packaged.find(config)  # raises UserError before anything trains
    folders = {out / name: config for name, config in configs.items()}
    # What comes before a training is its own.
    together = not any(word.startswith("--pretrain") for word in passed)
    beside = [f"--beside={folder}={config}" for folder, config in folders.items()][1:]
    for folder, config in folders.items():
        command = [sys.executable, "-m", "merclip_jax.main", f"--config={config}"]
        command += [f"--workdir={folder}", *passed, *(beside if together else [])]
        if status := subprocess.run(command, check=False).returncode:
            raise UserError(f"{' '.join(command)}: ended with status {status}")
        beside = []
    return list(folders)


def _named(configs: Sequence[str]) -> dict[str, str]:
    """Configs by the names of their folders."""
    found = {}
    for config in configs:
        path, _, argument = config.partition(":")
        words = [w for w in Path(path).with_suffix("").parts if w != "configs"]
        words += [w for w in re.split(r"[^\w]+", argument) if w]
        found["_".join(words).strip("/._")] = config
    return found


def _rows_of(table: str) -> dict[str, str]:
    """The configs of a table's rows, by the rows' names."""
    if not table:
        return {}
    name, _, more = table.partition(",")
    path = packaged.find("ablations")
    try:
        rows = runpy.run_path(path)["rows_of"](name)
    except ValueError as error:
        raise UserError(f"--table={table}: {error}") from error
    return {
        row.partition("=")[2]: f"{path}:{','.join(filter(None, (name, row, more)))}"
        for row in rows
    }


if __name__ == "__main__":
    sys.exit(main())
