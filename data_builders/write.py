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
from tqdm import tqdm

from data_builders.annotations import fingerprint
from data_builders.examples import ClipError
from data_builders.release import DatasetError, Finding, refuse
from merclip_jax.files import write_atomically

SHARD = 64  # clips; what a stopped build may lose
_KEPT = "unfinished.json"  # TFDS's metadata as they were after the last whole shard
_GROUP, _GROUP_BYTES = 16, 32 * 2**20  # clips handed to the writer at once

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
    done, findings = _resume(info, jobs, identity)
    place = {job.clip: index for index, job in enumerate(jobs)}
    last = max((place[clip] for clip in done), default=-1)
    if done:
        print(f"{info.full_name}: {len(done)} of {len(jobs)} clips are there already")
    todo = [job for index, job in enumerate(jobs) if index > last]
    # Those before it that have no record could not be made; hear again why.
    left_out = [job for job in jobs[: last + 1] if job.clip not in done]
    failed = False
    splits = sorted({job.split for job in jobs})
    shards = _Shards(info, splits, findings, identity=identity, resumed=bool(done))
    with progress(len(jobs), info.full_name, initial=len(done)) as bar:
        for job, made in in_order(left_out + todo, workers):
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
    # TFDS cannot open a split without a shard: one that a stopped build had not begun.
    for name in sorted(s.name for s in builder.info.splits.values() if s.num_shards):
        source = builder.as_data_source(name, decoders={"frames": Encoded()})
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


def _resume(
    info: tfds.core.DatasetInfo, jobs: Sequence[Job], identity: str
) -> tuple[set[str], list[Finding]]:
    """Clips in the whole shards of an earlier try, and what was odd in them.

    What is left of a try with another identity is removed.
    """
    folder = Path(info.data_dir)
    done: set[str] = set()
    findings: list[Finding] = []
    try:
        kept = json.loads((folder / _KEPT).read_text())
        if kept["identity"] != identity:
            print(f"{info.full_name}: an earlier try had other files or options")
        else:
            for name, text in kept["files"].items():
                (folder / name).write_text(text)
            done = {record["clip"].decode() for record in read_back(folder)}
            findings = [Finding(**found) for found in kept["findings"]]
    except Exception as error:  # JSON, array_record and TFDS each have their own
        if folder.exists():
            print(f"{info.full_name}: an earlier try cannot be read ({error})")
        done = set()
    if not done or not done <= {job.clip for job in jobs}:
        done, findings = set(), []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    there = {clip.partition("/")[2] for clip in done}
    return done, [finding for finding in findings if finding.clip in there]


class _Shards:
    """TFDS's sequential writer, fed in groups.

    It rewrites its metadata in place: after every shard a copy is kept in one file,
    with the findings so far.
    """

    def __init__(
        self,
        info: tfds.core.DatasetInfo,
        splits: Sequence[str],
        findings: list[Finding],
        *,
        identity: str,
        resumed: bool,
    ):
        self.info = info
        self.findings = findings
        self.identity = identity
        self.writer = tfds.core.SequentialWriter(
            info, SHARD, overwrite=not resumed, file_format="array_record"
        )
        self.writer.initialize_splits(list(splits), fail_if_exists=False)
        self.whole = self._count()
        self.waiting: list[tuple[str, Example]] = []
        self.bytes = 0

    def add(self, split: str, example: Example) -> None:
        """Write an example, or keep it until there are enough of them."""
        self.waiting.append((split, example))
        self.bytes += sum(len(frame) for frame in example["frames"])
        if len(self.waiting) >= _GROUP or self.bytes >= _GROUP_BYTES:
            self._hand_over()

    def close(self) -> None:
        """Write what waits, and end all splits."""
        self._hand_over()
        self.writer.close_all()

    def _hand_over(self) -> None:
        groups: dict[str, list[Example]] = {}
        for split, example in self.waiting:
            groups.setdefault(split, []).append(example)
        self.writer.add_examples(groups)
        self.waiting, self.bytes = [], 0
        if self._count() > self.whole:
            self.whole = self._count()
            self._keep()

    def _count(self) -> int:
        return sum(len(split.shard_lengths) for split in self.info.splits.values())

    def _keep(self) -> None:
        folder = Path(self.info.data_dir)
        names = [p for p in folder.glob("*.json") if p.name != _KEPT]
        files = {path.name: path.read_text() for path in names}
        findings = [dataclasses.asdict(finding) for finding in self.findings]
        kept = {"identity": self.identity, "files": files, "findings": findings}
        write_atomically(folder / _KEPT, json.dumps(kept).encode())


def finish(info: tfds.core.DatasetInfo, metadata: dict[str, object]) -> Contents:
    """Read the records back, put what they hold beside `metadata`, and store both.

    `metadata["crop"]` is part of the fingerprint.
    """
    folder = Path(info.data_dir)
    found = contents(folder, str(metadata.get("crop", "")))
    info.set_splits(
        tfds.core.splits.SplitDict([s for s in info.splits.values() if s.num_shards])
    )
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
    (folder / _KEPT).unlink(missing_ok=True)


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
