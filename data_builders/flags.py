"""The flags that build and doctor share: which dataset, and how faces are cut out."""

import argparse
import os
from pathlib import Path

from data_builders.base import ClipBuilder
from data_builders.datasets import known
from data_builders.readers import frame_numbers
from data_builders.readers.findings import DatasetError
from data_builders.records.crop import Crop, Landmarks
from merclip_jax.errors import UserError
from merclip_jax.faces import detectors, numbering
from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.faces.onset import FacesError
from merclip_jax.files import expanded

SOURCES = ("auto", "none", "dlib", "csv", "yunet")
WORKERS = os.cpu_count() or 1


def positive(text: str) -> int:
    """Returns a whole number above 0, for argparse; raises ValueError for others."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def folder_or_file(text: str) -> Path:
    """Returns a path, its `~` written out, for argparse; refuses an unknown user's."""
    try:
        return expanded(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """Makes a parser with --dataset, --manual_dir, --workers and the flags of faces.

    Args:
        command: The module's name.
        description: What it does.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a flag that is added later would change what --m means
        epilog=f"datasets: {', '.join(known())}",
    )
    made.add_argument("--dataset", required=True, help="name or name/config")
    made.add_argument(
        "--manual_dir", type=folder_or_file, help="folder of the owners' files"
    )
    made.add_argument(
        "--frame_numbers",
        choices=frame_numbers.READINGS,
        default=frame_numbers.AUTO,
        help="what numbers in the pictures' names are: names: the table's frame "
        "numbers; positions: none, pictures are taken in order from the onset on; auto "
        "(default): names, and an error where a tool may have numbered anew",
    )
    made.add_argument(
        "--workers",
        type=positive,
        default=WORKERS,
        help="threads (default: one per core)",
    )
    _add_face_flags(made)
    return made


def _add_face_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say whose landmarks align the clips, and how."""
    group = parser.add_argument_group("faces")
    group.add_argument(
        "--faces",
        choices=SOURCES,
        default="auto",
        help="whose landmarks align the clips; none: pictures stay as they are; auto "
        "(default): none for face crops, dlib for camera frames",
    )
    group.add_argument(
        "--landmarks",
        type=folder_or_file,
        metavar="PATH",
        help="of --faces=csv: a table of OpenFace, py-feat, MediaPipe or LibreFace, or "
        "a folder of them",
    )
    group.add_argument(
        "--landmark_numbers",
        choices=numbering.READINGS,
        default=numbering.AUTO,
        help="of --faces=csv: whether a column 'frame' holds frame numbers or "
        "positions in the folder; auto (default): what the tables leave no choice of, "
        "else an error",
    )
    group.add_argument(
        "--yunet_model",
        type=folder_or_file,
        metavar="FILE",
        help="of --faces=yunet: ONNX model",
    )
    group.add_argument("--size", type=int, help="pixels (default 224, samm 256)")
    group.add_argument(
        "--margin",
        type=float,
        default=Crop.margin,
        help="side of a crop over the extent of eyes, nose and mouth (default 2.5)",
    )
    group.add_argument(
        "--centre_crop",
        action="store_true",
        help="keep a clip without a face, cut to its centred square",
    )
    group.add_argument(
        "--keep_pictures",
        action="store_true",
        help="store landmarks beside the pictures as they came: nothing is cut",
    )
    group.add_argument(
        "--every_frame",
        action="store_true",
        help="store landmarks of every frame, for systems that align each by its own",
    )


def _landmarks(
    flags: argparse.Namespace, cls: type[ClipBuilder], config: str
) -> Landmarks | None:
    """The source of landmarks that the flags name, None for pictures as they are.

    Raises DatasetError for flags that do not go together, or a missing library or file.
    """
    # Face crops are aligned already, by their owners; a second warp only blurs them.
    source = flags.faces
    if source == "auto":
        source = "none" if cls.TREES[config].cropped else "dlib"
    for flag, needs in (("landmarks", "csv"), ("yunet_model", "yunet")):
        if (getattr(flags, flag) is not None) != (source == needs):
            raise DatasetError(f"--{flag} goes with --faces={needs}, and it with it")
    if source != "csv" and flags.landmark_numbers != numbering.AUTO:
        raise DatasetError(f"{numbering.FLAG} goes with --faces=csv")
    try:
        if source == "dlib":
            return detectors.DlibLandmarks()
        if source == "csv":
            return CsvLandmarks(flags.landmarks, flags.landmark_numbers)
        if source == "yunet":
            return detectors.YunetLandmarks(flags.yunet_model)
    except FacesError as error:
        raise DatasetError(str(error)) from error
    return None


def crop_of(
    flags: argparse.Namespace, cls: type[ClipBuilder], config: str
) -> Crop | None:
    """Reads from the flags how the clips are cut.

    Args:
        flags: What was typed.
        cls: The dataset's builder.
        config: The config's name.

    Returns:
        How, None for pictures as they are.

    Raises:
        DatasetError: If flags do not go together or are out of range, or a library or
            file is missing.
    """
    landmarks = _landmarks(flags, cls, config)
    asked = [f for f in ("keep_pictures", "every_frame") if getattr(flags, f)]
    if landmarks is None:
        if asked:
            raise DatasetError(
                f"--{asked[0]} stores landmarks, and --faces={flags.faces} has none "
                f"for {cls.name}/{config}: give --faces=dlib, csv or yunet"
            )
        return None
    if asked and flags.centre_crop:
        raise DatasetError(
            f"--{asked[0]} stores landmarks, and --centre_crop keeps clips without any"
        )
    if flags.keep_pictures and (flags.size is not None or flags.margin != Crop.margin):
        raise DatasetError(
            "--size and --margin say how faces are cut out, and --keep_pictures cuts "
            "nothing"
        )
    # Below 16 pixels nothing is left of a face; above 2048 a typing error is likelier.
    size = cls.SIZE if flags.size is None else flags.size
    if not (16 <= size <= 2048 and 0 < flags.margin <= 100):  # false of NaN too
        raise DatasetError("--size must be 16..2048, --margin above 0, up to 100")
    return Crop(
        landmarks,
        size,
        flags.margin,
        flags.centre_crop,
        keep=flags.keep_pictures,
        every_frame=flags.every_frame,
    )
