import pathlib

import numpy as np
import pytest

from merclip_jax.faces import align as faces
from merclip_jax.faces.landmark_tables import CsvLandmarks, FacesError

IMAGE = np.zeros((480, 640, 3), np.uint8)
ROOT = pathlib.Path("/set/Cropped")


def face(count=68, x=100.0, y=50.0, side=80.0):
    """Landmarks that a row holds, float64 [count, 2]."""
    points = np.random.default_rng(count).uniform(0, side, (count, 2)) + [x, y]
    return points.round(3)


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


def find(source, path, *, clip="s/c", number=1, index=0):
    return source.find(IMAGE, clip=clip, number=number, path=path, index=index)


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
    assert find(source, path, number=54, index=8) is None  # no row
    assert find(source, ROOT / "sub01" / "EP03" / "img48.jpg", number=48) is None


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
    assert find(source, ROOT / "sub03/EP10/img7.jpg") is None  # another folder's


def test_py_feat_on_a_video_counts_from_0(tmp_path):
    header = [*numbered(68), "input", "frame"]
    rows = [[*flat(face(x=i)), "EP02.mp4", i] for i in range(5)]
    source = CsvLandmarks(table(tmp_path / "EP02.csv", header, rows))
    found = find(source, ROOT / "EP02" / "img48.jpg", number=48, index=2)
    np.testing.assert_array_equal(found, face(x=2))


@pytest.mark.parametrize("count, form", [(468, "x{}"), (478, "x_{}")])
def test_mediapipe_fractions_of_the_picture(tmp_path, count, form):
    points = face(count, x=0.3, y=0.2, side=0.2)
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
        ([50], 50, 4, 50),  # .. of the onset alone
        (range(1, 42), 50, 4, 5),  # positions from 1
        (range(41), 50, 4, 4),  # positions from 0
        (range(1, 42), 25, 5, 25),  # numbers, as far as one can see
    ],
)
def test_frames_are_numbers_or_positions(tmp_path, frames, number, index, row):
    path = ROOT / "c" / f"{number}.png"
    found = find(frames_table(tmp_path, frames), path, number=number, index=index)
    np.testing.assert_array_equal(found, face(x=row))


def test_a_run_as_long_as_the_folder_is_of_positions(tmp_path):
    folder = tmp_path / "pictures" / "c"
    folder.mkdir(parents=True)
    for number in range(20, 61):
        (folder / f"img{number}.png").touch()
    source = frames_table(tmp_path, range(1, 42))
    found = find(source, folder / "img25.png", number=25, index=5)
    np.testing.assert_array_equal(found, face(x=6))


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
    assert find(source, ROOT / "sub03" / "EP02" / "1.png") is None


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
    assert find(CsvLandmarks(tmp_path), path) is None  # whose, among many tables?


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


@pytest.mark.parametrize(
    "column, cell, message",
    [
        (5, "12;5", "t.csv row 3 column 'x_4': '12;5' is not a number"),
        (0, "1.5", "t.csv row 3 column 'frame': '1.5' is not a whole number"),
        (0, "", "t.csv row 3 column 'frame': '' is not a whole number"),
        (0, "1,2", "t.csv row 3: 138 cells under 137 columns"),
    ],
)
def test_cells_that_are_not_understood(tmp_path, column, cell, message):
    rows = [[1, *flat(face())], [2, *flat(face())]]
    rows[1][column] = cell
    file = table(tmp_path / "t.csv", ["frame", *numbered(68)], rows)
    with pytest.raises(FacesError, match=message):
        CsvLandmarks(file)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FacesError, match="no such file or folder"):
        CsvLandmarks(tmp_path / "none.csv")
    with pytest.raises(FacesError, match=r"no \*.csv in it"):
        CsvLandmarks(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\xff\xfe\x00\x00")
    with pytest.raises(FacesError, match="t.csv: not a readable CSV file"):
        CsvLandmarks(tmp_path)
