"""Rules are those that are stated, in their order; their forms are plain loops."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.scoring import emotion_rules, metrics
from merclip_jax.scoring.emotion_rules import ALL, CASME2_5, SAMM_5, THREE


def casme2_5(aus):
    """As stated, in plain words."""
    if ((1 in aus or 2 in aus) and 4 not in aus) or (
        25 in aus and 4 not in aus and 12 not in aus
    ):
        return "surprise"
    if 6 in aus or (12 in aus and 4 not in aus and 15 not in aus):
        return "happiness"
    if 9 in aus or 10 in aus or (4 in aus and 7 in aus):
        return "disgust"
    if 15 in aus or 17 in aus:
        return "repression"
    return "others"


def samm_5(aus):
    if aus & {1, 2, 5} and not aus & {4, 7}:
        return "surprise"
    if aus & {6, 12} and not aus & {14, 15}:
        return "happiness"
    if aus & {4, 7}:
        return "anger"
    return "contempt" if 14 in aus else "others"


def three(aus):
    if aus & {1, 2} and not aus & {4, 15}:
        return "surprise"
    if aus & {6, 12} and not aus & {9, 10, 15, 17}:
        return "positive"
    return "negative"


STATED = {CASME2_5: casme2_5, SAMM_5: samm_5, THREE: three}


def subsets(aus):
    for size in range(len(aus) + 1):
        yield from map(set, itertools.combinations(aus, size))


@pytest.mark.parametrize("rules", ALL)
def test_every_face_is_read_as_stated(rules):
    """All combinations of the AUs that the rules look at; other AUs change nothing."""
    for aus in subsets(rules.reads):
        assert rules.read(aus) == STATED[rules](aus), aus
        assert rules.read(aus | {28, 43}) == rules.read(aus)


@pytest.mark.parametrize("rules", ALL)
def test_the_order_of_the_rules_matters_where_two_hold(rules):
    """The first that holds wins; only signs that exclude each other need no order."""
    pairs = set()
    for aus in subsets(rules.reads):
        held = [n for n, signs in rules.signs if any(s.holds(aus) for s in signs)]
        assert rules.read(aus) == (held[0] if held else rules.rest)
        pairs |= set(itertools.combinations(held, 2))
    names = [name for name, _ in rules.signs]
    never = set(itertools.combinations(names, 2)) - pairs
    # What SAMM's surprise and happiness forbid are the signs of anger and contempt.
    apart = {("surprise", "anger"), ("happiness", "contempt")}
    assert never == (apart if rules is SAMM_5 else set())


def test_a_hand_made_table_has_its_ceiling():
    """Nine faces, of which the rules know seven."""
    faces = [{1, 2}, {25}, {12}, {6, 12}, {4, 7}, {9}, {17}, {4}, {1, 4}]
    label = ["surprise", "surprise", "happiness", "happiness", "disgust", "disgust"]
    label += ["repression", "disgust", "surprise"]
    aus = CASME2_5.reads
    shown = np.array([[au in face for au in aus] for face in faces])
    said = CASME2_5.hard(shown, aus)
    truth = np.array([CASME2_5.names.index(name) for name in label])
    found = metrics.scores(metrics.confusion_matrix(truth, said, classes=5))
    assert found.acc == pytest.approx(7 / 9)
    # F1 of surprise 4/5, happiness 1, disgust 4/5, repression 1, others 0.
    assert found.uf1 == pytest.approx(0.72)
    # A detector of two of these AUs reaches less: it knows neither 6, 9 nor 25.
    few = (1, 12)
    said = CASME2_5.hard(shown[:, [aus.index(au) for au in few]], few)
    assert [CASME2_5.names[i] for i in said[:5]] == [
        *("surprise", "others", "happiness", "happiness", "others")
    ]


@pytest.mark.parametrize("rules", ALL)
def test_the_soft_form_is_a_plain_loop(rules):
    aus = (1, 2, 4, 6, 7, 12, 15, 17)
    p = np.random.default_rng(0).random((6, len(aus)))
    found = rules.soft(p, aus)
    for n, (k, name) in itertools.product(range(6), enumerate(rules.names)):
        listed = {au for e, signs in rules.signs if e == name for s in signs
                  for au in (*s.any_of, *s.also)}  # fmt: skip
        score = 0.0
        for i, au in enumerate(aus):
            w = 0.9 if au in listed else 0.1
            score += w * np.log(p[n, i]) + (1 - w) * np.log(1 - p[n, i])
        assert found[n, k] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("rules", ALL)
def test_the_soft_form_of_a_face_of_one_emotion_is_that_emotion(rules):
    """Every AU that an emotion lists and no other; and no number is infinite."""
    aus = rules.reads
    listed = rules.weights(aus) > 0.5
    scores = rules.soft(listed.astype(float), aus)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores.argmax(1), np.arange(len(rules.names)))


def test_the_text_form_is_a_plain_loop():
    rng = np.random.default_rng(0)
    aus, e = (1, 2, 4, 6, 12), 7
    visual = rng.normal(size=(3, len(aus), e)).astype(np.float32)
    text = rng.normal(size=(len(aus), 2, e)).astype(np.float32)
    p = rng.random((3, len(aus))).astype(np.float32)
    weights = emotion_rules.weights_of_all(aus)
    found = emotion_rules.by_text(*map(jnp.asarray, (p, visual, text)), weights)
    assert found.shape == (3, sum(len(rules.names) for rules in ALL))
    for rules in ALL:
        own = np.asarray(found)[:, emotion_rules.part_of_all(rules)]
        for k, w in enumerate(rules.weights(aus)):
            t = sum(w[i] * text[i, 1] + (1 - w[i]) * text[i, 0] for i in range(5))
            t = t / np.linalg.norm(t)
            score = [
                sum(p[n, i] * visual[n, i] @ t for i in range(5)) for n in range(3)
            ]
            np.testing.assert_allclose(own[:, k], score, rtol=1e-4, atol=1e-5)


def test_faces_like_the_sentences_are_read_by_text():
    """Of one emotion's AUs as their sentences say it: each set of rules reads it."""
    for rules in ALL:
        aus = rules.reads
        a = len(aus)
        text = np.eye(2 * a, dtype=np.float32).reshape(a, 2, 2 * a)
        listed = rules.weights(aus) > 0.5
        visual = np.where(listed[..., None], text[:, 1], text[:, 0])
        p = np.full(listed.shape, 0.5, np.float32)
        given = map(jnp.asarray, (p, visual.astype(np.float32), text))
        found = emotion_rules.by_text(*given, rules.weights(aus))
        np.testing.assert_array_equal(np.argmax(found, 1), np.arange(len(rules.names)))


def test_aus_of_sentences_that_a_clip_is_like():
    """MER-CLIP's answers: combinations 1+2, 4 and 4+7 of AUs 1, 2, 4, 7."""
    holds = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], bool)
    similarity = np.array([[0.9, 0.1, 0.1], [0.1, 0.5, 0.5]])
    p = emotion_rules.of_combinations(similarity, holds, scale=100.0)
    np.testing.assert_allclose(p, [[1, 1, 0, 0], [0, 0, 1, 0.5]], atol=1e-9)
    said = CASME2_5.hard(p > 0.4, (1, 2, 4, 7))
    assert [CASME2_5.names[i] for i in said] == ["surprise", "disgust"]


def test_rules_are_found_by_their_classes():
    names = ("surprise", "negative", "positive")
    assert emotion_rules.rules_of(names) is THREE
    with pytest.raises(ValueError, match=r"no rules tell \['anger'\]; there are rules"):
        emotion_rules.rules_of(["anger"])
