"""Byte-pair encoding written plainly from the paper, to check the tokenizer against.

Sennrich, Haddow, Birch, ACL 2016, algorithm 1, applied to bytes; CLIP's word pattern.
"""

import html
import random
import re
import unicodedata

import ftfy

from merclip_jax import facs
from merclip_jax.text.wording import (
    PHRASES,
    SIDED_PHRASES,
    SIDES,
    TEMPLATES,
    Wording,
    describe,
)

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def kind(char):
    if char.isspace():
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata.category(char)[0], "other")


def words(text):
    """Contractions, runs of letters, single numbers, runs of the rest."""
    i, found = 0, []
    while i < len(text):
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, i)), "")
        j, what = i + 1, kind(text[i])
        if contraction:
            j = i + len(contraction)
        elif what in ("letter", "other"):
            while j < len(text) and kind(text[j]) == what:
                j += 1
        if what != "space":
            found.append(text[i:j])
        i = j
    return found


class PlainBPE:
    """Merges in order of rank to ids, one pair at a time."""

    def __init__(self, merges, alphabet):
        self.rank = {pair: i for i, pair in enumerate(merges)}
        tokens = [*alphabet, *(c + "</w>" for c in alphabet)]
        tokens += [a + b for a, b in merges] + ["start", "end"]
        self.id = {token: i for i, token in enumerate(tokens)}
        order = [*range(33, 127), *range(161, 173), *range(174, 256)]
        order += sorted(set(range(256)) - set(order))
        self.char = dict(zip(order, alphabet, strict=True))

    def word(self, word):
        parts = [self.char[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while True:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda p: self.rank.get(p, 10**9), default=None)
            if best not in self.rank:
                return [self.id[part] for part in parts]
            merged, i = [], 0
            while i < len(parts):
                pair = tuple(parts[i : i + 2]) == best
                merged.append("".join(best) if pair else parts[i])
                i += 1 + pair
            parts = merged

    def encode(self, text):
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
        text = re.sub(r"\s+", " ", text.strip()).strip().lower()
        ids = [i for word in words(text) for i in self.word(word)]
        return [self.id["start"], *ids, self.id["end"]]


PIECES = (
    "raising the inner brow's part",
    "it's they're we'll I'd I'm you've don't 'S 'LL 'tis",
    "&amp; &lt;b&gt; &amp;amp; &quot;x&quot; &#39;s &eacute; &copy; &nbsp;",
    "3.14159 2026 1,000,000 ٣٤ ⅷ ½ x²",
    "naïve café façade Ångström ÀÉÎÕÜ straße İstanbul",
    "микровыражение 微表情 マイクロ 표정 עברית हिन्दी ไทย",
    "🙂👍🏽👩‍👩‍👧 🇨🇭 ❤️ ☺",
    "a\tb\nc\r\nd\u00a0e\u2003f\u200bg\u3000h\x0bi\x0cj\u2028k\x85l",
    "\x00\x01\x1f\x7f\ufeff\ufffd",
    "!!! ... --- ??!? (a)[b]{c} #tag @me $5 100% a_b C++ <<x>> ~`^|\\/",
    "schÃ¶n donâ€™t “quoted” ‘single’ ﬁne ＦＵＬＬ",
    "supercalifragilisticexpialidocious antidisestablishmentarianism zzzzqqqq",
)
ALPHABET = "abcdefghijklmnopqrstuvwxyzABC 0123456789 .,;:!?'\"-_()&#<> éüßñ жя 微表 🙂"


def random_texts(count, seed):
    """Pieces and characters of many scripts, mixed at random."""
    draw = random.Random(seed)
    texts = list(PIECES)
    while len(texts) < count:
        parts = draw.choices(PIECES, k=draw.randint(0, 2))
        parts.append("".join(draw.choices(ALPHABET, k=draw.randint(0, 40))))
        draw.shuffle(parts)
        text = " ".join(parts)
        cut = draw.randint(0, len(text))
        texts.append(text[cut:] + text[:cut])
    return texts


def all_prompts():
    """Every phrase alone and in long combinations, in all ten templates."""
    cells = [str(number) for number in PHRASES]
    cells += [f"{side}{n}" for side in SIDES for n in SIDED_PHRASES]
    cells += [f"{a}+{b}" for a, b in zip(cells, cells[1:], strict=False)]
    cells += ["1+2+4+5+6", "ref(1)+(L12 or L14)+2", "4+L10+R14+38"]
    sets = [facs.parse_cell(cell) for cell in cells]
    bodies = [
        describe(s, Wording(order=order, last_and=last_and, words=words))
        for s in sets
        for order in ("ascending", "annotation")
        for last_and in (True, False)
        for words in ("phrases", "facs")
    ]
    return sorted({t.format(b) for t in TEMPLATES for b in bodies if b})
