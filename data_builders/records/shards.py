"""Records on disk: in order, restartable, under the dataset's name when all are there.

Whole shards of a stopped build are kept in a hidden folder; the same build goes on
behind them.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from data_builders.readers.findings import Finding
from data_builders.records.jobs import Job, in_order, progress
from data_builders.terminal import say
from merclip_jax.atomic import write_atomically

SHARD = 64  # clips; what a stopped build may lose
_JOURNAL = "unfinished.json"


def write(
    info: tfds.core.DatasetInfo,
    jobs: Sequence[Job],
    *,
    identity: str,
    workers: int,
    skip_bad: bool,
) -> list[Finding]:
    """Writes the records of jobs, in their order.

    Goes on behind the whole shards that a build of the same identity left there.

    Args:
        info: Of the dataset; the records go below its `data_dir`.
        jobs: One for each clip.
        identity: Of all that the records depend on.
        workers: How many threads.
        skip_bad: Whether a clip that cannot be made is left out.

    Returns:
        What is odd in the pictures. If a clip cannot be made and may not be left out,
        nothing is kept; all jobs are tried, so that all those that fail are listed.
    """
    splits = sorted({job.split for job in jobs})
    shards = _Shards(info, splits, identity)
    there = shards.clips
    if there:
        say(f"{info.full_name}: {len(there)} of {len(jobs)} clips are there already")
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
            if not failed:  # else nothing of it will be kept
                shards.add(job.split, example)
    if failed:
        shutil.rmtree(info.data_dir)
    else:
        shards.close()
    return findings


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

    def add(self, split: str, example: dict[str, object]) -> None:
        """Writes an example; with enough of them a shard is whole."""
        if split not in self.half:
            path = _path(self.info, split, len(self.whole[split]))
            # Pictures are compressed already. A group of one: clips are read one by
            # one, in any order.
            writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
            self.half[split] = writer, [], 0
        writer, clips, size = self.half[split]
        record = self.info.features.serialize_example(example)
        writer.write(record)
        self.half[split] = writer, [*clips, example["clip"]], size + len(record)
        if len(clips) + 1 == SHARD:
            self._close(split)

    def close(self) -> None:
        """Ends all shards and tells TFDS of them; no split is made without a clip."""
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
        # Only now: a shard is in the journal when all of it is on disk.
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
            # Those of other clips are found again when their jobs are done again.
            there = {clip.partition("/")[2] for clip in self.clips}
            self.findings = [finding for finding in found if finding.clip in there]
            return
        if journal["identity"]:
            say(f"{self.info.full_name}: an earlier try had other files or options")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)


def _template(info: tfds.core.DatasetInfo, split: str) -> tfds.core.ShardedFileTemplate:
    # Without the number of shards, which is not known before all are written.
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


def publish(written: Path, folder: Path, aside: Path) -> None:
    """Gives a dataset its name.

    Args:
        written: Where it was written.
        folder: What it is to be called.
        aside: Where that goes which was called so before.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(aside)
    written.rename(folder)
    (folder / _JOURNAL).unlink(missing_ok=True)
