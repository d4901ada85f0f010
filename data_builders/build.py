"""Build a dataset: owners' files, or procedural clips, into TFDS array records.

    python -m data_builders.build --dataset=synthetic/tiny
    python -m data_builders.build --dataset=casme2 --manual_dir=~/data/CASME2

The result appears under its final name only when it is complete and has been read back;
a build that was stopped goes on with the same command.
"""

import argparse
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder
from data_builders.datasets import find, folder_of_owners, release_of
from data_builders.flags import WORKERS, crop_of, folder_or_file, parser
from data_builders.readers import frame_numbers as numbering
from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.macro import MacroExpressions
from data_builders.readers.release import Release
from data_builders.records import shards
from data_builders.records.contents import Contents, check, finish
from data_builders.records.crop import Crop
from data_builders.records.encode import make, matched
from data_builders.records.features import full_name
from data_builders.records.jobs import Job
from data_builders.records.listening import listening
from data_builders.records.report import describe, print_summary
from data_builders.records.verdict import expect_sound
from data_builders.records.windows import in_windows
from data_builders.synthetic import builder as synthetic
from data_builders.synthetic.builder import Synthetic
from data_builders.synthetic.windows import WindowConfig
from data_builders.terminal import say
from merclip_jax.errors import UserError
from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.lock import lock

# array_record raises RuntimeError, with the system's words for what went wrong.
# What a card says of such a dataset.
WINDOWS = (
    "Each record is a stretch of a recording with an expression somewhere in it, or of "
    'the emotion "none" without one.'
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class Built:
    """A dataset on disk: its folder, and what its records hold."""

    folder: Path
    contents: Contents


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 built or there, 1 not built, 130 stopped.

    argparse exits with 2 for wrong usage.
    """
    flags = _parser().parse_args(argv)
    try:
        cls, config = find(flags.dataset)
        crop = None
        if issubclass(cls, ClipBuilder):
            crop = crop_of(flags, cls, config)
        built = build(
            flags.dataset,
            manual_dir=flags.manual_dir,
            data_dir=flags.data_dir,
            overwrite=flags.overwrite,
            workers=flags.workers,
            skip_bad=flags.skip_bad,
            crop=crop,
            frame_numbers=flags.frame_numbers,
            windows=flags.windows,
        )
        print_summary(built.folder, built.contents)
    except DatasetError as error:
        say(f"error: {error}", aside=True)
        return 1
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here", aside=True)
        return 130
    return 0


def build(
    dataset: str,
    *,
    manual_dir: Path | None = None,
    data_dir: Path = Path("data"),
    overwrite: bool = False,
    workers: int = WORKERS,
    skip_bad: bool = False,
    crop: Crop | None = None,
    frame_numbers: str = numbering.AUTO,
    windows: float = 0.0,
) -> Built:
    """Builds a dataset, or checks the one that is there.

    Args:
        dataset: "name" or "name/config".
        manual_dir: The owners' folder, None for a dataset without owners.
        data_dir: Where datasets are built.
        overwrite: Whether one that is there is built again; it is replaced only once
            the new one is complete.
        workers: How many threads.
        skip_bad: Whether clips that cannot be built are left out, which the metadata
            then say.
        crop: How faces are cut out, None for pictures as they are.
        frame_numbers: How pictures are numbered, see `readers.frame_numbers`.
        windows: Seconds around each expression, 0 for the expressions alone; see
            `records.windows`.

    Raises:
        DatasetError: If it cannot be built; says what to do.
    """
    cls, config = find(dataset)
    data_dir = data_dir.expanduser()
    folder = data_dir / cls.name / config / str(cls.VERSION)
    if folder.exists() and not overwrite:
        # Read back all the same: what was whole once may be damaged by now.
        say(f"{dataset} is built already (--overwrite builds it again)")
        built = Built(folder, check(folder))
        _same_options(folder, crop, frame_numbers, windows)
        return built
    given = folder_of_owners(cls, manual_dir)
    if windows:
        _check_windows(windows, given, crop)
    with _staging(data_dir, f"{cls.name}-{config}") as staging:
        replaced = staging / "replaced"
        if replaced.exists() and not folder.exists():  # killed between two renames
            replaced.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
        builder = cls(data_dir=staging, config=config, file_format="array_record")
        try:
            if given is None:
                found = _write_synthetic(builder)
            else:
                release = release_of(cls, given, config, frame_numbers)
                macro = MacroExpressions()
                if windows:
                    macro = cls.macro_expressions(given)
                found = _write_release(
                    builder,
                    release.without(macro.findings),
                    crop,
                    workers,
                    skip_bad,
                    frame_numbers,
                    windows,
                    macro,
                )
        except DatasetError:
            # What an earlier, stopped build left there stays: write() removes it.
            if not Path(builder.data_path).exists():
                shutil.rmtree(staging)
            raise
        except (OSError, RuntimeError) as error:
            full = getattr(error, "errno", None) in _FULL
            if not full and not any(os.strerror(n) in str(error) for n in _FULL):
                raise
            free = shutil.disk_usage(data_dir).free / 2**30
            raise DatasetError(
                f"{data_dir}: the disk is full ({free:.2f} GiB free). Make room and "
                "type the same command: it goes on; or give another --data_dir"
            ) from error
        # Two renames within one file system: there is no moment without a whole dataset
        # that cannot be put right from `replaced`.
        shards.publish(Path(builder.data_path), folder, staging / "replaced")
        shutil.rmtree(staging)
    return Built(folder, found)


def _write_release(
    builder: ClipBuilder,
    release: Release,
    crop: Crop | None,
    workers: int,
    skip_bad: bool,
    frame_numbers: str,
    windows: float,
    macro: MacroExpressions,
) -> Contents:
    """Write the clips of what the owners handed out, and what is known of them."""
    config = builder.builder_config.name
    # Before a picture is opened: tables and folders are read in seconds, pictures not.
    expect_sound(release, skip_bad=skip_bad)
    say(f"{builder.name}: {release.layout}, {release.table}")
    release = matched(release, crop)
    cut = in_windows(release, windows, macro) if windows else release
    jobs = [
        Job(
            clip.row.split,
            full_name(builder.name, clip.row),
            functools.partial(make, builder.name, clip, crop),
        )
        for clip in cut.clips
    ]
    with listening():
        odd = shards.write(
            builder.info,
            jobs,
            identity=_identity(cut, crop),
            workers=workers,
            skip_bad=skip_bad,
        )
    release = release.without(odd)
    expect_sound(release, skip_bad=skip_bad)
    told = describe(release, config, crop) | {"frame_numbers": frame_numbers}
    if windows:
        told |= {"windows": windows, "notes": [WINDOWS]}
    return finish(builder.info, told)


def _check_windows(windows: float, given: Path | None, crop: Crop | None) -> None:
    if not 0 < windows <= 2:
        raise DatasetError(f"--windows={windows:g}: expected seconds, above 0, up to 2")
    if given is None:
        raise DatasetError(
            "--windows: procedural clips have nothing around them; build "
            "synthetic/windows"
        )
    if crop is not None and isinstance(crop.landmarks, CsvLandmarks):
        raise DatasetError(
            "--windows: tables of landmarks go by the clips' onsets; give --faces=dlib "
            "or yunet"
        )


def _write_synthetic(builder: Synthetic) -> Contents:
    """Draw the procedural clips; drawing holds Python's lock, more so of small ones."""
    clips = builder.builder_config.clips
    metadata = synthetic.describe(clips)
    jobs = [
        Job("clips", name, functools.partial(_drawn, builder, index))
        for index, name in enumerate(builder.clip_names())
    ]
    identity = json.dumps(metadata["config"], sort_keys=True)
    workers = WORKERS if isinstance(clips, WindowConfig) else 1
    shards.write(builder.info, jobs, identity=identity, workers=workers, skip_bad=False)
    return finish(builder.info, metadata)


def _drawn(builder: Synthetic, index: int) -> tuple[dict, list[Finding]]:
    return builder.example(index), []


def _identity(release: Release, crop: Crop | None) -> str:
    """SHA-256 of all that the records depend on; of files their size and time."""
    digest = hashlib.sha256((crop.name if crop else "").encode())
    # Hashing the files' bytes would mean to read all of them twice.
    for clip in release.clips:
        digest.update(f"{clip.row} {clip.numbers}".encode())
        for number, path in clip.files.items():
            stat = path.stat()
            # os.fsencode: names of files need not be UTF-8.
            line = f"{number} {path} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(os.fsencode(line))
    return digest.hexdigest()


def _same_options(
    folder: Path, crop: Crop | None, frame_numbers: str, windows: float
) -> None:
    # The folder's name does not say how faces were cut out and pictures numbered.
    metadata = tfds.builder_from_directory(folder).info.metadata or {}
    built, asked = metadata.get("crop", ""), crop.name if crop else ""
    if built != asked:
        raise DatasetError(
            f"{folder}: built with faces {built or 'none'!r}, asked for "
            f"{asked or 'none'!r}; --overwrite builds it again"
        )
    numbered = metadata.get("frame_numbers", frame_numbers)  # synthetic: none
    if numbered != frame_numbers:
        raise DatasetError(
            f"{folder}: built with {numbering.FLAG}={numbered}, asked for "
            f"{frame_numbers}; --overwrite builds it again"
        )
    if (cut := metadata.get("windows", 0.0)) != windows:
        raise DatasetError(
            f"{folder}: built with --windows={cut:g}, asked for {windows:g}; give "
            "another --data_dir, or --overwrite builds it again"
        )


def _parser() -> argparse.ArgumentParser:
    made = parser("data_builders.build", __doc__)
    made.add_argument(
        "--data_dir",
        type=folder_or_file,
        default=Path("data"),
        help="built here (default: data)",
    )
    made.add_argument("--overwrite", action="store_true", help="replace if built")
    made.add_argument(
        "--skip_bad",
        action="store_true",
        help="leave out clips that cannot be built instead of stopping",
    )
    made.add_argument(
        "--windows",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="for models of raw video: keep SECONDS before and after each expression, "
        "and add stretches without one, of the emotion 'none'",
    )
    return made


@contextlib.contextmanager
def _staging(data_dir: Path, label: str) -> Iterator[Path]:
    """A hidden folder beside the datasets, of this process alone.

    What a stopped build left there is found again by the next build of the same name.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = lock(data_dir / f".{label}.lock", f"a build of {label}")
    except OSError as error:
        raise DatasetError(f"--data_dir={data_dir}: {error.strerror}") from error
    except UserError as error:  # another build
        raise DatasetError(str(error)) from error
    try:
        staging = data_dir / f".incomplete-{label}"
        staging.mkdir(exist_ok=True)
        yield staging
    finally:
        os.close(file)


if __name__ == "__main__":
    sys.exit(main())
