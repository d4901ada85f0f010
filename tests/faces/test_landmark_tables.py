import os
import pathlib

import numpy as np
import pytest

from merclip_jax.faces import align as faces
from merclip_jax.faces import table_files
from merclip_jax.faces.align import MESH_EYES, MESH_MOUTH
from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.faces.onset import FacesError, NoRowError, Onset

IMAGE = np.zeros((480, 640, 3), np.uint8)
ROOT = pathlib.Path("/set/Cropped")


def face(count=68, x=100.0, y=50.0, side=80.0):
    """Landmarks that a row holds, float64 [count, 2]."""
    points = np.random.default_rng(count).uniform(0, side, (count, 2)) + [x, y]
    return points.round(3)


def upright(count):
    """A face between 0 and 1 with its eyes above its mouth."""
    points = np.random.default_rng(count).uniform(0, 1, (count, 2))
    for places, at in ((MESH_EYES[0], 0.2), (MESH_EYES[1], 0.8)):
        points[places] = [at, 0.3]
    points[MESH_MOUTH] = [[0.3, 0.8], [0.7, 0.8]]
    return points


def numbered(count, form="x_{}"):
    """Column names of `count` landmarks, all x before all y."""
    return [form.format(i).replace("x", axis) for axis in "xy" for i in range(count)]


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def flat(points):
    return points.T.ravel().tolist()


def onset(path, *, clip="s/c", number=1, index=0, pictures=41):
    """The onset's picture, with `index` of the folder's `pictures` before it."""
    first = number - index
    return Onset(clip, number, path, tuple(range(first, first + pictures)))


def find(source, path, **of):
    return source.find(IMAGE, onset(path, **of))


def says_nothing(source, path, **of):
    """Whether no row is of the picture; a row that says "no face" is one."""
    with pytest.raises(NoRowError, match=path.name):
        find(source, path, **of)
    return True


# Tables of other programs.


def test_openface_one_table_per_clip(tmp_path):
    """Blanks in the header, frames from 1, 3-D landmarks X_0 beside x_0."""
    index = ["frame", "face_id", "timestamp", "confidence", "success"]
    names = index + numbered(68) + ["X_0", "Y_0", "Z_0", "AU01_r"]
    rows = [
        [1 + i, 0, 0.1 * i, 0.98, 1, *flat(face(x=100 + i)), 1, 2, 900, 0.3]
        for i in range(8)
    ]
    rows[6][3], rows[7][4] = 0.3, 0
    header = [names[0], *(" " + name for name in names[1:])]
    table(tmp_path / "out" / "EP02_01f.csv", header, rows)
    table(tmp_path / "out" / "s_02_b.csv", header, rows)
    source = CsvLandmarks(tmp_path / "out")
    assert source.name.startswith("csv ") and len(source.name) == 16
    path = ROOT / "sub01" / "EP02_01f" / "img48.jpg"
    found = find(source, path, number=48, index=2)
    np.testing.assert_array_equal(found, face(x=102))
    assert found.dtype == np.float64
    by_id = find(source, ROOT / "x" / "img48.jpg", clip="s/02/b", number=48, index=3)
    np.testing.assert_array_equal(by_id, face(x=103))
    assert find(source, path, number=52, index=6) is None  # confidence 0.3
    assert find(source, path, number=53, index=7) is None  # success 0
    assert says_nothing(source, path, number=54, index=8)  # a frame that was dropped
    assert says_nothing(source, ROOT / "sub01" / "EP03" / "img48.jpg", number=48)


def test_py_feat_one_table_of_pictures(tmp_path):
    header = ["", "FaceRectX", "FaceScore", *numbered(68), "input", "frame"]
    names = ["/home/me/sub01/EP02/img46.jpg", "/home/me/sub02/EP02/img46.jpg"]
    names += ["/home/me/sub02/EP03/img46.jpg", "C:\\data\\sub03\\EP09\\img7.jpg"]
    rows = [[i, 5, 0.9, *flat(face(x=i)), n, i] for i, n in enumerate(names)]
    rows[2][3] = ""  # pandas' NaN: no face
    source = CsvLandmarks(table(tmp_path / "fex.csv", header, rows))
    for i, place in [(0, "sub01/EP02/img46"), (1, "sub02/EP02/img46")]:
        found = find(source, ROOT / f"{place}.jpg", number=46)
        np.testing.assert_array_equal(found, face(x=i))
    assert find(source, ROOT / "sub02/EP03/img46.jpg") is None
    np.testing.assert_array_equal(find(source, ROOT / "sub03/EP09/img7.jpg"), face(x=3))
    assert says_nothing(source, ROOT / "sub03/EP10/img7.jpg")  # another folder's


def test_py_feat_on_a_video_counts_from_0(tmp_path):
    header = [*numbered(68), "input", "frame"]
    rows = [[*flat(face(x=i)), "EP02.mp4", i] for i in range(5)]
    source = CsvLandmarks(table(tmp_path / "EP02.csv", header, rows))
    found = find(source, ROOT / "EP02" / "img48.jpg", number=48, index=2)
    np.testing.assert_array_equal(found, face(x=2))


@pytest.mark.parametrize("count, form", [(468, "x{}"), (478, "x_{}")])
def test_mediapipe_fractions_of_the_picture(tmp_path, count, form):
    points = upright(count) * 0.2 + [0.3, 0.2]
    header = ["clip", *numbered(count, form), "z_0"]
    rows = [["s/c", *flat(points), 0.01], ["s/d", *flat(points + [0.5, 0]), 0.01]]
    source = CsvLandmarks(table(tmp_path / "mesh.csv", header, rows))
    found = find(source, ROOT / "c" / "1.png")
    np.testing.assert_allclose(found, points * [640, 480])
    faces.align_matrix(found, size=224)
    beyond = find(source, ROOT / "d" / "1.png", clip="s/d")  # a face at the edge
    np.testing.assert_allclose(beyond, (points + [0.5, 0]) * [640, 480])


@pytest.mark.parametrize(
    "names",
    [
        "left_eye right_eye nose mouth_left mouth_right",  # of the picture
        "right_eye left_eye nose mouth_right mouth_left",  # of the subject
        "lefteye righteye nose leftmouth rightmouth",
        "Left_Eye Right_Eye Nose_Tip Left_Mouth_Corner Right_Mouth_Corner",
    ],
)
def test_five_points_are_ordered_by_x(tmp_path, names):
    points = np.array([[30, 40], [70, 41], [50, 60], [35, 80], [66, 81]], float)
    header = ["filename", *(f"{n}_{axis}" for n in names.split() for axis in "xy")]
    rows = [["c/1.png", *points.ravel()]]
    source = CsvLandmarks(table(tmp_path / "retina.csv", header, rows))
    np.testing.assert_array_equal(find(source, ROOT / "c" / "1.png"), points)


def test_excel_writes_semicolons_and_a_mark(tmp_path):
    file = table(tmp_path / "c.csv", ["Frame", *numbered(68)], [[1, *flat(face())]])
    file.write_text("\ufeff" + file.read_text().replace(",", ";"))
    np.testing.assert_array_equal(
        find(CsvLandmarks(file), ROOT / "c" / "1.png"), face()
    )


# Which row.


def frames_table(folder, frames):
    """Table of clip `c`: the face of frame f is at x = f."""
    rows = [[f, *flat(face(x=f))] for f in frames]
    return CsvLandmarks(table(folder / "c.csv", ["frame", *numbered(68)], rows))


@pytest.mark.parametrize(
    "frames, number, index, row",
    [
        (range(46, 87), 50, 4, 50),  # frame numbers
        ([*range(46, 60), *range(70, 87)], 50, 4, 50),  # .. some dropped
        ([50], 50, 4, 50),  # .. of the onset alone
        ([12], 12, 2, 12),
        (range(1, 42), 50, 4, 5),  # positions from 1
        (range(41), 50, 4, 4),  # positions from 0
        (range(1, 42), 25, 5, 6),  # rows 1..19 are no frames of 20..60
        ([*range(1, 9), *range(11, 39)], 25, 5, 6),  # .. some dropped
        (range(3, 30), 25, 5, 6),
        (range(1, 300), 25, 5, 25),  # of a recording, of which the folder is a part
        (range(1, 30), 5, 4, 5),  # both are the same
    ],
)
def test_frames_are_numbers_or_positions(tmp_path, frames, number, index, row):
    path = ROOT / "c" / f"{number}.png"
    found = find(frames_table(tmp_path, frames), path, number=number, index=index)
    np.testing.assert_array_equal(found, face(x=row))


def test_a_reading_that_nothing_forces_is_asked_for(tmp_path):
    """Frames 10..50 on disk; rows 10..30 are numbers, or places with 1..9 dropped."""
    path = ROOT / "c" / "20.png"
    where = dict(number=20, index=10)
    message = r"c\.csv .*row 20, .*row 11, .*--landmark_numbers=frames or positions"
    with pytest.raises(FacesError, match=message):
        find(frames_table(tmp_path, range(10, 31)), path, **where)
    for asked, row in (("frames", 20), ("positions", 11)):
        source = CsvLandmarks(tmp_path / "c.csv", asked)
        np.testing.assert_array_equal(find(source, path, **where), face(x=row))
        assert source.name.endswith(f", rows by {asked}")


def tables(folder, **frames):
    """A table for each clip, and the clips' onsets: frame 20 of 10..50."""
    for name, numbers in frames.items():
        rows = [[f, *flat(face(x=f))] for f in numbers]
        table(folder / f"{name}.csv", ["frame", *numbered(68)], rows)
    return [
        onset(ROOT / name / "20.png", clip=name, number=20, index=10) for name in frames
    ]


@pytest.mark.parametrize("decides, row", [(range(1, 30), 11), (range(10, 51), 20)])
def test_one_table_decides_for_all(tmp_path, decides, row):
    """One program wrote them; what the others leave open is told."""
    onsets = tables(tmp_path, a=range(11, 31), b=decides)
    source = CsvLandmarks(tmp_path)
    (remark,) = source.match(onsets)
    assert remark.kind == "assumed" and "b.csv" in remark.text
    assert "1 of 2 tables would fit both" in remark.text and "a.csv" in remark.where
    np.testing.assert_array_equal(source.find(IMAGE, onsets[0]), face(x=row))


def test_position_0_in_one_table_is_the_first_of_all(tmp_path):
    onsets = tables(tmp_path, a=range(1, 30), b=range(30))
    source = CsvLandmarks(tmp_path)
    assert source.match(onsets) == []
    np.testing.assert_array_equal(source.find(IMAGE, onsets[0]), face(x=10))


def test_tables_that_contradict_each_other(tmp_path):
    onsets = tables(tmp_path, a=range(1, 30), b=range(40, 51))
    with pytest.raises(FacesError, match=r"b\.csv .*frame numbers.*a\.csv .*positions"):
        CsvLandmarks(tmp_path).match(onsets)


def test_the_largest_of_several_faces_counts(tmp_path):
    header = ["frame", "face_id", *numbered(68)]
    rows = [[1, 0, *flat(face())], [1, 1, *flat(face(side=200.0))]]
    rows += [[1, 2, *[missing] * 136] for missing in ("nan", "")]
    source = CsvLandmarks(table(tmp_path / "c.csv", header, rows))
    found = find(source, ROOT / "c" / "1.png")
    np.testing.assert_array_equal(found, face(side=200.0))


def test_subjects_folders_tell_tables_of_one_name_apart(tmp_path):
    for i, subject in enumerate(("sub01", "sub02")):
        header = ["frame", *numbered(68)]
        table(tmp_path / subject / "EP02.csv", header, [[1, *flat(face(x=i))]])
    source = CsvLandmarks(tmp_path)
    for i, subject in enumerate(("sub01", "sub02")):
        found = find(source, ROOT / subject / "EP02" / "1.png")
        np.testing.assert_array_equal(found, face(x=i))
    assert says_nothing(source, ROOT / "sub03" / "EP02" / "1.png")


def test_one_table_cannot_serve_two_subjects(tmp_path):
    header = ["frame", *numbered(68)]
    source = CsvLandmarks(table(tmp_path / "EP02.csv", header, [[1, *flat(face())]]))
    for _ in range(2):
        find(source, ROOT / "sub01" / "EP02" / "1.png")
    with pytest.raises(FacesError, match=r"EP02.csv fits .*sub01.* and in .*sub02"):
        find(source, ROOT / "sub02" / "EP02" / "1.png")


def test_rows_that_fit_equally_are_named(tmp_path):
    header = ["image", *numbered(68)]
    rows = [["img1.jpg", *flat(face())], ["img1.jpg", *flat(face())]]
    rows += [["a/E1/img2.jpg", *flat(face())], ["b/E1/img2.jpg", *flat(face())]]
    rows += [["img3.jpg", *flat(face())]]
    file = table(tmp_path / "all.csv", header, rows)
    source = CsvLandmarks(file)
    with pytest.raises(FacesError, match="all.csv row 2 and .*all.csv row 3 fit both"):
        find(source, ROOT / "E1" / "img1.jpg")
    with pytest.raises(FacesError, match="all.csv row 4 and .*all.csv row 5 fit both"):
        find(source, ROOT / "c" / "E1" / "img2.jpg")
    path = ROOT / "E1" / "img3.jpg"
    np.testing.assert_array_equal(find(source, path), face())
    with pytest.raises(FacesError, match="no row names"):  # whose, of many tables?
        find(CsvLandmarks(tmp_path), path)


def test_two_subjects_cannot_share_a_row(tmp_path):
    rows = [["a/E1/img2.jpg", *flat(face())]]
    source = CsvLandmarks(table(tmp_path / "t.csv", ["path", *numbered(68)], rows))
    np.testing.assert_array_equal(find(source, ROOT / "a/E1/img2.jpg"), face())
    with pytest.raises(FacesError, match="t.csv row 2 fits .*a/E1 and in .*b/E1"):
        find(source, ROOT / "b/E1/img2.jpg")


def test_one_row_a_clip_needs_no_frame(tmp_path):
    rows = [[clip, *flat(face(x=i))] for i, clip in enumerate(("s/c", "s/d", "s/d"))]
    source = CsvLandmarks(table(tmp_path / "t.csv", ["Clip", *numbered(68)], rows))
    np.testing.assert_array_equal(find(source, ROOT / "x" / "1.png"), face(x=0))
    with pytest.raises(FacesError, match="clip s/d: .*row 3 and .*row 4 fit both"):
        find(source, ROOT / "x" / "1.png", clip="s/d")


def test_names_without_folder_in_a_clips_own_table(tmp_path):
    header = ["image", *numbered(68)]
    rows = [[f"img{i}.jpg", *flat(face(x=i))] for i in (7, 8, 8, 9)]
    rows[1][1:] = flat(face(x=8, side=20.0))  # a second, smaller face
    table(tmp_path / "E1.csv", header, rows)
    table(tmp_path / "E2.csv", header, rows[:1])
    found = find(CsvLandmarks(tmp_path), ROOT / "E1" / "img8.jpg")
    np.testing.assert_array_equal(found, face(x=8))


def test_the_name_follows_the_content(tmp_path):
    header = ["frame", *numbered(68)]
    names = set()
    for stem, x in [("a", 1), ("a", 2), ("b", 2), ("a", 1)]:
        folder = tmp_path / f"{len(names)}{stem}{x}"
        file = table(folder / f"{stem}.csv", header, [[1, *flat(face(x=x))]])
        names.add(CsvLandmarks(folder).name)
        assert CsvLandmarks(str(file)).name in names
    assert len(names) == 3


# What cannot be read.


@pytest.mark.parametrize(
    "header, message",
    [
        (["frame", "AU01_r"], r"no known landmark columns; expected x_0\.\.x_67 .*has"),
        (numbered(67), "no known landmark columns"),
        ([*numbered(68), " x_3"], "column 'x_3' is there twice"),
        ([*numbered(68), "x3"], "column 'x3' is there twice"),
        ([*numbered(68), "frame", "Frame"], "column 'Frame' is there twice"),
        ([], "no known landmark columns"),
    ],
)
def test_headers_that_are_not_understood(tmp_path, header, message):
    file = table(tmp_path / "t.csv", header, [])
    with pytest.raises(FacesError, match=f"t.csv: {message}"):
        CsvLandmarks(file)


UNREAD = [
    (5, "12;5", "t.csv row 3 column 'x_4': '12;5' is not a number"),
    (5, "1_0", "t.csv row 3 column 'x_4': '1_0' is not a number"),
    (5, "1e308", r"t.csv row 3 coordinates up to 1e\+308: no picture"),
    (0, "1.5", "t.csv row 3 column 'frame': '1.5' is not a whole number"),
    (0, "", "t.csv row 3 column 'frame': '' is not a whole number"),
    (0, "-1", "t.csv row 3 column 'frame': '-1' is not a whole number"),
    (0, "1,2", "t.csv row 3 138 cells under 137 columns"),
]


@pytest.mark.parametrize("column, cell, message", UNREAD)
def test_cells_that_are_not_understood(tmp_path, column, cell, message):
    rows = [[1, *flat(face())], [2, *flat(face())]]
    rows[1][column] = cell
    file = table(tmp_path / "t.csv", ["frame", *numbered(68)], rows)
    with pytest.raises(FacesError, match=message):
        find(CsvLandmarks(file), ROOT / "t" / "47.png", number=47, index=1)


@pytest.mark.parametrize("column, cell", [case[:2] for case in UNREAD[:3]])
def test_rows_that_nobody_asks_for_stop_nothing(tmp_path, column, cell):
    rows = [[1, *flat(face())], [2, *flat(face())]]
    rows[1][column] = cell
    file = table(tmp_path / "t.csv", ["frame", *numbered(68)], rows)
    found = find(CsvLandmarks(file), ROOT / "t" / "46.png", number=46)
    np.testing.assert_array_equal(found, face())


def test_a_line_that_was_cut_off_is_of_its_frame(tmp_path):
    rows = [[1, *flat(face())], [2, *flat(face())[:70]]]
    file = table(tmp_path / "t.csv", ["frame", *numbered(68)], rows)
    source = CsvLandmarks(file)
    find(source, ROOT / "t" / "46.png", number=46)
    with pytest.raises(FacesError, match="row 3 71 cells under 137 columns"):
        find(source, ROOT / "t" / "47.png", number=47, index=1)


@pytest.mark.parametrize(
    "cell",
    "nan -nan NaN nan(ind) -nan(ind) NAN(SNAN) 1.#IND -1.#IND 1.#QNAN -1.#IND00 1.#INF "
    "inf -inf NA N/A #N/A None null".split()
    + [" ", " -nan(ind) "],
)
@pytest.mark.parametrize("column", ["x_4", "y_67", "confidence", "success"])
def test_failed_measurements_are_rows_without_a_face(tmp_path, column, cell):
    header = ["frame", "confidence", "success", *numbered(68)]
    row = [1, 0.98, 1, *flat(face())]
    row[header.index(column)] = cell
    source = CsvLandmarks(table(tmp_path / "t.csv", header, [row]))
    assert find(source, ROOT / "t" / "1.png") is None


# One table a picture, other columns, several faces.


def pictures_tables(folder, *, rows=1):
    """FaceLandmarkImg's: `face, confidence, x_0, ..` in a file named as the picture."""
    header = ["face", " confidence", *numbered(68)]
    for clip, x in (("sub01/E1", 1), ("sub02/E1", 2)):
        for number in (10, 11):
            faces_ = [
                [i, 0.9, *flat(face(x=x + number, side=80 - i))] for i in range(rows)
            ]
            table(folder / clip / f"img{number}.csv", header, faces_)
    return CsvLandmarks(folder)


def test_one_table_a_picture(tmp_path):
    source = pictures_tables(tmp_path)
    for clip, x in (("sub01/E1", 1), ("sub02/E1", 2)):
        found = find(source, ROOT / clip / "img10.jpg", clip=clip, number=10)
        np.testing.assert_array_equal(found, face(x=x + 10))
    assert says_nothing(source, ROOT / "sub02/E1/img12.jpg", number=12)
    assert says_nothing(source, ROOT / "sub02/E2/img10.jpg", number=10)


def test_several_faces_of_one_size_are_told(tmp_path):
    source = pictures_tables(tmp_path, rows=2)
    path = ROOT / "sub01/E1" / "img10.jpg"
    (told, unused) = sorted(source.match([onset(path)]), key=lambda r: r.kind)
    assert (told.kind, told.where, told.clip) == ("faces", str(path), "s/c")
    assert "row 2 is taken" in told.text and "row 3 is as large" in told.text
    assert unused.kind == "unused" and unused.text.startswith(
        "2 of 4 tables are of no clip: "
    )
    np.testing.assert_array_equal(find(source, path), face(x=11))


def test_a_surer_smaller_face_is_told(tmp_path):
    header = ["frame", "face", "confidence", *numbered(68)]
    rows = [[1, 0, 0.7, *flat(face(side=90.0))], [1, 1, 0.9, *flat(face(side=30.0))]]
    source = CsvLandmarks(table(tmp_path / "c.csv", header, rows))
    (told,) = source.match([onset(ROOT / "c" / "1.png")])
    assert told.kind == "faces" and "row 3 is surer (0.9)" in told.text


def test_libreface(tmp_path):
    header = ["frame_idx", "yaw"]
    header += [f"lm_mp_{i}_{axis}" for i in range(478) for axis in "xyz"]
    points = face(478)
    cells = np.concatenate([points, np.ones((478, 1))], 1).ravel().tolist()
    source = CsvLandmarks(table(tmp_path / "c.csv", header, [[0, 1.5, *cells]]))
    found = find(source, ROOT / "c" / "46.png", number=46)
    np.testing.assert_array_equal(found, points)


# What nobody takes.


def test_a_source_that_is_of_no_clip_says_what_it_looks_like(tmp_path):
    for number in (10, 11):
        table(
            tmp_path / f"img{number}.csv", ["face", *numbered(68)], [[0, *flat(face())]]
        )
    message = (
        r"2 tables, none named as a clip \(s_c.csv\) or as its folder \(c.csv\).*look "
        r"like names of pictures.*c/img10.csv.*found img10.csv, img11.csv"
    )
    with pytest.raises(FacesError, match=message):
        CsvLandmarks(tmp_path).match([onset(ROOT / "c" / "img10.jpg", number=10)])


def test_rows_that_no_clip_takes_are_told(tmp_path):
    rows = [[c, *flat(face())] for c in ("s/c", "s/x")]
    source = CsvLandmarks(table(tmp_path / "t.csv", ["clip", *numbered(68)], rows))
    (told,) = source.match([onset(ROOT / "c" / "1.png")])
    assert told.kind == "unused" and "of no clip: s/x" in told.text
    rows = [[f"{c}/1.png", *flat(face())] for c in ("c", "d", "e")]
    source = CsvLandmarks(table(tmp_path / "t.csv", ["input", *numbered(68)], rows))
    (told,) = source.match([onset(ROOT / "c" / "1.png")])
    assert told.kind == "unused" and told.text.endswith("of no clip: d, e")


def test_a_table_that_cannot_be_read_is_its_clips_concern(tmp_path):
    onsets = tables(tmp_path, a=range(10, 51), b=range(10, 51))
    (tmp_path / "b.csv").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("clip,emotion\na,anger\n")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "link.csv")
    source = CsvLandmarks(tmp_path)
    (told,) = [r for r in source.match(onsets) if "cannot be read" in r.text]
    assert told.kind == "unused" and told.text.startswith("4 tables")
    assert "b.csv: no known landmark columns" in told.text
    np.testing.assert_array_equal(source.find(IMAGE, onsets[0]), face(x=20))
    with pytest.raises(FacesError, match="b.csv.* cannot be read: .*no known"):
        source.find(IMAGE, onsets[1])


def test_tables_beyond_any_dataset(tmp_path, monkeypatch):
    file = table(tmp_path / "c.csv", numbered(5), [[0] * 9 + [1]] * 30)
    monkeypatch.setattr(table_files, "MOST_ROWS", 20)
    with pytest.raises(FacesError, match="c.csv: with it, more than 20 rows"):
        CsvLandmarks(tmp_path)
    monkeypatch.setattr(table_files, "MOST_NUMBERS", 99)
    with pytest.raises(FacesError, match="c.csv: with it, more than 9 rows"):
        CsvLandmarks(tmp_path)
    file.write_text("x_0" * 10**6)
    with pytest.raises(FacesError, match="c.csv: a line of 1048576 characters"):
        CsvLandmarks(tmp_path)


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "c.csv")
    with pytest.raises(FacesError, match="c.csv: expected a CSV file"):
        CsvLandmarks(tmp_path)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FacesError, match="no such file or folder"):
        CsvLandmarks(tmp_path / "none.csv")
    with pytest.raises(FacesError, match=r"no \*.csv in it"):
        CsvLandmarks(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\xff\xfe\x00\x00")
    with pytest.raises(FacesError, match="t.csv: not a readable CSV file"):
        CsvLandmarks(tmp_path)
