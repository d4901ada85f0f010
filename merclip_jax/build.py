"""From a config to the values that pieces take; nothing below reads a ConfigDict."""

import dataclasses
import difflib

from ml_collections import ConfigDict

from merclip_jax import declared
from merclip_jax.builders import fdp, mer_clip, micro_au_clip
from merclip_jax.builders.job import Groups, Job, Method, flatten, options, values_of
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError

__all__ = ["SYSTEMS", "Job", "check", "clips", "flatten", "job", "options"]

SYSTEMS: dict[str, Method] = {
    "mer_clip": Method(mer_clip.GROUPS, mer_clip.misfits, mer_clip.job),
    "micro_au_clip": Method(
        micro_au_clip.GROUPS, micro_au_clip.misfits, micro_au_clip.job
    ),
    "fdp": Method(fdp.GROUPS, fdp.misfits, fdp.job),
}


def clips(config: ConfigDict) -> Clips:
    """The clips of the config's task, as its system sees them."""
    check(config)
    data = options(DataOptions, config, "data")
    return load_clips(data, options(View, config, "data"))


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
    method = _method(config)
    if found := _unknown_keys(config, method.groups):
        raise UserError("\n".join(found))
    found = [
        problem
        for group, kinds in method.groups.items()
        for kind in kinds
        for problem in _problems(kind, config, group)
    ]
    if found := found or method.misfits(config):
        raise UserError("\n".join(found))


def _method(config: ConfigDict) -> Method:
    """That of the config's system, of another word MER-CLIP's."""
    system = config.get("system")
    # What is wrong with the word is told with all else, by its declaration.
    return SYSTEMS.get(system if isinstance(system, str) else "", SYSTEMS["mer_clip"])


def _unknown_keys(config: ConfigDict, groups: Groups) -> list[str]:
    """Groups that lack or are none, and keys that nothing would read."""
    found = []
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


def _problems(kind: type, config: ConfigDict, group: str) -> list[str]:
    """All that is wrong with a dataclass's values; those that go together come last."""
    prefix = f"config.{group}." if group else "config."
    values = values_of(kind, config, group)
    if found := declared.problems(kind, values):
        return [f"{prefix}{name}={text}" for name, text in found.items()]
    try:
        declared.make(kind, values)
    except ValueError as error:
        return [f"{prefix}{error}"]
    return []


def job(config: ConfigDict, clips: Clips) -> Job:
    """Everything that a run of the config needs.

    Args:
        config: all of it.
        clips: of `clips(config)`, or changed ones.
    """
    check(config)
    return SYSTEMS[config.system].job(config, clips)
