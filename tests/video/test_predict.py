"""The command and what it leaves: tables, facts, a page; errors that say what to do."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from merclip_jax import predict
from merclip_jax.faces.detectors import DlibLandmarks
from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.events import Event
from merclip_jax.video.predicting import predict_video
from merclip_jax.video.result import Settings
from merclip_jax.weights import bundle, final
from tests.video import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A final model's folder, of random weights."""
    path = tmp_path_factory.mktemp("model")
    model = made.model(path)
    system, variables, context = model.members[0]
    variables = {k: _plain(v) for k, v in variables.items()}
    bundle.save(path / "w", system, variables, context, name="w", lineage=["random"])
    about = dataclasses.replace(model.about, title="A <b>test</b>")
    final.write(
        path / "model",
        about,
        weights={"one": path / "w", "two": path / "w"},
        calibration=model.calibration,
        files={"README.md": b"# A test"},
    )
    return path


def _plain(tree):
    if isinstance(tree, dict):
        return {k: _plain(v) for k, v in tree.items()}
    return np.asarray(tree)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return made.film(tmp_path_factory.mktemp("film") / "a.mp4", made.script(3))


@pytest.fixture(scope="module")
def found(folder, film, tmp_path_factory):
    out = tmp_path_factory.mktemp("found")
    status = predict.main(
        [str(film), f"--checkpoint={folder}", f"--out={out}", "--render"]
        + ["--threshold=0.3", "--end=5"]
    )
    assert status == 0
    return out


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_final_model_comes_back_as_it_was(folder):
    model = final.load(folder)
    assert model.path == folder / "model" and len(model.members) == 2
    assert model.about.classes == made.CLASSES and model.about.aus == {12: (1.0, 0.0)}
    assert model.calibration.logits.shape == (40, 4)
    alone = final.load(folder / "w")
    assert alone.calibration is None and "one member" in alone.about.title


def test_a_folder_that_was_changed_is_refused(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder / "model", tmp_path / "model")
    data = bytearray((copy / final.CALIBRATION).read_bytes())
    data[50] ^= 1
    (copy / final.CALIBRATION).write_bytes(data)
    with pytest.raises(final.UserError, match="not the one that was written with it"):
        final.load(copy)
    told = json.loads((folder / "model" / final.FILE).read_text())
    for change, said in (
        ({"classes": ["a", "b"]}, "of other classes"),
        ({"schema": "other/1"}, "expected schema"),
        ({"weights": []}, "names no weights"),
        ({"colour": 1}, "no description"),
    ):
        (copy / final.FILE).write_text(json.dumps(told | change))
        shutil.copy(folder / "model" / final.CALIBRATION, copy)
        with pytest.raises(final.UserError, match=said):
            final.load(copy)
    with pytest.raises(final.UserError, match="final_fit=True"):
        final.load(tmp_path / "nowhere")


def test_tables_are_what_other_tools_read(found):
    table = rows(found / "frames.csv")
    assert list(table[0])[:7] == [
        *("frame", "timestamp", "face_id", "confidence", "success", "AU01", "AU02"),
    ]
    assert list(table[0])[-4:] == list(made.CLASSES)
    assert [int(row["frame"]) for row in table] == list(range(len(table)))
    assert {row["success"] for row in table} == {"1"}
    total = [sum(float(row[c]) for c in made.CLASSES) for row in table]
    np.testing.assert_allclose(total, 1, atol=1e-3)
    assert all(0 <= float(row["AU12"]) <= 1 for row in table)
    for event in rows(found / "events.csv"):
        assert float(event["onset"]) < float(event["apex"]) < float(event["offset"])
        assert event["sentence"] and event["answer"] in (*made.CLASSES, "unsure")


def test_facts_say_how_far_to_believe_it(found):
    facts = json.loads((found / "metadata.json").read_text())
    assert facts["complete"] and facts["pictures"] == facts["pictures_with_a_face"]
    assert facts["model"]["calibrated_aus"] == [12]
    assert facts["model"]["uncalibrated_aus"] == [1, 2]
    assert any("demonstration" in note for note in facts["notes"])
    assert any("no proof" in note for note in facts["notes"])
    assert facts["answer"] == f"{facts['events']} possible micro-expression" + (
        "s" * (facts["events"] != 1)
    ) or facts["answer"].startswith(words.NOT_FOUND)


def test_the_page_is_whole_and_escapes_what_it_is_told(found):
    page = (found / "index.html").read_text()
    assert "<svg" in page and "A &lt;b&gt;test&lt;/b&gt;" in page
    assert "<b>test</b>" not in page and "http" not in page.split("</style>")[1]
    assert "Regulation 2024/1689" in page


def test_the_annotated_video_has_the_pictures_of_the_first(found):
    from merclip_jax.video.decode import Video

    again = list(Video(found / "annotated.mp4"))
    assert len(again) == len(rows(found / "frames.csv"))
    assert again[0].image.shape == (240, 320, 3)


def test_nothing_else_is_left(found):
    assert sorted(p.name for p in found.iterdir()) == [
        *("annotated.mp4", "events.csv", "frames.csv", "index.html", "metadata.json")
    ]


def test_the_same_video_twice_is_the_same_to_the_byte(folder, film, found, tmp_path):
    given = [str(film), f"--checkpoint={folder}", f"--out={tmp_path}"]
    assert predict.main([*given, "--threshold=0.3", "--end=5"]) == 0
    for name in ("events.csv", "frames.csv", "index.html", "metadata.json"):
        assert (tmp_path / name).read_bytes() == (found / name).read_bytes()


def test_several_videos_have_folders_and_a_bad_one_stops_none(
    folder, film, tmp_path, capsys
):
    import shutil

    (tmp_path / "in" / "b").mkdir(parents=True)
    shutil.copy(film, tmp_path / "in" / "a.mp4")
    shutil.copy(film, tmp_path / "in" / "b" / "a.mp4")
    (tmp_path / "in" / "c.mov").write_text("no video")
    (tmp_path / "in" / "notes.txt").write_text("left alone")
    out = tmp_path / "out"
    status = predict.main(
        [str(tmp_path / "in"), f"--checkpoint={folder}", f"--out={out}", "--end=1"]
        + ["--no_maps"]
    )
    assert status == 1
    assert sorted(p.name for p in out.iterdir()) == ["1-a", "2-a"]
    assert "c.mov: expected a video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["{film}"], "expected VIDEO_OR_FOLDER and --checkpoint"),
        (["--checkpoint={folder}"], "expected VIDEO_OR_FOLDER and --checkpoint"),
        (["{film}", "--checkpoint={film}"], "no model to use"),
        (
            ["{film}", "--checkpoint={folder}", "--face=left"],
            "largest, all or a number",
        ),
        (["{film}", "--checkpoint={folder}", "--threshold=2"], "expected 0 to 1"),
        (["{film}", "--checkpoint={folder}", "--start=3", "--end=2"], "no part of"),
        (["{film}", "--checkpoint={folder}", "--batch=0"], "expected 1 or more"),
        (["{folder}", "--checkpoint={folder}"], "no file with a video's name"),
        (["{film}", "--checkpoint={folder}", "--yunet_model=x"], "no such YuNet model"),
    ],
)
def test_wrong_words_are_told(folder, film, flags, said, capsys, tmp_path):
    given = [flag.format(film=film, folder=folder) for flag in flags]
    assert predict.main([*given, f"--out={tmp_path / 'out'}"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.whole
def test_ctrl_c_keeps_what_was_found(folder, film, tmp_path):
    """The files are there, and say that they are not of the whole video."""
    long = made.film(tmp_path / "long.mp4", made.script(3, seconds=60.0))
    process = subprocess.Popen(
        [sys.executable, "-m", "merclip_jax.predict", str(long), "--no_maps"]
        + [f"--checkpoint={folder}", f"--out={tmp_path / 'out'}", "--every=0.05"],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while "%" not in said or " 0%" in said[-40:]:
        said += process.stderr.read(1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    facts = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert not facts["complete"] and facts["stopped"].startswith("interrupted")
    assert 0 < len(rows(tmp_path / "out" / "frames.csv")) < 1800
    assert "Not the whole video" in (tmp_path / "out" / "index.html").read_text()
    assert len(list((tmp_path / "out").iterdir())) == 4


def event(classes, aus=(0.0, 0.0, 0.9)):
    return Event(0, 1.0, 1.2, 1.4, 0.9, 0.5, np.array(classes), np.array(aus))


def test_an_emotion_is_answered_only_where_it_stands_alone(folder):
    answerer = Answerer(final.load(folder))
    # A calibration on noise promises nothing with small sets.
    assert words.answered(event([0.2, 0.3, 0.25, 0.25]), answerer)[0] == "unsure"
    plain = Answerer(final.load(folder / "w"))
    assert words.answered(event([0.1, 0.8, 0.05, 0.05]), plain)[0] == "negative"
    assert words.answered(event([0.6, 0.14, 0.13, 0.13]), plain)[0] == "unsure"
    said = words.sentence(event([0.1, 0.8, 0.05, 0.05]), answerer)
    assert "pulling the corners of the lips (AU12, 0.90)" in said
    said = words.sentence(event([0.1, 0.8, 0.05, 0.05], ()), plain)
    assert "no action unit that could be named; it suggests negative" in said


def test_settings_reach_the_answer(folder, film):
    answerer = Answerer(final.load(folder))
    find = DlibLandmarks().find_all
    few = predict_video(
        film, answerer, settings=Settings(stride=0.5), find=find, end=3.0
    )
    assert len(few.windows[0]) == 6
    assert few.windows[0][0].end - few.windows[0][0].start == pytest.approx(
        0.5, abs=0.04
    )
