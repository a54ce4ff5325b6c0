"""Tokens for both languages, and BM25 over one document an entry, with weights computed when the index is built.

Tokens are words, lower case, English plurals and endings off; identifiers whole and in parts (`flash_attn_varlen_func` and
`varlen`); Chinese as pairs of neighbouring characters. A query only adds up stored numbers.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

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
    def build(cls, texts: Sequence[str], ours: Sequence[str] = (), others: Sequence[str] = ()) -> Bm25:
        """Postings of one document a text, and what short texts of this field and of others tell of each term."""
        counts = [Counter(tokens(text)) for text in texts]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths) if lengths else 1.0
        vocabulary = {term: number for number, term in enumerate(sorted({term for count in counts for term in count}))}
        postings: list[list[tuple[int, int]]] = [[] for _ in vocabulary]
        for document, count in enumerate(counts):
            for term, frequency in count.items():
                postings[vocabulary[term]].append((document, frequency))
        idf = array("f", (math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5)) for found in postings))
        starts, documents, weights = array("i", [0]), array("i"), array("f")
        for found, rarity in zip(postings, idf, strict=True):
            for document, frequency in found:
                saturation = frequency + K1 * (1 - B + B * lengths[document] / mean)
                documents.append(document)
                weights.append(rarity * frequency * (K1 + 1) / saturation)
            starts.append(len(documents))
        return cls(vocabulary, starts, documents, weights, idf, field_weights(vocabulary, ours, others), len(texts))

    def scores(self, query: Sequence[str]) -> list[float]:
        """BM25 of each document; a term counts once however often the query repeats it."""
        scores = [0.0] * self.size
        for term in dict.fromkeys(query):
            number = self.vocabulary.get(term)
            if number is not None:
                for place in range(self.starts[number], self.starts[number + 1]):
                    scores[self.documents[place]] += self.weights[place]
        return scores

    def field(self, query: Sequence[str]) -> float:
        """How much the query's words are those of this field, above 0, or of others, below; longer queries not the more."""
        terms = dict.fromkeys(query)
        total = sum(self.fields[number] for term in terms if (number := self.vocabulary.get(term)) is not None)
        return float(total / (len(terms) + 4) ** 0.5)


MAX_FIELD = 3.0  # Of one term: more would be chance, with a few thousand texts.


def field_weights(vocabulary: Iterable[str], ours: Sequence[str], others: Sequence[str]) -> array[float]:
    """For each term the log-odds that a text with it is one of ours, not of another field; zeros where there is nothing to
    compare with."""
    here, there = (Counter(term for text in texts for term in set(tokens(text))) for texts in (ours, others))
    weights = array("f")
    for term in vocabulary:
        known = ours and others and here[term] + there[term]
        share = math.log((here[term] + 1) / (len(ours) + 2)) - math.log((there[term] + 1) / (len(others) + 2))
        weights.append(min(max(share, -MAX_FIELD), MAX_FIELD) if known else 0.0)
    return weights
