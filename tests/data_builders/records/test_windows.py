"""Clips with what is around them, and stretches in which nothing shows."""

import dataclasses
import shutil

import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from data_builders.build import build
from data_builders.casme3.builder import Casme3
from data_builders.casme_sq.builder import CasmeSq
from data_builders.readers.findings import DatasetError
from data_builders.readers.macro import recording_of
from data_builders.records.windows import SECONDS, in_windows
from data_builders.samm.builder import Samm
from data_builders.synthetic.windows import (
    MINI_WINDOWS,
    assignments,
    make_window,
    script_of,
)
from data_builders.tasks import NOTHING
from merclip_jax.data import sampling
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from tests.fixtures.casme3 import write_casme3
from tests.fixtures.casme_sq import write_casme_sq
from tests.fixtures.samm import LONG_TABLE, write_long_table, write_samm


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_casme3(folder, tree="videos")
    return folder


def test_a_clip_keeps_what_is_around_it_and_no_other_expression(videos):
    release = Casme3.read(videos, "videos")
    made = in_windows(release, 0.2)
    before = {clip.row.clip: clip for clip in release.clips}
    widened = [clip for clip in made.clips if clip.row.emotion != NOTHING]
    assert {clip.row.clip for clip in widened} == set(before)
    assert made.rows == release.rows
    for clip in widened:
        own = before[clip.row.clip]
        reach = round(0.2 * clip.row.fps)
        assert set(own.files) <= set(clip.files) <= set(own.around)
        low, high = min(clip.files), max(clip.files)
        assert clip.row.onset - low <= reach and high - clip.row.offset <= reach
        for other in release.clips:
            apart = other is not own and (
                next(iter(other.files.values())).parent
                == next(iter(own.files.values())).parent
            )
            if apart and other.row.offset < clip.row.onset:
                assert low > other.row.offset
            if apart and other.row.onset > clip.row.offset:
                assert high < other.row.onset
    assert any(len(clip.files) > len(before[clip.row.clip].files) for clip in widened)


def test_stretches_without_an_expression_touch_none(videos):
    release = Casme3.read(videos, "videos")
    empty = [c for c in in_windows(release, 0.2).clips if c.row.emotion == NOTHING]
    assert empty
    for clip in empty:
        numbers = sorted(clip.files)
        assert len(numbers) == round(SECONDS * clip.row.fps)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert clip.row.au_cell == "" and clip.row.clip.endswith(f"_{NOTHING}")
        folder = next(iter(clip.files.values())).parent
        for other in release.clips:
            if next(iter(other.files.values())).parent == folder:
                assert numbers[-1] < other.row.onset or numbers[0] > other.row.offset


def recording(clip):
    return recording_of(clip.row.clip.removesuffix(f"_{NOTHING}"))


def touching(release, macro):
    """Empty stretches that touch a macro-expression."""
    return [
        clip
        for clip in release.clips
        if clip.row.emotion == NOTHING
        for onset, offset in macro.spans.get(recording(clip), ())
        if min(clip.files) <= offset and max(clip.files) >= onset
    ]


def test_they_keep_away_from_macro_expressions(tmp_path):
    """Of SAMM's recordings: where an empty stretch was, a macro-expression is put."""
    write_samm(tmp_path, tree="long", subjects=1)
    release = Samm.read(tmp_path, "long")
    none = Samm.macro_expressions(tmp_path)
    (told,) = none.findings
    assert none.spans == {} and told.kind == "absent" and not told.stops
    assert "SAMM_LongVideos_V3_Release.xlsx" in told.text
    first = next(c for c in in_windows(release, 0.12).clips if c.row.emotion == NOTHING)
    name = recording(first).partition("/")[2]
    middle = sorted(first.files)[len(first.files) // 2]
    rows = [
        (f"{name}_9", middle, middle + 3, middle + 9),
        (f"{name}_8", 0, 12, 20),  # began before the recording
        (f"{name}_7", "?", None, None),
    ]
    write_long_table(tmp_path / LONG_TABLE, rows)
    macro = Samm.macro_expressions(tmp_path)
    assert macro.spans == {f"{name[:3]}/{name}": [(middle, middle + 9), (12, 20)]}
    (odd,) = macro.findings
    assert odd.kind == "macro" and "row 13" in odd.where and not odd.stops
    assert touching(in_windows(release, 0.12), macro)
    assert not touching(in_windows(release, 0.12, macro), macro)
    given = {"manual_dir": tmp_path, "data_dir": tmp_path / "built"}
    built = build("samm/long", windows=0.12, **given)
    assert built.contents.emotions[NOTHING] >= 1


def test_other_datasets_know_their_macro_expressions(videos, tmp_path):
    workbook = openpyxl.Workbook()
    workbook.active.append(["sub", "seq", "onset", "apex", "offset", "emotion"])
    workbook.active.append(["spNO.301", "a", 3, 7, 11, "happy"])
    shutil.copytree(videos, tmp_path / "casme3")
    table = "cas(me)3_part_A_MaE_label_JpgIndex_v2_emotion.xlsx"
    workbook.save(tmp_path / "casme3" / table)
    found = Casme3.macro_expressions(tmp_path / "casme3")
    assert (found.spans, found.findings) == ({"spno.301/a": [(3, 11)]}, ())
    assert found.beside("spNO.301/a_95") == [(3, 11)]
    # It is no table of clips, and changes nothing of what is read.
    rows = Casme3.read(tmp_path / "casme3", "videos").rows
    assert rows == Casme3.read(videos, "videos").rows
    write_casme_sq(tmp_path / "sq")
    release = CasmeSq.read(tmp_path / "sq", "cropped")
    found = CasmeSq.macro_expressions(tmp_path / "sq")
    assert not found.findings and any(found.beside(r.clip) for r in release.rows)


def test_they_are_built_and_read_as_windows(videos, tmp_path):
    given = {"manual_dir": videos, "data_dir": tmp_path, "skip_bad": True}
    built = build("casme3/videos", windows=0.2, **given)
    metadata = tfds.builder_from_directory(built.folder).info.metadata
    assert metadata["windows"] == 0.2 and built.contents.emotions[NOTHING] >= 1
    with pytest.raises(DatasetError, match="built with --windows=0.2"):
        build("casme3/videos", **given)
    classes = tuple((name, (name,)) for name in built.contents.emotions)
    options = DataOptions("casme3/videos", data_dir=str(tmp_path), classes=classes)
    view = View(frames=4, image_size=32, sampling="window")
    clips = load_clips(options, view)
    lengths = np.array([len(clips._record(i)["frames"]) for i in range(len(clips))])
    np.testing.assert_array_equal(clips.spans, np.stack([0 * lengths, lengths - 1], 1))
    keys = load_clips(options, dataclasses.replace(view, sampling="keyframes"))
    assert (keys.spans[:, 0] > 0).any()  # the annotated onset is further in
    drawn = clips.draw(np.arange(len(clips)), np.random.default_rng(0))
    assert (drawn <= lengths[:, None] - 1).all() and (drawn >= 0).all()


@pytest.mark.parametrize(
    ("dataset", "seconds", "said"),
    [
        ("casme3/videos", 5.0, "above 0, up to 2"),
        ("synthetic/mini", 0.2, "build synthetic/windows"),
    ],
)
def test_windows_that_cannot_be_are_told(videos, tmp_path, dataset, seconds, said):
    given = videos if dataset.startswith("casme3") else None
    with pytest.raises(DatasetError, match=said):
        build(dataset, manual_dir=given, data_dir=tmp_path, windows=seconds)


def test_folders_of_clips_have_nothing_around_them(tmp_path):
    write_casme3(tmp_path)
    release = Casme3.read(tmp_path, "clips")
    bare = [dataclasses.replace(clip, around=clip.files) for clip in release.clips]
    with pytest.raises(DatasetError, match="no picture outside"):
        in_windows(dataclasses.replace(release, clips=tuple(bare)), 0.2)


def test_procedural_windows_are_a_function_of_their_number():
    shown = [i for i, (_, e) in enumerate(assignments(MINI_WINDOWS)) if e != NOTHING]
    empty = [i for i, (_, e) in enumerate(assignments(MINI_WINDOWS)) if e == NOTHING]
    assert len(empty) == MINI_WINDOWS.empty * MINI_WINDOWS.clips
    first, again = (make_window(MINI_WINDOWS, shown[0]) for _ in range(2))
    assert first["frames"] == again["frames"]
    for i in shown:
        (own,) = script_of(MINI_WINDOWS, i).expressions
        middle = (own.onset + own.offset) / 2
        assert abs(middle - MINI_WINDOWS.seconds / 2) <= MINI_WINDOWS.aside
    assert all(script_of(MINI_WINDOWS, i).expressions == () for i in empty)
    none = make_window(MINI_WINDOWS, empty[0])
    assert none["emotion"] == NOTHING == sampling.NOTHING and none["au_cell"] == ""
    assert not none["au_intensity"].any()
