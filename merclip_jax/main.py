"""Train and score a system on a dataset: one config in, a card and a report out.

  python -m merclip_jax.main --config=configs/synthetic_3class.py --workdir=runs/demo

A packaged config may be named without its folder: --config=synthetic_3class
The config file may take an argument (recipe=paper|released, ablation=..., seeds=N):
  --config=configs/casme3_7class.py:recipe=released,seeds=3
and every value in it can be changed: --config.train.epochs=10
The same command run again continues a run that was stopped, by a signal or a crash.
With --pretrain=CONFIG another training comes first, whose encoder this one starts from.
On several hosts each runs it with --distributed; see docs/scale.md.
"""

import contextlib
import io
import itertools
import logging as python_logging
import shlex
import signal
import sys
import traceback
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from merclip_jax import command, packaged, processes, stopping
from merclip_jax.errors import Stopped, UserError
from merclip_jax.files import expanded, shortened
from merclip_jax.printable import printable

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, see configs/README.md.", lock_config=True
)
PRETRAIN = config_flags.DEFINE_config_file(
    "pretrain",
    None,
    "Config of a training that comes first, in WORKDIR/pretrain; that of --config "
    "starts from its encoder.",
    lock_config=True,
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run's results.")
COMPILE_CACHE = flags.DEFINE_string(
    "compile_cache",
    None,
    "Folder where compiled programs are kept between runs; empty for none. Left out: "
    "in the user's cache folder.",
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Compile, try 20 steps, say what the run needs and how long it takes; no more.",
)
ELSEWHERE = flags.DEFINE_bool(
    "continue_elsewhere",
    False,
    "Go on with a run that began on other devices or another jax; the card says which "
    "members were trained where.",
)
OVERLAP = flags.DEFINE_bool(
    "allow_overlap",
    False,
    "Start from weights that were trained on subjects of the test; the card says so.",
)
BESIDE = flags.DEFINE_multi_string(
    "beside",
    [],
    "FOLDER=CONFIG of another run, whose members train in the stacks of this one where "
    "one program serves both; its own command then makes its card.",
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "This is one of several processes of one run; SLURM, Open MPI, GKE and Cloud TPU "
    "say which. Elsewhere the next three flags do.",
)
COORDINATOR = flags.DEFINE_string(
    "coordinator_address", "", "host:port of process 0; the port must be free."
)
PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process_id", None, "Number of this one, from 0.")


def main(argv: list[str]) -> None:
    """Run the config; an error ends with its message and exit status 1."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    import jax

    logging.set_verbosity(logging.ERROR)  # orbax tells of every file it writes
    python_logging.getLogger("asyncio").setLevel(python_logging.CRITICAL)
    typed = shlex.join(["python", "-m", "merclip_jax.main", *sys.argv[1:]])
    try:
        _join()
        # After the devices are set up.
        from merclip_jax import beside, compile_cache, experiment
        from merclip_jax.dry_run import dry_run
        from merclip_jax.results.terminal import format_card
        from merclip_jax.staged import pretrained

        if COMPILE_CACHE.value is None:
            compile_cache.use(compile_cache.default_folder())
        elif COMPILE_CACHE.value:
            compile_cache.use(expanded(COMPILE_CACHE.value))
        if DRY_RUN.value:
            for config in filter(None, (PRETRAIN.value, CONFIG.value)):
                found = printable(dry_run(config))
                if processes.first():
                    print(found)
            processes.finish()
            return
        path, config = expanded(WORKDIR.value), CONFIG.value
        how = {"command": typed, "elsewhere": ELSEWHERE.value, "overlap": OVERLAP.value}
        if PRETRAIN.value:
            config = pretrained(PRETRAIN.value, config, path, **how)
        if BESIDE.value:
            rows = [(path, config), *map(_other, BESIDE.value)]
            beside.train(rows, elsewhere=ELSEWHERE.value, overlap=OVERLAP.value)
        card = experiment.run(config, path, **how)
    except UserError as error:
        _end(1, f"error: {error}")
    except OSError as error:
        named = shortened(str(error.filename or "")) or "error"
        _end(1, f"error: {named}: {error.strerror or error}")
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not _full(error):
            processes.await_verdict()
        _end(1, f"error: {_memory(error)}")
    if processes.first():
        sys.stdout.reconfigure(errors="replace")
        print(printable(format_card(card)))
        print(f"report: {path / 'report.html'}")
    processes.finish()


def _other(given: str) -> tuple[Path, ConfigDict]:
    """Folder and config of another run, to which this command's own changes go too."""
    folder, equals, config = given.partition("=")
    if not equals or PRETRAIN.value:
        raise UserError(
            f"--beside={given}: expected FOLDER=CONFIG, and no --pretrain with it"
        )
    arguments = [sys.argv[0], f"--config={packaged.find(config)}"]
    for word, following in itertools.pairwise([*sys.argv[1:], ""]):
        if word.startswith("--config."):
            arguments.append(word if "=" in word else f"{word}={following}")
    defined = flags.FlagValues()
    holder = config_flags.DEFINE_config_file(
        "config", flag_values=defined, sys_argv=arguments
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its stack, where it fails
            defined(arguments)
    except Exception as error:  # whatever a config file may raise
        # A config file's stack is in the text; its error is the last line.
        last = str(error).strip().splitlines()[-1]
        raise UserError(f"--beside={given}: {shortened(last, 600)}") from error
    return expanded(folder), holder.value


def _join() -> None:
    """Join the other processes, where there are any."""
    address, count, index = COORDINATOR.value, PROCESSES.value, PROCESS.value
    if DISTRIBUTED.value:
        processes.start(address, count=count, index=index)
    elif address or count is not None or index is not None:
        raise UserError(
            "--coordinator_address, --num_processes and --process_id are for "
            "--distributed"
        )


def parse_flags(argv: list[str]) -> list[str]:
    """Parse the command line; what is wrong with it is said in a line or two."""
    # absl and ml_collections print the stack of a config file that fails.
    aside = io.StringIO()
    try:
        with contextlib.redirect_stderr(aside):
            return command.parse(argv, sys.modules[__name__])
    except SystemExit as error:
        said = aside.getvalue()
        if "Traceback" in said:  # of the config file: its last line is the error
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            said = next(x for x in reversed(lines) if not x.startswith("Pass --help"))
            _refuse(argv, said.partition(": ")[2] or said)
        print(said, end="", file=sys.stderr)
        raise error
    except Exception as error:  # whatever a config file may raise
        _refuse(argv, _wrong(error))


def _refuse(argv: list[str], why: str) -> None:
    names = ("config", "pretrain")
    given = [a for a in argv[1:] if a.lstrip("-").startswith(names)]
    sys.exit(printable(f"error: {why}\namong {shlex.join(given)}"))


def _wrong(error: Exception) -> str:
    """What a command line's error means."""
    text = str(error if isinstance(error, OSError) else (error.args or [error])[0])
    text = shortened(" ".join(text.replace("\\n", " ").split()))
    if isinstance(error, AttributeError | KeyError) and "get_config" not in text:
        return f"the config has no key {text}; the keys stand in configs/common.py"
    if isinstance(error, ValueError | OSError):
        return f"the config cannot be read: {text}"
    return f"the config file fails: {type(error).__name__}: {text}"


def _unraisable(caught: object) -> None:
    """Python's hook, less what is said again in better words."""
    # A stop that came while garbage was collected is raised again; a failed write of
    # orbax's is an error with a message, whatever its threads say besides.
    heard = isinstance(caught.exc_value, Stopped)
    if not (heard or "Event loop is closed" in str(caught.exc_value)):
        sys.__unraisablehook__(caught)


def _full(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _memory(error: Exception) -> str:
    if _full(error):
        said = shortened(str(error).partition("\n")[0], 200) or "no more was said"
        return (
            "the memory is full; try --config.train.stack=1, a smaller "
            f"--config.train.batch_size, or --config.data.residency=host ({said})"
        )
    return shortened(str(error), 600)


def _end(status: int, message: str) -> None:
    """Say the last thing that is said, and end."""
    stopping.obeyed()
    # What orbax left unfinished would go on telling of it, page after page.
    sys.unraisablehook = lambda _: None
    print(printable(message), file=sys.stderr, flush=True)
    if processes.many():
        processes.leave(status, printable(message))
    sys.exit(status)


def run() -> None:
    """The command, from its first moment on deaf to no signal."""
    stopping.install()
    sys.unraisablehook = _unraisable
    flags.mark_flags_as_required(["config", "workdir"])
    try:
        app.run(main, flags_parser=parse_flags)
    except KeyboardInterrupt as error:
        # Outside of training nothing is half done: the same command begins it again.
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        _end(128 + number, str(error) or "stopped; the same command goes on")
    except Exception:
        if not processes.many():
            raise
        # Python's way out would wait for the others, who wait for this one.
        traceback.print_exc()
        _end(1, "error: this process failed, as is told above")


if __name__ == "__main__":
    run()
