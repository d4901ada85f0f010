"""Built TFDS datasets: where they are, and the clips in them that a task keeps."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from merclip_jax.data.classes import dataset_of, found_in, label_of
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.encoded import (
    Encoded,
    fingerprint,
    metadata_digest,
    record_digest,
)
from merclip_jax.data.flow import folder_of
from merclip_jax.data.record import (
    build_command,
    damaged,
    points_of_frames,
    read_record,
    rebuild,
)
from merclip_jax.data.sequences import Chained, Checked
from merclip_jax.data.threads import in_order
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.files import expanded, expect_regular

_VERSION = re.compile("[0-9]+[.][0-9]+[.][0-9]+")


def load_clips(options: DataOptions, view: View) -> Clips:
    """The clips of a built dataset that the task's classes keep, with notes on them.

    Args:
        options: dataset, classes, what is left out.
        view: which frames of each clip are seen.

    Raises:
        UserError: as `load_one`.
    """
    clips, left_out = load_one(options, view)
    return noted(clips, idle_words(options, clips, left_out))


def noted(clips: Clips, notes: Sequence[str]) -> Clips:
    """The same clips with more notes for the card."""
    kept = [*clips.metadata.get("notes", []), *notes]
    return dataclasses.replace(clips, metadata={**clips.metadata, "notes": kept})


def load_one(options: DataOptions, view: View) -> tuple[Clips, set[str]]:
    """The clips of a built dataset that the task's classes keep.

    Args:
        options: dataset, classes, what is left out.
        view: which frames of each clip are seen.

    Returns:
        The clips, and which of those that the task excludes are in the dataset.

    Raises:
        UserError: the dataset is not built, damaged or not what was built, it has an
            emotion that the task neither maps to a class nor drops, or it lacks the
            landmarks that the view needs.
    """
    dataset = options.dataset
    folder = find(dataset, options.data_dir, options.access)
    for path in sorted(folder.iterdir()):
        expect_regular(path)
    try:
        builder = tfds.builder_from_directory(folder)
        splits = builder.as_data_source(decoders={"frames": Encoded()})
        source = Chained([splits[name] for name in sorted(splits)])
        split = [name for name in sorted(splits) for _ in range(len(splits[name]))]
        metadata = dict(builder.info.metadata or {})
    except Exception as error:  # TFDS and array_record each raise their own
        raise UserError(damaged(folder, dataset, error)) from error

    known, owners = label_of(options.classes), dataset_of(dataset)
    rows, unknown, digests, hashes, left_out = [], {}, [], [], set()
    short, unaligned = [], []
    for i in range(len(source)):
        record = read_record(source, i, dataset)
        digests.append(record_digest(record))
        try:
            row = _row(record, i, view) | {"split": split[i]}
            hashes.append((row["clip"], record["source_hash"].decode()))
            pointed = not view.align or points_of_frames(record).size > 0
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise UserError(damaged(f"record {i}", dataset, error)) from error
        emotion = row["emotion"]
        if row["clip"] in options.excluded:
            left_out.add(row["clip"])
            continue
        own = found_in(known, owners, emotion)
        dropped = found_in(options.dropped, owners, emotion)
        # What is said of one dataset counts before what is said of all.
        if own and not (dropped and "/" in dropped and "/" not in own):
            if "positions" not in row:
                short.append(row["clip"])
                continue
            if not pointed:
                unaligned.append(row["clip"])
            rows.append(row | {"label": np.int32(known[own])})
        # A typing error in the class map would leave clips out in silence.
        elif dropped is None:
            unknown.setdefault(emotion, record["clip"].decode())
    _check_hashes(folder, dataset, metadata, digests, hashes)
    _check_task(options, metadata)
    if unknown:
        listing = ", ".join(f"{e!r} (clip {c})" for e, c in sorted(unknown.items()))
        raise UserError(
            f"{dataset}: emotions that the task neither maps to a class nor drops: "
            f"{listing}; see config.data.classes and config.data.dropped"
        )
    if unaligned:
        raise UserError(
            f"{dataset}: data.align={view.align!r} needs the landmarks of every frame, "
            f"which {len(unaligned)} of {len(rows)} clips lack, the first "
            f"{unaligned[0]}; build it with them:\n"
            f"  {build_command(dataset, metadata)} --data_dir={options.data_dir}"
        )
    if not rows and short:
        raise UserError(
            f"{dataset}: no clip of the task has the {view.least} frames that "
            f"data.sampling={view.sampling!r} needs"
        )
    if not rows:
        raise UserError(f"{dataset}: no clip has an emotion of the task")
    columns = {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
    flows = str(folder_of(folder, view)) if view.flow else ""
    columns["flows"] = np.full(len(rows), flows)
    notes = []
    if short:
        notes.append(
            f"{len(short)} of {len(short) + len(rows)} clips of the task have fewer "
            f"than {view.least} frames and are left out, the first {short[0]}"
        )
    metadata["notes"] = [*metadata.get("notes", []), *notes]
    clips = Clips(
        dataset=dataset,
        fingerprint=str(metadata.get("fingerprint", "")),
        metadata=metadata,
        classes=tuple(name for name, _ in options.classes),
        source=Checked(source, digests),
        view=view,
        **columns,
    )
    if view.flow:
        _compute_flows(clips)
    return clips, left_out


def _compute_flows(clips: Clips) -> None:
    """Keeps the flows of all clips; those of an earlier try are there already."""
    for _ in in_order(clips.decode, len(clips), says="flow from onset to apex"):
        pass


def is_built(dataset: str, data_dir: str) -> bool:
    """Whether a dataset, or any config of it, is there.

    Args:
        dataset: its name, perhaps with its config.
        data_dir: where datasets are built.
    """
    return bool(_builds(expanded(data_dir) / dataset))


def _builds(folder: Path) -> list[Path]:
    """Folders of all versions of all configs."""
    found = [f.parent for f in folder.glob("**/dataset_info.json")]
    return [version for version in found if _VERSION.fullmatch(version.name)]


def find(dataset: str, data_dir: str, access: str = "") -> Path:
    """Folder of a built dataset, of several versions the newest.

    UserError with what to type when there is none, or the configs of several.
    """
    root = expanded(data_dir)
    found = _builds(root / dataset)
    if len({folder.parent for folder in found}) == 1:
        return max(found, key=lambda folder: tuple(map(int, folder.name.split("."))))
    if len(found) > 1:
        names = sorted(str(folder.relative_to(root)) for folder in found)
        raise UserError(f"{dataset}: several builds in {root}: {names}; name one")
    manual = " --manual_dir=FOLDER_OF_ITS_FILES" if access else ""
    lines = [f"dataset {dataset!r} is not built in {root.resolve()}."]
    if access:
        lines.append(f"How to get it: {access}")
    lines += [
        "Then type:" if access else "Type:",
        f"  python -m data_builders.build --dataset={dataset}{manual} "
        f"--data_dir={data_dir}",
        "or point --config.data.data_dir to the folder where it is built.",
    ]
    raise UserError("\n".join(lines))


def idle_words(options: DataOptions, clips: Clips, left_out: set) -> list[str]:
    """Notes on words of the task that fit no clip: a typing error, or a part of a set.

    Args:
        options: the task.
        clips: that it keeps.
        left_out: clips that it excludes and that are there.
    """
    notes = [
        f"the task excludes {clip!r}, which is not in the dataset"
        for clip in sorted(set(options.excluded) - left_out)
    ]
    there = set(clips.label.tolist())
    for label, (name, _) in enumerate(options.classes):
        if label not in there:
            notes.append(f"no clip is of the class {name!r}")
    return notes


def _check_hashes(
    folder: Path, dataset: str, metadata: dict, digests: list, hashes: list
) -> None:
    """Raises UserError for records that are not those which the metadata speak of.

    The card names a dataset by its fingerprint, and other records under it are no such.
    """
    found = {
        "records": hashlib.sha256(b"".join(digests)).hexdigest(),
        "fingerprint": fingerprint(hashes, str(metadata.get("crop", ""))),
        "sha256": metadata_digest(metadata),
    }
    if not found.keys() & metadata.keys():  # built by another program than ours
        note = "the dataset came without hashes of its records: none was checked"
        metadata["notes"] = [*metadata.get("notes", []), note]
        return
    for name, value in found.items():
        if metadata.get(name) != value:
            raise UserError(
                f"{folder}: records or metadata.json are not what was built: their "
                f"{name} is {value}, metadata.json says {metadata.get(name)}; they "
                "were changed or damaged, or an older version built them; "
                f"{rebuild(dataset)}"
            )


def _check_task(options: DataOptions, metadata: Mapping) -> None:
    """Raises UserError for a task that the dataset's builder does not know."""
    # Procedural datasets list their tasks with ceilings, real ones with counts.
    known = metadata.get("ceiling") or metadata.get("tasks") or {}
    if options.task and known and options.task not in known:
        raise UserError(
            f"config.data.task={options.task!r}: {options.dataset} has {list(known)}"
        )


def _row(record, index, view: View) -> dict:
    """A clip's columns; of one that is too short for the view, its facts alone."""
    onset, apex, offset = (int(record[k]) for k in ("onset", "apex", "offset"))
    facts = {
        "clip": record["clip"].decode(),
        "subject": record["subject"].decode(),
        "emotion": record["emotion"].decode(),
        "au_cell": record["au_cell"].decode(),
    }
    if offset - onset + 1 < view.least:
        return facts
    fps = float(record["fps"])
    if view.sampling == "window":
        # Where in its record an expression lies is what nobody tells on a new video.
        onset, offset = 0, len(record["frames"]) - 1
    positions = view.positions(onset, apex, offset, fps=fps)
    return facts | {
        "positions": positions,
        "apex": int(np.abs(positions - apex).argmin()),
        "spans": (onset, offset),
        "fps": fps,
        "records": index,
    }
