"""A finished run, opened again: its clips, members, answers and kept weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from merclip_jax import build
from merclip_jax.data import folds
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import Member, ProtocolOptions
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.job import options
from merclip_jax.results import answers
from merclip_jax.results.card import CardError, read_card
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.systems.system import Context, System
from merclip_jax.training import members
from merclip_jax.training.members import MemberResult
from merclip_jax.training.optim import Epochs, Optimiser, adam
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.stack import Plan
from merclip_jax.weights import bundle


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run whose card is written and whose weights were kept.

    path: its folder; plan: its clips and what its system reads of them; members and
    results: in their order; predictions: as they were scored.
    """

    path: Path
    card: dict
    plan: Plan
    members: Sequence[Member]
    results: Sequence[MemberResult]
    predictions: Predictions

    def weights(self, member: Member) -> tuple[System, dict, Context]:
        """A member's system, variables and context.

        Args:
            member: which.
        """
        system, variables, context = bundle.load(_weights(self.path, member))
        if system.transductive:
            test = member.fold.test
            columns = self.plan.rows(test, list(self.plan.columns))
            own = system.fold_context(self.plan.store.clips.take(test), columns)
            context = context.replace(fold=own)
        return system, variables, context

    def member_of(self, clip: str) -> tuple[Member, int]:
        """A member that never trained on a clip's subject, and the clip's index.

        Args:
            clip: its name, or the end of it.

        Raises:
            UserError: no test clip, or several, are called so.
        """
        names = self.plan.store.clips.clip.tolist()
        found = [
            (member, int(i))
            for member in self.members
            for i in member.fold.test
            if names[i] == clip or names[i].endswith(f"/{clip}")
        ]
        if not found:
            raise UserError(
                f"--clip={clip}: no test clip of {self.path} is called so; "
                f"such as {names[self.members[0].fold.test[0]]}"
            )
        if len({names[i] for _, i in found}) > 1:
            several = sorted({names[i] for _, i in found})
            raise UserError(f"--clip={clip}: one of {several}?")
        return found[0]


def open_run(path: Path, *, data_dir: str = "") -> Finished:
    """A finished run with its weights.

    Args:
        path: its folder.
        data_dir: where the datasets lie now, "" for where they lay.

    Raises:
        UserError: it is not finished, kept no weights, or its dataset is another one.
    """
    try:
        card = read_card(path / "card.json")
        predictions = answers.read(path / answers.FILE).predictions
    except (OSError, CardError, answers.AnswersError) as error:
        raise UserError(f"{path}: expected a finished run ({error})") from error
    config = ConfigDict(unflatten_dict(dict(card["config"]), sep="."))
    if data_dir:
        config.data.data_dir = data_dir
    clips = build.clips(config)
    if clips.fingerprint != card["task"]["dataset_fingerprint"]:
        raise UserError(
            f"{path}: trained on {card['task']['dataset']} of the fingerprint "
            f"{card['task']['dataset_fingerprint'][:16]}, here is "
            f"{clips.fingerprint[:16]}"
        )
    protocol = options(ProtocolOptions, config, "protocol")
    parts = folds.split(protocol, clips.subject, clips.label, splits=clips.split)
    everyone = folds.members(parts, protocol.seeds)
    if not any(_weights(path, member).exists() for member in everyone):
        raise UserError(
            f"{path}: kept no weights; add --config.train.keep_weights=True to the "
            "run's command and another --workdir"
        )
    system, _, context = bundle.load(_weights(path, everyone[0]))
    plan = Plan(
        system=system,
        optimiser=Optimiser(adam(), lambda step, per_epoch: step * 0.0, Epochs(1)),
        options=options(TrainOptions, config, "train"),
        # Read one after another, and once: there is no reason to hold them.
        store=ClipStore(clips, residency="host"),
        columns=system.columns(clips),
        context=Context(run=context.run),
        balanced=options(DataOptions, config, "data").balanced,
    )
    results = []
    for member in everyone:
        seal, result = members.unsealed(path / "members" / f"{member.name}.npz")
        if seal["run"] != card["run_sha256"]:
            raise UserError(f"{path}: {member.name} is of another run than the card")
        wanted = clips.clip[member.fold.test].tolist()
        if result.clip.tolist() != wanted:
            raise UserError(f"{path}: {member.name} tested other clips than are here")
        results.append(result)
    return Finished(path, card, plan, everyone, results, predictions)


def _weights(path: Path, member: Member) -> Path:
    return path / "weights" / member.name
