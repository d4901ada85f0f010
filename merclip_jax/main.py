"""Train and score a system on a dataset: one config in, a card and a report out.

  python -m merclip_jax.main --config=configs/synthetic_3class.py --workdir=runs/demo

The config file may take an argument (recipe=paper|released, ablation=..., seeds=N):
  --config=configs/casme3_7class.py:recipe=released,seeds=3
and every value in it can be changed: --config.train.epochs=10
The same command run again continues a run that was stopped, by a signal or a crash.
"""

import logging as python_logging
import shlex
import signal
import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from merclip_jax import command
from merclip_jax.errors import Stopped, UserError
from merclip_jax.printable import printable

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, see configs/README.md.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run's results.")
COMPILE_CACHE = flags.DEFINE_string(
    "compile_cache", "", "Folder where compiled programs are kept between runs."
)
ELSEWHERE = flags.DEFINE_bool(
    "continue_elsewhere",
    False,
    "Go on with a run that began on other devices or another jax; the card says which "
    "members were trained where.",
)


def main(argv: list[str]) -> None:
    """Run the config; an error ends with its message and exit status 1."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    signal.signal(signal.SIGTERM, _stop)
    logging.set_verbosity(logging.ERROR)  # orbax tells of every file it writes
    if COMPILE_CACHE.value:
        jax.config.update("jax_compilation_cache_dir", COMPILE_CACHE.value)
    from merclip_jax import experiment  # after the devices are set up
    from merclip_jax.results.terminal import format_card

    path = Path(WORKDIR.value).expanduser()
    typed = shlex.join(["python", "-m", "merclip_jax.main", *sys.argv[1:]])
    try:
        card = experiment.run(
            CONFIG.value, path, command=typed, elsewhere=ELSEWHERE.value
        )
    except (UserError, OSError) as error:
        _end(1, f"error: {error}")
    except KeyboardInterrupt as error:
        # Outside of training nothing is half done: the same command begins it again.
        if not isinstance(error, Stopped):
            error = Stopped(signal.SIGINT, "stopped; the same command goes on")
        _end(128 + error.number, str(error))
    sys.stdout.reconfigure(errors="replace")
    print(printable(format_card(card)))
    print(f"report: {path / 'report.html'}")


def parse_flags(argv: list[str]) -> list[str]:
    """Parse the command line; an unknown config key ends with what was meant."""
    try:
        return command.parse(argv)
    except (AttributeError, KeyError) as error:
        given = [a for a in argv[1:] if a.lstrip("-").startswith("config.")]
        sys.exit(
            f"error: the config has no key {error.args[0]}\n"
            f"among {' '.join(given)}; the keys stand in configs/common.py"
        )


def _stop(number: int, frame: object) -> None:
    raise Stopped(number, "stopped; the same command goes on")


def _end(status: int, message: str) -> None:
    """Say the last thing that is said, and end."""
    # What orbax left unfinished would go on telling of it, page after page.
    sys.unraisablehook = lambda _: None
    python_logging.getLogger("asyncio").disabled = True
    print(printable(message), file=sys.stderr, flush=True)
    sys.exit(status)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse_flags)
