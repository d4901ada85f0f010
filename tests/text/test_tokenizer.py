"""CLIP's tokenizer: published ids, an independent BPE, damaged files."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.text import prompts
from merclip_jax.text.table import tokenise
from merclip_jax.text.tokenizer import END, START, ClipTokenizer, byte_alphabet, clean
from tests.text import bpe

PUBLISHED = Path(__file__).parents[1] / "../shared/data/bpe_simple_vocab_16e6.txt.gz"
needs_vocabulary = pytest.mark.skipif(
    not PUBLISHED.exists(), reason="CLIP's own vocabulary is not beside the checkout"
)


@pytest.fixture(scope="module")
def subset(golden):
    """The part of CLIP's vocabulary that the golden texts need, with its ids."""
    return ClipTokenizer.from_folder(golden / "tokenizer")


@pytest.fixture(scope="module")
def published():
    return ClipTokenizer.from_merges(PUBLISHED)


@pytest.fixture(scope="module")
def plain(published):
    return bpe.PlainBPE(published.merges, byte_alphabet())


def test_ids_of_the_released_code(golden, subset):
    cases = json.loads((golden / "tokens.json").read_text())
    ids = subset.encode([case["text"] for case in cases])
    assert ids.dtype == np.int32
    assert ids.shape == (len(cases), 77)
    for row, case in zip(ids, cases, strict=True):
        assert row[: case["n"]].tolist() == case["ids"]
        assert not row[case["n"] :].any()
    assert subset.size == 49408


def test_a_long_text_is_never_cut(subset):
    fits = " ".join(["the"] * 75)
    assert subset.encode([fits])[0].tolist() == [49406, *[518] * 75, 49407]
    with pytest.raises(ValueError, match=r"'the the.*78 tokens.*context is 77"):
        subset.encode(["fine.", fits + " the"])


def test_marks_in_a_text_are_refused(subset):
    for mark in (START, END.upper(), "a " + END):
        with pytest.raises(ValueError, match="the tokenizer's own"):
            subset.encode([mark])


def test_an_empty_text_is_the_two_marks(subset):
    assert subset.encode([" \n "])[0, :3].tolist() == [49406, 49407, 0]


def test_cleaning():
    assert clean("  A\t&amp;amp;\n  B&nbsp;C ") == "a & b c"
    assert clean("schÃ¶n donâ€™t") == "schön don't"


def test_what_is_saved_is_read_again(subset, tmp_path):
    subset.save(tmp_path)
    again = ClipTokenizer.from_folder(tmp_path)
    assert again == subset


def test_tokenizer_json_is_read(subset, tmp_path):
    def write(merges, end="</w>"):
        model = {"vocab": subset.vocabulary, "merges": merges}
        text = json.dumps({"model": model | {"end_of_word_suffix": end}})
        (tmp_path / "tokenizer.json").write_text(text)

    for merges in (subset.merges, [" ".join(pair) for pair in subset.merges]):
        write(merges)
        assert ClipTokenizer.from_folder(tmp_path) == subset
    write(subset.merges, "")
    with pytest.raises(UserError, match=r"tokenizer.json: expected words that end"):
        ClipTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "neither vocab.json and merges.txt nor tokenizer.json"),
        ({"vocab.json": "{", "merges.txt": ""}, "not a CLIP tokenizer"),
        ({"vocab.json": "{}", "merges.txt": ""}, "514 tokens have no id"),
        ({"vocab.json": "{}", "merges.txt": "a b c"}, "merges.txt: 'a b c' is not"),
        ({"tokenizer.json": "[]"}, "not a CLIP tokenizer"),
        ({"tokenizer.json": "{}"}, "not a CLIP tokenizer"),
    ],
)
def test_a_foreign_folder_is_one_clear_error(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        ClipTokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_the_end_mark_has_the_largest_id(subset):
    with pytest.raises(ValueError, match="expected the largest, 50000"):
        ClipTokenizer(dict(subset.vocabulary) | {"more": 50000}, subset.merges)


def test_a_damaged_list_of_merges_is_one_clear_error(tmp_path):
    path = tmp_path / "merges.txt.gz"
    whole = gzip.compress(b"#version: 0.2\ni n\nt h\n")
    for data, message in [
        (whole, "2 merges, expected at least 48894"),
        (whole[:-9], "cannot be read"),
        (whole[:15] + b"\x00\x07" + whole[17:], "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ]:
        path.write_bytes(data)
        with pytest.raises(UserError, match=message):
            ClipTokenizer.from_merges(path)


@needs_vocabulary
def test_published_size_and_marks(published):
    assert published.size == 49408
    assert published.vocabulary[START] == 49406
    assert published.vocabulary[END] == 49407


@needs_vocabulary
def test_all_prompts_against_plain_bpe(published, plain):
    prompts = bpe.all_prompts()
    assert len(prompts) > 1000
    for prompt, row in zip(prompts, published.encode(prompts), strict=True):
        expected = plain.encode(prompt)
        assert row[: len(expected)].tolist() == expected, prompt
        assert not row[len(expected) :].any()


@needs_vocabulary
def test_all_phrases_of_the_datasets_against_plain_bpe(published, plain):
    phrases = json.loads((PUBLISHED.parents[1] / "specs/au_phrases.json").read_text())
    for phrase, row in zip(phrases, published.encode(list(phrases)), strict=True):
        expected = plain.encode(phrase)
        assert row[: len(expected)].tolist() == expected, phrase


@needs_vocabulary
def test_random_text_against_plain_bpe(published, plain):
    wide = ClipTokenizer(published.vocabulary, published.merges, context=1024)
    texts = bpe.random_texts(1500, seed=0)
    for text, row in zip(texts, wide.encode(texts), strict=True):
        expected = plain.encode(text)
        assert row[: len(expected)].tolist() == expected, repr(text)


@needs_vocabulary
def test_published_vocabulary_survives_saving(published, tmp_path):
    published.save(tmp_path)
    assert ClipTokenizer.from_folder(tmp_path) == published


@needs_vocabulary
def test_the_longest_prompts_fit(published):
    """Eight one-sided AUs, more than any table's clip has, in all templates."""
    cell = "L1+R2+L4+R10+L12+R14+L15+R20"
    prompt_set = prompts.au_prompts([cell], templates=10)
    ids = tokenise(published, prompt_set)
    lengths = (ids != 0).sum(1)
    assert 60 < lengths.max() <= 77
