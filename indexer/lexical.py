"""Tokens for both languages, and BM25 over one document an entry, with weights computed when the index is built.

Tokens are words, lower case, English plurals and endings off; identifiers whole and in parts (`flash_attn_varlen_func` and
`varlen`); Chinese as pairs of neighbouring characters. A query only adds up stored numbers.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

K1 = 1.5
B = 0.75
TOKENIZER = 1  # Raise when `tokens` changes: an index holds the tokens it was built with.

RUN = re.compile(r"[0-9A-Za-z_]+(?:(?:::|[./-])[0-9A-Za-z_]+)*|[\u3400-\u9fff]+")
SPLIT = re.compile(r"::|[._/-]")
CASE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
MAX_TOKEN = 64  # A longer run is base64 or a path that nobody searches for.


def tokens(text: str) -> list[str]:
    """The tokens of a text, repeats included."""
    found: list[str] = []
    for run in RUN.findall(text):
        if run[0] >= "\u3400":
            found += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
            continue
        pieces = [case for part in SPLIT.split(run) for case in CASE.findall(part)]
        if len(pieces) > 1 and len(run) <= MAX_TOKEN:
            found.append(run.lower())
        found += [stem(piece.lower()) for piece in pieces if len(piece) <= MAX_TOKEN]
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


@dataclass(frozen=True)
class Counts:
    """What BM25 is computed from, here and in the browser: `terms` sorted, by term the (document, frequency) pairs, the length
    of each document in tokens, and by term how many short texts of this field (`ours`) and of `others` have it, out of `sizes`.
    """

    terms: list[str]
    postings: list[list[tuple[int, int]]]
    lengths: list[int]
    ours: list[int]
    others: list[int]
    sizes: tuple[int, int]


def count(texts: Sequence[str], ours: Sequence[str] = (), others: Sequence[str] = ()) -> Counts:
    """The counts of one document a text, and of short texts of this field and of others."""
    counters = [Counter(tokens(text)) for text in texts]
    postings: dict[str, list[tuple[int, int]]] = {term: [] for term in sorted({term for own in counters for term in own})}
    for document, own in enumerate(counters):
        for term, frequency in own.items():
            postings[term].append((document, frequency))
    here, there = (Counter(term for text in short for term in set(tokens(text))) for short in (ours, others))
    return Counts(
        terms=list(postings),
        postings=list(postings.values()),
        lengths=[own.total() for own in counters],
        ours=[here[term] for term in postings],
        others=[there[term] for term in postings],
        sizes=(len(ours), len(others)),
    )


def without_chance_pairs(counts: Counts) -> Counts:
    """Without the pairs of Chinese characters that stand only once in all documents: most straddle two words. They are two
    fifths of all terms, and without them no figure of the tuning cases is worse."""
    kept = [
        term < "\u3400" or len(found) > 1 or found[0][1] > 1 for term, found in zip(counts.terms, counts.postings, strict=True)
    ]
    return replace(
        counts,
        terms=list(compress(counts.terms, kept)),
        postings=list(compress(counts.postings, kept)),
        ours=list(compress(counts.ours, kept)),
        others=list(compress(counts.others, kept)),
    )


class Bm25:
    """BM25 as postings: for each term, the documents that have it and its weight there.

    `starts` (terms + 1) says where each term's postings begin in `documents` and `weights`; `idf` and `fields` are by term.
    Plain arrays: a query adds up some thousand numbers, which takes a millisecond, and numpy takes 60 to import.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        starts: array[int],
        documents: array[int],
        weights: array[float],
        idf: array[float],
        fields: array[float],
        size: int,
    ) -> None:
        self.vocabulary, self.starts, self.documents = vocabulary, starts, documents
        self.weights, self.idf, self.fields, self.size = weights, idf, fields, size

    @classmethod
    def build(cls, counts: Counts) -> Bm25:
        """The weight of each term in each document, and of each term for the field."""
        mean = sum(counts.lengths) / len(counts.lengths) if counts.lengths else 1.0
        size = len(counts.lengths)
        idf = array("f", (math.log(1 + (size - len(found) + 0.5) / (len(found) + 0.5)) for found in counts.postings))
        starts, documents, weights = array("i", [0]), array("i"), array("f")
        for found, rarity in zip(counts.postings, idf, strict=True):
            for document, frequency in found:
                saturation = frequency + K1 * (1 - B + B * counts.lengths[document] / mean)
                documents.append(document)
                weights.append(rarity * frequency * (K1 + 1) / saturation)
            starts.append(len(documents))
        vocabulary = {term: number for number, term in enumerate(counts.terms)}
        return cls(vocabulary, starts, documents, weights, idf, field_weights(counts), size)

    def scores(self, query: Sequence[str]) -> list[float]:
        """BM25 of each document; a term counts once however often the query repeats it."""
        scores = [0.0] * self.size
        for term in dict.fromkeys(query):
            number = self.vocabulary.get(term)
            if number is not None:
                own = slice(self.starts[number], self.starts[number + 1])
                for document, weight in zip(self.documents[own], self.weights[own], strict=True):
                    scores[document] += weight
        return scores

    def rarity(self, term: str) -> float:
        """The inverse document frequency of a term; of one that no document has, as if half a document had it."""
        number = self.vocabulary.get(term)
        return math.log(2 * self.size + 2) if number is None else self.idf[number]

    def field(self, query: Sequence[str]) -> float:
        """How much the query's words are those of this field, above 0, or of others, below; longer queries not the more."""
        terms = dict.fromkeys(query)
        total = sum(self.fields[number] for term in terms if (number := self.vocabulary.get(term)) is not None)
        return float(total / (len(terms) + 4) ** 0.5)


MAX_FIELD = 3.0  # Of one term: more would be chance, with a few thousand texts.


def field_weights(counts: Counts) -> array[float]:
    """For each term the log-odds that a text with it is one of ours, not of another field; zeros where there is nothing to
    compare with."""
    ours, others = counts.sizes
    weights = array("f")
    for here, there in zip(counts.ours, counts.others, strict=True):
        share = math.log((here + 1) / (ours + 2)) - math.log((there + 1) / (others + 2))
        weights.append(min(max(share, -MAX_FIELD), MAX_FIELD) if ours and others and here + there else 0.0)
    return weights
