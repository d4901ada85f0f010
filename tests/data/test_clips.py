"""From array records to clips: what is kept, how frames are cut, what goes wrong."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.records.features import clip_example, clip_features
from data_builders.tasks import TASKS
from merclip_jax.data import sampling
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.decode import decode_frame
from merclip_jax.data.records import find, load_clips
from merclip_jax.data.view import CONTRACTS, View
from merclip_jax.errors import UserError
from tests import mini

TASK = TASKS["synthetic_3class"].classes


VIEW = View(frames=8, image_size=32)


def load(data_dir, *, view=VIEW, **changes):
    options = {"dataset": mini.DATASET, "classes": TASK} | changes
    return load_clips(DataOptions(data_dir=str(data_dir), **options), view)


@pytest.fixture(scope="module")
def clips(mini_data):
    return load(mini_data)


@pytest.fixture(scope="module")
def records(mini_data):
    builder = tfds.builder_from_directory(find(mini.DATASET, str(mini_data)))
    return list(builder.as_data_source("clips"))


@pytest.fixture
def copy(mini_data, tmp_path):
    shutil.copytree(mini_data, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_columns_are_the_records(clips, records):
    assert len(clips) == len(records) == 24
    assert clips.view.shape == (8, 32, 32, 3)
    names = {e: k for k, (_, emotions) in enumerate(TASK) for e in emotions}
    for i, record in enumerate(records):
        assert clips.clip[i] == record["clip"].decode()
        assert clips.subject[i] == record["subject"].decode()
        assert clips.au_cell[i] == record["au_cell"].decode()
        assert clips.label[i] == names[record["emotion"].decode()]
        assert clips.split[i] == "clips"
        onset, apex, offset = (int(record[k]) for k in ("onset", "apex", "offset"))
        wanted = sampling.key_frames(onset, apex, offset, 8)
        np.testing.assert_array_equal(clips.positions[i], wanted)
        assert clips.positions[i][clips.apex[i]] == apex


def test_decoded_frames_are_the_records_own(clips, records):
    for i in (0, 13, 23):
        frames = clips.decode(i)
        assert frames.shape == clips.view.shape
        assert frames.dtype == np.uint8
        wanted = np.stack([records[i]["frames"][p] for p in clips.positions[i]])
        np.testing.assert_array_equal(frames, wanted)


def test_samplings(mini_data):
    uniform = load(mini_data, view=dataclasses.replace(VIEW, sampling="uniform"))
    assert uniform.positions.shape == (24, 8)
    integer = dataclasses.replace(VIEW, sampling="keyframes_integer")
    keys = load(mini_data, view=integer)
    assert (uniform.positions != keys.positions).any()


def test_the_input_contract_follows_from_the_sampling():
    """What a model is given is derived, so that no config can say otherwise."""
    contracts = {
        name: View(sampling=name, frames=2 if name == "onset_apex" else 16).contract
        for name in CONTRACTS
    }
    assert contracts == {
        "keyframes": "oracle-keyframes",
        "keyframes_integer": "oracle-keyframes",
        "uniform": "onset-offset",
        "stride": "onset-offset",
        "onset_apex": "oracle-keyframes",
        "window": "raw-window",
    }
    with pytest.raises(ValueError, match="sampling='random': expected one of"):
        View(sampling="random")
    with pytest.raises(ValueError, match="resize=20: cannot crop 32 pixels"):
        View(image_size=32, resize=20)


def test_a_grey_view_has_one_channel(clips, mini_data):
    grey = load(mini_data, view=dataclasses.replace(VIEW, grey=True))
    assert grey.view.shape == (8, 32, 32, 1)
    decoded = grey.decode(3)
    assert (decoded.shape, decoded.dtype) == ((8, 32, 32, 1), np.uint8)
    luma = clips.decode(3).astype(float) @ [0.299, 0.587, 0.114]
    assert abs(decoded[..., 0] - luma).max() < 2  # libpng's weights are coarser


def test_taking_clips_leaves_the_others_out_of_reach(clips):
    some = np.asarray([5, 2, 23])
    part = clips.take(some)
    assert len(part) == 3
    assert part.clip.tolist() == clips.clip[some].tolist()
    np.testing.assert_array_equal(part.decode(1), clips.decode(2))


def test_dropped_emotions_are_left_out(clips, mini_data):
    fewer = load(mini_data, classes=TASK[:2], dropped=("surprise",))
    kept = clips.label < 2
    np.testing.assert_array_equal(fewer.clip, clips.clip[kept])
    np.testing.assert_array_equal(
        fewer.decode(3), clips.decode(int(np.flatnonzero(kept)[3]))
    )


def test_an_emotion_of_neither_list_is_named_with_a_clip(clips, mini_data):
    with pytest.raises(UserError, match="neither maps to a class nor drops") as caught:
        load(mini_data, classes=TASK[:2])
    first = clips.clip[np.flatnonzero(clips.emotion == "surprise")[0]]
    assert f"'surprise' (clip {first})" in str(caught.value)
    assert "happiness" not in str(caught.value)


def test_no_clip_left(mini_data):
    everything = sorted({e for _, emotions in TASK for e in emotions})
    with pytest.raises(UserError, match="no clip has an emotion of the task"):
        load(mini_data, classes=(("joy", ("joy",)),), dropped=tuple(everything))


def test_a_missing_dataset_says_what_to_type(tmp_path):
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert f"python -m data_builders.build --dataset={mini.DATASET}" in message
    assert f"--data_dir={tmp_path}" in message
    assert "manual_dir" not in message


def test_a_missing_dataset_of_owners_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError) as caught:
        find("casme2/cropped", str(tmp_path), "ask the owners for it")
    message = str(caught.value)
    assert "How to get it: ask the owners for it" in message
    assert "--dataset=casme2/cropped --manual_dir=" in message


def test_the_newest_version_is_taken_and_two_configs_are_named(copy):
    folder = find(mini.DATASET, str(copy))
    newer = folder.parent / "10.0.0"
    shutil.copytree(folder, folder.parent / "9.0.0")
    shutil.copytree(folder, newer)
    assert find(mini.DATASET, str(copy)) == newer
    shutil.copytree(folder, folder.parents[1] / "other" / "1.0.0")
    with pytest.raises(UserError, match="several builds") as caught:
        find("synthetic", str(copy))
    assert "synthetic/other/1.0.0" in str(caught.value)


def test_clips_that_a_task_excludes_are_left_out(mini_data):
    clips = load(mini_data)
    names = tuple(clips.clip[[0, 5]].tolist())
    fewer = load(mini_data, excluded=names)
    assert len(fewer) == len(clips) - 2 and not set(names) & set(fewer.clip.tolist())


def array_record(data_dir):
    (path,) = find(mini.DATASET, str(data_dir)).glob("*.array_record*")
    return path


def test_a_truncated_file_is_refused(copy):
    path = array_record(copy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=mini.DATASET) as caught:
        load(copy)
    assert f"--dataset={mini.DATASET} --overwrite" in str(caught.value)


def test_a_damaged_record_is_named(copy):
    """Bytes that a failing disk made zero in the middle of the file."""
    path = array_record(copy)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"record \d+ of 24 cannot be read"):
        load(copy)


def test_a_missing_file_is_refused(copy):
    array_record(copy).unlink()
    with pytest.raises(UserError, match=f"{mini.DATASET}: .*--overwrite"):
        load(copy)


def test_damaged_metadata_is_refused(copy):
    info = find(mini.DATASET, str(copy)) / "dataset_info.json"
    info.write_text(info.read_text()[:100])
    with pytest.raises(UserError, match=f"{mini.DATASET}: .*--overwrite"):
        load(copy)


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def encode(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def test_an_undecodable_frame_is_named(clips, records):
    """A truncated PNG still has its header; an empty one has nothing."""
    frames = [encode(image) for image in records[2]["frames"]]
    at = int(clips.positions[2][4])
    frames[at] = b"\x89PNG but not really"
    broken = dataclasses.replace(clips, source=[{"frames": frames}] * 24)
    name = clips.clip[2]
    with pytest.raises(UserError, match=f"clip {name}: frame {at} is not a readable"):
        broken.decode(2)


def test_a_picture_that_asks_for_gigabytes_is_named():
    data = bytearray(cv2.imencode(".jpg", picture(40, 40))[1].tobytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff" * 4
    with pytest.raises(UserError, match="clip s/a: frame 3 is not a readable picture"):
        decode_frame(bytes(data), VIEW, clip="s/a", position=3)


@pytest.mark.parametrize(
    ("height", "width"), [(40, 60), (61, 40), (20, 31), (32, 50), (33, 32), (32, 32)]
)
def test_short_side_is_resized_and_the_centre_cut(height, width):
    """OpenCV's bilinear, other side int(x s + 0.5), left = (w - 32) // 2."""
    image = picture(height, width)
    ours = decode_frame(encode(image), VIEW, clip="clip", position=0)
    assert ours.shape == (32, 32, 3)
    scale = 32 / min(height, width)
    h, w = int(height * scale + 0.5), int(width * scale + 0.5)
    wanted = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    wanted = wanted[(h - 32) // 2 :, (w - 32) // 2 :][:32, :32]
    np.testing.assert_array_equal(ours, wanted)
    if min(height, width) == 32:  # not resized: the pixels themselves
        top, left = (height - 32) // 2, (width - 32) // 2
        cut = image[top : top + 32, left : left + 32]
        np.testing.assert_array_equal(ours, cut)


class TwoSplits(tfds.core.GeneratorBasedBuilder):
    """Four clips in the owners' two splits."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=clip_features(),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(3),
            "test_a": self._generate_examples(1),
        }

    def _generate_examples(self, count):
        for i in range(count):
            frames = [encode(picture(32, 32, 10 * count + f)) for f in range(5)]
            yield (
                i,
                clip_example(
                    frames=frames,
                    frame_numbers=range(5),
                    onset=0,
                    apex=2,
                    offset=4,
                    apex_valid=True,
                    subject=f"two/s{count}",
                    clip=f"two/s{count}/{i}",
                    fps=100.0,
                    emotion="happiness",
                    au_cell="12",
                ),
            )


def test_several_splits_are_one_sequence(tmp_path):
    builder = TwoSplits(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    clips = load(
        tmp_path,
        dataset="two_splits",
        classes=(("joy", ("happiness",)),),
        view=View(frames=5, image_size=32),
    )
    assert clips.split.tolist() == ["test_a", "train", "train", "train"]
    assert clips.clip.tolist() == ["two/s1/0", "two/s3/0", "two/s3/1", "two/s3/2"]
    for i, count in enumerate([1, 3, 3, 3]):
        wanted = np.stack([picture(32, 32, 10 * count + f) for f in range(5)])
        np.testing.assert_array_equal(clips.decode(i), wanted)
    with pytest.raises(IndexError):
        clips.source[4]
    # Of a dataset that another program built, the card says so.
    assert "without hashes of its records" in clips.metadata["notes"][0]


def test_metadata_is_the_builders(clips, mini_data):
    folder = find(mini.DATASET, str(mini_data))
    stored = json.loads((folder / "metadata.json").read_text())
    assert clips.fingerprint == stored["fingerprint"]
    assert set(clips.metadata["tasks"]) == {"3", "5", "7"}
