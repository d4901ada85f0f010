"""Landmarks beside pictures as they came, of the onset alone or of every frame."""

import csv
import hashlib

import cv2
import numpy as np
import pytest
import skimage.data
import tensorflow_datasets as tfds

from data_builders import build, doctor
from data_builders.records import contents
from data_builders.records.crop import Crop
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.faces import align as faces
from merclip_jax.faces import detectors
from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.faces.onset import Onset
from tests.data_builders.test_build import KILLED, landmarks_csv, start
from tests.fixtures.casme2 import write_casme2

NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
COLUMNS = [f"{name}_{axis}" for name in NAMES for axis in "xy"]
KEEP, EVERY = "--keep_pictures", "--every_frame"
VERSION = "1.1.0"


def points(number):
    """Five points of a face that drifts and turns with the frame's number."""
    face = np.array([[-12, -6], [12, -6], [0, 5], [-8, 16], [8, 16.0]])
    angle = np.deg2rad(1.5 * (number - 10))
    c, s = np.cos(angle), np.sin(angle)
    return face @ np.array([[c, s], [-s, c]]) + [34 + 0.4 * number, 30 + 0.3 * number]


def folders(manual):
    return sorted((manual / "Cropped").glob("*/EP*"))


def numbered(folder):
    """Number -> picture of a clip's folder."""
    files = {int(p.stem.removeprefix("reg_img")): p for p in folder.glob("*.jpg")}
    return dict(sorted(files.items()))


def draw(path, number):
    """A picture with a bright dot on the tip of the nose."""
    y, x = np.mgrid[:80, :90]
    at = points(number)[2]
    spot = 250 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 10)
    cv2.imwrite(str(path), np.repeat(spot.astype(np.uint8)[..., None], 3, -1))


def table(manual, *, without=()):
    """Landmarks of every frame of every clip, less those of some (clip, number)."""
    path = manual.parent / "every.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clip", "frame", *COLUMNS])
        for folder in folders(manual):
            clip = f"{folder.parent.name}/{folder.name}"
            for number in numbered(folder):
                if (clip, number) not in without:
                    writer.writerow([clip, number, *points(number).ravel()])
    return path


@pytest.fixture
def manual(tmp_path):
    root = tmp_path / "manual"
    write_casme2(root, subjects=2, clips_per_subject=2)
    for folder in folders(root):
        for number, path in numbered(folder).items():
            draw(path, number)
    return root


def flags_of(manual, *more, source=None):
    flags = ["--dataset=casme2/cropped", f"--manual_dir={manual}", "--faces=csv"]
    return [*flags, f"--landmarks={source or table(manual)}", *more]


def run(manual, data, *more, source=None):
    flags = flags_of(manual, *more, source=source)
    return build.main([*flags, f"--data_dir={data}"])


def records(data):
    folder = data / "casme2" / "cropped" / VERSION
    return {r["clip"].decode(): r for r in contents.read_back(folder)}


def metadata(data):
    folder = data / "casme2" / "cropped" / VERSION
    return tfds.builder_from_directory(folder).info.metadata


def load(data, view):
    emotions = "disgust happiness others surprise repression fear sadness".split()
    options = DataOptions(
        dataset="casme2/cropped",
        data_dir=str(data),
        classes=tuple((emotion, (emotion,)) for emotion in emotions),
    )
    return load_clips(options, view)


def test_pictures_are_kept_and_landmarks_are_theirs(manual, tmp_path, capsys):
    data = tmp_path / "data"
    assert run(manual, data, KEEP) == 0
    assert "pictures as they are" in capsys.readouterr().out
    found = records(data)
    assert len(found) == 4
    for folder in folders(manual):
        record = found[f"casme2/{folder.parent.name}/{folder.name}"]
        files = numbered(folder)
        assert list(record["frames"]) == [p.read_bytes() for p in files.values()]
        np.testing.assert_allclose(record["landmarks"], points(min(files)), atol=1e-4)
        assert record["frame_landmarks"].shape == (0, 2)


def test_every_frame_has_its_own(manual, tmp_path):
    assert run(manual, tmp_path / "kept", KEEP, EVERY) == 0
    assert run(manual, tmp_path / "cut", EVERY, "--size=48") == 0
    assert run(manual, tmp_path / "plain", "--size=48") == 0
    kept, cut, plain = (records(tmp_path / n) for n in ("kept", "cut", "plain"))
    for folder in folders(manual):
        name = f"casme2/{folder.parent.name}/{folder.name}"
        wanted = np.stack([points(number) for number in numbered(folder)])
        found = kept[name]["frame_landmarks"].reshape(-1, 5, 2)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        np.testing.assert_array_equal(found[0], kept[name]["landmarks"])
        # In pixels of the crop: those of the one transform that cut it.
        matrix = faces.align_matrix(wanted[0], size=48)
        moved = np.stack([faces.transform_points(matrix, p) for p in wanted])
        found = cut[name]["frame_landmarks"].reshape(-1, 5, 2)
        np.testing.assert_allclose(found, moved, atol=1e-4)
        # The pictures are what they are without it.
        assert list(cut[name]["frames"]) == list(plain[name]["frames"])
        assert plain[name]["frame_landmarks"].shape == (0, 2)
        assert kept[name]["source_hash"] == plain[name]["source_hash"]


@pytest.mark.parametrize("how", [(KEEP, EVERY), (EVERY, "--size=96")])
def test_a_dot_on_the_nose_is_found_where_the_view_says(manual, tmp_path, how):
    """From the owners' files to what a model is given, face by face."""
    data = tmp_path / "data"
    assert run(manual, data, *how) == 0
    view = View(frames=8, image_size=64, grey=True, sampling="stride", align="frame")
    clips = load(data, view)
    assert len(clips) == 4
    y, x = np.mgrid[:64, :64]
    for i in range(4):
        aligned = clips.landmarks[i][2]
        for frame in clips.decode(i)[..., 0].astype(float):
            weight = np.clip(frame - 140, 0, None)  # brighter than the border
            where = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
            assert np.hypot(*(where - aligned)) < 0.6


def test_a_frame_without_landmarks_is_named(manual, tmp_path, capsys):
    folder = folders(manual)[1]
    clip = f"{folder.parent.name}/{folder.name}"
    gone = list(numbered(folder))[5:7]
    source = table(manual, without=[(clip, number) for number in gone])
    assert run(manual, tmp_path / "data", KEEP, EVERY, source=source) == 1
    said = capsys.readouterr().err
    count = len(numbered(folder))
    assert f"clip {clip}: 2 of {count} frames have no landmarks that can be" in said
    assert f"the first reg_img{gone[0]}.jpg" in said
    assert doctor.main(flags_of(manual, KEEP, EVERY, source=source)) == 1
    shown = capsys.readouterr().out
    assert "1 clip with frames whose landmarks were asked for" in shown
    assert f"reg_img{gone[0]}.jpg" in shown and "landmarks of every frame" in shown
    assert run(manual, tmp_path / "data", KEEP, EVERY, "--skip_bad", source=source) == 0
    assert len(records(tmp_path / "data")) == 3
    # The onset's are there: without the flag nothing is missing.
    assert run(manual, tmp_path / "onsets", KEEP, source=source) == 0


def test_a_row_of_the_onset_is_not_taken_for_all_frames(manual, tmp_path, capsys):
    source = landmarks_csv(manual)
    assert run(manual, tmp_path / "data", KEEP, source=source) == 0
    assert run(manual, tmp_path / "every", KEEP, EVERY, source=source) == 1
    assert "is of the frame" in capsys.readouterr().err


def test_frames_that_cannot_be_aligned_are_named(manual, tmp_path, capsys, monkeypatch):
    class Turning:
        name = "turning"

        def find(self, image, onset):
            return points(10) if onset.first else points(10)[::-1]

    monkeypatch.setattr(detectors, "DlibLandmarks", Turning)
    flags = ["--dataset=casme2", f"--manual_dir={manual}", "--faces=dlib"]
    data = f"--data_dir={tmp_path}"
    assert build.main([*flags, data, KEEP, EVERY]) == 1
    assert "the eyes stand as in a face" in capsys.readouterr().err
    assert build.main([*flags, data, KEEP]) == 0

    class Fewer(Turning):
        def find(self, image, onset):
            return points(10) if onset.first else None

    monkeypatch.setattr(detectors, "DlibLandmarks", Fewer)
    assert build.main([*flags, data, KEEP, EVERY, "--overwrite"]) == 1
    assert "no face in it (turning)" in capsys.readouterr().err


def test_numbering_asks_for_frames_too(tmp_path):
    """Behind a gap the onset's row is the same by both readings, others' are not."""
    numbers = (1, 2, 3, 5, 6)
    onset = Onset("s/c", 1, tmp_path / "c" / "1.jpg", numbers)
    rows = [[n, *points(n).ravel()] for n in range(1, 6)]
    path = tmp_path / "tables" / "s_c.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["frame", *COLUMNS], *rows])
    source = CsvLandmarks(path.parent)
    source.match([onset])  # row 1 by both
    source.match([onset], {"s/c": numbers})  # rows 1..5 are no frame numbers
    fifth = Onset("s/c", 6, tmp_path / "c" / "6.jpg", numbers, first=False)
    found = source.find(np.zeros((80, 90)), fifth)
    np.testing.assert_allclose(found, points(5))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--faces=none", KEEP], "--keep_pictures stores landmarks, and --faces=none"),
        ([EVERY], "--faces=auto has none for casme2/cropped: give --faces=dlib"),
        (["--faces=dlib", KEEP, "--size=64"], "--keep_pictures cuts nothing"),
        (["--faces=dlib", KEEP, "--margin=2"], "--keep_pictures cuts nothing"),
        (["--faces=dlib", KEEP, "--centre_crop"], "--centre_crop keeps clips without"),
        (["--faces=dlib", EVERY, "--centre_crop"], "--every_frame stores landmarks"),
    ],
)
def test_flags_that_do_not_go_together(manual, tmp_path, capsys, more, said):
    flags = ["--dataset=casme2", f"--manual_dir={manual}", *more]
    assert build.main([*flags, f"--data_dir={tmp_path / 'data'}"]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert doctor.main(flags) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_options_tell_datasets_apart(manual, tmp_path, capsys):
    prints = {}
    for name, more in {"a": [], "b": [KEEP], "c": [EVERY], "d": [KEEP, EVERY]}.items():
        assert run(manual, tmp_path / name, *more) == 0
        prints[name] = metadata(tmp_path / name)["fingerprint"]
        # The doctor's is that of a build.
        capsys.readouterr()
        assert doctor.main(flags_of(manual, *more)) == 0
        assert f"fingerprint  {prints[name]}\n" in capsys.readouterr().out
    assert len(set(prints.values())) == 4
    assert run(manual, tmp_path / "b", EVERY, KEEP) == 1
    assert "--overwrite builds it again" in capsys.readouterr().err


def test_the_defaults_are_called_what_they_were():
    class Source:
        name = "dlib 20, 68 points"

    assert Crop(Source()).name == "dlib 20, 68 points, 224 px, margin 2.5"
    centred = Crop(Source(), 256, 2.0, True)
    assert centred.name.endswith("256 px, margin 2.0, centre where no face")
    both = Crop(Source(), keep=True, every_frame=True).name
    assert both == "dlib 20, 68 points, pictures as they are, landmarks of every frame"
    with pytest.raises(ValueError, match="neither keep nor every_frame"):
        Crop(Source(), centred=True, every_frame=True)


def test_shards_without_them_are_not_taken(manual, tmp_path, capsys):
    data = tmp_path / "data"
    flags = [*flags_of(manual, KEEP), f"--data_dir={data}"]
    write = KILLED.replace("left = build.make, [4]", "left = build.make, [3]")
    assert start(write, *flags).returncode == -9
    assert run(manual, data, KEEP, EVERY) == 0
    shown = capsys.readouterr().out
    assert "an earlier try had other files or options" in shown
    assert "there already" not in shown


def test_a_build_without_them_is_refused_with_the_command(manual, tmp_path):
    data = tmp_path / "data"
    assert run(manual, data) == 0
    view = View(frames=8, image_size=64, grey=True, sampling="stride", align="frame")
    with pytest.raises(UserError) as caught:
        load(data, view)
    assert str(caught.value) == (
        "casme2/cropped: data.align='frame' needs the landmarks of every frame, which "
        "4 of 4 clips lack, the first casme2/sub01/EP02_01f; build it with them:\n"
        "  python -m data_builders.build --dataset=casme2/cropped "
        "--manual_dir=FOLDER_OF_ITS_FILES --faces=csv --landmarks=PATH "
        f"--size=224 --margin=2.5 --every_frame --overwrite --data_dir={data}"
    )
    before = load(data, View(frames=8, image_size=224))  # MER-CLIP's needs none
    more = str(caught.value).splitlines()[1].split("=PATH ")[1].split()[:-1]
    assert run(manual, data, *more) == 0
    assert load(data, view).decode(0).shape == (8, 64, 64, 1)
    # It adds them, and leaves what another system is trained on.
    after = load(data, View(frames=8, image_size=224))
    np.testing.assert_array_equal(after.decode(2), before.decode(2))


def test_dlib_in_every_frame(tmp_path):
    """skimage's public-domain astronaut, 2 px further down in each frame."""
    root = tmp_path / "manual"
    write_casme2(root, subjects=1, clips_per_subject=1)
    photo = cv2.cvtColor(skimage.data.astronaut()[:300, 80:400], cv2.COLOR_RGB2BGR)
    (folder,) = folders(root)
    files = numbered(folder)
    for step, path in enumerate(files.values()):
        matrix = np.array([[1, 0, 0], [0, 1, 2.0 * step]])
        cv2.imwrite(str(path), cv2.warpAffine(photo, matrix, (320, 300)))
    flags = ["--dataset=casme2/cropped", f"--manual_dir={root}", "--faces=dlib"]
    assert build.main([*flags, f"--data_dir={tmp_path}", KEEP, EVERY]) == 0
    (record,) = records(tmp_path).values()
    found = record["frame_landmarks"].reshape(len(files), 68, 2)
    drop = found.mean(1)[:, 1] - found[0].mean(0)[1]
    np.testing.assert_allclose(drop, 2.0 * np.arange(len(files)), atol=1.0)
    digests = [hashlib.sha256(frame).digest() for frame in record["frames"]]
    assert digests == [hashlib.sha256(p.read_bytes()).digest() for p in files.values()]
