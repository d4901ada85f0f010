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
import fcntl
import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import write
from data_builders.annotations import full_name
from data_builders.base import ClipBuilder
from data_builders.casme2.builder import Casme2
from data_builders.casme3.builder import Casme3
from data_builders.casme_sq.builder import CasmeSq
from data_builders.dfme.builder import Dfme
from data_builders.examples import Crop, make
from data_builders.fourdme.builder import Fourdme
from data_builders.mmew.builder import Mmew
from data_builders.options import add_face_flags, crop_of, positive
from data_builders.release import DatasetError, Finding, Release, refuse
from data_builders.samm.builder import Samm
from data_builders.smic.builder import Smic
from data_builders.summary import describe, print_summary
from data_builders.synthetic import builder as synthetic
from data_builders.synthetic.builder import Synthetic

Builder = type[ClipBuilder] | type[Synthetic]
BUILDERS: dict[str, Builder] = {
    builder.name: builder
    for builder in (
        *(Synthetic, Casme2, Samm, Casme3, Dfme),
        *(Smic, CasmeSq, Mmew, Fourdme),
    )
}
WORKERS = os.cpu_count() or 1
# array_record raises RuntimeError, with the system's words for what went wrong.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class Built:
    """A dataset on disk: its folder, and what its records hold."""

    folder: Path
    contents: write.Contents


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 built or there, 1 not built, 2 wrong usage, 130 stopped."""
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
        )
        print_summary(built.folder, built.contents)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
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
) -> Built:
    """Build `dataset` ("name" or "name/config"), or check the one that is there.

    `crop`: how faces are cut out, None for pictures as they are. A dataset that is
    there already is kept, unless `overwrite`; then it is replaced only once the new
    one is complete. `skip_bad` leaves out clips that cannot be built, and says so in
    the metadata. Raises DatasetError with what to do.
    """
    cls, config = find(dataset)
    data_dir = data_dir.expanduser()
    folder = data_dir / cls.name / config / str(cls.VERSION)
    if folder.exists() and not overwrite:
        print(f"{dataset} is built already (--overwrite builds it again)")
        built = Built(folder, write.check(folder))
        _same_crop(folder, crop)
        return built
    given = folder_of_owners(cls, manual_dir)
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
                found = _write_release(builder, given, crop, workers, skip_bad)
        except DatasetError as error:
            # What an earlier, stopped build left there stays: write() removes it.
            if not Path(builder.data_path).exists():
                shutil.rmtree(staging)
            raise DatasetError(
                f"{error}\n\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            ) from error
        except (OSError, RuntimeError) as error:
            full = getattr(error, "errno", None) in _FULL
            if not full and not any(os.strerror(n) in str(error) for n in _FULL):
                raise
            free = shutil.disk_usage(data_dir).free / 2**30
            raise DatasetError(
                f"{data_dir}: the disk is full ({free:.2f} GiB free). Make room and "
                "type the same command: it goes on; or give another --data_dir"
            ) from error
        write.publish(Path(builder.data_path), folder, staging / "replaced")
        shutil.rmtree(staging)
    return Built(folder, found)


def _write_release(
    builder: ClipBuilder, given: Path, crop: Crop | None, workers: int, skip_bad: bool
) -> write.Contents:
    """Read what the owners handed out, write its clips and what is known of them."""
    config = builder.builder_config.name
    release = builder.read(given, config)
    if not skip_bad or not release.clips:
        refuse(builder.name, release.findings)
        _some(release, given)
    print(f"{builder.name}: {release.layout}, {release.table}")
    jobs = [
        write.Job(
            clip.row.split,
            full_name(builder.name, clip.row),
            functools.partial(make, builder.name, clip, crop),
        )
        for clip in release.clips
    ]
    odd = write.write(
        builder.info,
        jobs,
        identity=_identity(release, crop),
        workers=workers,
        skip_bad=skip_bad,
    )
    release = release.without(odd)
    _some(release, given)
    return write.finish(builder.info, describe(release, config, crop))


def _some(release: Release, given: Path) -> None:
    if not release.clips:
        raise DatasetError(f"{given}: no clip of {release.table} can be built")


def _write_synthetic(builder: Synthetic) -> write.Contents:
    """Draw the procedural clips; one worker, for drawing holds Python's lock."""
    metadata = synthetic.describe(builder.builder_config.clips)
    jobs = [
        write.Job("clips", name, functools.partial(_drawn, builder, index))
        for index, name in enumerate(builder.clip_names())
    ]
    identity = json.dumps(metadata["config"], sort_keys=True)
    write.write(builder.info, jobs, identity=identity, workers=1, skip_bad=False)
    return write.finish(builder.info, metadata)


def _drawn(builder: Synthetic, index: int) -> tuple[dict, list[Finding]]:
    return builder.example(index), []


def _identity(release: Release, crop: Crop | None) -> str:
    """SHA-256 of all that the records depend on; of files their size and time."""
    digest = hashlib.sha256((crop.name if crop else "").encode())
    for clip in release.clips:
        digest.update(f"{clip.row} {clip.position}".encode())
        for number, path in clip.files.items():
            stat = path.stat()
            line = f"{number} {path} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(os.fsencode(line))
    return digest.hexdigest()


def _same_crop(folder: Path, crop: Crop | None) -> None:
    metadata = tfds.builder_from_directory(folder).info.metadata or {}
    built, asked = metadata.get("crop", ""), crop.name if crop else ""
    if built != asked:
        raise DatasetError(
            f"{folder}: built with faces {built or 'none'!r}, asked for "
            f"{asked or 'none'!r}; --overwrite builds it again"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_builders.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=f"datasets: {', '.join(known())}",
    )
    parser.add_argument("--dataset", required=True, help="name or name/config")
    parser.add_argument("--manual_dir", type=Path, help="folder of the owners' files")
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="built here (default: data)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace if built")
    parser.add_argument(
        "--workers",
        type=positive,
        default=WORKERS,
        help="threads (default: one per core)",
    )
    parser.add_argument(
        "--skip_bad",
        action="store_true",
        help="leave out clips that cannot be built instead of stopping",
    )
    add_face_flags(parser)
    return parser


def known() -> list[str]:
    """All names `--dataset` takes; a name without config means its first."""
    return [
        f"{name}/{config}"
        for name, cls in BUILDERS.items()
        for config in cls.builder_configs
    ]


def find(dataset: str) -> tuple[Builder, str]:
    """The builder class and config name; DatasetError lists what there is."""
    name, _, config = dataset.partition("/")
    cls = BUILDERS.get(name)
    configs = list(cls.builder_configs) if cls else []
    if cls is None or (config and config not in configs):
        listed = "\n  ".join(known())
        raise DatasetError(f"no dataset {dataset!r}; there are\n  {listed}")
    return cls, config or configs[0]


def folder_of_owners(cls: Builder, manual_dir: Path | None) -> Path | None:
    """The folder of the owners' files; an error that says how to get them."""
    if not issubclass(cls, ClipBuilder):
        return None
    if manual_dir is None:
        problem = f"{cls.name} needs --manual_dir, the folder of its owners' files"
    elif not manual_dir.expanduser().is_dir():
        problem = f"--manual_dir={manual_dir}: expected a folder, found none"
    else:
        return manual_dir.expanduser().resolve()
    raise DatasetError(f"{problem}\n\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")


@contextlib.contextmanager
def _staging(data_dir: Path, label: str) -> Iterator[Path]:
    """A hidden folder beside the datasets, of this process alone.

    What a stopped build left there is found again by the next build of the same name.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = open(data_dir / f".{label}.lock", "w")
    except OSError as error:
        raise DatasetError(f"--data_dir={data_dir}: {error.strerror}") from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(
                f"{data_dir}: another build of {label} is running"
            ) from error
        staging = data_dir / f".incomplete-{label}"
        staging.mkdir(exist_ok=True)
        yield staging


if __name__ == "__main__":
    sys.exit(main())
