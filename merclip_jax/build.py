"""From a config to the values that pieces take; nothing below reads a ConfigDict."""

import dataclasses
import difflib

from ml_collections import ConfigDict

from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.several import load_datasets
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.job import Job, Making, options, problems
from merclip_jax.making.fdp import FDP
from merclip_jax.making.mer_clip import MER_CLIP
from merclip_jax.making.micro_au_clip import MICRO_AU_CLIP

# Each system's way from a config to a job.
SYSTEMS: dict[str, Making] = {
    "mer_clip": MER_CLIP,
    "fdp": FDP,
    "micro_au_clip": MICRO_AU_CLIP,
}


def clips(config: ConfigDict) -> Clips:
    """The clips of the config's task, as its system sees them."""
    check(config)
    data = options(DataOptions, config, "data")
    return load_datasets(data, options(View, config, "data"))


def check(config: ConfigDict) -> None:
    """Compares every key with what its dataclass declares, before any work.

    Raises:
        UserError: that lists all keys with a value that cannot be.
    """
    if not isinstance(config, ConfigDict):
        expected = "a ConfigDict as configs/common.py makes it"
        try:
            # What stands for a file that cannot be loaded says why when it is asked.
            raise UserError(f"the config: expected {expected}, found {config.data!r}")
        except (OSError, AttributeError, TypeError) as error:
            raise UserError(f"the config: expected {expected} ({error})") from error
    if found := _unknown_keys(config):
        raise UserError("\n".join(found))
    making = _making(config)
    found = [
        problem
        for group, kinds in making.groups.items()
        for kind in kinds
        for problem in problems(kind, config, group)
    ]
    if found := found or making.misfits(config):
        raise UserError("\n".join(found))


def _unknown_keys(config: ConfigDict) -> list[str]:
    """Groups that lack or are none, and keys that nothing would read."""
    found, groups = [], _making(config).groups
    for group in filter(None, groups):
        if not isinstance(config.get(group), ConfigDict):
            found.append(f"config.{group}: expected the group of configs/common.py")
    for group, kinds in groups.items():
        fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
        given = config.get(group) if group else config
        known = fields if group else fields | groups.keys()
        for name in given if isinstance(given, ConfigDict) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                found.append(
                    f"config.{group and group + '.'}{name}: no such key{meant}"
                )
    return found


def job(config: ConfigDict, clips: Clips) -> Job:
    """Everything that a run of the config needs.

    Args:
        config: all of it.
        clips: of `clips(config)`, or changed ones.
    """
    check(config)
    return _making(config).job(config, clips)


def _making(config: ConfigDict) -> Making:
    # An unknown name is told with all else that is wrong, by `RunOptions`.
    name = config.get("system")
    return SYSTEMS[name if name in list(SYSTEMS) else "mer_clip"]
