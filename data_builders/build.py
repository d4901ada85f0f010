"""Build a dataset: owners' files, or procedural clips, into TFDS array records.

    python -m data_builders.build --dataset=synthetic/tiny
    python -m data_builders.build --dataset=casme2 --manual_dir=~/data/CASME2

The result appears under its final name only when it is complete and has been read back.
"""

import argparse
import contextlib
import errno
import fcntl
import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from data_builders.annotations import DatasetError, fingerprint
from data_builders.casme2.builder import Casme2
from data_builders.synthetic.builder import Synthetic

BUILDERS: dict[str, type[tfds.core.GeneratorBasedBuilder]] = {
    "synthetic": Synthetic,
    "casme2": Casme2,
}
# array_record raises RuntimeError, with the system's words for what went wrong.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Encoded(tfds.decode.SkipDecoding):
    """Leaves the frames encoded; in a sequence tfds asks for this method too."""

    def decode_batch_example_np(self, batch: object) -> object:
        return batch


@dataclass(frozen=True)
class Summary:
    """What a built dataset holds, counted from its records."""

    clips: int
    subjects: int
    emotions: dict[str, int]
    fingerprint: str


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 built or there already, 1 not built, 2 wrong usage."""
    flags = _parser().parse_args(argv)
    try:
        folder = build(
            flags.dataset,
            manual_dir=flags.manual_dir,
            data_dir=flags.data_dir,
            overwrite=flags.overwrite,
        )
        _print_summary(folder)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(
    dataset: str,
    *,
    manual_dir: Path | None = None,
    data_dir: Path = Path("data"),
    overwrite: bool = False,
) -> Path:
    """Build `dataset` ("name" or "name/config") and return its folder.

    A dataset that is there already is kept, unless `overwrite`; then it is replaced
    only once the new one is complete. Raises DatasetError with what to do.
    """
    cls, config = _find(dataset)
    data_dir = data_dir.expanduser()
    folder = data_dir / cls.name / config / str(cls.VERSION)
    if folder.exists() and not overwrite:
        print(f"{dataset} is built already (--overwrite builds it again)")
        return folder
    download = tfds.download.DownloadConfig(
        manual_dir=_manual_dir(cls, manual_dir), try_download_gcs=False
    )
    with _staging(data_dir, f"{cls.name}-{config}".rstrip("-")) as staging:
        builder = cls(
            data_dir=staging, config=config or None, file_format="array_record"
        )
        try:
            with _tfds_without_tensorflow():
                builder.download_and_prepare(download_config=download)
        except DatasetError as error:
            help_text = cls.MANUAL_DOWNLOAD_INSTRUCTIONS or ""
            raise DatasetError(f"{error}\n\n{help_text}".strip()) from error
        except (OSError, RuntimeError) as error:
            if not any(os.strerror(code) in str(error) for code in _FULL):
                raise
            free = shutil.disk_usage(data_dir).free / 2**30
            raise DatasetError(
                f"{data_dir}: the disk is full ({free:.2f} GiB free); nothing was "
                "kept. Make room, or give another --data_dir"
            ) from error
        _read_summary(Path(builder.data_path))
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(staging / "replaced")
        Path(builder.data_path).rename(folder)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_builders.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=f"datasets: {', '.join(_known())}",
    )
    parser.add_argument("--dataset", required=True, help="name or name/config")
    parser.add_argument("--manual_dir", type=Path, help="folder of the owners' files")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--overwrite", action="store_true", help="replace if built")
    return parser


def _known() -> list[str]:
    """All names `--dataset` takes; a name without config means its first."""
    return [
        f"{name}/{config}" if config else name
        for name, cls in BUILDERS.items()
        for config in (list(cls.builder_configs) or [""])
    ]


def _find(dataset: str) -> tuple[type[tfds.core.GeneratorBasedBuilder], str]:
    """The builder class and config name ("" for a builder without configs)."""
    name, _, config = dataset.partition("/")
    cls = BUILDERS.get(name)
    configs = list(cls.builder_configs) if cls else []
    if cls is None or (config and config not in configs):
        known = "\n  ".join(_known())
        raise DatasetError(f"no dataset {dataset!r}; there are\n  {known}")
    return cls, config or (configs[0] if configs else "")


def _manual_dir(
    cls: type[tfds.core.GeneratorBasedBuilder], manual_dir: Path | None
) -> Path | None:
    """The folder of the owners' files; an error that says how to get them."""
    if cls.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
        return None
    if manual_dir is None:
        problem = f"{cls.name} needs --manual_dir, the folder of its owners' files"
    elif not manual_dir.expanduser().is_dir():
        problem = f"--manual_dir={manual_dir}: expected a folder, found none"
    else:
        return manual_dir.expanduser()
    raise DatasetError(f"{problem}\n\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")


@contextlib.contextmanager
def _staging(data_dir: Path, label: str) -> Iterator[Path]:
    """An empty folder beside the datasets, of this process alone; gone afterwards.

    What a killed build left there is removed by the next build of the same dataset.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with open(data_dir / f".{label}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(
                f"{data_dir}: another build of {label} is running"
            ) from error
        staging = data_dir / f".incomplete-{label}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _tfds_without_tensorflow() -> Iterator[None]:
    """Make tfds keep a split in memory: beyond its limit of 1 GB it asks TensorFlow.

    Its own progress bars know no total, and its lines name the staging folder; the
    builders show their own bars.
    """
    limit = shuffle.MAX_MEM_BUFFER_SIZE
    shuffle.MAX_MEM_BUFFER_SIZE = sys.maxsize
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        shuffle.MAX_MEM_BUFFER_SIZE = limit
        tfds.enable_progress_bar()


def _read_summary(folder: Path) -> Summary:
    """Read all records back and compare with the fingerprint stored beside them."""
    try:
        builder = tfds.builder_from_directory(folder)
        columns = ("clip", "subject", "emotion", "source_hash")
        splits = builder.as_data_source(decoders={"frames": _Encoded()})
        rows = [
            tuple(record[column].decode() for column in columns)
            for split in splits.values()
            for record in split
        ]
        stored = builder.info.metadata["fingerprint"]
    except Exception as error:  # readers of records, JSON and TFDS each have their own
        raise DatasetError(
            f"{folder}: damaged ({error}); build it again with --overwrite"
        ) from error
    found = fingerprint((clip, source) for clip, _, _, source in rows)
    if found != stored:
        raise DatasetError(
            f"{folder}: damaged: its records have the fingerprint {found}, expected "
            f"{stored}; build it again with --overwrite"
        )
    emotions = Counter(emotion for _, _, emotion, _ in rows)
    subjects = {subject for _, subject, _, _ in rows}
    return Summary(len(rows), len(subjects), dict(sorted(emotions.items())), found)


def _print_summary(folder: Path) -> None:
    summary = _read_summary(folder)
    emotions = ", ".join(f"{name} {n}" for name, n in summary.emotions.items())
    print(f"clips        {summary.clips}")
    print(f"subjects     {summary.subjects}")
    print(f"emotions     {emotions}")
    print(f"folder       {folder}")
    print(f"fingerprint  {summary.fingerprint}")
    for note in tfds.builder_from_directory(folder).info.metadata.get("notes", ()):
        print(f"note         {note}")


if __name__ == "__main__":
    sys.exit(main())
