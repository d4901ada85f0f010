"""Any weight file as tables of tensors, whichever of the formats it is."""

from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.printable import printable
from merclip_jax.weights.formats import sets, sniff
from merclip_jax.weights.formats.pickles import Damaged, Stub
from merclip_jax.weights.formats.pytorch import read_pytorch, zip_names
from merclip_jax.weights.formats.safetensors import read_safetensors
from merclip_jax.weights.formats.sets import WeightSet
from merclip_jax.weights.formats.tensors import Tensor
from merclip_jax.weights.problems import misfit

# Tied tensors lie once in a file and count twice; a thousandfold is an attack.
_REPEATED = 4


def read(path: Path) -> tuple[list[WeightSet], list[str]]:
    """The tables of tensors of one file, mapped from it and not read yet.

    Args:
        path: of a torch file, a TorchScript archive or a safetensors file.

    Returns:
        All tables, and the names of unknown classes that lie beside them.

    Raises:
        UserError: it is damaged, empty, of another kind, or holds no tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: neither a file nor a folder of weights")
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise UserError(f"{path}: the file is empty")
    # By content where the name does not tell: a JSON header follows eight bytes.
    if head[8:9] == b"{" and b"\x00" in head[:8]:
        return _tables(path, read_safetensors(path))
    if told := sniff.foreign(path):
        raise UserError(f"{path}: {told}")
    zipped = head[:4] == b"PK\x03\x04"
    if path.suffix == ".safetensors" and not (zipped or head[:1] == b"\x80"):
        return _tables(path, read_safetensors(path))
    if zipped:
        _check_zip(path)
    return _tables(path, read_pytorch(path, zipped=zipped))


def arrays(path: str, table: WeightSet, *, size: int) -> dict[str, np.ndarray]:
    """The tensors of a table as arrays.

    Args:
        path: of the file, for errors.
        table: one that `read` found.
        size: bytes of the file.

    Returns:
        key -> array, mapped from the file.

    Raises:
        UserError: lists those that are damaged or not all there.
    """
    total = sum(tensor.nbytes for tensor in table.tensors.values())
    if total > _REPEATED * size + 2**20:
        raise UserError(
            f"{path}: its tensors together take {total} bytes, and the file has "
            f"{size}: they repeat the same numbers"
        )
    found, problems = {}, []
    for key, tensor in table.tensors.items():
        try:
            found[key] = tensor.array() if isinstance(tensor, Tensor) else tensor
        except Damaged as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise misfit(path, [printable(problem) for problem in problems])
    return found


def _check_zip(path: Path) -> None:
    """Refuses a zip that torch did not write, saying what it is."""
    names = zip_names(path)
    if not any(name.endswith("/data.pkl") for name in names):
        raise UserError(f"{path}: {printable(sniff.foreign_zip(names))}")


def _tables(path: Path, found: object) -> tuple[list[WeightSet], list[str]]:
    try:
        tables, classes = sets.sets(found), sets.stubs(found)
    except Damaged as error:
        raise UserError(f"{path}: {error}") from error
    if tables:
        return tables, classes
    what = found.name if isinstance(found, Stub) else type(found).__name__
    if isinstance(found, dict):
        keys = ", ".join(sorted(map(str, found))[:5])
        what = f"a dict without tensors ({keys})" if keys else "no tensors"
    else:
        what = f"a {what}"
    raise UserError(f"{path}: holds {printable(what)}, expected tensors by name")
