"""One record of a built dataset: reading it, its landmarks, what to type without."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from merclip_jax.errors import UserError


def read_record(source: Sequence, index: int, dataset: str) -> dict:
    """A record of a built dataset.

    Args:
        source: its records.
        index: which.
        dataset: its name, for the error.

    Raises:
        UserError: the record is damaged.
    """
    try:
        return source[index]
    except UserError:  # of several datasets, one has said it already
        raise
    except Exception as error:  # array_record raises several kinds
        where = f"record {index} of {len(source)}"
        raise UserError(damaged(where, dataset, error)) from error


def damaged(where: object, dataset: str, error: Exception) -> str:
    """What to tell of something that cannot be read, and what to do about it."""
    return (
        f"{dataset}: {where} cannot be read ({type(error).__name__}: {error}); "
        f"{rebuild(dataset)}"
    )


def points_of_frames(record: Mapping) -> np.ndarray:
    """Landmarks float32 [t, p, 2] of every frame of a record, in its own pixels.

    p = 0 of a record without: an older one, or one that was built without.
    """
    t = len(record["frames"])
    points = np.asarray(record.get("frame_landmarks", ()), np.float32).reshape(-1, 2)
    if not t or len(points) % t:
        raise ValueError(f"{len(points)} landmarks of {t} frames")
    return points.reshape(t, -1, 2)


def build_command(dataset: str, metadata: Mapping, *, every_frame: bool = True) -> str:
    """What to type for the same dataset with landmarks added.

    Args:
        dataset: its name.
        metadata: of the build that lacks them; says how its faces were cut out.
        every_frame: whether those of every frame are wanted, not of the onset alone.
    """
    command = f"python -m data_builders.build --dataset={dataset}"
    # A procedural dataset knows its landmarks, and has no owners' pictures to look at.
    if "crop" in metadata:
        crop = str(metadata["crop"])
        source = crop.partition(" ")[0]
        more = {"csv": " --landmarks=PATH", "yunet": " --yunet_model=FILE"}
        source = source if source in more else "dlib"
        command += f" --manual_dir=FOLDER_OF_ITS_FILES --faces={source}"
        command += more.get(source, "")
        # The pictures stay what they are: other systems may be trained on them.
        cut = re.search("([0-9]+) px, margin ([0-9.]+)", crop)
        command += f" --size={cut[1]} --margin={cut[2]}" if cut else " --keep_pictures"
        command += " --every_frame" if every_frame else ""
    return f"{command} --overwrite"


def rebuild(dataset: str) -> str:
    """How to make a damaged dataset anew."""
    command = f"python -m data_builders.build --dataset={dataset} --overwrite"
    return f"build it again: {command}"
