"""From a config to the values that the pieces take; nothing else reads a ConfigDict."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from merclip_jax import facs, optim, programs, prompts, protocols, text, train
from merclip_jax.data.augment import Augmentation
from merclip_jax.data.source import Clips, load_clips
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip
from merclip_jax.weights import load as weights
from merclip_jax.weights.part import Part

CPU_STACK = 12  # members at once where the memory is not the device's own


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


KNOWN = {
    "text.guide": ("au", "emotion"),
    "loss.contrastive": ("hard", "soft_au", "sigmoid"),
    "loss.progression": ("linear", "gaussian", "centred_gaussian"),
    "model.size": mer_clip.SIZES,
    "model.video": mer_clip.ENCODERS,
    "model.structure": mer_clip.STRUCTURES,
    "model.attention": ("xla", "cudnn"),
    "model.dtype": ("auto", "float32", "bfloat16"),
    "data.residency": ("auto", "device", "host"),
    "protocol.selection": ("last", "inner", "oracle"),
}


def check(config: ConfigDict) -> None:
    """UserError for a value that no part of the program knows, before any work."""
    values = flatten(config)
    for key, known in KNOWN.items():
        if values[key] not in known:
            raise UserError(f"config.{key}={values[key]!r}: expected {list(known)}")
    for name in ("augmix", "flip", "colour_jitter", "static_mix"):
        share = values[f"augment.{name}"]
        if not 0 <= share <= 1:
            raise UserError(f"config.augment.{name}={share}: expected a probability")
    batch, group = config.train.batch_size, config.model.bn_group_size
    if group and batch % group:
        raise UserError(
            f"config.model.bn_group_size={group} does not divide a batch of {batch}"
        )
    if (config.protocol.selection == "inner") != bool(config.protocol.inner_subjects):
        raise UserError(
            "config.protocol.selection='inner' goes with protocol.inner_subjects of 1 "
            "or more, the others with 0"
        )


def load(config: ConfigDict) -> Clips:
    """The clips of the config's task."""
    check(config)
    data = config.data
    return load_clips(
        data.dataset,
        data_dir=data.data_dir,
        classes=data.classes,
        dropped=data.dropped,
        excluded=data.excluded,
        frames=data.frames,
        image_size=data.image_size,
        resize=data.resize or data.image_size,
        frame_sampling=data.sampling,
        access=data.access,
    )


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


def tower_of(config: ConfigDict) -> Part | None:
    """The published text tower that the config names, None for a random one."""
    init, size = config.init, mer_clip.SIZES[config.model.size]
    return weights.load_tower(size, text=init.text, merclip=init.merclip)


def start_of(config: ConfigDict, *, classes: int) -> Part | None:
    """The weights that every member starts from, None for random ones."""
    init, data = config.init, config.data
    return weights.load_start(
        model_of(config, classes=classes),
        (data.frames, data.image_size),
        vision=init.vision,
        merclip=init.merclip,
        norm_from_classifier=init.norm_from_classifier,
        new_head=init.new_head,
    )


def prompt_table(
    clips: Clips, config: ConfigDict, published: Part | None = None
) -> text.PromptTable:
    """Encode every prompt of the task once, with the frozen text tower.

    Without a published tower it is a random one, made from fixed sentences.
    """
    settings = config.text
    try:
        wording = facs.Wording(
            order=settings.order,
            words=settings.words,
            last_and=settings.last_and,
            au26=settings.au26,
        )
        templates = settings.templates
        reference = prompts.reference_texts(templates=templates, wording=wording)
        if settings.guide == "emotion":
            bank = prompts.emotion_bank(clips.classes, templates=templates)
            sets = clips.label
            reference += bank.texts()
        else:
            cells = clips.au_cell.tolist()
            bank = prompts.au_bank(cells, templates=templates, wording=wording)
            sets = bank.index(cells)
    except ValueError as error:
        raise UserError(f"config.text: {error}") from error
    if published:
        size = mer_clip.SIZES[config.model.size]
        tower, variables = weights.text_tower(published, size)
        vocabulary = published.tokenizer
    else:
        vocabulary = text.WordVocabulary.of(reference)
        tower = mer_clip.clip_text(
            mer_clip.SIZES[config.model.size],
            vocabulary=vocabulary.size,
            context=vocabulary.context,
        )
        variables = text.random_tower(
            tower, jax.random.key(0), vocabulary.encode(reference)
        )
    variables = text.keep_positions(variables, settings.positions)
    features = text.encode_prompts(tower, variables, text.tokenise(vocabulary, bank))
    features = features.reshape(templates, len(bank.names), -1)
    return text.PromptTable(bank, features, sets)


def model_of(config: ConfigDict, *, classes: int) -> mer_clip.MerClip:
    """The config's model."""
    model = config.model
    return mer_clip.mer_clip(
        mer_clip.SIZES[model.size],
        classes=classes,
        video=model.video,
        structure=model.structure,
        frames=config.data.frames,
        temporal_layers=model.temporal_layers,
        drop_path=model.drop_path,
        global_drop_path=model.global_drop_path,
        global_mlp_dropout=model.global_mlp_dropout,
        head_blocks=model.head_blocks,
        head_dropout=model.head_dropout,
        learn_temperature=model.learn_temperature,
        learn_bias=config.loss.contrastive == "sigmoid",
        bn_group_size=model.bn_group_size or None,
        attention=model.attention,
        dtype=dtype_of(model.dtype),
    )


def dtype_of(name: str):
    """The compute dtype: "auto" is bfloat16 on accelerators and float32 on CPU."""
    if name == "auto":
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    return jnp.dtype(name)


def hyper_of(config: ConfigDict) -> train.Hyper:
    """The numbers of the config's recipe."""
    loss, optimiser = config.loss, config.optim
    order = np.random.default_rng(0).permutation(4)  # one for all seeds, as released
    return train.Hyper(
        epochs=config.train.epochs,
        peak_lr=optimiser.peak_lr,
        warmup_epochs=optimiser.warmup_epochs,
        lr_floor=optimiser.lr_floor,
        contrastive=loss.contrastive,
        contrastive_start=loss.contrastive_start,
        contrastive_floor=loss.contrastive_floor,
        progression=loss.progression,
        total_weight=loss.total_weight,
        contrastive_factor=loss.contrastive_factor,
        focal_gamma=loss.focal_gamma,
        augmentation=Augmentation(**config.augment.to_dict()),
        jitter_order=tuple(int(i) for i in order),
    )


def plan_of(
    clips: Clips, config: ConfigDict, table: text.PromptTable, path
) -> programs.Plan:
    """Model, optimiser, hyper-parameters and clips as the rounds take them."""
    optimiser, training = config.optim, config.train
    return programs.Plan(
        model=model_of(config, classes=len(clips.classes)),
        tx=optim.adamw(
            weight_decay=optimiser.weight_decay,
            clip_norm=optimiser.clip_norm,
            decay_embeddings=optimiser.decay_embeddings,
            frozen=optimiser.frozen,
        ),
        hyper=hyper_of(config),
        prompts=train.Prompts(
            table.features,
            jnp.asarray(table.bank.mirror),
            jnp.asarray(table.bank.overlap),
        ),
        store=ClipStore(clips, residency=config.data.residency),
        labels=clips.label,
        au_sets=table.sets,
        batch_size=training.batch_size,
        balanced=config.data.balanced,
        scan_steps=training.scan_steps,
        checkpoint_every=training.checkpoint_every,
        selection=config.protocol.selection,
        keep_weights=training.keep_weights,
        workdir=path,
    )


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
