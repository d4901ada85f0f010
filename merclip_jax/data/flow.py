"""Optical flow from onset to apex as one picture, computed once and kept on disk.

TV-L1 (Zach, Pock and Bischof, 2007) by scikit-image: extra `flow`. It takes some tenths
of a second for a clip, so a clip's picture is kept in a file beside the dataset, whose
folder is named by all that the computation depends on.
"""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from merclip_jax.atomic import write_atomically
from merclip_jax.data.encoded import record_digest
from merclip_jax.data.view import View
from merclip_jax.errors import UserError

# Of scikit-image's TV-L1, its own defaults written out: they are part of the name.
ATTACHMENT, TIGHTNESS, WARPS, ITERATIONS = 15.0, 0.3, 5, 10
PERCENTILE = 99.0  # of a clip's magnitudes, that becomes the end of the scale
_LACKING = "data.flow needs scikit-image; type: pip install 'merclip_jax[flow]'"
_DIGEST = 32  # bytes of SHA-256 in front of each file's picture


def flow_picture(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """Motion between two pictures as the channels u, v and strain.

    Each channel is divided by the 99th percentile of its magnitude, clipped to -1..1
    and mapped to 0..255, where 128 is no motion. So it tells where and which way, not
    how far; a clip without motion is 128 all over.

    Args:
        onset: uint8 [h, w] grey.
        apex: uint8 [h, w] grey.

    Returns:
        uint8 [h, w, 3]: u to the right, v down, strain, which is never negative.
    """
    v, u = tv_l1(onset, apex)
    channels = (u, v, strain(u, v))
    return np.stack([_scaled(channel) for channel in channels], -1)


def tv_l1(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """TV-L1 flow in pixels, float32 [2, h, w]: down, to the right.

    Args:
        onset: uint8 [h, w] grey.
        apex: uint8 [h, w] grey.

    Raises:
        UserError: scikit-image is missing.
    """
    try:
        from skimage.registration import optical_flow_tvl1
    except ImportError:
        raise UserError(_LACKING) from None
    first, second = (x.astype(np.float32) / 255 for x in (onset, apex))
    return optical_flow_tvl1(
        first,
        second,
        attachment=ATTACHMENT,
        tightness=TIGHTNESS,
        num_warp=WARPS,
        num_iter=ITERATIONS,
        dtype=np.float32,
    )


def strain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Magnitude of the infinitesimal strain of a flow, [h, w].

    sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), by central differences.

    Args:
        u: [h, w] motion to the right in pixels.
        v: [h, w] motion down.
    """
    u_y, u_x = np.gradient(u)
    v_y, v_x = np.gradient(v)
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def folder_of(dataset: Path, view: View) -> Path:
    """Where the flows of a built dataset are kept: beside its versions.

    Not among its records, all of which are compared with what was built.

    Args:
        dataset: the folder of a version.
        view: gives size, crop and alignment.

    Raises:
        UserError: scikit-image is missing.
    """
    try:
        version = metadata.version("scikit-image")
    except metadata.PackageNotFoundError:
        raise UserError(_LACKING) from None
    name = f"tvl1-{ATTACHMENT:g}-{TIGHTNESS:g}-{WARPS}-{ITERATIONS}-p{PERCENTILE:g}"
    name += f"-{view.image_size}px-{view.resize or view.image_size}"
    name += f"-{view.align}" if view.align else ""
    return dataset.parent / "flow" / f"{name}-skimage-{version}"


def kept(folder: Path, record: Mapping, onset: int, apex: int) -> Path:
    """The file of a record's flow, named by all that the record holds.

    Args:
        folder: that of `folder_of`.
        record: the clip's, frames encoded.
        onset: index of the frame that the flow leads from.
        apex: of the one that it leads to.
    """
    return folder / f"{record_digest(record).hex()}-{onset}-{apex}.flow"


def read(path: Path, size: int) -> np.ndarray | None:
    """A kept picture uint8 [size, size, 3], None where there is no such file.

    Args:
        path: its file.
        size: its side.

    Raises:
        UserError: the file is damaged, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    found = data[_DIGEST:]
    if (
        len(found) != size * size * 3
        or hashlib.sha256(found).digest() != data[:_DIGEST]
    ):
        raise UserError(f"{path}: damaged; delete it, and it is computed again")
    return np.frombuffer(found, np.uint8).reshape(size, size, 3)


def keep(path: Path, picture: np.ndarray) -> None:
    """Writes a picture whole or not at all.

    Args:
        path: its file.
        picture: uint8 [h, w, 3].

    Raises:
        UserError: it cannot be written.
    """
    data = picture.tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(data).digest() + data)
    except OSError as error:
        raise UserError(
            f"{path}: the flow cannot be kept ({error.strerror}); data.data_dir must "
            "be a folder that can be written to"
        ) from error


def _scaled(channel: np.ndarray) -> np.ndarray:
    """A channel as 0..255 about 128, uint8 [h, w]."""
    end = np.percentile(np.abs(channel), PERCENTILE)
    share = np.clip(channel / end, -1, 1) if end > 0 else np.zeros_like(channel)
    return np.rint((share + 1) * 127.5).astype(np.uint8)
