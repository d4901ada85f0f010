"""transformers' CLIP tokenizer gives the same ids."""

import pytest
from transformers import CLIPTokenizer

from merclip_jax.text.tokenizer import ClipTokenizer
from tests.text import bpe
from tests.text.test_tokenizer import PUBLISHED, needs_vocabulary


def same(ours, folder, texts):
    theirs = CLIPTokenizer.from_pretrained(folder)
    for text, row in zip(texts, ours.encode(texts), strict=True):
        expected = theirs(text)["input_ids"]
        assert row[: len(expected)].tolist() == expected, text
        assert not row[len(expected) :].any()


def test_the_golden_texts(golden, tmp_path):
    import json

    ours = ClipTokenizer.from_folder(golden / "tokenizer")
    cases = json.loads((golden / "tokens.json").read_text())
    # The subset's ids have gaps, which transformers will not load.
    tokens = sorted(ours.vocabulary, key=ours.vocabulary.get)
    dense = ClipTokenizer({t: i for i, t in enumerate(tokens)}, ours.merges)
    dense.save(tmp_path)
    same(dense, tmp_path, [case["text"] for case in cases])


@needs_vocabulary
@pytest.mark.filterwarnings("ignore")
def test_all_prompts(tmp_path):
    ours = ClipTokenizer.from_merges(PUBLISHED)
    ours.save(tmp_path)
    same(ours, tmp_path, bpe.all_prompts())
