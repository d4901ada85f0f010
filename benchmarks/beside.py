"""What training a table's rows side by side is worth: seconds against one by one.

  python -m benchmarks.beside --table=templates_synthetic --config.train.epochs=2 ...

Both ways from the command to the last card, compiling included and nothing kept of it;
what else is given goes to every row.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from configs import ablations


def rows(configs: dict[str, str], folder: Path, passed: list[str], *, beside: bool):
    """Train every row; returns seconds."""
    started = time.perf_counter()
    others = [f"--beside={folder / n}={c}" for n, c in configs.items()][1:]
    for name, config in configs.items():
        command = [sys.executable, "-m", "merclip_jax.main", f"--config={config}"]
        command += [f"--workdir={folder / name}", "--compile_cache=", *passed]
        command += others if beside else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        others = []
    return time.perf_counter() - started


def main(argv: list[str]) -> None:
    """Print seconds of both ways and their ratio."""
    table = argv[0].removeprefix("--table=")
    configs = {
        row.partition("=")[2]: f"ablations:{table},{row}"
        for row in ablations.rows_of(table)
    }
    seconds = {}
    for beside in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            seconds[beside] = rows(configs, Path(folder), argv[1:], beside=beside)
    print(
        f"{table}, {len(configs)} rows: one by one {seconds[False]:.0f} s, side by "
        f"side {seconds[True]:.0f} s, {seconds[False] / seconds[True]:.2f} times"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
