"""Emotions read off AUs stand beside the score of a detector, never in its place."""

import dataclasses

import numpy as np
import pytest

from configs import micro_au_clip
from merclip_jax import build, experiment, facs
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.errors import UserError
from merclip_jax.results import emotions
from merclip_jax.scoring import metrics
from merclip_jax.scoring.emotion_rules import TEXT, THREE, part_of_all
from merclip_jax.training.members import MemberResult
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.systems import tiny_au

pytestmark = pytest.mark.usefixtures("cache")
TASK = "synthetic_3class"


@pytest.fixture(scope="module")
def tasks():
    return micro_au_clip.on("synthetic/tiny").score.emotions


@pytest.fixture(scope="module")
def plan(mini_data):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    return experiment.plan_of(tiny_au.job(load_clips(options, tiny_au.VIEW)))


def members(plan):
    return mini.members_of(tiny_au.job(plan.store.clips))


def results(plan, right=True):
    """Members that answer what is annotated, or none of it."""
    found = []
    for member in members(plan):
        shown = plan.columns["aus"][member.fold.test]
        logits = np.where(shown == right, 4, -4).astype(np.float32)
        n = len(shown)
        text = np.zeros((n, 13), np.float32)
        text[:, part_of_all(THREE)] = np.eye(3)[THREE.names.index("negative")]
        outputs = {"aus": logits, TEXT: text}
        clips = plan.store.clips.clip[member.fold.test]
        found.append(MemberResult(clips, outputs, {"aus": logits}, {}))
    return found


def read(plan, tasks, **given):
    given = {"results": results(plan), "selected": True} | given
    found = emotions.read_off(plan, members(plan), tasks=tasks, **given)
    return [one.block() for one in found]


def rows_of(blocks):
    return {row["key"].removeprefix(f"{TASK}/"): row for row in blocks[0].rows}


def test_right_aus_are_read_as_the_annotated_are(plan, tasks):
    (block,) = read(plan, tasks)
    rows = rows_of([block])
    scores = {key: row["uf1"] for key, row in rows.items()}
    assert list(scores) == ["hard", "soft", "own", "all", "majority"]
    assert scores["hard"] == scores["own"] > scores["majority"]
    assert block.kind == "table" and "No emotion label was trained on" in block.note
    assert "look at AU9, AU10, AU15, AU17 too" in block.note
    wrong = rows_of(read(plan, tasks, results=results(plan, right=False)))
    assert wrong["hard"]["uf1"] < rows["hard"]["uf1"]
    for key in ("own", "all", "majority"):
        assert wrong[key] == rows[key]


def test_scores_are_of_the_tasks_classes(plan, tasks):
    """In the order of the class-map table; computed here once more."""
    clips = plan.store.clips
    ((_, classes),) = tasks
    of = {e: k for k, (_, several) in enumerate(classes) for e in several}
    label = np.array([of[e] for e in clips.emotion.tolist()])
    shown = plan.columns["aus"].astype(bool)
    place = [name for name, _ in classes].index
    said = np.array([place(THREE.names[i]) for i in THREE.hard(shown, tiny_au.AUS)])
    found = metrics.scores(metrics.confusion_matrix(label, said, classes=3))
    row = rows_of(read(plan, tasks))["own"]
    for name in ("acc", "uf1", "uar", "wf1"):
        assert row[name] == pytest.approx(getattr(found, name))
    assert row["uf1_low"] <= row["uf1"] <= row["uf1_high"]


def test_text_is_read_where_it_is_kept(plan, tasks):
    """A chosen epoch keeps what its score reads alone; the last one has all."""
    rows = rows_of(read(plan, tasks, selected=False))
    label = np.isin(plan.store.clips.emotion, ["happiness", "surprise"])
    assert rows["text"]["acc"] == pytest.approx(1 - label.mean())


def test_emotions_outside_of_the_task_are_not_scored(plan, tasks):
    ((name, classes),) = tasks
    fewer = tuple((c, tuple(e for e in of if e != "disgust")) for c, of in classes)
    (block,) = read(plan, ((name, fewer),))
    left = (plan.store.clips.emotion != "disgust").sum()
    assert f"{left} clips of" in block.note
    nobody = tuple((c, (f"no {c}",)) for c, _ in classes)
    assert read(plan, ((name, nobody),)) == []


@pytest.fixture(scope="module")
def aligned(mini_data):
    """MER-CLIP's plan on the same clips."""
    config = mini.config(mini_data)
    job = build.job(config, build.clips(config))
    return job, experiment.plan_of(job)


def near(plan, members, sentence):
    """Members whose clips lie on the sentence number `sentence(clip)`."""
    unit = plan.context.run["features"]
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    unit = np.asarray(unit.mean(0))
    found = []
    for member in members:
        test = member.fold.test
        video = unit[np.asarray([sentence(i) for i in test])]
        outputs = {"video": video, "scale": np.full(len(test), 1e5)}
        found.append(MemberResult(plan.store.clips.clip[test], outputs, {}, {}))
    return found


def test_mer_clips_alignment_says_aus(aligned):
    """... as far as training clips had them: clips on their own sentence are right."""
    job, plan = aligned
    members, own = mini.members_of(job), plan.columns["au_combination"]
    assert [name for name, _ in job.emotions] == [TASK]
    right = near(plan, members, lambda i: own[i])
    (one,) = emotions.read_off(plan, members, right, job.emotions, selected=False)
    block = one.block()
    rows = rows_of([block])
    assert list(rows) == ["hard", "soft", "own", "all", "majority"]
    assert "did learn from emotion labels" in block.note
    clips = plan.store.clips
    for member, result in zip(members, right, strict=True):
        train, test = member.fold.train, member.fold.test
        reading = plan.system.reading(
            clips, dict(plan.columns), plan.context, train, result.outputs
        )
        known = np.isin(own[test], own[train])
        assert known.any()
        for i in np.flatnonzero(known):
            said = {
                au for au, on in zip(reading.aus, reading.shown[i], strict=True) if on
            }
            assert said == facs.parse_cell(clips.au_cell[test[i]]).numbers
    wrong = near(plan, members, lambda i: own[0])
    (one,) = emotions.read_off(plan, members, wrong, job.emotions, selected=False)
    block = one.block()
    assert rows_of([block])["hard"]["uf1"] < rows["hard"]["uf1"]


def test_a_sentence_of_test_clips_alone_is_never_said(aligned):
    job, plan = aligned
    member, own = mini.members_of(job)[0], plan.columns["au_combination"]
    clips, columns = plan.store.clips, dict(plan.columns)
    (result,) = near(plan, [member], lambda i: own[i])
    few = member.fold.train[own[member.fold.train] == own[member.fold.train[0]]]
    reading = plan.system.reading(clips, columns, plan.context, few, result.outputs)
    assert set(reading.aus) == facs.parse_cell(clips.au_cell[few[0]]).numbers
    assert reading.shown.all()


def test_what_no_longer_holds_embeddings_says_no_aus(aligned):
    job, plan = aligned
    members = mini.members_of(job)
    found = near(plan, members, lambda i: 0)
    assert emotions.read_off(plan, members, found, job.emotions, selected=True) == []


@pytest.mark.whole
def test_a_run_tells_them_behind_its_score(plan, tasks, tmp_path):
    options = TrainOptions(batch_size=8, scan_steps=6, stack=3)
    job = tiny_au.job(plan.store.clips, epochs=1, options=options)
    job = dataclasses.replace(job, emotions=tasks)
    path = tmp_path / "run"
    card = experiment.train_and_score(job, Workdir(path), command="tests")
    assert [row["key"] for row in card["scores"][0]["rows"]] == ["f1", "auc-pr"]
    last = card["scores"][-1]
    assert last["title"] == f"Emotion read off the AUs: {TASK}"
    assert [row["key"] for row in last["rows"]][2] == f"{TASK}/text"
    page = (path / "report.html").read_text()
    assert last["title"] in page and "annotated, all" in page
    assert "AUs that come together" in page


def test_tasks_without_rules_are_refused():
    config = micro_au_clip.on("synthetic/apart")
    build.check(config)
    config.score.emotions = (("two", (("joy", ("happiness",)), ("other", ("fear",)))),)
    with pytest.raises(UserError, match=r"no rules tell \['joy', 'other'\]"):
        build.check(config)


def test_no_sentence_of_training_clips_names_aus(aligned):
    """As in a fold of clips without AUs: nothing is said, and the run goes on."""
    job, plan = aligned
    columns = {"au_combination": np.full(len(plan.store.clips), -1)}
    members = mini.members_of(job)
    (result,) = near(plan, members[:1], lambda i: 0)
    train = members[0].fold.train
    said = plan.system.reading(
        plan.store.clips, columns, plan.context, train, result.outputs
    )
    assert said is None
