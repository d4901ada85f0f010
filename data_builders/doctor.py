"""Examine a dataset as its owners hand it out, without writing a record.

    python -m data_builders.doctor --dataset=casme2 --manual_dir=~/data/CASME2

Reads tables, folders and every picture; says what is odd, and whether it can be built.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

from data_builders.base import ClipBuilder
from data_builders.datasets import find, folder_of_owners
from data_builders.flags import WORKERS, crop_of, parser
from data_builders.readers.findings import DatasetError
from data_builders.readers.release import Release
from data_builders.records.encode import Crop, inspect
from data_builders.records.features import fingerprint, full_name
from data_builders.records.jobs import Job, in_order, progress
from data_builders.records.report import describe, lines
from merclip_jax.atomic import write_atomically


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 it can be built, 1 it cannot, 130 stopped.

    1 also where a task's counts differ from the published ones unaccounted for.
    argparse exits with 2 for wrong usage.
    """
    flags = _parser().parse_args(argv)
    if flags.json and not flags.json.expanduser().parent.is_dir():
        _parser().error(f"--json={flags.json}: its folder does not exist")
    try:
        cls, config = find(flags.dataset)
        given = folder_of_owners(cls, flags.manual_dir)
        if given is None:
            raise DatasetError(f"{cls.name} has no owners' files to examine")
        crop = crop_of(flags, cls, config)
        release, hashed = examine(cls, given, config, crop, workers=flags.workers)
        found = {"dataset": f"{cls.name}/{config}", **report(release, config, crop)}
        found["fingerprint"] = hashed
        print(show(found, everything=flags.all))
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        found = {"dataset": flags.dataset, "sound": False, "error": str(error)}
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    if flags.json:
        write_atomically(flags.json.expanduser(), json.dumps(found, indent=1).encode())
    return 0 if found["sound"] else 1


def examine(
    cls: type[ClipBuilder],
    manual_dir: Path,
    config: str,
    crop: Crop | None,
    *,
    workers: int = WORKERS,
) -> tuple[Release, str]:
    """Reads a release and decodes its pictures one by one.

    Args:
        cls: The dataset's builder.
        manual_dir: The owners' folder.
        config: The config's name.
        crop: How faces would be cut out, None for pictures as they are.
        workers: How many threads.

    Returns:
        The release with all that is odd in it, and the fingerprint that a build of its
        sound clips would have.
    """
    release = cls.read(manual_dir, config)
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
    with progress(len(jobs), f"{cls.name}/{config}") as bar:
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
        `describe` and sums, as plain JSON values. `sound`: nothing stops a build, and
        every task counts what is published or the difference is accounted for.
    """
    found = describe(release, config, crop)
    accounted = all(task["accounted"] for task in found["tasks"].values())
    return found | {
        "rows": len(release.rows),
        "clips": len(release.clips),
        "subjects": len({clip.row.subject for clip in release.clips}),
        "frames": sum(len(clip.files) for clip in release.clips),
        "sound": bool(release.clips)
        and accounted
        and not any(f.stops for f in release.findings),
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
        verdict = "NOT sound: see above what stops a build or is not accounted for"
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
    made.add_argument("--json", type=Path, help="also write the report to this file")
    made.add_argument("--all", action="store_true", help="list every finding")
    return made


if __name__ == "__main__":
    sys.exit(main())
