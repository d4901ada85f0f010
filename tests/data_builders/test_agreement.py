"""What the doctor says of any dataset, sound or damaged, is what a build does."""

import json
import shutil

import openpyxl
import pytest

from data_builders import build, doctor
from tests.data_builders.test_casme3 import full_rows
from tests.fixtures import smic
from tests.fixtures.casme3 import TABLE as CASME3
from tests.fixtures.casme3 import write_casme3, write_casme3_table
from tests.fixtures.dfme import write_dfme_full
from tests.fixtures.mmew import MiniClip, write_mmew_table
from tests.fixtures.mmew import full_rows as mmew_rows
from tests.fixtures.sets import SETS, Set

SOUND, STOPPED = 0, 1


def none(case, root):
    """Nothing is wrong."""


def cell(kind, value, row=0):
    """A damage: a cell of the table holds another value."""

    def damage(case, root):
        if kind not in case.columns:
            pytest.skip(f"no column of {kind} in {case.dataset}")
        book = openpyxl.load_workbook(root / case.table)
        at = book[case.sheet].cell(case.first + row, case.columns[kind])
        at.value = value
        book.save(root / case.table)

    return damage


def twice(case, root):
    """A row is there again."""
    book = openpyxl.load_workbook(root / case.table)
    sheet = book[case.sheet]
    sheet.append([cell.value for cell in sheet[case.first]])
    book.save(root / case.table)


def half_a_table(case, root):
    data = (root / case.table).read_bytes()
    (root / case.table).write_bytes(data[: len(data) // 2])


def no_table(case, root):
    (root / case.table).unlink()


def no_rows(case, root):
    book = openpyxl.load_workbook(root / case.table)
    book[case.sheet].delete_rows(case.first, 100)
    book.save(root / case.table)


def frames(case, root):
    """The frames of the first clip, and what lies in its folder behind them."""
    found = {}
    for path in root.glob(case.frames):
        if not path.name.startswith("."):  # left there by macOS
            found.setdefault(path.parent, []).append(path)
    first = sorted(found[min(found)], key=lambda path: (len(path.name), path.name))
    return first[smic.MARGIN :] if case.dataset == "smic/long" else first


def no_picture(case, root):
    frames(case, root)[3].write_bytes(b"no picture")


def few_frames(case, root):
    for path in frames(case, root)[2:]:
        path.unlink()


def no_frames(case, root):
    for path in frames(case, root):
        path.unlink()


def no_folder(case, root):
    shutil.rmtree(frames(case, root)[0].parent)


def a_linked_folder(case, root):
    folder = frames(case, root)[0].parent
    folder.rename(root.parent / "elsewhere")
    folder.symlink_to(root.parent / "elsewhere")


DAMAGES = {
    "none": none,
    "a clip twice": twice,
    "half a table": half_a_table,
    "no table": no_table,
    "no rows": no_rows,
    "no picture": no_picture,
    "few frames": few_frames,
    "no frames": no_frames,
    "no folder": no_folder,
    "a linked folder": a_linked_folder,
    "onset x": cell("onset", "x"),
    "onset 10^10": cell("onset", 10**10),
    "offset 10^10": cell("offset", 10**10),
    "offset 4301 digits": cell("offset", "1" * 4301),
    "apex 15 (?)": cell("apex", "15 (?)"),
    "apex /": cell("apex", "/"),
    "apex formula": cell("apex", "=A1"),
    "AUs formula": cell("aus", "=1+1"),
    "emotion joy": cell("emotion", "joy"),
    "no name": cell("name", None),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Dataset -> its miniature, written once."""
    made = {}
    for name, case in SETS.items():
        made[name] = tmp_path_factory.mktemp("owners") / "manual"
        case.write(made[name])
    return made


def both(root, dataset, tmp_path, capsys):
    """Exit status of doctor and build, which must be one; what each printed."""
    flags = [f"--dataset={dataset}", f"--manual_dir={root}", "--faces=none"]
    examined = doctor.main([*flags, f"--json={tmp_path / 'report.json'}"])
    said = capsys.readouterr()
    built = build.main([*flags, f"--data_dir={tmp_path / 'data'}"])
    shown = capsys.readouterr()
    assert examined == built, (said, shown)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sound"] == (examined == SOUND)
    if built == SOUND:
        assert f"fingerprint  {report['fingerprint']}\n" in shown.out
    return built, said.out + said.err, shown.out + shown.err


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("dataset", SETS)
def test_doctor_and_build_agree(written, tmp_path, capsys, dataset, damage):
    case, root = SETS[dataset], tmp_path / "manual"
    shutil.copytree(written[dataset], root, symlinks=True)
    DAMAGES[damage](case, root)
    status, said, shown = both(root, dataset, tmp_path, capsys)
    if damage in ("none", "few frames", "apex /"):
        assert status == SOUND
    elif (dataset, damage) not in TAKEN:
        assert status == STOPPED
        # How to get a dataset helps only where a part of it is not there at all.
        lacking = damage == "no table"
        assert (("Apply" in said), ("Apply" in shown)) == (lacking, lacking)
        named = [text for text in (said, shown) if "--skip_bad" in text]
        alone = damage in ("no table", "half a table", "no rows")
        assert len(named) == (0 if alone else 2)


# What is no error there: see each dataset's README.
TAKEN = {
    ("smic/long", "no table"),
    ("smic/long", "no rows"),
    ("dfme/ccac", "no rows"),
}


# Datasets whose folders are the list: a clip without its folder is none.
FOLDERS = {
    case.dataset: case
    for case in (
        Set("smic/cropped", smic.write_smic, "", 0, {}, frames="**/*.bmp"),
        Set("dfme/full", write_dfme_full, "", 0, {}, frames="**/micro/**/*.png"),
    )
}
OF_FOLDERS = {
    none: SOUND,
    few_frames: SOUND,
    no_folder: SOUND,
    no_picture: STOPPED,
    no_frames: STOPPED,
    a_linked_folder: STOPPED,
}


@pytest.mark.parametrize("damage", OF_FOLDERS, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("dataset", FOLDERS)
def test_they_agree_where_folders_are_the_list(tmp_path, capsys, dataset, damage):
    case, root = FOLDERS[dataset], tmp_path / "manual"
    case.write(root)
    damage(case, root)
    status, said, shown = both(root, dataset, tmp_path, capsys)
    assert status == OF_FOLDERS[damage], said
    assert ("--skip_bad" in said) == ("--skip_bad" in shown) == (status == STOPPED)


def test_a_part_of_a_table_is_built_and_the_known_part_is_said(tmp_path, capsys):
    root = tmp_path / "manual"
    case = SETS["mmew/cropped"]
    case.write(root)
    rows = [row for row in mmew_rows() if row.emotion != "others"]
    write_mmew_table(root / case.table, rows)
    top = root / "MMEW_Final" / "Micro_Expression"
    data = frames(case, root)[0].read_bytes()
    shutil.rmtree(top)
    for row in rows:
        folder = top / row.emotion / row.name
        folder.mkdir(parents=True)
        for number in range(1, row.offset + 1):
            (folder / f"{number}.jpg").write_bytes(data)
    status, said, shown = both(root, "mmew/cropped", tmp_path, capsys)
    assert status == SOUND and "accounted for" in said and "accounted for" in shown
    assert said.count("66 clips of 'others': not in the copies") == 1
    assert "234/300" in said and "is not all that is published" in said


def test_another_edition_under_the_name_of_the_known_one_stops_both(tmp_path, capsys):
    root = tmp_path / "manual"
    write_casme3(root, subjects=1, broken=False)
    cells = [(str(onset), str(onset), str(onset + 9)) for onset in range(61)]
    more = [("spNO.14", "b", *frames, "4", "fear") for frames in cells]
    write_casme3_table(root / CASME3, [*full_rows(), *more])
    status, said, shown = both(root, "casme3/clips", tmp_path, capsys)
    assert status == STOPPED
    assert "1 table with other rows than the published ones" in said
    assert "'fear': 147" in said


def test_rows_that_are_not_the_published_ones_stop_both(tmp_path, capsys):
    root = tmp_path / "manual"
    case = SETS["mmew/cropped"]
    case.write(root)
    rows = mmew_rows()
    cells = vars(rows[0]) | {"emotion": "anger"}
    write_mmew_table(root / case.table, [MiniClip(**cells), *rows[1:]])
    status, said, shown = both(root, "mmew/cropped", tmp_path, capsys)
    assert status == STOPPED and "'anger': 9" in said


def test_a_part_with_more_rows_of_an_emotion_than_there_are_says_so(tmp_path, capsys):
    root = tmp_path / "manual"
    case = SETS["mmew/cropped"]
    case.write(root)
    rows = [row for row in mmew_rows() if row.emotion == "surprise"]
    wrong = [MiniClip(**vars(row) | {"emotion": "anger"}) for row in rows[:9]]
    write_mmew_table(root / case.table, wrong)
    status, said, shown = both(root, "mmew/cropped", tmp_path, capsys)
    assert status == STOPPED  # their folders are not there
    assert "1 emotion with more rows than published: another edition?" in said
    assert "anger: expected 8, found 9" in said
