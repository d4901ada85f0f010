"""PyTorch's own files, read as data: a pickle that names code is refused."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from merclip_jax.errors import UserError
from merclip_jax.weights.formats.torchscript import is_torchscript, read_torchscript

# What trainers save beside the tensors, none of which is needed: read as nothing.
_INERT = (
    "_codecs.encode",
    "argparse.Namespace",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)


class _Inert:
    """Stands in for what trainers save beside the tensors; it does nothing."""

    def __init__(self, *args):
        del args

    def __setstate__(self, state):
        del state


def read_pickled(path: Path, *, zipped: bool) -> object:
    """Whatever lies in a torch file, tensors as arrays.

    Args:
        path: of the file.
        zipped: whether it is a zip, as torch writes since 1.6: mapped, not read.

    Returns:
        A nest of dicts with arrays by name, or what else was saved.

    Raises:
        UserError: it is damaged, would run code, or torch is not installed.
    """
    try:
        if zipped and is_torchscript(path):
            return read_torchscript(path)
        import torch  # an extra, which the other formats do without

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces what it will change
            inert = [(_Inert, name) for name in _INERT]
            # weights_only refuses every global but tensors and these stand-ins.
            with torch.serialization.safe_globals(inert):
                found = torch.load(
                    path, map_location="cpu", weights_only=True, mmap=zipped or None
                )
        return _arrays(found, torch)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named:
            raise UserError(
                f"{path}: refused, because it names {named[1]} beside its tensors, and "
                "loading that could run code"
            ) from error
        raise UserError(
            f"{path}: not a whole PyTorch file ({_first_line(error)})"
        ) from error
    except ImportError as error:
        raise UserError(
            f"{path}: reading PyTorch's own files needs torch; from the project's "
            "folder, pip install -e '.[convert]'"
        ) from error
    except Exception as error:  # torch raises whatever its readers happen to
        raise UserError(
            f"{path}: not a whole PyTorch file ({_first_line(error)})"
        ) from error


def _arrays(value, torch):
    """Tensors as arrays, in whatever nest of dicts they lie."""
    if isinstance(value, Mapping):
        return {str(key): _arrays(item, torch) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach()
        # NumPy has no bfloat16; in float32 nothing of it is lost.
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return value


def _first_line(error: Exception) -> str:
    text = str(error).split("WeightsUnpickler error:")[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else repr(error)
