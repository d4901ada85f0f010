"""Camera frames to aligned clips, with dlib, from tree to what the model is given."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from data_builders import build
from data_builders.records import contents
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.faces import align as faces
from merclip_jax.faces import detectors
from merclip_jax.faces.onset import Onset
from tests.fixtures.samm import write_samm


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """SAMM's tree with a photograph in place of its grey camera frames.

    skimage's public-domain picture of an astronaut, moving down and turning: 0.4 px
    and 0.1 degrees from frame to frame.
    """
    root = tmp_path_factory.mktemp("aligned")
    write_samm(root / "owners", subjects=1)
    photo = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    for folder in (root / "owners" / "SAMM").glob("*/*"):
        for step, path in enumerate(frames_of(folder)):
            moved = cv2.getRotationMatrix2D((256, 256), 0.1 * step, 1.0)
            moved[1, 2] += 0.4 * step
            cv2.imwrite(str(path), cv2.warpAffine(photo, moved, (512, 512)))
    flags = [f"--manual_dir={root / 'owners'}", f"--data_dir={root / 'data'}"]
    assert build.main(["--dataset=samm", *flags]) == 0
    return root


def frames_of(folder):
    return sorted(folder.glob("*.jpg"), key=lambda p: int(p.stem.split("_")[-1]))


@pytest.fixture(scope="module")
def records(built):
    return list(contents.read_back(built / "data" / "samm" / "raw" / "1.0.0"))


def picture(frame):
    return cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR_RGB)


def find(image, path="x.jpg"):
    source = detectors.DlibLandmarks()
    return source.find(image, Onset("", 0, Path(path), (0,)))


def test_eyes_lie_where_the_records_say(records):
    for record in records:
        image = picture(record["frames"][0])
        assert image.shape == (256, 256, 3)  # SAMM's own size
        eyes = faces.five_points(record["landmarks"])[:2]
        assert abs(eyes[0, 1] - eyes[1, 1]) < 1e-3
        assert np.abs(faces.five_points(find(image))[:2] - eyes).max() < 1
    assert len({len(record["frames"]) for record in records}) > 1


def test_one_transform_serves_all_frames_of_a_clip(built, records):
    """The crops are one warp of the frames, and the head's motion is still there."""
    for record in records:
        subject, clip = record["clip"].decode().split("/")[1:]
        numbers = set(record["frame_numbers"])
        files = frames_of(built / "owners" / "SAMM" / subject / clip)
        files = [p for p in files if int(p.stem.split("_")[-1]) in numbers]
        images = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in files]
        matrix = faces.align_matrix(find(images[0]), size=256)
        for image, frame in zip(images, record["frames"], strict=True):
            expected = faces.warp(image, matrix, 256).astype(int)
            assert np.abs(picture(frame) - expected).mean() < 1.5  # jpg of quality 98
        first, last = (picture(record["frames"][i]) for i in (0, -1))
        drop = faces.five_points(find(last)) - faces.five_points(find(first))
        scale = np.linalg.norm(matrix[0, :2])
        assert drop[:, 1].mean() > 0.2 * scale * (len(files) - 1)


def test_the_data_source_reads_aligned_clips(built):
    emotions = "anger contempt disgust fear happiness others sadness surprise".split()
    options = DataOptions(
        dataset="samm",
        data_dir=str(built / "data"),
        classes=tuple((emotion, (emotion,)) for emotion in emotions),
    )
    clips = load_clips(options, View(frames=8, image_size=224, resize=256))
    frames = clips.decode(0)
    assert frames.shape == (8, 224, 224, 3) and frames.dtype == np.uint8
    assert np.abs(frames[..., 0].astype(int) - frames[..., 2]).max() <= 2  # grey
    assert frames.std() > 20
