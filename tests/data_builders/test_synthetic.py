import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import tasks
from data_builders.build import build
from data_builders.synthetic.builder import describe
from data_builders.synthetic.ceiling import (
    best_uf1,
    ceilings,
    class_matrix,
    joint_probabilities,
    order_blind,
)
from data_builders.synthetic.clip import (
    assignments,
    clip_truth,
    make_all,
    make_clip,
    profile,
)
from data_builders.synthetic.config import (
    APART,
    FULL,
    MINI,
    TINY,
    ClipConfig,
    apportion,
    clips_per_subject,
)
from data_builders.synthetic.contact_sheet import contact_sheet
from data_builders.synthetic.emotions import (
    AU_COMBINATIONS,
    EMOTIONS,
    TASKS,
    aus_of,
    emotion_priors,
    group_of,
    probabilities,
    rows_of,
)
from data_builders.synthetic.fields import AUS, CELLS
from data_builders.synthetic.oracle import MotionOracle, read_combinations
from data_builders.synthetic.render import subject_face
from merclip_jax.data.encoded import fingerprint
from merclip_jax.data.sampling import key_frames

CONFIGS = {"tiny": TINY, "full": FULL, "mini": MINI, "apart": APART}


def without(config: ClipConfig) -> ClipConfig:
    """The config with nothing that varies over time but the AUs."""
    return dataclasses.replace(
        config, drift_px=0.0, rotation_deg=0.0, blink_rate=0.0, flicker=0.0, noise=0.0
    )


def keys_of(clip, config) -> np.ndarray:
    return key_frames(clip.onset, clip.apex, clip.offset, config.key_frames)


# Configs


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_assignments_keep_priors_and_subject_imbalance(config):
    subjects, emotions = zip(*assignments(config), strict=True)
    counts = np.bincount(subjects)
    assert counts.tolist() == clips_per_subject(config)
    assert (np.diff(counts) <= 0).all() and counts[0] > counts[-1] >= 1
    for emotion, prior in emotion_priors(config).items():
        assert abs(emotions.count(emotion) - prior * config.clips) < 1


def test_apportion_gives_whole_parts_that_add_up():
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(7, [100, 1, 1], least=2) == [3, 2, 2]
    with pytest.raises(ValueError, match="5 cannot give 2 to each of 3"):
        apportion(5, [1, 1, 1], least=2)


def test_config_lists_everything_that_is_wrong():
    with pytest.raises(ValueError) as error:
        ClipConfig(size=8, subjects=9, clips=3, priors=(0.5, 0.1, 0.1), encoding="gif")
    for word in ("size=8", "subjects=9", "priors=", "encoding='gif'"):
        assert word in str(error.value)
    with pytest.raises(ValueError, match="too short for 16 distinct key frames"):
        dataclasses.replace(TINY, fps=30.0)
    with pytest.raises(ValueError, match="at most 0.5"):
        dataclasses.replace(TINY, seconds=(0.2, 0.6))


# AU fields


@pytest.fixture(scope="module")
def fields():
    return subject_face(dataclasses.replace(TINY, size=64, supersample=1), 1)[1]


def test_fields_peak_at_one_and_stay_on_their_side(fields):
    length = np.linalg.norm(fields.displacement, axis=-1)
    half = length.shape[-1] // 2
    for row, cell in enumerate(CELLS):
        other = length[CELLS.index(f"{'R' if cell[0] == 'L' else 'L'}{cell[1:]}")]
        both = np.linalg.norm(
            fields.displacement[row] + fields.displacement[CELLS.index("R" + cell[1:])],
            axis=-1,
        )
        if cell[0] == "L":
            assert both.max() == pytest.approx(1.0, abs=1e-5), cell
        # The subject's left is the image's right.
        right = length[row][:, half:].sum() / length[row].sum()
        assert right > 0.93 if cell[0] == "L" else right < 0.07, cell
        np.testing.assert_allclose(other, length[row][:, ::-1], atol=1e-6)


def test_opposite_aus_move_opposite_ways(fields):
    def at_peak(cell):
        field = fields.displacement[CELLS.index(cell)]
        flat = np.linalg.norm(field, axis=-1).argmax()
        return field.reshape(-1, 2)[flat]

    up = ("L1", "R1", "L2", "L5", "L6", "L9", "L10", "L17")
    assert all(at_peak(cell)[1] < -0.5 for cell in up)
    assert all(at_peak(cell)[1] > 0.5 for cell in ("L4", "R4", "L15", "R15", "L16"))
    for one, other in (("L1", "L4"), ("L12", "L15"), ("L20", "L23"), ("L25", "L24")):
        a, b = (fields.displacement[CELLS.index(cell)].ravel() for cell in (one, other))
        assert a @ b < -0.2 * np.linalg.norm(a) * np.linalg.norm(b), (one, other)
    assert at_peak("L12")[0] > 0 > at_peak("R12")[0]


def test_rendered_motion_has_the_stated_amplitude():
    config = without(dataclasses.replace(TINY, size=96, amplitude_px=(2.0, 2.0)))
    config = dataclasses.replace(config, decoys=False, shade=0.0)
    index = next(
        i for i in range(240) if clip_truth(config, i).au_cell in ("1+2", "12", "9")
    )
    clip = make_clip(config, index)
    moves = np.einsum(
        "c,chwd->hwd",
        clip.au_intensity[clip.apex],
        subject_face(config, assignments(config)[index][0])[1].displacement[:36],
    )
    assert clip.au_intensity[clip.apex].max() == 1.0
    # Block matching around the strongest motion finds it again.
    y, x = np.unravel_index(np.linalg.norm(moves, axis=-1).argmax(), moves.shape[:2])
    y, x = int(np.clip(y, 14, 81)), int(np.clip(x, 14, 81))
    before, after = clip.frames[0], clip.frames[clip.apex]
    patch = after[y - 5 : y + 6, x - 5 : x + 6]
    window = before[y - 9 : y + 10, x - 9 : x + 10]
    match = cv2.matchTemplate(window, patch, cv2.TM_SQDIFF)
    dy, dx = np.unravel_index(match.argmin(), match.shape)
    np.testing.assert_allclose([4 - dx, 4 - dy], 2.0 * moves[y, x], atol=1.0)


# Emotions and ceilings


def test_tables_are_probabilities_over_all_aus_of_table_ii():
    for emotion in EMOTIONS:
        assert sum(probabilities(emotion).values()) == pytest.approx(1.0)
        assert sum(AU_COMBINATIONS[emotion].values()) == 100
    numbers = {
        n for e in EMOTIONS for cell in AU_COMBINATIONS[e] for n, _ in aus_of(cell)
    }
    assert numbers == set(AUS)
    assert sum(emotion_priors(TINY).values()) == pytest.approx(1.0)
    for classes, task in TASKS.items():
        assert set(task.emotions) == set(EMOTIONS)
        assert set(task.emotions.values()) == set(task.names)
        assert len(task.names) == classes
    with pytest.raises(KeyError, match="expected one of"):
        group_of("joy")


@pytest.mark.parametrize("decoys", [True, False])
def test_joint_probabilities_sum_to_the_priors(decoys):
    config = dataclasses.replace(TINY, decoys=decoys)
    joint = sum(joint_probabilities(config).values())
    np.testing.assert_allclose(joint, list(emotion_priors(config).values()))


def test_best_uf1_equals_brute_force():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        joint = rng.dirichlet(np.full(3, 0.6), 7) * rng.dirichlet(np.ones(7))[:, None]
        best = 0.0
        for rule in itertools.product(range(3), repeat=7):
            hit = [joint[np.equal(rule, c), c].sum() for c in range(3)]
            called = [joint[np.equal(rule, c)].sum() for c in range(3)]
            best = max(best, np.mean(2 * np.array(hit) / (called + joint.sum(0))))
        uf1, gain, cost = best_uf1(joint)
        assert uf1 == pytest.approx(best, abs=1e-9)
        total = joint.sum(1, keepdims=True)
        choice = (gain * joint - cost * total).argmax(1)
        hit = np.array([joint[choice == c, c].sum() for c in range(3)])
        called = np.array([joint[choice == c].sum() for c in range(3)])
        assert np.mean(2 * hit / (called + joint.sum(0))) == pytest.approx(uf1)


def test_ceilings_leave_room_below_one_and_fall_with_classes():
    for config in (TINY, FULL):
        found = ceilings(config)
        assert 0.88 < found[3].uf1 < 0.96
        assert found[3].uf1 > found[5].uf1 > found[7].uf1 > 0.75
        blind = ceilings(dataclasses.replace(config, decoys=False))
        assert all(blind[k].uf1 < found[k].uf1 for k in TASKS)


def test_unordered_frames_say_nothing_about_the_three_groups():
    table = order_blind(joint_probabilities(TINY))
    joint = np.stack(list(table.values())) @ class_matrix(3)
    posterior = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(
        posterior, np.broadcast_to(TINY.priors, posterior.shape), rtol=1e-9
    )
    # Without decoys the frames alone would give the class away.
    bare = order_blind(joint_probabilities(dataclasses.replace(TINY, decoys=False)))
    joint = np.stack(list(bare.values())) @ class_matrix(3)
    assert joint.max(1).sum() > 0.8


# Clips


def test_same_seed_same_bits_and_other_seed_other_clips():
    first, second = make_all(MINI), make_all(MINI)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    alone = make_clip(MINI, 13)
    subject_face.cache_clear()
    again = make_clip(MINI, 13)
    assert alone.encoded == again.encoded
    other = make_clip(dataclasses.replace(MINI, seed=MINI.seed + 1), 13)
    assert other.encoded != alone.encoded


def test_decoys_take_the_same_values_in_another_order():
    for index in range(0, TINY.clips, 7):
        clip = clip_truth(TINY, index)
        keys = keys_of(clip, TINY)
        assert len(np.unique(keys)) == TINY.key_frames
        smooth = profile(clip.onset, clip.apex, clip.offset)
        assert smooth[0] == smooth[-1] == 0 and smooth[clip.apex] == 1
        sets = [set(rows_of(c)) for c in (clip.au_cell, *clip.decoy_cells)]
        for i, rows in enumerate(sets):
            others = set().union(*(s for j, s in enumerate(sets) if j != i))
            for row in rows - others:
                curve = clip.au_intensity[keys, row]
                np.testing.assert_allclose(
                    np.sort(curve), np.sort(smooth[keys]), atol=1e-6
                )
                assert curve[0] == curve[-1] == 0
                assert np.allclose(curve, smooth[keys], atol=1e-6) == (i == 0)
        assert not clip.au_intensity[
            :, sorted(set(range(36)) - set().union(*sets))
        ].any()


def test_onset_frame_does_not_depend_on_the_emotion():
    clips = [make_clip(TINY, 5, emotion=e) for e in EMOTIONS]
    for clip in clips[1:]:
        np.testing.assert_array_equal(clip.frames[0], clips[0].frames[0])
        np.testing.assert_array_equal(clip.frames[-1], clips[0].frames[-1])
        assert (clip.onset, clip.apex, clip.offset) == (
            0,
            clips[0].apex,
            clips[0].offset,
        )
    assert len({clip.frames.tobytes() for clip in clips}) == len(EMOTIONS)


def test_clip_is_what_its_truth_says():
    clip = make_clip(MINI, 0)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape == (clip.offset + 1, 32, 32, 3)
    assert clip.au_intensity.shape == (clip.offset + 1, 36)
    decoded = cv2.imdecode(np.frombuffer(clip.encoded[3], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], clip.frames[3])
    assert len(clip.decoy_cells) == 2
    bare = make_clip(dataclasses.replace(MINI, decoys=False), 0)
    assert bare.decoy_cells == () and bare.au_cell == clip.au_cell
    with pytest.raises(IndexError, match="clip 24: expected 0..23"):
        make_clip(MINI, 24)
    with pytest.raises(KeyError, match="expected one of"):
        make_clip(MINI, 0, emotion="")


# Oracle


def test_oracle_recovers_the_sets_and_scores_near_the_ceiling():
    config = dataclasses.replace(TINY, clips=1500)
    found, oracle = ceilings(config), MotionOracle(config)
    clips = [clip_truth(config, i) for i in range(config.clips)]
    times = [(c.onset, c.apex, c.offset) for c in clips]
    for clip, when in zip(clips[::10], times[::10], strict=True):
        seen = read_combinations(clip.au_intensity, *when, count=config.key_frames)
        decoys = tuple(sorted(rows_of(cell) for cell in clip.decoy_cells))
        assert seen == (rows_of(clip.au_cell), decoys)
    posteriors = [
        oracle.posterior(c.au_intensity, *t) for c, t in zip(clips, times, strict=True)
    ]
    for k, task in TASKS.items():
        truth = np.array([task.names.index(task.emotions[c.emotion]) for c in clips])
        guess = np.array([oracle.label(p, k, found[k]) for p in posteriors])
        table = np.zeros((k, k))
        np.add.at(table, (truth, guess), 1)
        f1 = 2 * table.diagonal() / (table.sum(0) + table.sum(1))
        assert f1.mean() == pytest.approx(found[k].uf1, abs=0.03)


def test_oracle_refuses_curves_the_config_cannot_give():
    clip = clip_truth(TINY, 0)
    with pytest.raises(ValueError, match="do not occur"):
        MotionOracle(TINY).posterior(
            np.zeros_like(clip.au_intensity), clip.onset, clip.apex, clip.offset
        )


# Builder


def test_builder_round_trip(tmp_path):
    back = tfds.builder_from_directory(
        build("synthetic/mini", data_dir=tmp_path).folder
    )
    rows = back.as_data_source(split="clips")
    assert len(rows) == MINI.clips
    for index in (0, 11, 23):
        clip, row = make_clip(MINI, index), rows[index]
        np.testing.assert_array_equal(np.stack(row["frames"]), clip.frames)
        np.testing.assert_array_equal(row["au_intensity"], clip.au_intensity)
        np.testing.assert_array_equal(row["landmarks"], clip.points[0])
        every = row["frame_landmarks"].reshape(-1, 68, 2)
        np.testing.assert_array_equal(every, clip.points)
        for name in ("clip", "subject", "emotion", "au_cell"):
            assert row[name].decode() == getattr(clip, name)
        assert [c.decode() for c in row["decoy_cells"]] == list(clip.decoy_cells)
        for name in ("onset", "apex", "offset"):
            assert row[name] == getattr(clip, name)
        pairs = zip(row["aus"]["number"], row["aus"]["side"], strict=True)
        assert tuple((int(n), s.decode()) for n, s in pairs) == aus_of(clip.au_cell)
    stored = dict(back.info.metadata)
    hashes = [(r["clip"].decode(), r["source_hash"].decode()) for r in rows]
    assert stored.pop("fingerprint") == fingerprint(hashes)
    assert len(stored.pop("records")) == len(stored.pop("sha256")) == 64
    assert stored == describe(MINI)
    task = stored["tasks"]["3"]
    assert task["shuffled"]["ACC"] == pytest.approx(max(MINI.priors))
    assert task["shuffled"]["UAR"] == pytest.approx(1 / 3, abs=1e-6)
    assert task["chance"]["prior"] == pytest.approx(1 / 3, abs=1e-6)


def test_metadata_say_what_the_card_prints():
    stored = describe(TINY)
    (note,) = stored["notes"]
    assert "1900 clips of 10 subjects at 32x32 pixels, with 1-2 pixels" in note
    assert "say nothing about people" in note
    assert list(stored["ceiling"]) == list(tasks.tasks_of("synthetic"))
    for classes in (3, 5, 7):
        ceiling = dict(stored["ceiling"][f"synthetic_{classes}class"])
        assert ceiling.pop("name") == "Bayes ceiling of the dataset"
        scores = stored["tasks"][str(classes)]["ceiling"]
        assert ceiling == {name.lower(): score for name, score in scores.items()}


def test_contact_sheet_shows_something():
    small = dataclasses.replace(TINY, clips=60, subjects=12)
    sheet = contact_sheet(small)
    assert sheet.dtype == np.uint8 and sheet.shape[1:] == (1360, 3)
    assert sheet.std() > 20
