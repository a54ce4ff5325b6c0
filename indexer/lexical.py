"""Tokens for both languages, and BM25 over one document an entry, with weights computed when the index is built.

Tokens are words, lower case, English plurals and endings off; identifiers whole and in parts (`flash_attn_varlen_func` and
`varlen`); Chinese as pairs of neighbouring characters. A query only adds up stored numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

K1 = 1.5
B = 0.75
TOKENIZER = 1  # Raise when `tokens` changes: an index holds the tokens it was built with.

_RUN = re.compile(r"[0-9A-Za-z_]+(?:(?:::|[./-])[0-9A-Za-z_]+)*|[\u3400-\u9fff]+")
_SPLIT = re.compile(r"::|[._/-]")
_CASE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MAX_TOKEN = 64  # A longer run is base64 or a path that nobody searches for.


def tokens(text: str) -> list[str]:
    """The tokens of a text, repeats included."""
    found: list[str] = []
    for run in _RUN.findall(text):
        if run[0] >= "\u3400":
            found += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
            continue
        pieces = [case for part in _SPLIT.split(run) for case in _CASE.findall(part)]
        if len(pieces) > 1 and len(run) <= _MAX_TOKEN:
            found.append(run.lower())
        found += [stem(piece.lower()) for piece in pieces if len(piece) <= _MAX_TOKEN]
    return found


def stem(word: str) -> str:
    """An English word without its commonest endings; the same word for `hang`, `hangs`, `hanging`, `hanged`."""
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, least in (("ing", 6), ("ed", 5), ("es", 6), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(ending)]
            if ending in ("ing", "ed") and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


class Bm25:
    """BM25 as postings: for each term, the documents that have it and its weight there."""

    def __init__(
        self,
        vocabulary: dict[str, int],
        starts: npt.NDArray[np.int32],
        documents: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        idf: npt.NDArray[np.float32],
        fields: npt.NDArray[np.float32],
        size: int,
    ) -> None:
        self.vocabulary, self.starts, self.documents = vocabulary, starts, documents
        self.weights, self.idf, self.fields, self.size = weights, idf, fields, size

    @classmethod
    def build(cls, texts: Sequence[str], ours: Sequence[str] = (), others: Sequence[str] = ()) -> Bm25:
        """Postings of one document a text, and what short texts of this field and of others tell of each term."""
        counts = [Counter(tokens(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
        mean = lengths.mean() if len(lengths) else 1.0
        vocabulary = {term: number for number, term in enumerate(sorted({term for count in counts for term in count}))}
        postings: list[list[tuple[int, int]]] = [[] for _ in vocabulary]
        for document, count in enumerate(counts):
            for term, frequency in count.items():
                postings[vocabulary[term]].append((document, frequency))
        idf = np.array(
            [np.log(1 + (len(texts) - len(posting) + 0.5) / (len(posting) + 0.5)) for posting in postings],
            dtype=np.float32,
        )
        flat = [(document, frequency) for posting in postings for document, frequency in posting]
        documents = np.array([document for document, _ in flat], dtype=np.int32)
        frequencies = np.array([frequency for _, frequency in flat], dtype=np.float64)
        starts = np.cumsum([0, *(len(posting) for posting in postings)]).astype(np.int32)
        saturation = frequencies + K1 * (1 - B + B * lengths[documents] / mean) if len(flat) else frequencies
        weights = np.repeat(idf, np.diff(starts)) * frequencies * (K1 + 1) / saturation if len(flat) else frequencies
        fields = field_weights(list(vocabulary), ours, others)
        return cls(vocabulary, starts, documents, weights.astype(np.float32), idf, fields, len(texts))

    def scores(self, query: Sequence[str]) -> npt.NDArray[np.float32]:
        """BM25 of each document, (n,) float32; a term counts once however often the query repeats it."""
        scores = np.zeros(self.size, dtype=np.float32)
        for term in dict.fromkeys(query):
            number = self.vocabulary.get(term)
            if number is not None:
                posting = slice(self.starts[number], self.starts[number + 1])
                scores[self.documents[posting]] += self.weights[posting]
        return scores

    def field(self, query: Sequence[str]) -> float:
        """How much the query's words are those of this field, above 0, or of others, below; longer queries not the more."""
        terms = dict.fromkeys(query)
        total = sum(float(self.fields[number]) for term in terms if (number := self.vocabulary.get(term)) is not None)
        return float(total / (len(terms) + 4) ** 0.5)


MAX_FIELD = 3.0  # Of one term: more would be chance, with a few thousand texts.


def field_weights(vocabulary: Iterable[str], ours: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.float32]:
    """For each term the log-odds that a text with it is one of ours, not of another field: (terms,) float32; zeros where
    there is nothing to compare with."""
    if not ours or not others:
        return np.zeros(len(list(vocabulary)), dtype=np.float32)
    here, there = (Counter(term for text in texts for term in set(tokens(text))) for texts in (ours, others))
    share = np.log([(here[term] + 1) / (len(ours) + 2) for term in vocabulary])
    share -= np.log([(there[term] + 1) / (len(others) + 2) for term in vocabulary])
    seen = np.array([here[term] + there[term] > 0 for term in vocabulary])
    return np.asarray(np.clip(share, -MAX_FIELD, MAX_FIELD) * seen, dtype=np.float32)
