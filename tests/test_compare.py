"""Runs side by side: the same clips, paired draws of subjects, AUs read by rules."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from merclip_jax import compare
from merclip_jax.errors import UserError
from merclip_jax.results import comparison
from merclip_jax.results.comparison import Run
from merclip_jax.results.comparison import compare as side_by_side
from merclip_jax.scoring import metrics, paired

CLASSES = ["negative", "positive", "surprise"]
SAID = {"negative": "AU4", "positive": "AU12+AU6", "surprise": "AU1+AU2"}


def card(classes=CLASSES, system="MER-CLIP", fingerprint="f"):
    task = {"classes": classes, "dataset_fingerprint": fingerprint, "dataset": "d"}
    return {"task": task, "system": system}


def rows(seed=0, right=0.6, subjects=12, clips=10, seeds=(0,)):
    """Made-up predictions: a share of them right."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).choice(CLASSES, (subjects, clips))
    found = []
    for run in seeds:
        for s in range(subjects):
            for c in range(clips):
                true = truth[s, c]
                said = true if rng.random() < right else rng.choice(CLASSES)
                found.append(
                    {
                        "clip": f"s{s}/c{c}",
                        "subject": f"s{s}",
                        "fold": f"s{s}",
                        "seed": str(run),
                        "true": true,
                        "predicted": said,
                    }
                )
    return found


def test_scores_are_those_of_the_cards_metric():
    made = rows(1)
    (row, _), _ = side_by_side([Run("a", card(), made), Run("b", card(), rows(2))])
    target = np.asarray([CLASSES.index(r["true"]) for r in made])
    answer = np.asarray([CLASSES.index(r["predicted"]) for r in made])
    scores = metrics.scores(metrics.confusion_matrix(target, answer, classes=3))
    for name in paired.SCORES:
        assert row.scores[name] == pytest.approx(getattr(scores, name))


def test_a_better_run_is_better_in_nearly_all_draws():
    found, told = side_by_side(
        [Run("a", card(), rows(1, 0.3)), Run("b", card(), rows(2, 0.9))]
    )
    gap = found[1].differences["uf1"]
    assert gap.low > 0.2 and gap.better == 1
    assert gap.value == pytest.approx(found[1].scores["uf1"] - found[0].scores["uf1"])
    assert not found[0].differences
    assert told.startswith("120 clips of 12 subjects")
    text = comparison.table(found, told)
    assert "b" in text and f"{gap.value:+.3f}" in text


def test_a_run_differs_from_itself_by_nothing():
    same = rows(3)
    found, _ = side_by_side([Run("a", card(), same), Run("b", card(), list(same))])
    for gap in found[1].differences.values():
        assert (gap.value, gap.low, gap.high, gap.better) == (0, 0, 0, 0.5)


def test_equal_runs_cover_zero_about_as_often_as_they_say():
    """400 pairs of runs that are equally good: 95 % of intervals hold zero."""
    inside = 0
    subjects = [f"s{i}" for i in range(12)]
    for i in range(400):
        made = {}
        for j in range(2):
            some = rows(1000 + 2 * i + j, 0.5)
            made[str(j)] = paired.counts(
                np.asarray([CLASSES.index(r["true"]) for r in some]),
                np.asarray([CLASSES.index(r["predicted"]) for r in some]),
                np.asarray([r["subject"] for r in some]),
                np.zeros(len(some), int),
                subjects=subjects,
                classes=3,
            )
        gap = paired.differences(made, "0", draws=200)["1"]["uf1"]
        inside += gap.low <= 0 <= gap.high
    assert 0.92 <= inside / 400 <= 0.98


def test_seeds_are_averaged():
    two = rows(4, seeds=(0, 1))
    found, _ = side_by_side([Run("a", card(), two), Run("b", card(), rows(5))])
    alone = [
        side_by_side(
            [
                Run("a", card(), [r for r in two if r["seed"] == seed]),
                Run("b", card(), rows(5)),
            ]
        )[0][0].scores["uf1"]
        for seed in ("0", "1")
    ]
    assert found[0].scores["uf1"] == pytest.approx(np.mean(alone))


def test_a_detector_answers_by_rules():
    """A detector that knows the AUs of each emotion is right wherever it says them."""
    emotions = rows(6, 0.5)
    aus = [
        row | {"true": "AU1", "predicted": SAID[row["true"]]} for row in rows(7, 0.5)
    ]
    detector = Run("au", card(["AU1", "AU2", "AU4", "AU6", "AU12"], "AUs"), aus)
    found, _ = side_by_side([Run("a", card(), emotions), detector])
    assert found[1].scores["uf1"] == 1
    assert found[1].system == "AUs, emotions by rules"


def test_each_class_and_each_interval_are_those_of_the_metric():
    made = rows(1, seeds=(0, 1))
    found, _ = side_by_side([Run("a", card(), made), Run("b", card(), rows(2))])
    index = {name: k for k, name in enumerate(CLASSES)}
    label, answer = (
        np.asarray([index[r[key]] for r in made]) for key in ("true", "predicted")
    )
    seeds = np.asarray([int(r["seed"]) for r in made])
    subjects = np.asarray([r["subject"] for r in made])
    wanted = metrics.subject_intervals(label, answer, subjects, classes=3, seeds=seeds)
    assert found[0].intervals == vars(wanted)
    each = [
        metrics.scores(metrics.confusion_matrix(label[own], answer[own], classes=3))
        for own in (seeds == 0, seeds == 1)
    ]
    for k, name in enumerate(CLASSES):
        for kind in ("f1", "recall", "precision"):
            value = np.mean([getattr(run, kind)[k] for run in each])
            assert found[0].classes[name][kind] == pytest.approx(value)
    text = comparison.table(found, "clips")
    assert "F1 of each class" in text and f"{found[1].classes['surprise']['f1']:.3f}"


def test_mcnemar_counts_clips_that_one_alone_had_right():
    mine = np.array([True] * 8 + [False] * 4 + [True] * 5)
    theirs = np.array([False] * 8 + [True] * 1 + [False] * 3 + [True] * 5)
    found = paired.mcnemar(mine, theirs)
    assert (found.mine, found.theirs) == (8, 1)
    # Nine fair coins: eight or more of one side, on either side.
    assert found.p == pytest.approx(2 * (9 + 1) / 2**9)
    assert paired.mcnemar(mine, mine).p == 1
    a, b = rows(1, 0.3), rows(2, 0.9)
    (_, row), _ = side_by_side([Run("a", card(), a), Run("b", card(), b)])
    right = [[r["predicted"] == r["true"] for r in made] for made in (b, a)]
    assert row.mcnemar == paired.mcnemar(*map(np.asarray, right))
    # Of seeds that one has alone no clip is compared.
    other = [r | {"seed": "7"} for r in b]
    (_, row), _ = side_by_side([Run("a", card(), a), Run("b", card(), other)])
    assert row.mcnemar is None


def test_a_plot_and_a_table_are_written(tmp_path, monkeypatch, capsys):
    made = {"a": rows(1, 0.4), "$b_{": rows(2, 0.8)}
    told = card()
    told["task"]["name"] = "samm_3class"
    monkeypatch.setattr(
        comparison, "load", lambda folder: Run(folder.name, told, made[folder.name])
    )
    out = tmp_path / "out"
    command = ["a", "$b_{", "--published", f"--out={out}"]
    assert compare.main(command) == 0
    said = capsys.readouterr().out
    assert "MER-CLIP (2025): UF1 0.832, UAR 0.843; given: key frames; before: DFME" in (
        said
    )
    assert "the epoch was chosen on the test subject" in said
    assert (out / "comparison.txt").read_text() == said
    kept = json.loads((out / "comparison.json").read_text())["rows"]
    assert kept[1]["differences"]["uf1"]["low"] > 0
    first = (out / "comparison.png").read_bytes()
    with Image.open(out / "comparison.png") as picture:
        assert picture.width > 800
    assert compare.main(command) == 0
    assert (out / "comparison.png").read_bytes() == first


def test_a_table_stands_for_the_configs_of_its_rows(tmp_path, monkeypatch, capsys):
    seen = []

    def run(command, check):
        seen.append(command)
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(subprocess, "run", run)
    name = "--table=templates_samm,seeds=2"
    assert compare.main([name, f"--out={tmp_path}", "--config.train.epochs=2"]) == 1
    assert seen[0][3].endswith("ablations.py:templates_samm,row=7,seeds=2")
    assert seen[0][4:6] == [f"--workdir={tmp_path / '7'}", "--config.train.epochs=2"]
    # The first command trains what can share its stacks.
    beside = [word.partition(":")[0] for word in seen[0][6:]]
    path = seen[0][3].partition("=")[2].partition(":")[0]
    rows = ("1", "3", "5", "10")
    assert beside == [f"--beside={tmp_path / row}={path}" for row in rows]
    # But where each starts from another encoder, which is trained first.
    seen.clear()
    compare.main([name, f"--out={tmp_path}", "--pretrain=dfme_7class"])
    assert not any(word.startswith("--beside") for word in seen[0])
    capsys.readouterr()
    assert compare.main(["--table=templates_ck", f"--out={tmp_path}"]) == 1
    assert "'templates_ck': expected TABLE_DATASET" in capsys.readouterr().err


def test_only_common_clips_count():
    found, told = side_by_side(
        [Run("a", card(), rows(8)), Run("b", card(), rows(9)[:60])]
    )
    assert told.startswith("60 clips of 6 subjects")
    assert "(120 by the run with most)" in told


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (Run("b", card(fingerprint="g"), rows(1)), "different datasets: a: d, b: d"),
        (Run("b", card(["anger", "fear"]), rows(1)), "one set of emotions"),
        (
            Run("b", card(), [row | {"fold": "fold1"} for row in rows(1)]),
            "b: other folds than a's",
        ),
        (Run("b", card(), []), "no clip was judged by all"),
        (Run("a", card(), rows(1)), "two runs of one name"),
        (
            Run("b", card(), [rows(1)[0] | {"true": "surprise?"}, *rows(1)[1:]]),
            r"b: other labels than elsewhere: \['s0/c0'\]",
        ),
    ],
)
def test_what_cannot_be_compared(other, match):
    with pytest.raises(UserError, match=match):
        side_by_side([Run("a", card(), rows(0)), other])


def test_detectors_alone_are_no_emotions():
    detector = Run("au", card(["AU1", "AU2"]), rows(1))
    with pytest.raises(UserError, match="one at least"):
        side_by_side([detector, detector])


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    assert compare.main([str(tmp_path), str(tmp_path)]) == 1
    assert "expected a finished run" in capsys.readouterr().err
    assert compare.main(["--configs", "a.py", "b.py"]) == 1
    assert "--configs goes with --out" in capsys.readouterr().err
    assert compare.main([str(tmp_path), "--config.train.epochs=2"]) == 1
    assert "nothing is trained without --configs" in capsys.readouterr().err
    assert compare.main(["--configs", "no.py", "--out", str(tmp_path)]) == 1
    assert "no.py: no such file, and no packaged config" in capsys.readouterr().err
