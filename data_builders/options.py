"""How faces are cut out: the flags that the build and the doctor share."""

import argparse
from pathlib import Path

from data_builders.base import ClipBuilder
from data_builders.examples import Crop, Landmarks
from data_builders.release import DatasetError
from merclip_jax.faces import align as faces

SOURCES = ("auto", "none", "dlib", "csv", "yunet")


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def add_face_flags(parser: argparse.ArgumentParser) -> None:
    """Add --faces, --landmarks, --yunet_model, --size, --margin, --centre_crop."""
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
        type=Path,
        metavar="PATH",
        help="of --faces=csv: a table of OpenFace, py-feat or MediaPipe, or a folder",
    )
    group.add_argument(
        "--yunet_model", type=Path, metavar="FILE", help="of --faces=yunet: ONNX model"
    )
    group.add_argument("--size", type=int, help="pixels (default 224, samm 256)")
    group.add_argument(
        "--margin",
        type=float,
        default=2.5,
        help="side of a crop over the extent of eyes, nose and mouth (default 2.5)",
    )
    group.add_argument(
        "--centre_crop",
        action="store_true",
        help="keep a clip without a face, cut to its centred square",
    )


def _landmarks(
    flags: argparse.Namespace, cls: type[ClipBuilder], config: str
) -> Landmarks | None:
    """The source of landmarks that the flags name, None for pictures as they are.

    Raises DatasetError for flags that do not go together, or a missing library or file.
    """
    source = flags.faces
    if source == "auto":
        source = "none" if config in cls.CROPPED else "dlib"
    for flag, needs in (("landmarks", "csv"), ("yunet_model", "yunet")):
        if (getattr(flags, flag) is not None) != (source == needs):
            raise DatasetError(f"--{flag} goes with --faces={needs}, and it with it")
    try:
        if source == "dlib":
            return faces.DlibLandmarks()
        if source == "csv":
            return faces.CsvLandmarks(flags.landmarks.expanduser())
        if source == "yunet":
            return faces.YunetLandmarks(flags.yunet_model.expanduser())
    except faces.FacesError as error:
        raise DatasetError(str(error)) from error
    return None


def crop_of(
    flags: argparse.Namespace, cls: type[ClipBuilder], config: str
) -> Crop | None:
    """How the clips are cut, None for pictures as they are."""
    landmarks = _landmarks(flags, cls, config)
    if landmarks is None:
        return None
    size = cls.SIZE if flags.size is None else flags.size
    if not (16 <= size <= 2048 and 0 < flags.margin <= 100):
        raise DatasetError("--size must be 16..2048, --margin above 0, up to 100")
    return Crop(landmarks, size, flags.margin, flags.centre_crop)
