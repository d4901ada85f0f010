"""Any weight file as arrays by name, whichever of the formats it is."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.formats.pickled import read_pickled
from merclip_jax.weights.formats.safetensors import read_safetensors
from merclip_jax.weights.problems import misfit

NESTS = ("state_dict", "model_state", "model_state_dict", "model")


def read(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays of one file, mapped from it where its format allows.

    Args:
        path: of a torch file, a TorchScript archive or a safetensors file.

    Returns:
        The arrays by key, and the names under which they lay, such as ("state_dict",).

    Raises:
        UserError: it is damaged, empty, holds no tensors, or could run code.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise UserError(f"{path}: the file is empty")
    # By content where the name does not tell: a JSON header follows eight bytes.
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        found = read_safetensors(path)
    else:
        found = read_pickled(path, zipped=head[:2] == b"PK")
    # Trainers keep the weights under a name, beside what they need to go on.
    nested = []
    while isinstance(found, Mapping):
        name = next((n for n in NESTS if isinstance(found.get(n), Mapping)), None)
        if name is None:
            break
        nested.append(name)
        found = found[name]
    if not isinstance(found, Mapping):
        raise UserError(
            f"{path}: holds a {type(found).__name__}, expected tensors by name, plain "
            f"or under one of {', '.join(NESTS)}"
        )
    if not found:
        raise UserError(f"{path}: holds no tensors")
    strange = [
        f"{key}: a {type(value).__name__}, expected a tensor"
        for key, value in found.items()
        if not isinstance(value, np.ndarray)
    ]
    if strange:
        raise misfit(str(path), strange)
    return dict(found), tuple(nested)
