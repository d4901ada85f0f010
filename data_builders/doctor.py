"""Examine a dataset as its owners hand it out, without writing a record.

    python -m data_builders.doctor --dataset=casme2 --manual_dir=~/data/CASME2

Reads tables, folders and every picture; says what is odd, and whether it can be built.
With --quick it opens no picture, and is done in seconds.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
from pathlib import Path

from data_builders.base import ClipBuilder
from data_builders.datasets import find, folder_of_owners, release_of
from data_builders.flags import WORKERS, crop_of, folder_or_file, parser
from data_builders.readers.findings import DatasetError
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.release import Release
from data_builders.records.crop import Crop
from data_builders.records.encode import inspect, matched
from data_builders.records.features import full_name
from data_builders.records.jobs import Job, in_order, progress
from data_builders.records.listening import listening
from data_builders.records.report import describe, lines
from data_builders.records.verdict import expect_sound, hint
from data_builders.terminal import say
from merclip_jax.atomic import write_atomically
from merclip_jax.data.encoded import fingerprint


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 it can be built, 1 it cannot, 130 stopped.

    It is that of a build with the same flags. argparse exits with 2 for wrong usage.
    """
    flags = _parser().parse_args(argv)
    # Before the work, which may take an hour.
    if flags.json and (problem := _unwritable(flags.json)):
        _parser().error(f"--json={flags.json}: {problem}")
    # JSON on the standard output is for a program: it stands there alone.
    aside = bool(flags.json) and _is_output(flags.json)
    try:
        found = _examined(flags)
        say(show(found, everything=flags.all), aside=aside)
    except DatasetError as error:
        say(f"error: {error}", aside=True)
        found = {"dataset": flags.dataset, "sound": False, "error": str(error)}
    except KeyboardInterrupt:
        say("\nstopped", aside=True)
        return 130
    if flags.json:
        text = f"{json.dumps(found, indent=1)}\n"
        try:
            sys.stdout.flush()
            write_atomically(flags.json, text.encode())
        except OSError as error:
            say(f"error: --json={flags.json}: {error.strerror}", aside=True)
            return 1
    return 0 if found["sound"] else 1


def _examined(flags: argparse.Namespace) -> dict[str, object]:
    cls, config = find(flags.dataset)
    given = folder_of_owners(cls, flags.manual_dir)
    if given is None:
        raise DatasetError(f"{cls.name} has no owners' files to examine")
    crop, hashed = None, ""
    if flags.quick:
        release = release_of(cls, given, config, flags.frame_numbers)
    else:
        crop = crop_of(flags, cls, config)
        release, hashed = examine(
            cls,
            given,
            config,
            crop,
            workers=flags.workers,
            frame_numbers=flags.frame_numbers,
        )
    found = {"dataset": f"{cls.name}/{config}", **report(release, config, crop)}
    return found | {"quick": flags.quick, "fingerprint": hashed}


def examine(
    cls: type[ClipBuilder],
    manual_dir: Path,
    config: str,
    crop: Crop | None,
    *,
    workers: int = WORKERS,
    frame_numbers: str = AUTO,
) -> tuple[Release, str]:
    """Reads a release and decodes its pictures one by one.

    Args:
        cls: The dataset's builder.
        manual_dir: The owners' folder.
        config: The config's name.
        crop: How faces would be cut out, None for pictures as they are.
        workers: How many threads.
        frame_numbers: How pictures are numbered, see `readers.frame_numbers`.

    Returns:
        The release with all that is odd in it, and the fingerprint that a build of its
        sound clips would have.
    """
    release = matched(release_of(cls, manual_dir, config, frame_numbers), crop)
    jobs = [
        Job(
            clip.row.split,
            full_name(cls.name, clip.row),
            functools.partial(inspect, cls.name, clip, crop),
        )
        for clip in release.clips
    ]
    # No hash of clips that a build would leave out: the fingerprint is that of a build.
    hashes, odd = {}, []
    with listening(), progress(len(jobs), f"{cls.name}/{config}") as bar:
        for job, (source, findings) in in_order(jobs, workers):
            bar.update()
            odd += findings
            if not any(finding.stops for finding in findings):
                hashes[job.clip] = source
    found = release.without(odd)
    return found, fingerprint(hashes.items(), crop.name if crop else "")


def report(release: Release, config: str, crop: Crop | None) -> dict[str, object]:
    """Sums up what the doctor knows.

    Args:
        release: What was found.
        config: The config's name.
        crop: How faces would be cut out.

    Returns:
        `describe` and sums, as plain JSON values. `sound`: nothing stops a build;
        `hint`: what can be done where something does.
    """
    try:
        expect_sound(release)
        sound = True
    except DatasetError:
        sound = False
    return describe(release, config, crop) | {
        "clips": len(release.clips),
        "subjects": len({clip.row.subject for clip in release.clips}),
        "frames": sum(len(clip.files) for clip in release.clips),
        "sound": sound,
        "hint": "" if sound else hint(release),
    }


def show(found: dict[str, object], *, everything: bool = False) -> str:
    """Returns the report as text.

    Args:
        found: What `report` found.
        everything: Whether all findings are shown, not a few of each kind.
    """
    verdict = "sound: it can be built as published"
    if not all(task["equal"] for task in found["tasks"].values()):
        verdict = "sound: it can be built, but is not all that is published"
    if not found["sound"]:
        verdict = f"NOT sound: see above what stops a build; {found['hint']}"
    if found["quick"]:
        found = found | {"fingerprint": "none", "crop": "not looked for"}
        verdict += "\n(of tables and folders; without --quick, pictures are read too)"
    return "\n".join(
        [
            f"dataset      {found['dataset']}",
            f"rows         {found['rows']}",
            f"clips        {found['clips']}",
            f"subjects     {found['subjects']}",
            f"frames       {found['frames']}",
            f"fingerprint  {found['fingerprint']}",
            *lines(found, everything=everything),
            verdict,
        ]
    )


def _parser() -> argparse.ArgumentParser:
    made = parser("data_builders.doctor", __doc__)
    made.add_argument(
        "--json",
        type=folder_or_file,
        help="also write the report to this file; in /dev/stdout it stands alone",
    )
    made.add_argument("--all", action="store_true", help="list every finding")
    made.add_argument(
        "--quick",
        action="store_true",
        help="look at tables and folders alone, in seconds; open no picture",
    )
    return made


def _unwritable(path: Path) -> str:
    """Why no report can be written there, "" if it can."""
    if path.is_dir():
        return "it is a folder"
    if path.exists() and (not path.is_file() or _is_output(path)):
        return ""  # a device, a pipe, this process's own output
    # As `write_atomically` does, in the folder of what a link leads to.
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        return "its folder does not exist"
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"nothing can be written there ({error.strerror})"
    return ""


def _is_output(path: Path) -> bool:
    """Whether a path is where this process's standard output goes."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
