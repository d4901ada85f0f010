"""Records on disk: in parallel, in order, with little memory, restartable.

Whole shards of a stopped build are kept in a hidden folder; the same build goes on
behind them. Nothing bears the dataset's name before all of it is there.
"""

import collections
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from data_builders.annotations import fingerprint
from data_builders.examples import ClipError
from data_builders.release import DatasetError, Finding, refuse
from merclip_jax.atomic import write_atomically

SHARD = 64  # clips; what a stopped build may lose
_JOURNAL = "unfinished.json"

Example = dict[str, object]
Made = tuple[object, list[Finding]]  # what a job makes, and what is odd in it


class Encoded(tfds.decode.SkipDecoding):
    """Leaves the frames encoded; in a sequence tfds asks for this method too."""

    def decode_batch_example_np(self, batch: object) -> object:
        return batch


@dataclasses.dataclass(frozen=True)
class Job:
    """Work on a clip: its split, its full name, and what does it.

    `make` returns the features of a record, say, and what is odd, or raises ClipError.
    """

    split: str
    clip: str
    make: Callable[[], Made]


def write(
    info: tfds.core.DatasetInfo,
    jobs: Sequence[Job],
    *,
    identity: str,
    workers: int,
    skip_bad: bool,
) -> list[Finding]:
    """Write the records of `jobs`, in their order, below `info.data_dir`.

    Goes on behind the whole shards that a build of the same `identity` left there.
    Returns what is odd in the pictures. A clip that cannot be made is left out with
    `skip_bad`; else all jobs are tried, and DatasetError lists those that fail.
    """
    splits = sorted({job.split for job in jobs})
    shards = _Shards(info, splits, identity)
    there = shards.clips
    if there:
        print(f"{info.full_name}: {len(there)} of {len(jobs)} clips are there already")
    # Among them those that could not be made; why is heard again.
    todo = [job for job in jobs if job.clip not in there]
    findings = shards.findings
    failed = False
    with progress(len(jobs), info.full_name, initial=len(there)) as bar:
        for job, made in in_order(todo, workers):
            bar.update()
            if isinstance(made, Finding):
                findings.append(made)
                failed = failed or not skip_bad
                continue
            example, odd = made
            findings += odd
            if not failed:
                shards.add(job.split, example)
    if failed:
        shutil.rmtree(info.data_dir)
        refuse(info.name, findings)
    shards.close()
    return findings


def progress(total: int, what: str, *, initial: int = 0) -> tqdm:
    """A progress bar over clips, with the time that is left."""
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit="clip",
        disable=None,
        smoothing=0.05,
    )


def in_order(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Made | Finding]]:
    """What each job makes, or the finding that it fails with, in order of jobs.

    At most `workers` + 1 results wait in memory.
    """

    def run(job: Job) -> Made | Finding:
        try:
            return job.make()
        except ClipError as error:
            return error.finding

    with ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for job in jobs:
                waiting.append((job, pool.submit(run, job)))
                if len(waiting) > workers:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, result in waiting:
                result.cancel()


def read_back(folder: Path) -> Iterator[Example]:
    """All records of a built dataset, frames as encoded bytes, by split and order."""
    builder = tfds.builder_from_directory(folder)
    splits = builder.as_data_source(decoders={"frames": Encoded()})
    for name in sorted(splits):
        source = splits[name]
        for index in range(len(source)):
            yield source[index]


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a dataset's records hold: clips by emotion, and two identities.

    `fingerprint`: of the owners' files, annotations and options; `records`: SHA-256 of
    the stored pictures, which may differ between versions of OpenCV.
    """

    clips: int
    subjects: int
    frames: int
    emotions: dict[str, int]
    fingerprint: str
    records: str


def contents(folder: Path, crop: str = "") -> Contents:
    """Read all records of a dataset and sum them up."""
    hashes, subjects, frames = [], set(), 0
    emotions: collections.Counter = collections.Counter()
    pictures = hashlib.sha256()
    for record in read_back(folder):
        hashes.append((record["clip"].decode(), record["source_hash"].decode()))
        subjects.add(record["subject"].decode())
        emotions[record["emotion"].decode()] += 1
        frames += len(record["frames"])
        for frame in record["frames"]:
            pictures.update(frame)
    return Contents(
        len(hashes),
        len(subjects),
        frames,
        dict(sorted(emotions.items())),
        fingerprint(hashes, crop),
        pictures.hexdigest(),
    )


class _Shards:
    """Array records of SHARD clips each, and a journal of those that are whole.

    The journal, one file, holds identity, clips and bytes of each shard by split, and
    what was odd so far. A shard that it does not list is begun anew.
    """

    def __init__(
        self, info: tfds.core.DatasetInfo, splits: Sequence[str], identity: str
    ):
        self.info = info
        self.identity = identity
        self.findings: list[Finding] = []
        self.whole: dict[str, list[dict[str, object]]] = {name: [] for name in splits}
        self.half: dict[str, tuple[ArrayRecordWriter, list[str], int]] = {}
        self.folder = Path(info.data_dir)
        self._resume()

    @property
    def clips(self) -> set[str]:
        """All clips in whole shards."""
        shards = [shard for split in self.whole.values() for shard in split]
        return {clip for shard in shards for clip in shard["clips"]}

    def add(self, split: str, example: Example) -> None:
        """Write an example; with enough of them a shard is whole."""
        if split not in self.half:
            path = _path(self.info, split, len(self.whole[split]))
            # Pictures are compressed already.
            writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
            self.half[split] = writer, [], 0
        writer, clips, size = self.half[split]
        record = self.info.features.serialize_example(example)
        writer.write(record)
        self.half[split] = writer, [*clips, example["clip"]], size + len(record)
        if len(clips) + 1 == SHARD:
            self._close(split)

    def close(self) -> None:
        """End all shards, and tell TFDS of them; splits without a clip are not made."""
        for split in list(self.half):
            self._close(split)
        made = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(shard["clips"]) for shard in shards],
                num_bytes=sum(shard["bytes"] for shard in shards),
                filename_template=_template(self.info, split),
            )
            for split, shards in self.whole.items()
            if shards
        ]
        self.info.set_splits(tfds.core.splits.SplitDict(made))
        self.info.write_to_directory(self.folder)

    def _close(self, split: str) -> None:
        writer, clips, size = self.half.pop(split)
        writer.close()
        self.whole[split].append({"clips": clips, "bytes": size})
        journal = {
            "identity": self.identity,
            "shards": self.whole,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }
        write_atomically(self.folder / _JOURNAL, json.dumps(journal).encode())

    def _resume(self) -> None:
        """Take over the whole shards of an earlier try; remove what is of another."""
        try:
            journal = json.loads((self.folder / _JOURNAL).read_text())
        except (OSError, ValueError):  # none, or not one
            journal = {"identity": ""}
        shards = [
            _path(self.info, split, index)
            for split, whole in journal.get("shards", {}).items()
            for index in range(len(whole))
        ]
        if journal["identity"] == self.identity and all(p.exists() for p in shards):
            self.whole |= journal["shards"]
            found = [Finding(**finding) for finding in journal["findings"]]
            there = {clip.partition("/")[2] for clip in self.clips}
            self.findings = [finding for finding in found if finding.clip in there]
            return
        if journal["identity"]:
            print(f"{self.info.full_name}: an earlier try had other files or options")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)


def _template(info: tfds.core.DatasetInfo, split: str) -> tfds.core.ShardedFileTemplate:
    return tfds.core.ShardedFileTemplate(
        data_dir=Path(info.data_dir),
        dataset_name=info.name,
        split=split,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
    )


def _path(info: tfds.core.DatasetInfo, split: str, shard: int) -> Path:
    template = _template(info, split)
    return Path(template.sharded_filepath(shard_index=shard, num_shards=None))


def finish(info: tfds.core.DatasetInfo, metadata: dict[str, object]) -> Contents:
    """Read the records back, put what they hold beside `metadata`, and store both.

    `metadata["crop"]` is part of the fingerprint.
    """
    folder = Path(info.data_dir)
    found = contents(folder, str(metadata.get("crop", "")))
    info.metadata.update(metadata)
    info.metadata.update(fingerprint=found.fingerprint, records=found.records)
    info.write_to_directory(folder)
    return found


def publish(written: Path, folder: Path, aside: Path) -> None:
    """Give a dataset its name; what bore it before goes `aside`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(aside)
    written.rename(folder)
    (folder / _JOURNAL).unlink(missing_ok=True)


def check(folder: Path) -> Contents:
    """What a built dataset holds; DatasetError when it is not what was written."""
    try:
        metadata = tfds.builder_from_directory(folder).info.metadata
        found = contents(folder, str(metadata.get("crop", "")))
        stored = {name: metadata[name] for name in ("fingerprint", "records")}
    except Exception as error:  # readers of records, JSON and TFDS each have their own
        raise DatasetError(
            f"{folder}: damaged ({error}); build it again with --overwrite"
        ) from error
    for name, value in stored.items():
        if getattr(found, name) != value:
            raise DatasetError(
                f"{folder}: damaged: its {name} hash is {getattr(found, name)}, "
                f"expected {value}; build it again with --overwrite"
            )
    return found
