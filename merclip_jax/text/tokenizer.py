"""CLIP's own tokenizer: what published text towers were trained with.

Cleaning as in CLIP (ftfy, HTML entities, whitespace, lower case), then byte-pair
encoding (Sennrich et al., ACL 2016) over bytes that are written as printable
characters, `</w>` closing every word.
"""

import dataclasses
import functools
import gzip
import hashlib
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import ftfy
import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from merclip_jax.atomic import write_atomically
from merclip_jax.errors import UserError
from merclip_jax.text.vocabulary import CONTEXT

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
MERGES = 48_894  # of the published list's lines, the first that CLIP uses
CLIP_IDS = 2 * 256 + MERGES + 2  # bytes within and ending a word, merges, both marks
FILES = ("vocab.json", "merges.txt")
LARGEST = 2**25  # bytes of a list, inflated
# Contractions, runs of letters, single digits, runs of anything else but spaces.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


@dataclasses.dataclass(frozen=True)
class ClipTokenizer:
    """Texts to CLIP's ids: start mark, byte pairs, end mark, zeros.

    `vocabulary` maps tokens to ids, `merges` are pairs of tokens in order of rank. The
    end mark has the largest id, by which the text tower finds it. Raises ValueError
    when it has not, or when a mark, a byte or a merge lacks its id.
    """

    vocabulary: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    context: int = CONTEXT

    def __post_init__(self):
        alphabet = byte_alphabet()
        wanted = {START, END, *alphabet, *(c + WORD_END for c in alphabet)}
        wanted |= {a + b for a, b in self.merges}
        lacking = sorted(wanted - self.vocabulary.keys())
        if lacking:
            raise ValueError(
                f"{len(lacking)} tokens have no id, such as {lacking[:10]}"
            )
        if self.vocabulary[END] != self.size - 1:
            raise ValueError(
                f"{END} has id {self.vocabulary[END]}; expected the largest, "
                f"{self.size - 1}"
            )

    @classmethod
    def from_merges(cls, path: str | Path, context: int = CONTEXT) -> "ClipTokenizer":
        """Returns the tokenizer of the list of merges that CLIP was published with.

        Args:
            path: of the list, gzipped or plain.
            context: of the tower.

        Raises:
            UserError: naming the file, when it is damaged or holds too few merges.
        """
        path = Path(path)
        merges = _merges(path, _text(path))[:MERGES]
        if len(merges) < MERGES:
            raise UserError(
                f"{path}: {len(merges)} merges, expected at least {MERGES} as in CLIP's"
            )
        # Ids are positions in this order, which the list itself does not say.
        alphabet = byte_alphabet()
        tokens = [*alphabet, *(c + WORD_END for c in alphabet)]
        tokens += [a + b for a, b in merges] + [START, END]
        return cls({t: i for i, t in enumerate(tokens)}, merges, context)

    @classmethod
    def from_folder(cls, path: str | Path, context: int = CONTEXT) -> "ClipTokenizer":
        """Returns the tokenizer of a folder as Hugging Face has them.

        Args:
            path: folder with vocab.json and merges.txt, or with tokenizer.json.
            context: of the tower.

        Raises:
            UserError: naming what is missing, damaged or not CLIP's.
        """
        folder = Path(path)
        vocab, merges = (folder / name for name in FILES)
        whole = folder / "tokenizer.json"
        try:
            if vocab.exists() and merges.exists():
                ids, pairs = json.loads(_text(vocab)), _merges(merges, _text(merges))
            elif whole.exists():
                model = json.loads(_text(whole))["model"]
                if model.get("end_of_word_suffix") != WORD_END:
                    raise UserError(f"{whole}: expected words that end in {WORD_END}")
                ids, pairs = dict(model["vocab"]), tuple(map(_pair, model["merges"]))
            else:
                raise UserError(
                    f"{folder}: neither {' and '.join(FILES)} nor {whole.name}"
                )
            return cls(ids, pairs, context)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(f"{folder}: not a CLIP tokenizer ({error})") from error

    @property
    def size(self) -> int:
        """Number of ids: rows of the embedding that this tokenizer indexes."""
        return max(self.vocabulary.values()) + 1

    @functools.cached_property
    def sha256(self) -> str:
        """Checksum of vocabulary and merges, whatever files they were read from."""
        # Sorted content, not files: two layouts of one tokenizer have one checksum.
        content = [sorted(self.vocabulary.items()), self.merges]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Ids int32 [s, context], zero-padded.

        ValueError for a text that is longer than the context (it is never cut) or
        spells one of the marks.
        """
        # The released code cuts what is too long; a cut sentence loses AUs, so here it
        # is an error. Zeros pad, as in OpenAI's code.
        ids = np.zeros((len(texts), self.context), np.int32)
        for row, text in zip(ids, texts, strict=True):
            found = self._ids(text)
            if len(found) > self.context:
                raise ValueError(
                    f"{text!r}: {len(found)} tokens with both marks, but the context "
                    f"is {self.context}"
                )
            row[: len(found)] = found
        return ids

    def save(self, folder: str | Path) -> None:
        """Write vocab.json and merges.txt, which `from_folder` reads."""
        folder = Path(folder)
        vocab = json.dumps(dict(self.vocabulary), ensure_ascii=False)
        lines = ["#version: 0.2", *(f"{a} {b}" for a, b in self.merges)]
        write_atomically(folder / FILES[0], vocab.encode())
        write_atomically(folder / FILES[1], ("\n".join(lines) + "\n").encode())

    def _ids(self, text: str) -> list[int]:
        cleaned = clean(text)
        # Spelled in a text, a mark would end the sentence there.
        if START in cleaned or END in cleaned:
            raise ValueError(f"{text!r}: {START} and {END} are the tokenizer's own")
        ids = self._encoder.encode(cleaned, add_special_tokens=False).ids
        return [self.vocabulary[START], *ids, self.vocabulary[END]]

    @functools.cached_property
    def _encoder(self) -> Tokenizer:
        tokenizer = Tokenizer(
            models.BPE(
                vocab=dict(self.vocabulary),
                merges=list(self.merges),
                end_of_word_suffix=WORD_END,
            )
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return tokenizer


def clean(text: str) -> str:
    """A text as CLIP reads it: encoding mended, entities resolved, lower case."""
    # Twice, as CLIP does: web text has entities of entities ("&amp;amp;").
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def byte_alphabet() -> tuple[str, ...]:
    """The 256 one-character tokens in order of id.

    Printable Latin-1 stands for itself; the other bytes take characters from U+0100 on.
    """
    # The order of GPT-2's table, on which CLIP's ids rest.
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    kept += range(ord("®"), ord("ÿ") + 1)
    return tuple(map(chr, [*kept, *range(256, 512 - len(kept))]))


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        # Not all at once: a small file can inflate to more than any memory.
        with (gzip.open if packed else open)(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"{path}: more than {LARGEST} bytes of text, CLIP has 3 MB")
        return data.decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _merges(path: Path, text: str) -> tuple[tuple[str, str], ...]:
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and "#version" in lines[0]:
        lines = lines[1:]
    try:
        return tuple(_pair(line) for line in lines if line)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else list(merge)
    if len(parts) != 2:
        raise ValueError(f"{merge!r} is not a pair of tokens")
    return parts[0], parts[1]
