"""The numbers that a folder says of its modules, checked before any module is made."""

from collections.abc import Mapping

from merclip_jax.models.frame_network import LOCALS
from merclip_jax.weights.families.detect import FAMILIES
from merclip_jax.weights.families.numbers import BLOCKS

_LARGEST = {"layers": BLOCKS, "global_blocks": BLOCKS, "head_blocks": BLOCKS}
_LARGEST |= {"temporal_layers": BLOCKS, "frames": 10_000, "image_size": 10_000}
_LARGEST |= {"vocabulary": 10**7, "context": 10**5, "classes": 10**6}
_LARGE = 10**5  # of widths and whatever else
_TEXT = ("vocabulary", "context", "width", "layers", "out")
_VIDEO = ("width", "layers", "patch_size", "image_size", "taps")
_ENCODERS = {
    "clip_vit": (),
    "uniformer_v2": ("local_mhra", "reduced", "global_blocks", "global_hidden"),
    "factorized_vit": ("frames", "temporal_layers"),
}
_FLAGS = {"uniformer_v2": ("frozen",)}
_MER_CLIP, _MER_CLIP_FLAGS = ("embed", "head_blocks"), ("temperature", "bias")
_FDP_LISTS = {
    "stem": (3,),
    "stages": (4,),
    "depths": (4,),
    "global_widths": (0, 4),
    "segnet": (4,),
}
_MAY_BE_NONE = ("local_mhra", "reduced", "global_blocks", "global_hidden")
_MAY_BE_NONE += ("head_blocks", "temporal_layers")


def check(kind: str, module: Mapping) -> None:
    """Checks the numbers of a part's module.

    Of a family that is not published, a trained system's own, only its name is known.

    Args:
        kind: video or text.
        module: its numbers, as a folder says them.

    Raises:
        ValueError: one lacks, is of another kind, or larger than any model's.
    """
    family = module["family"]
    if not isinstance(family, str):
        raise ValueError(f"family: {family!r}")
    if family not in FAMILIES:
        return
    if family == "fdp":
        wanted, flags = _check_fdp(module), ("ranks",)
    elif kind == "text":
        wanted, flags = _TEXT, ()
    else:
        encoder = module["encoder"]
        wanted, flags = (*_VIDEO, *_ENCODERS[encoder]), _FLAGS.get(encoder, ())
        if family == "mer_clip":
            wanted, flags = (*wanted, *_MER_CLIP), (*flags, *_MER_CLIP_FLAGS)
        if family == "clip" and "embed" in module:
            wanted = (*wanted, "embed")
        _check_names(module, encoder)
        if module["classes"] is not None:
            wanted += ("classes",)
    for name in wanted:
        least = 0 if name in _MAY_BE_NONE else 1
        value, most = module[name], _LARGEST.get(name, _LARGE)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} {value!r}: expected {least} to {most}")
    odd = [name for name in flags if not isinstance(module[name], bool)]
    if odd:
        raise ValueError(f"{odd[0]} {module[odd[0]]!r}: expected true or false")


def _check_fdp(module: Mapping) -> tuple[str, ...]:
    """FDP's widths and depths stage by stage; returns its other numbers' names."""
    for name, lengths in _FDP_LISTS.items():
        values = module[name]
        whole = isinstance(values, list | tuple) and len(values) in lengths
        most = BLOCKS if name == "depths" else _LARGE
        if not whole or not all(type(n) is int and 1 <= n <= most for n in values):
            raise ValueError(f"{name} {values!r}: expected {lengths[-1]} numbers")
    if not isinstance(module["size"], str) or module["local"] not in LOCALS:
        raise ValueError(f"size {module['size']!r}, local {module['local']!r}")
    return ("hidden", "image_size", *(("classes",) if module["classes"] else ()))


def _check_names(module: Mapping, encoder: str) -> None:
    names = [module["size"], module.get("into", "")]
    names += [module["structure"]] if encoder == "uniformer_v2" else []
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"size, structure or into: {names}, expected names")
