import json
import shutil

import cv2
import pytest

from data_builders import build, doctor
from data_builders.casme2 import builder as casme2
from tests.fixtures.casme2 import edit_table, write_casme2

TABLE = "CASME2-coding-20190701.xlsx"


@pytest.fixture
def manual(tmp_path):
    write_casme2(tmp_path / "manual", subjects=2, clips_per_subject=3)
    return tmp_path / "manual"


def run(manual, *more):
    return doctor.main(["--dataset=casme2/cropped", f"--manual_dir={manual}", *more])


def tree(folder):
    """Every file below a folder, with its bytes."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_sound_dataset(manual, capsys, tmp_path):
    before = tree(manual)
    assert run(manual, f"--json={tmp_path / 'report.json'}") == 0
    shown = capsys.readouterr().out
    assert "layout       Cropped/ (cropped)\n" in shown
    assert f"table        {TABLE} (20190701)\n" in shown
    assert "clips        6\n" in shown and "subjects     2\n" in shown
    assert "2 clips without an apex" in shown
    said = "sound: it can be built, but is not all that is published\n"
    assert shown.endswith(said)
    assert tree(manual) == before  # it reads and writes nothing there
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["sound"] and found["dataset"] == "casme2/cropped"
    assert [f["clip"] for f in found["findings"]["apex_missing"]] == [
        "sub01/EP01_2",
        "sub02/EP02_01f",
    ]
    # The fingerprint is that of a build.
    data = [f"--data_dir={tmp_path / 'data'}", f"--manual_dir={manual}"]
    assert build.main(["--dataset=casme2", *data]) == 0
    assert f"fingerprint  {found['fingerprint']}\n" in capsys.readouterr().out


def test_a_part_of_a_dataset_is_not_the_published_one(manual, capsys):
    assert run(manual) == 0  # as a build, which nothing stops
    shown = capsys.readouterr().out
    assert "casme2_5class           clips  6/249  2/26" in shown
    assert "disgust 1/63, happiness 1/32" in shown and "DIFFERS" in shown
    assert shown.endswith("sound: it can be built, but is not all that is published\n")


def test_everything_odd_is_reported(manual, capsys, tmp_path):
    clips = sorted((manual / "Cropped").glob("*/EP*"))
    first = [sorted(clip.glob("*.jpg")) for clip in clips]
    first[0][3].unlink()
    image = cv2.imread(str(first[1][2]))
    cv2.imwrite(str(first[1][2]), cv2.resize(image, (50, 60)))
    first[2][1].write_bytes(b"\xff\xd8\xffrubbish\xff\xd9")
    edit_table(manual / TABLE, 5, "Action Units", "4+99")
    shutil.copy(first[4][0], clips[4] / "reg_img4000.jpg")
    shutil.rmtree(clips[5])
    report = tmp_path / "report.json"
    assert run(manual, f"--json={report}", "--all") == 1
    shown = capsys.readouterr().out
    found = json.loads(report.read_text())["findings"]
    assert set(found) == {
        *("missing", "size", "image", "unknown_au", "extra", "folder", "short"),
        "apex_missing",
    }
    assert "28x34, 50x60" in shown
    assert "AU cell '4+99': no code 99; kept" in shown
    assert f"{first[2][1]}: expected a whole jpg" in shown
    assert "1 clip without a folder" in shown
    assert "NOT sound" in shown


def test_what_cannot_be_read_at_all(manual, capsys, tmp_path):
    report = tmp_path / "report.json"
    assert doctor.main(["--dataset=casme2", "--manual_dir=gone"]) == 1
    assert "expected a folder" in capsys.readouterr().err
    path = manual / TABLE
    path.write_bytes(path.read_bytes()[:500])
    assert run(manual, f"--json={report}") == 1
    assert "expected an xlsx workbook" in capsys.readouterr().err
    found = json.loads(report.read_text())
    assert not found["sound"] and "expected an xlsx workbook" in found["error"]
    assert run(path) == 1  # a file where a folder is asked for
    assert "expected a folder, found none" in capsys.readouterr().err
    assert doctor.main(["--dataset=synthetic/tiny"]) == 1
    assert "no owners' files" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        doctor.main(["--manual_dir=x"])
    assert stop.value.code == 2


def test_faces_that_are_not_found(tmp_path, capsys):
    manual = tmp_path / "manual"
    write_casme2(manual, tree="selected", subjects=1, clips_per_subject=2)
    flags = ["--dataset=casme2/selected", f"--manual_dir={manual}"]
    assert doctor.main([*flags, "--faces=none"]) == 0
    capsys.readouterr()
    assert doctor.main(flags) == 1  # a blob is no face to dlib
    shown = capsys.readouterr().out
    assert "2 clips in whose onset frame no face was found" in shown
    assert "dlib" in shown
    assert doctor.main([*flags, "--centre_crop"]) == 0
    trees = casme2.Casme2.TREES
    assert [name for name in trees if trees[name].cropped] == ["cropped"]
