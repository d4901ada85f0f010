"""A training whose encoder comes from another one, in one command."""

from pathlib import Path

from ml_collections import ConfigDict

from merclip_jax import build, experiment
from merclip_jax.errors import UserError
from merclip_jax.training.workdir import FIRST, Workdir

# Where a config of each system takes such weights.
_INTO = {"mer_clip": "vision", "fdp": "model"}


def pretrained(
    first: ConfigDict,
    config: ConfigDict,
    path: Path,
    *,
    command: str = "",
    elsewhere: bool = False,
    overlap: bool = False,
) -> ConfigDict:
    """The config, with the encoder of a first training to start from.

    The first training is a run of its own, with card and report, in a folder of the
    workdir; what is finished there is not trained again. Its head is not taken over.

    Args:
        first: config of the training that comes first: one model, as a holdout has.
        config: of the training that starts from it.
        path: the workdir of the latter.
        command: how the run was started, for the card.
        elsewhere: whether it may go on on another machine than it began on.
        overlap: whether weights may have seen test subjects.

    Raises:
        UserError: the two are not of one system, the first has several members, or the
            second says already what it starts from.
    """
    build.check(config)
    system = config.system
    if system not in _INTO or first.system != system:
        raise UserError(
            f"--pretrain trains {first.system} and --config {system}; expected one of "
            f"{list(_INTO)} in both"
        )
    given = [name for name in ("vision", "merclip", "model") if config.init.get(name)]
    if given:
        raise UserError(
            f"config.init.{given[0]}={config.init[given[0]]}: --pretrain says already "
            "what the run starts from; give that to --pretrain.init in its place"
        )
    first = first.copy_and_resolve_references()
    first.train.keep_weights = True
    job = build.job(first, build.clips(first))
    members = experiment.members_of(job)
    if len(members) != 1:
        raise UserError(
            f"--pretrain: {job.protocol.name} trains {len(members)} models, and the "
            "second training starts from one; set --pretrain.protocol.name=holdout "
            "and whom it leaves out, with one seed"
        )
    with Workdir(path / FIRST, elsewhere=elsewhere) as workdir:
        experiment.train_and_score(job, workdir, command=command, overlap=overlap)
        folder = workdir.weights(members[0])
    made = config.copy_and_resolve_references()
    made.init[_INTO[system]] = str(folder)
    if system == "fdp":
        made.init.new_head = True
    return made
