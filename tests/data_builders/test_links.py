"""A tree that is a link out of the owners' folder is told once, with what to do."""

import os

import pytest

from data_builders import build, doctor
from data_builders.datasets import find
from tests.fixtures.dfme import write_dfme_full
from tests.fixtures.findings import found
from tests.fixtures.sets import SETS
from tests.fixtures.smic import write_smic

# Dataset -> its tree below the owners' folder, and how it is written.
TREES = {
    "casme2/cropped": "Cropped",
    "samm/raw": "SAMM",
    "casme3/clips": "Part_A_ME_clip/frame",
    "dfme/ccac": "train_data",
    "casme_sq/cropped": "cropped",
    "mmew/cropped": "MMEW_Final/Micro_Expression",
    "fourdme/crop": "gray_micro_crop",
    "smic/long": "SMIC-E_raw image/HS_long/SMIC-HS-E",
    "smic/cropped": "SMIC_all_cropped",
    "dfme/full": "USTC_MEv4_partC_sub0111_sub0300",
}
WRITE = {name: case.write for name, case in SETS.items()}
WRITE |= {"smic/cropped": write_smic, "dfme/full": write_dfme_full}


def link(path, tmp_path):
    """Move a folder out of the owners', and leave a link."""
    target = tmp_path / "archive" / path.name
    target.parent.mkdir()
    path.rename(target)
    os.symlink(target, path)
    return target


@pytest.mark.parametrize("dataset", TREES)
def test_a_linked_tree_is_told_once(tmp_path, capsys, dataset):
    root = tmp_path / "manual"
    WRITE[dataset](root)
    tree = root / TREES[dataset]
    target = link(tree, tmp_path)
    flags = [f"--dataset={dataset}", f"--manual_dir={root}", "--faces=none"]
    assert doctor.main([*flags, "--all"]) == 1
    said = capsys.readouterr()
    assert build.main([*flags, f"--data_dir={tmp_path / 'data'}"]) == 1
    built = capsys.readouterr()
    text = f"{tree}: leads out of the dataset's folder {root}, to {target}"
    for shown in (said.out + said.err, built.err):
        assert shown.count(text) == 1
        assert "put the table beside it and give that folder as --manual_dir" in shown
        assert shown.count("leads out") == 1 and "Apply" not in shown


def test_two_linked_folders_are_two_findings(tmp_path):
    root = tmp_path / "manual"
    write_smic(root)
    micro = root / "SMIC_all_cropped" / "HS"
    for subject in ("s01", "s09"):
        (tmp_path / subject).mkdir()
        link(micro / subject, tmp_path / subject)
    cls, config = find("smic/cropped")
    told = found(cls.read(root, config), "outside")
    assert [f.text.rpartition("; ")[2] for f in told] == ["3 clips lie there"] * 2
