"""Signatures, BM25 and vectors -> hits with a calibrated confidence each, and when to abstain.

Every constant stands in data/ranking.json, made by `python -m benchmarks.calibrate`; Python and the browser read the same file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.passages import Passage
from indexer.signatures import Match

CONSTANTS_FILE = Path(__file__).parent / "data" / "ranking.json"
Scores = npt.NDArray[np.float32]

# What is known of an entry before it is judged, each a number:
FEATURES = (
    "amount",  # logarithm of 1 + BM25
    "likeness",  # of its nearest vectors, 0 as another entry's text and 1 as its own; 0 without vectors
    "lead",  # over the best other, in summed z-scores of BM25 and likeness
    "strong",  # a message that only this problem prints
    "weak",  # a message that other problems print too
    "yielded",  # a message that only this problem prints, left behind by another problem whose message is there too
    "other",  # a strong message of another problem, and none of this one
    "bare",  # a log in which no message of this problem was found
    "unexplained",  # such a log, with an exception or a death in it
    "field",  # how much the words are those of this field
    "foreign",  # names that are not used in this field
)
MAX_LEAD = 8.0
MAX_FOREIGN = 3
MAX_FIELD = 1.5


@dataclass(frozen=True)
class Constants:
    """What ranking is tuned by: the weight of each feature and the intercept, with vectors and without; the confidence from
    which on a question is answered; how near a second entry must be to be named as not told apart."""

    both: dict[str, float]
    words: dict[str, float]
    threshold: float
    undecided: float


def read_constants(path: Path = CONSTANTS_FILE) -> Constants:
    return Constants(**json.loads(path.read_text(encoding="utf-8"))["constants"])


@dataclass(frozen=True)
class Hit:
    """A retrieved entry; every field says why it stands where it does.

    `score` is the evidence as log-odds, `confidence` the probability that this entry is the answer, `ranks` its place by each
    signal, `features` what it was judged by, `matched` the signatures found, `passages` its passages, the one nearest to the
    query first, `closeness` how near each is, by passage id, `yielded_to` the problems whose messages came before its own,
    `behind` a problem of the background that the query is nearer to.
    """

    entry_id: str
    score: float
    confidence: float
    ranks: dict[str, int]
    features: dict[str, float]
    matched: tuple[Match, ...]
    passages: tuple[Passage, ...]
    closeness: dict[str, float]
    yielded_to: tuple[str, ...] = ()
    behind: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What each signal says of each entry and then of the background, in that order: (n + background,) each.

    `dense` is None where no embedding was needed or had; `foreign` counts the names that are not used in this field.
    """

    entry_ids: Sequence[str]
    background_ids: Sequence[str]
    matches: dict[str, list[Match]]
    yields_to: dict[str, tuple[str, ...]]
    bm25: Scores
    dense: Scores | None
    is_log: bool = False
    has_failure: bool = False
    field: float = 0.0
    foreign: int = 0


@dataclass(frozen=True)
class Ranked:
    """An entry's place: evidence as log-odds and the features it comes from, its rank by each signal, the problems whose
    messages came before its own, and the problem of the background that the query is nearer to, if there is one."""

    entry_id: str
    score: float
    features: dict[str, float]
    ranks: dict[str, int]
    yielded_to: tuple[str, ...]
    behind: str | None


def rank(evidence: Evidence, constants: Constants) -> list[Ranked]:
    """Every entry, best first."""
    if not evidence.entry_ids:
        return []
    weights = constants.words if evidence.dense is None else constants.both
    yielded = yields(evidence)
    values = features(evidence, yielded)
    scores = values @ np.array([weights[name] for name in FEATURES]) + weights["intercept"]
    count = len(evidence.entry_ids)
    # A problem without an entry is named only where it is likelier than not: to something else, something is always nearest.
    leader = int(np.argmax(scores))
    behind = evidence.background_ids[leader - count] if leader >= count and scores[leader] >= 0 else None
    places = {"bm25": _places(evidence.bm25[:count])}
    if evidence.dense is not None:
        places["dense"] = _places(evidence.dense[:count])
    by_signature = sorted(
        (id_ for id_ in evidence.entry_ids if id_ in evidence.matches), key=lambda id_: -scores[evidence.entry_ids.index(id_)]
    )
    ranked = []
    for number, id_ in enumerate(evidence.entry_ids):
        ranks = {signal: int(place[number]) for signal, place in places.items()}
        if id_ in evidence.matches:
            ranks["signature"] = by_signature.index(id_) + 1
        own = dict(zip(FEATURES, map(float, values[number]), strict=True))
        ranked.append(Ranked(id_, float(scores[number]), own, ranks, yielded.get(id_, ()), behind))
    return sorted(ranked, key=lambda entry: -entry.score)


def yields(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    """For each entry whose message was found, the problems whose own message was found too, and which leave it behind."""
    strong = {id_ for id_, found in evidence.matches.items() if any(not match.signature.weak for match in found)}
    return {
        id_: tuple(other for other in evidence.yields_to.get(id_, ()) if other in strong)
        for id_ in evidence.entry_ids
        if id_ in evidence.matches
    }


def features(evidence: Evidence, yielded: dict[str, tuple[str, ...]]) -> npt.NDArray[np.float64]:
    """(n + background, len(FEATURES)) float64, a column a feature."""
    size = len(evidence.bm25)
    values = np.zeros((size, len(FEATURES)))
    likeness = np.zeros(size) if evidence.dense is None else np.asarray(evidence.dense, dtype=np.float64)
    combined = _standardised(evidence.bm25) + _standardised(likeness)
    order = np.sort(combined)
    best, second = order[-1], order[-2] if size > 1 else order[-1]
    column = {name: values[:, number] for number, name in enumerate(FEATURES)}
    column["amount"][:] = np.log1p(evidence.bm25)
    column["likeness"][:] = likeness
    column["lead"][:] = np.clip(combined - np.where(combined == best, second, best), -MAX_LEAD, MAX_LEAD)
    for number, id_ in enumerate([*evidence.entry_ids, *evidence.background_ids]):
        found = evidence.matches.get(id_, ())
        strong = any(not match.signature.weak for match in found)
        column["strong"][number] = strong and not yielded.get(id_)
        column["yielded"][number] = strong and bool(yielded.get(id_))
        column["weak"][number] = bool(found) and not strong
        column["bare"][number] = evidence.is_log and not found
    # In a log that has the message itself, it does not matter in whose field; a question may only quote it.
    elsewhere = 1 - column["strong"] * evidence.is_log
    column["field"][:] = min(evidence.field, MAX_FIELD) * elsewhere
    column["foreign"][:] = min(evidence.foreign, MAX_FOREIGN) * elsewhere
    column["unexplained"][:] = column["bare"] * evidence.has_failure
    column["lead"][:] = np.maximum(column["lead"], np.where(column["strong"] > 0, 0.0, -MAX_LEAD))
    column["other"][:] = column["strong"].any() * (1 - column["strong"])
    return values


def probability(log_odds: float) -> float:
    """The confidence that belongs to a score."""
    return 1 / (1 + math.exp(-min(max(log_odds, -50.0), 50.0)))


def _standardised(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.asarray((scores - scores.mean()) / max(float(scores.std()), 1e-6), dtype=np.float64)


def _places(scores: Scores) -> npt.NDArray[np.int64]:
    places = np.empty(len(scores), dtype=np.int64)
    places[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return places
