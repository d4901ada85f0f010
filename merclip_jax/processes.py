"""Several processes that are one run: how they begin, agree, and end together.

Arrays travel as JAX has it; what stands here are words: process 0 decides and the
others are told, through the key-value store of JAX's coordination service. Whoever ends
tells the others why, and who says nothing for too long is gone: then all end.
"""

import itertools
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from merclip_jax import aborting, place
from merclip_jax.errors import UserError

T = TypeVar("T")

BEAT = 1.0  # seconds between two signs of life
SILENCE = 20.0  # seconds without one, after which a process is gone
# Seconds of JAX's own watch: for a process 0 that hangs, with which ours hangs too.
# It aborts the process and names no one, so ours comes first.
HEARTBEAT = 50
JOINING = 300  # seconds that the processes wait for each other when they begin
PATIENCE = 1800.0  # seconds that a process may do alone what the others wait for
_APART = "--distributed: the processes do not come together"
GOES_ON = "start all of them again: the same command goes on from the last checkpoint"

_turns = itertools.count()  # of what all processes do in the same order
_over = threading.Event()
_group: Any = None  # JAX's own state, once this is one process of several
_answered = 0.0  # when process 0 last answered


def start(address: str, *, count: int | None, index: int | None) -> None:
    """Join the processes of a run, before anything asks JAX for its devices.

    Args:
        address: host:port of process 0, "" where SLURM, Open MPI, GKE or Cloud TPU say
            it, and the numbers too.
        count: of processes.
        index: of this one.

    Raises:
        UserError: nothing says who the others are, or they cannot be reached.
    """
    import jax
    from jax._src import distributed  # orbax reaches the store in the same way

    global _group
    place.check(address, count, index)
    # It would take SIGTERM for itself; `training/interrupts.py` knows what to do.
    jax.config.update("jax_enable_preemption_service", False)
    given = {}
    if address:
        given = {
            "coordinator_address": address,
            "num_processes": count,
            "process_id": index,
            # Else a cluster that is there too would choose the devices.
            "cluster_detection_method": "deactivate",
        }
    aborting.install(_aborted)
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=JOINING,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=60,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(_unable(error, address)) from error
    if distributed.global_state.num_processes > 1:
        _group = distributed.global_state
        _set(f"who/{_index()}", f"on {platform.node()}, pid {os.getpid()}")
        threading.Thread(target=_watch, daemon=True).start()


def many() -> bool:
    """Whether the run is of several processes."""
    return _group is not None


def first() -> bool:
    """Whether this is process 0, which decides, writes and speaks."""
    return _index() == 0


def agreed(make: Callable[[], T]) -> T:
    """What process 0 makes, on all processes; all call it in the same order.

    Args:
        make: a value of JSON's kinds; what it raises on process 0 ends all.
    """
    key = f"agreed/{next(_turns)}"
    if not many():
        return make()
    if first():
        value = make()
        _set(key, json.dumps(value))
        return value
    return json.loads(_get(key, 0))


def gathered(value: T) -> list[T]:
    """The values of all processes, by their numbers; it is also where they meet.

    Args:
        value: of JSON's kinds.
    """
    turn = next(_turns)
    if not many():
        return [value]
    _set(f"given/{turn}/{_index()}", json.dumps(value))
    if first():
        everyone = range(_group.num_processes)
        values = [json.loads(_get(f"given/{turn}/{k}", k)) for k in everyone]
        _set(f"gathered/{turn}", json.dumps(values))
        return values
    return json.loads(_get(f"gathered/{turn}", 0))


def finish() -> None:
    """The end of a run that went well: no one goes before all are done."""
    if many():
        gathered("done")
        _over.set()


def leave(status: int, message: str, *, without: int = 0) -> NoReturn:
    """End this process and all others, for the same reason; `message` has been said.

    Args:
        status: of the processes.
        message: what the others say.
        without: how many of them cannot hear it.
    """
    _over.set()
    try:
        _set("ended/why", json.dumps([_index(), status, message]))
    except RuntimeError:
        pass  # another was first, or there is no one left to tell
    _quit(status, without)


def await_verdict() -> None:
    """Waits as long as a lost process may stay unnoticed.

    A collective whose peer is gone fails at once, or hangs; who it was, the watch says,
    and ends this process.
    """
    if many():
        time.sleep(SILENCE + 5 * BEAT)


def _unable(error: Exception, address: str) -> str:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, ValueError) and not address:
        return (
            "--distributed: neither SLURM, Open MPI, GKE nor Cloud TPU is recognised "
            f"here ({text}); give --coordinator_address=HOST:PORT --num_processes=N "
            "--process_id=K"
        )
    return f"{_APART} ({text})"


def _watch() -> None:
    """Show signs of life; end with the others, and when one of them is gone."""
    global _answered
    heard: dict[str, tuple[str, float]] = {}
    for beat in itertools.count():
        if _over.wait(BEAT):
            return
        try:
            _set(f"alive/{_index()}", str(beat), overwrite=True)
            ended = _known("ended")
            _answered = now = time.monotonic()
            # Often all end for one reason, and this one is about to say it itself.
            if ended and not _over.wait(2 * BEAT):
                origin, status, message = json.loads(next(iter(ended.values())))
                _say(f"process {origin}: {message}")
                _quit(status)
            for name, count in _known("alive").items() if first() else ():
                if heard.get(name, ("", 0.0))[0] != count:
                    heard[name] = count, now
        except RuntimeError:
            if not _over.is_set():
                _lost(0)
            return
        silent = [name for name, (_, when) in heard.items() if now - when > SILENCE]
        if silent and not _over.is_set():
            _lost(*(int(name.rpartition("/")[2]) for name in silent))


def _lost(*gone: int) -> NoReturn:
    """Say which processes are gone, and end."""
    where = {0: f"at {_group.coordinator_address}"}
    if first():
        where = {k: _get(f"who/{k}", k) for k in gone}
    named = ", ".join(f"process {k} ({where[k]})" for k in gone)
    message = f"{named} {'is' if len(gone) == 1 else 'are'} gone; {GOES_ON}"
    _say(f"error: {message}")
    if first():
        leave(1, f"error: {message}", without=len(gone))
    os._exit(1)


def _aborted() -> None:
    """JAX aborts when process 0 is gone or does not come: say so, if it is that."""
    if not many():
        _say(f"error: {_APART} (not all have come after {JOINING} s)")
        os._exit(1)
    if first():
        return
    hangs = time.monotonic() - _answered > SILENCE
    if hangs or not place.answers(_group.coordinator_address):
        _lost(0)


def _say(message: str) -> None:
    print(f"\n{message}", file=sys.stderr, flush=True)


def _quit(status: int, without: int = 0) -> NoReturn:
    """End now: JAX's way out waits for processes that will not come."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        _set(f"quit/{_index()}", "")
        # The store is process 0's: it stays until all have read why they end.
        end = time.monotonic() + 5 * BEAT
        while first() and time.monotonic() < end:
            if len(_known("quit")) >= _group.num_processes - without:
                break
            time.sleep(0.1)
    except RuntimeError:
        pass
    os._exit(status)


def _get(key: str, of: int) -> str:
    """A value of process `of`, as soon as it is there."""
    client, end = _group.client, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            # A second at a time: signals are heard in between.
            return client.blocking_key_value_get(f"merclip_jax/{key}", 1000)
        except RuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    raise UserError(f"process {of} has not come after {PATIENCE:.0f} s; {GOES_ON}")


def _set(key: str, value: str, *, overwrite: bool = False) -> None:
    client = _group.client
    client.key_value_set(f"merclip_jax/{key}", value, allow_overwrite=overwrite)


def _known(folder: str) -> dict[str, str]:
    client = _group.client
    return dict(client.key_value_dir_get(f"merclip_jax/{folder}"))


def _index() -> int:
    return _group.process_id if many() else 0
