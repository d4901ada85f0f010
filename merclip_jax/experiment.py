"""One experiment, in the order it happens: data, members, prompts, rounds, report."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import merclip_jax
from merclip_jax import (
    optim,
    programs,
    protocols,
    report,
    results,
    rounds,
    summary,
    text,
    train,
    workdir,
)
from merclip_jax.convert import start
from merclip_jax.data.augment import Probabilities
from merclip_jax.data.source import Clips, load_clips
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip

CPU_STACK = 12  # members at once where the memory is not the device's own
# What may change between two commands that continue one run: no number depends on it.
_FREE = ("data.data_dir", "data.residency", "train.checkpoint_every")


def run(config: ConfigDict, path: Path, *, command: str = "") -> dict:
    """Train and score everything that `config` asks for; returns the result card.

    Writes card.json, report.html, predictions.csv, scalars/ and members/ under `path`;
    called again it goes on where it was stopped. Raises UserError for what the user
    can mend.
    """
    clips = load(config)
    return run_on(clips, config, path, command=command)


def load(config: ConfigDict) -> Clips:
    """The clips of the config's task."""
    data = config.data
    return load_clips(
        data.dataset,
        data_dir=data.data_dir,
        classes=data.classes,
        dropped=data.dropped,
        frames=data.frames,
        image_size=data.image_size,
        frame_sampling=data.sampling,
        access=data.access,
    )


def run_on(clips: Clips, config: ConfigDict, path: Path, *, command: str = "") -> dict:
    """`run` on clips that are loaded already."""
    started = time.monotonic()
    if config.protocol.selection not in ("last", "inner", "oracle"):
        raise UserError(
            "config.protocol.selection must be last, inner or oracle, got "
            f"{config.protocol.selection!r}"
        )
    if (config.protocol.selection == "inner") != bool(config.protocol.inner_subjects):
        raise UserError(
            "config.protocol.selection='inner' goes with protocol.inner_subjects of 1 "
            "or more, the others with 0"
        )
    settings = flatten(config)
    tower = (
        start.load_text(config.init.text, size_of(config)) if config.init.text else None
    )
    begun = start_of(config, len(clips.classes))
    origins = [found.lineage for found in (begun, tower) if found]
    workdir.claim(path, identity(clips, settings) | start.identity(origins))
    members = members_of(clips, config)
    print(describe(clips, config, members))

    table = prompt_table(clips, config, tower)
    plan = plan_of(clips, config, table, path)
    lineage = start.lineage_lines(origins)
    plan = dataclasses.replace(
        plan, start=begun.arrays if begun else {}, lineage=lineage
    )
    stack = stack_of(config, plan, members)
    rounds.run_rounds(plan, members, stack)
    found = rounds.load_results(plan, members)

    pooled = summary.pool(
        clips, members, found, selected=config.protocol.selection != "oracle"
    )
    oracle = None
    if config.protocol.selection == "oracle":
        best = summary.pool(clips, members, found, selected=True)
        oracle = summary.scores_of(best)
    card = results.build_card(
        title=f"MER-CLIP on {clips.dataset}, {len(clips.classes)} classes",
        task=config.name,
        dataset=clips.dataset,
        dataset_fingerprint=clips.fingerprint,
        classes=clips.classes,
        protocol=config.protocol.name,
        recipe=config.recipe,
        selection="last" if oracle else config.protocol.selection,
        input_contract=config.protocol.input_contract,
        config=settings,
        predictions=pooled,
        epochs=config.train.epochs,
        versions=summary.versions(),
        command=command,
        dropped=config.data.dropped,
        ceiling=summary.ceiling_of(clips),
        oracle=oracle,
        lineage=lineage,
        timing={"seconds_this_command": round(time.monotonic() - started, 1)},
        notes=notes_of(clips, config, plan),
    )
    results.write_predictions_csv(
        path / "predictions.csv", pooled, classes=clips.classes
    )
    results.write_card(path / "card.json", card)
    report.write_report(
        path / "report.html",
        card=card,
        predictions=pooled,
        curves=summary.curves_of(members, found),
        examples=summary.examples_of(clips, members, found, table),
    )
    return card


def flatten(config: ConfigDict) -> dict[str, object]:
    """A config as {"train.epochs": 55, ...}, tuples as lists."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= {f"{key}.{k}": v for k, v in flatten(value).items()}
        else:
            flat[key] = _lists(value)
    return flat


def _lists(value):
    return [_lists(v) for v in value] if isinstance(value, tuple | list) else value


def identity(clips: Clips, settings: Mapping[str, object]) -> dict[str, object]:
    """Everything that a run's numbers depend on."""
    kept = {k: v for k, v in settings.items() if k not in _FREE}
    return kept | {
        "dataset_fingerprint": clips.fingerprint,
        "clips": len(clips),
        "version": merclip_jax.__version__,
    }


def members_of(clips: Clips, config: ConfigDict) -> list[protocols.Member]:
    """The members of the config's protocol."""
    protocol = config.protocol
    folds = protocols.split(
        protocol.name,
        clips.subject,
        clips.label,
        folds=protocol.folds,
        test_subjects=protocol.test_subjects,
        splits=clips.split,
        train_splits=protocol.train_splits,
        test_splits=protocol.test_splits,
        inner_subjects=protocol.inner_subjects,
    )
    return protocols.members(folds, protocol.seeds)


def start_of(config: ConfigDict, classes: int) -> start.Start | None:
    """The weights that every member starts from, None for random ones."""
    init, data = config.init, config.data
    return start.load(
        model_of(config, classes),
        (data.frames, data.image_size),
        vision=init.vision,
        merclip=init.merclip,
        norm_from_classifier=init.norm_from_classifier,
        new_head=init.new_head,
    )


def prompt_table(
    clips: Clips, config: ConfigDict, published: start.Text | None = None
) -> text.PromptTable:
    """Encode every prompt of the task once, with the frozen text tower."""
    bank = text.prompt_bank(
        clips.au_cell.tolist(),
        templates=config.text.templates,
        order=config.text.order,
        last_and=config.text.last_and,
    )
    if published:
        tower, variables, vocabulary, _ = published
    else:
        reference = text.reference_texts(bank.templates)
        vocabulary = text.WordVocabulary.of(reference)
        tower = mer_clip.clip_text(
            size_of(config), vocabulary=vocabulary.size, context=vocabulary.context
        )
        variables = text.random_tower(
            tower, jax.random.key(0), vocabulary.encode(reference)
        )
    features = text.encode_prompts(tower, variables, vocabulary.encode(bank.texts()))
    features = features.reshape(len(bank.templates), len(bank.cells), -1)
    return text.PromptTable(bank, features, bank.index(clips.au_cell.tolist()))


def size_of(config: ConfigDict) -> mer_clip.Size:
    """The model size the config names; UserError lists the known ones."""
    if config.model.size not in mer_clip.SIZES:
        raise UserError(
            f"config.model.size={config.model.size!r}: expected one of "
            f"{list(mer_clip.SIZES)}"
        )
    return mer_clip.SIZES[config.model.size]


def plan_of(
    clips: Clips, config: ConfigDict, table: text.PromptTable, path: Path
) -> programs.Plan:
    """Model, optimiser, hyper-parameters and clips as the rounds take them."""
    optimiser, loss, train_ = config.optim, config.loss, config.train
    built = model_of(config, len(clips.classes))
    tx = optim.adamw(
        weight_decay=optimiser.weight_decay,
        clip_norm=optimiser.clip_norm,
        decay_embeddings=optimiser.decay_embeddings,
        frozen=optimiser.frozen,
    )
    order = np.random.default_rng(config.protocol.seeds[0]).permutation(4)
    hyper = train.Hyper(
        epochs=train_.epochs,
        peak_lr=optimiser.peak_lr,
        warmup_epochs=optimiser.warmup_epochs,
        lr_floor=optimiser.lr_floor,
        contrastive_start=loss.contrastive_start,
        contrastive_floor=loss.contrastive_floor,
        total_weight=loss.total_weight,
        contrastive_factor=loss.contrastive_factor,
        focal_gamma=loss.focal_gamma,
        augmentation=Probabilities(**config.augment.to_dict()),
        jitter_order=tuple(int(i) for i in order),
    )
    return programs.Plan(
        model=built,
        tx=tx,
        hyper=hyper,
        prompts=train.Prompts(table.features, jnp.asarray(table.bank.mirror)),
        store=ClipStore(clips, residency=config.data.residency),
        labels=clips.label,
        au_sets=table.au_sets,
        batch_size=train_.batch_size,
        balanced=config.data.balanced,
        scan_steps=train_.scan_steps,
        checkpoint_every=train_.checkpoint_every,
        selection=config.protocol.selection,
        keep_weights=train_.keep_weights,
        workdir=path,
    )


def model_of(config: ConfigDict, classes: int) -> mer_clip.MerClip:
    """The config's model."""
    model = config.model
    return mer_clip.mer_clip(
        size_of(config),
        classes=classes,
        drop_path=model.drop_path,
        global_drop_path=model.global_drop_path,
        global_mlp_dropout=model.global_mlp_dropout,
        head_dropout=model.head_dropout,
        learn_temperature=model.learn_temperature,
        bn_group_size=model.bn_group_size or None,
        attention=model.attention,
        dtype=dtype_of(model.dtype),
    )


def dtype_of(name: str):
    """The compute dtype: "auto" is bfloat16 on accelerators and float32 on CPU."""
    if name == "auto":
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if name not in ("float32", "bfloat16"):
        raise UserError(f"config.model.dtype={name!r}: auto, float32 or bfloat16")
    return jnp.dtype(name)


def stack_of(
    config: ConfigDict, plan: programs.Plan, members: list[protocols.Member]
) -> int:
    """Members trained at once: the config's number, or as many as fit in memory.

    What fits is shared out so that all rounds are equally full.
    """
    if config.train.stack:
        return min(config.train.stack, len(members))
    fit = min(programs.members_that_fit(plan, members, CPU_STACK), len(members))
    return -(-len(members) // -(-len(members) // fit))


def notes_of(clips: Clips, config: ConfigDict, plan: programs.Plan) -> list[str]:
    """What a reader of the card should know beside its numbers."""
    notes = []
    made = clips.metadata.get("config", {})
    if "amplitude_px" in made:
        low, high = made["amplitude_px"]
        notes.append(
            f"The clips are procedural: {made['clips']} clips of {made['subjects']} "
            f"subjects at {made['size']}x{made['size']} pixels, with {low:g}-{high:g} "
            f"pixels of motion at the apex; faces differ {made.get('variety', 1):g} "
            "times as much as they can. Such scores say nothing about people."
        )
    silent = int((plan.au_sets < 0).sum())
    if silent:
        notes.append(f"{silent} clips have no describable AU: not aligned with text.")
    return notes


def describe(clips: Clips, config: ConfigDict, members: list) -> str:
    """Two lines on what is about to be trained."""
    counts = np.bincount(clips.label, minlength=len(clips.classes))
    listed = ", ".join(f"{n} {c}" for n, c in zip(clips.classes, counts, strict=True))
    subjects = len(set(clips.subject.tolist()))
    return (
        f"{clips.dataset}: {len(clips)} clips of {subjects} subjects ({listed})\n"
        f"{config.protocol.name}, {config.recipe} recipe: {len(members)} members, "
        f"{config.train.epochs} epochs"
    )
