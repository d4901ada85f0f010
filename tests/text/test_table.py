"""Vocabulary, prompt sets and the table that the text tower encodes once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import facs
from merclip_jax.models.clip_text import ClipText
from merclip_jax.text import prompts, table
from merclip_jax.text.vocabulary import WordVocabulary
from merclip_jax.text.wording import TEMPLATES, Wording
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.match import to_flax

CELLS = ("4+7", "L12", "R12+L14", "1+2", "4+7", "", "61")


@pytest.fixture(scope="module")
def made_prompts():
    return prompts.au_prompts(CELLS)


def test_vocabulary_ids():
    vocabulary = dataclasses.replace(
        WordVocabulary.of(["Raise the brow.", "the chin"]), context=6
    )
    assert vocabulary.words == (".", "brow", "chin", "raise", "the")
    assert (vocabulary.size, vocabulary.context) == (8, 6)
    ids = vocabulary.encode(["the chin", "Raise the brow."])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[6, 5, 3, 7, 0, 0], [6, 4, 5, 2, 1, 7]]
    # The tower reads a sentence at its largest id: the end mark, wherever it stands.
    assert (ids.argmax(1) == [3, 5]).all()


@pytest.mark.parametrize(
    ("sentence", "named"),
    [("the eyebrow", "eyebrow"), ("the the the the the", "at most 4 known words")],
)
def test_vocabulary_names_what_it_cannot_encode(sentence, named):
    vocabulary = dataclasses.replace(
        WordVocabulary.of(["Raise the brow.", "the chin"]), context=6
    )
    with pytest.raises(ValueError, match=named) as caught:
        vocabulary.encode([sentence])
    assert sentence in str(caught.value)


def test_reference_sentences_hold_every_word_of_a_description():
    vocabulary = WordVocabulary.of(prompts.reference_texts(templates=10))
    cells = ["1+2+4", "ref(L12)+26", "(R6 or R12)+R15", "A7+T18+AD38+M58", "13+43"]
    for order in ("ascending", "annotation"):
        for last_and in (True, False):
            made_prompts = prompts.au_prompts(
                cells,
                templates=10,
                wording=Wording(order=order, last_and=last_and),
            )
            texts = made_prompts.texts()
            assert vocabulary.encode(texts).shape == (len(texts), 77)


def test_bank_holds_every_set_once_with_its_mirror_image(made_prompts):
    assert made_prompts.names == tuple(sorted(set(made_prompts.names)))
    assert set(made_prompts.names) == {"1+2", "4+7", "L12", "R12", "R12+L14", "L12+R14"}
    assert all(made_prompts.descriptions)


def test_mirror_is_an_involution(made_prompts):
    sets = np.arange(len(made_prompts.names))
    np.testing.assert_array_equal(made_prompts.mirror[made_prompts.mirror], sets)
    for cell, other in zip(made_prompts.names, made_prompts.mirror, strict=True):
        assert made_prompts.names[other] == str(facs.mirror(facs.parse_cell(cell)))
    assert (made_prompts.mirror != sets).sum() == 4


def test_index_finds_a_set_or_says_that_there_is_no_sentence(made_prompts):
    index = made_prompts.index(CELLS)
    assert index.dtype == np.int32
    assert [made_prompts.names[i] if i >= 0 else None for i in index] == [
        "4+7", "L12", "R12+L14", "1+2", "4+7", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("templates", [1, 7, 10])
def test_texts_are_template_major(templates):
    made_prompts = prompts.au_prompts(CELLS, templates=templates)
    texts, sets = made_prompts.texts(), len(made_prompts.names)
    assert len(texts) == templates * sets
    for row, sentence in enumerate(texts):
        template, combination = divmod(row, sets)
        wanted = TEMPLATES[template].format(made_prompts.descriptions[combination])
        assert sentence == wanted


def test_bank_takes_order_and_joining_of_the_dataset():
    ascending = prompts.au_prompts(["7+4"])
    annotated = prompts.au_prompts(
        ["7+4"], wording=Wording(order="annotation", last_and=False)
    )
    assert ascending.descriptions[0].endswith(
        "lowering the brows and tightening the lids"
    )
    assert annotated.descriptions[0].endswith("tightening the lids, lowering the brows")


@pytest.mark.parametrize("templates", [0, 11])
def test_bank_without_templates(templates):
    with pytest.raises(ValueError, match=f"1..10, got {templates}"):
        prompts.au_prompts(CELLS, templates=templates)


@pytest.mark.parametrize(("cell", "number"), [("47", 47), ("4+L99", 99), ("3", 3)])
def test_an_au_that_facs_does_not_have_names_its_cell(cell, number):
    """A typing error such as 47 for 4+7; the parser itself keeps any number."""
    with pytest.raises(ValueError, match=f"AU cell '.*': FACS has no AU {number}; it"):
        prompts.au_prompts(["4+7", cell])


def test_bank_without_sentences():
    with pytest.raises(ValueError, match="no clip has an action unit"):
        prompts.au_prompts(["", "61"])


def test_encoded_table_equals_the_tower_and_the_reference(golden):
    """Padded to a batch of one shape, and still every row in its place."""
    data = np.load(golden / "merclip_tiny.npz")
    ids = data["in/prompt_ids"].astype(np.int32)
    tower = ClipText(vocabulary=64, context=20, width=32, layers=2, heads=4, out=32)
    prefix = "param/text_encoder."
    state = {k[len(prefix) :]: data[k] for k in data.files if k.startswith(prefix)}
    shapes = jax.eval_shape(tower.init, jax.random.key(0), jnp.asarray(ids))
    variables = to_flax(state, CLIP_TEXT, shapes)
    variables = jax.tree.map(jnp.asarray, variables)

    made = table.encode_prompts(tower, variables, ids)
    assert made.shape == (15, 32)
    assert made.dtype == jnp.float32
    direct = tower.apply(variables, jnp.asarray(ids))
    np.testing.assert_allclose(made, direct, rtol=1e-5, atol=1e-5)
    wanted = data["f32/eval/text_features_all_prompts"]
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5 * abs(wanted).max())
    # More rows than a batch holds.
    many = table.encode_prompts(tower, variables, np.resize(ids, (70, 20)))
    np.testing.assert_allclose(many, np.resize(made, (70, 32)), rtol=1e-5, atol=1e-5)


def test_sentences_of_a_random_tower_differ(made_prompts):
    """Random weights say nearly the same of all sentences: that part is taken off."""
    texts = made_prompts.texts()
    vocabulary = WordVocabulary.of(texts)
    tower = ClipText(
        vocabulary=vocabulary.size,
        context=vocabulary.context,
        width=32,
        layers=1,
        heads=2,
        out=32,
    )
    ids = vocabulary.encode(texts)
    variables = table.random_tower(tower, jax.random.key(0), ids)
    made = np.asarray(table.encode_prompts(tower, variables, ids))
    np.testing.assert_allclose(made.mean(0), 0, atol=1e-5)
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    similarity = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    assert similarity.mean() < 0.1
    again = table.random_tower(tower, jax.random.key(0), ids)
    np.testing.assert_array_equal(made, table.encode_prompts(tower, again, ids))


def test_overlap_is_the_jaccard_similarity_of_phrases():
    cells = ["4+7", "7+4", "4", "L12", "1+2+4+7"]
    made_prompts = prompts.au_prompts(cells)
    at = {name: i for i, name in enumerate(made_prompts.names)}
    overlap = made_prompts.overlap
    assert overlap.dtype == np.float32
    np.testing.assert_array_equal(overlap, overlap.T)
    np.testing.assert_array_equal(np.diagonal(overlap), 1)
    assert overlap[at["4+7"], at["7+4"]] == 1  # one sentence, so no negative
    assert overlap[at["4+7"], at["4"]] == 0.5
    assert overlap[at["4+7"], at["1+2+4+7"]] == 0.5
    assert overlap[at["L12"], at["R12"]] == 0


def test_shuffled_prompts_have_an_order_for_each_template():
    shuffled = Wording(order="shuffled")
    made_prompts = prompts.au_prompts(["1+2+4+5+7"], wording=shuffled)
    bodies = {
        sentences[0].removeprefix(template[: template.index("{")]).removesuffix(".")
        for sentences, template in zip(made_prompts.sentences, TEMPLATES, strict=False)
    }
    assert len(made_prompts.sentences) == 7
    assert len(bodies) > 4
    again = prompts.au_prompts(["1+2+4+5+7"], wording=shuffled)
    assert again.texts() == made_prompts.texts()


def test_prompts_can_name_the_emotion_instead():
    made_prompts = prompts.emotion_prompts(["negative", "surprise"], templates=2)
    assert made_prompts.texts() == [
        "This micro-expression involves the emotion of negative.",
        "This micro-expression involves the emotion of surprise.",
        "Key features of this micro-expression are the emotion of negative.",
        "Key features of this micro-expression are the emotion of surprise.",
    ]
    np.testing.assert_array_equal(made_prompts.overlap, np.eye(2))
    np.testing.assert_array_equal(made_prompts.mirror, [0, 1])


def test_a_prompt_that_is_too_long_names_its_au_combination(made_prompts):
    vocabulary = WordVocabulary.of(made_prompts.texts())
    assert table.tokenise(vocabulary, made_prompts).shape == (7 * 6, 77)
    short = dataclasses.replace(vocabulary, context=20)
    with pytest.raises(ValueError, match=r"prompts of '1\+2': .*expected at most 18"):
        table.tokenise(short, made_prompts)


def test_positions_that_nobody_trained_are_zeros(golden):
    tower = ClipText(vocabulary=64, context=20, width=32, layers=1, heads=4, out=32)
    ids = np.ones((2, 20), np.int32)
    variables = tower.init(jax.random.key(0), jnp.asarray(ids))
    cut = table.keep_positions(variables, 12)
    position = np.asarray(cut["params"]["positional_embedding"])
    whole = np.asarray(variables["params"]["positional_embedding"])
    np.testing.assert_array_equal(position[:12], whole[:12])
    assert not position[12:].any()
    np.testing.assert_array_equal(
        table.keep_positions(variables, 20)["params"]["positional_embedding"], whole
    )
