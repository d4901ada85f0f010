"""Clips of several built datasets at once: trained on some, tested on another."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from merclip_jax.data.clips import COLUMNS, Clips, DataOptions
from merclip_jax.data.record import read_record
from merclip_jax.data.records import (
    idle_words,
    is_built,
    load_clips,
    load_one,
    noted,
)
from merclip_jax.data.view import View
from merclip_jax.errors import UserError


def load_datasets(options: DataOptions, view: View) -> Clips:
    """The clips that the task's classes keep, of all its datasets that are built.

    Args:
        options: datasets joined by "+", classes, what is left out.
        view: which frames of each clip are seen.

    Raises:
        UserError: as for one dataset; of several fewer than two are built, or two
            hold the same clips.
    """
    names = options.dataset.split("+")
    if len(names) == 1:
        return load_clips(options, view)
    # Not everybody has a licence for all: what is there makes the run, and the card
    # says what is not. Its fingerprint keeps such a run from going on with others.
    built = [name for name in names if is_built(name, options.data_dir)]
    missing = [name for name in names if name not in built]
    if len(built) < 2:
        there = f"only {built[0]} is" if built else "none is"
        lines = [
            f"{options.dataset}: several datasets are asked for, and {there} built in "
            f"{options.data_dir}; two are needed at least.",
            *([f"How to get them: {options.access}"] if options.access else []),
            "Type for each:",
            "  python -m data_builders.build --dataset=NAME --manual_dir="
            f"FOLDER_OF_ITS_FILES --data_dir={options.data_dir}",
        ]
        raise UserError("\n".join(lines))
    parts, left_out = [], set()
    for name in built:
        # A task of several datasets is none that one dataset's builder knows.
        part, left = load_one(dataclasses.replace(options, dataset=name, task=""), view)
        parts.append(part)
        left_out |= left
    clips = merge(parts)
    notes = idle_words(options, clips, left_out)
    if missing:
        notes.append(f"not built, so no part of this: {', '.join(missing)}")
    return noted(clips, notes)


def merge(parts: Sequence[Clips]) -> Clips:
    """Several datasets' clips as one's, in their order.

    Args:
        parts: of one task and view.

    Raises:
        UserError: a clip is in two of them, as in two configs of one dataset.
    """
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in COLUMNS
    }
    names = columns["clip"].tolist()
    if twice := [clip for clip, count in Counter(names).items() if count > 1]:
        raise UserError(
            f"{'+'.join(part.dataset for part in parts)}: {len(twice)} clips are in "
            f"two of these, the first {twice[0]}; give one config of each dataset"
        )
    source = _Parts(parts)
    columns["records"] = np.arange(len(source))
    told = "\n".join(f"{part.dataset} {part.fingerprint}" for part in parts)
    notes = [
        f"{part.dataset}: {note}"
        for part in parts
        for note in part.metadata.get("notes", [])
    ]
    return dataclasses.replace(
        parts[0],
        dataset="+".join(part.dataset for part in parts),
        fingerprint=hashlib.sha256(told.encode()).hexdigest(),
        # What else metadata say is of one dataset alone: counts, a ceiling.
        metadata={"notes": notes},
        source=source,
        **columns,
    )


class _Parts(Sequence):
    """The records of several datasets' clips, one dataset after another."""

    def __init__(self, parts: Sequence[Clips]):
        self._where = [
            (part.source, int(record), part.dataset)
            for part in parts
            for record in part.records
        ]

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> dict:
        return read_record(*self._where[index])
