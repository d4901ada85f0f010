"""Folders of weights made here: `system.json` says what they hold, nothing is guessed.

    system.json            schema, modules, system, lineage, sizes, checksums
    video/ text/           Orbax: params, batch_stats
    context/               Orbax: constants of the run and fold, of a trained system
    vocab.json merges.txt  where there is a tokenizer

Converted files and the members that a training keeps are such folders alike.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.atomic import write_atomically
from merclip_jax.errors import UserError
from merclip_jax.systems import describe
from merclip_jax.systems.fdp import FdpSystem
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Context, System
from merclip_jax.text.tokenizer import FILES, ClipTokenizer
from merclip_jax.text.vocabulary import CONTEXT
from merclip_jax.weights import description
from merclip_jax.weights.arrays import holds_weights, load_weights, save_weights
from merclip_jax.weights.families.fdp import module_of
from merclip_jax.weights.families.mer_clip import modules_of
from merclip_jax.weights.part import Source
from merclip_jax.weights.provenance import Seen, digest, of_training
from merclip_jax.weights.whole import write_whole

SCHEMA = "merclip_jax.bundle/2"
SYSTEM = "system.json"
CONTEXT_FOLDER = "context"
# What a folder can be of.
SYSTEMS: dict[str, type] = {
    kind.name: kind for kind in (MerClip, FdpSystem, MicroAuClip)
}


def write(
    folder: Path,
    parts: Mapping[str, Mapping[str, np.ndarray]],
    *,
    modules: Mapping[str, Mapping],
    system: Mapping | None,
    lineage: Mapping,
    tokenizer: ClipTokenizer | None,
    context: Mapping[str, np.ndarray] = MappingProxyType({}),
    replace: bool = False,
) -> None:
    """A bundle, whole or not at all.

    Args:
        folder: the destination.
        parts: arrays by Flax path of each part.
        modules: the numbers of each part's module.
        system: a plain JSON object that the trainer gives, None for converted files.
        lineage: `provenance.of_source` or `of_training`.
        tokenizer: the text tower's.
        context: path -> array of what the system reads beside a batch.
        replace: whether an older bundle there gives way.

    Raises:
        UserError: `folder` is there already or cannot be written; nothing is left.
        ValueError: parts, modules and lineage are not of the same parts.
    """
    if not parts.keys() == modules.keys() == lineage["parts"].keys():
        told = [sorted(m) for m in (parts, modules, lineage["parts"])]
        raise ValueError(f"parts, modules and lineage differ: {told}")
    checksums = {kind: digest(arrays) for kind, arrays in parts.items()}
    # Of its content, whatever files it is read from.
    checksums["tokenizer"] = tokenizer.sha256 if tokenizer else ""
    checksums[CONTEXT_FOLDER] = digest(context) if context else ""
    told = {
        "schema": SCHEMA,
        "modules": {kind: dict(module) for kind, module in modules.items()},
        "system": None if system is None else dict(system),
        "lineage": lineage,
        "numbers": {
            of: sum(array.size for array in arrays.values())
            for of, arrays in {**parts, CONTEXT_FOLDER: context}.items()
        },
        "sha256": checksums,
    }
    # Before the first file: what is no JSON must not leave half a folder.
    text = description.to_json(told)

    def write(half: Path) -> None:
        half.mkdir()
        for kind, arrays in parts.items():
            save_weights(half / kind, unflatten_dict(dict(arrays), sep="/"))
        if context:
            save_weights(half / CONTEXT_FOLDER, unflatten_dict(context, sep="/"))
        write_atomically(half / SYSTEM, text)
        if tokenizer:
            tokenizer.save(half)

    # `system.json` alone would pass for a bundle: the folder appears with all of it.
    write_whole(folder, write, folder=True, replace=replace)


def read(folder: Path, *, only: str = "") -> Source:
    """What a bundle holds, its checksums compared.

    Args:
        folder: which has a `system.json`.
        only: the one part that is wanted, which spares reading the others.

    Returns:
        The parts with their provenance, the tokenizer, and `system` as it was given.

    Raises:
        UserError: it is damaged, was changed, or is of another schema.
    """
    source, checksums, numbers = description.read(folder / SYSTEM, schema=SCHEMA)
    parts, context = {}, {}
    for kind, part in source.parts.items():
        if only not in ("", kind):
            continue
        tree = load_weights(folder / kind, numbers=numbers[kind])
        arrays = flatten_dict(tree, sep="/")
        # A part that was exchanged or edited would be used under a false provenance.
        if part.used.keys() != arrays.keys() or checksums[kind] != digest(arrays):
            raise UserError(f"{folder}: {SYSTEM} and {kind} are not of one making")
        parts[kind] = dataclasses.replace(part, arrays=arrays)
    # Other merges would give other ids to the same prompts, and no error anywhere.
    tokenizer, known = tokenizer_in(folder), checksums["tokenizer"]
    if known and tokenizer and tokenizer.sha256 != known:
        raise UserError(f"{folder}: {SYSTEM} and its tokenizer are of two makings")
    if checksums[CONTEXT_FOLDER] and only != "text":
        tree = load_weights(folder / CONTEXT_FOLDER, numbers=numbers[CONTEXT_FOLDER])
        context = flatten_dict(tree, sep="/")
        if checksums[CONTEXT_FOLDER] != digest(context):
            raise UserError(f"{folder}: {SYSTEM} and context are not of one making")
    if "text" in parts:
        parts["text"] = dataclasses.replace(parts["text"], tokenizer=tokenizer)
    return dataclasses.replace(
        source, parts=parts, tokenizer=tokenizer, context=context
    )


def save(
    folder: Path,
    system: System,
    variables: Mapping,
    context: Context,
    *,
    name: str,
    lineage: Sequence[str],
    seen: Sequence[Seen] = (),
) -> None:
    """Write the weights of a trained model, with all that it takes to use them.

    Args:
        folder: the destination; an older bundle there gives way.
        system: what was trained.
        variables: NumPy arrays in Flax's collections.
        context: the member's own, without a member axis.
        name: of the trained member.
        lineage: what its training started from, as its card says it.
        seen: whom it was trained on.

    Raises:
        UserError: `folder` cannot be written; nothing is left.
    """
    arrays = flatten_dict(dict(variables), sep="/")
    constants = flatten_dict({"run": context.run, "fold": context.fold}, sep="/")
    write(
        folder,
        {"video": arrays},
        modules={"video": _numbers(system)},
        system=describe.to_json(system),
        lineage=of_training(
            name, arrays, title=system.title, earlier=lineage, seen=seen
        ),
        tokenizer=None,
        context={path: np.asarray(leaf) for path, leaf in constants.items()},
        replace=True,  # a group that was stopped while it finished writes it again
    )


def load(
    folder: Path, *, systems: Mapping[str, type] = SYSTEMS
) -> tuple[System, dict, Context]:
    """A trained model that `save` wrote.

    Args:
        folder: that a training kept, or that was converted of such a one.
        systems: name -> class of those that a folder may be of.

    Returns:
        The system, its variables and its context, on the device.

    Raises:
        UserError: the folder is no whole bundle, or of weights that were converted and
            not trained here, or of another system.
    """
    if not (folder / SYSTEM).exists():
        refuse_older(folder)
        raise UserError(f"{folder}: holds no {SYSTEM}; expected trained weights")
    source = read(folder, only="video")
    if source.system is None:
        raise UserError(
            f"{folder}: converted weights, which say nothing of task and input; "
            "expected those of a training here"
        )
    try:
        system = describe.from_json(systems[source.system["name"]], source.system)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: {SYSTEM} describes none of {list(systems)} ({error!r})"
        ) from error
    arrays, context = (
        jax.tree.map(jnp.asarray, unflatten_dict(dict(of), sep="/"))
        for of in (source.parts["video"].arrays, source.context)
    )
    return system, arrays, Context(**{"run": {}, "fold": {}} | context)


def _numbers(system: System) -> dict:
    """The numbers of the trained module, in the words that converted files have."""
    if isinstance(system, MerClip):
        size = system.view.image_size
        return modules_of(system.module, image_size=size)["video"]
    if isinstance(system, FdpSystem):
        return module_of(system.module, image_size=system.view.image_size)
    return {"family": system.name}


def refuse_older(folder: Path) -> None:
    """UserError for a folder that an earlier version made, with what to do.

    Those said nothing of their structure, or in another schema.
    """
    # Whatever schema it says: no reader of it is left.
    if (folder / "lineage.json").exists():
        raise UserError(
            f"{folder}: made by an earlier version (lineage.json in place of "
            f"{SYSTEM}); convert its source again"
        )
    trained = (folder / "origin.json").exists()
    if not (trained or holds_weights(folder)):
        return
    # Bare Orbax is what the parts of today's folders are, too.
    if (folder.parent / SYSTEM).exists():
        raise UserError(f"{folder}: a part of {folder.parent}; give that folder")
    raise UserError(
        f"{folder}: kept by a training of an earlier version, which wrote no {SYSTEM}; "
        "train again, or convert what that version's --to=torch makes of it"
    )


def tokenizer_in(folder: Path) -> ClipTokenizer | None:
    """The tokenizer that lies in a folder, None without one."""
    lists = sorted(folder.glob("bpe_simple_vocab*.txt*"))
    # The two files first: they are what `ClipTokenizer.save` writes.
    if all((folder / name).exists() for name in FILES):
        return ClipTokenizer.from_folder(folder, CONTEXT)
    if (folder / "tokenizer.json").exists():
        return ClipTokenizer.from_folder(folder, CONTEXT)
    return ClipTokenizer.from_merges(lists[0], CONTEXT) if lists else None
