"""Signatures, BM25 and vectors -> hits with a calibrated confidence each, and when to abstain.

Every constant stands in data/ranking.json, made by `python -m benchmarks.calibrate`.
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


@dataclass(frozen=True)
class Constants:
    """What ranking is tuned by; the file says what each was measured on."""

    coverage_weight: float
    dense_weight: float
    intercept: float
    lexical_weight: float
    lexical_intercept: float
    strong_signature: float
    weak_signature: float
    threshold: float


def read_constants(path: Path = CONSTANTS_FILE) -> Constants:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Constants(**data["constants"])


@dataclass(frozen=True)
class Hit:
    """A retrieved entry; every field says why it stands where it does.

    `score` is the evidence as log-odds, `confidence` the probability that this entry is the answer, `ranks` its place by each
    signal, `matched` the signatures found, `passages` its passages, the one nearest to the query first, `closeness` how near
    each is, by passage id.
    """

    entry_id: str
    score: float
    confidence: float
    ranks: dict[str, int]
    matched: tuple[Match, ...]
    passages: tuple[Passage, ...]
    closeness: dict[str, float]
    yielded_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What each signal says of each entry, in one order: (n,) each. `dense` is None where no embedding was needed or had."""

    entry_ids: Sequence[str]
    matches: dict[str, list[Match]]
    yields_to: dict[str, tuple[str, ...]]
    coverage: Scores
    dense: Scores | None


@dataclass(frozen=True)
class Ranked:
    """An entry's place: evidence as log-odds, its rank by each signal, and the entries whose messages came before its own."""

    entry_id: str
    score: float
    ranks: dict[str, int]
    yielded_to: tuple[str, ...]


def rank(evidence: Evidence, constants: Constants) -> list[Ranked]:
    """Every entry, best first."""
    if evidence.dense is None:
        base = constants.lexical_intercept + constants.lexical_weight * evidence.coverage
        places = {"bm25": _places(evidence.coverage)}
    else:
        base = constants.intercept + constants.coverage_weight * evidence.coverage + constants.dense_weight * evidence.dense
        places = {"bm25": _places(evidence.coverage), "dense": _places(evidence.dense)}
    found = evidence.matches
    strong = {id_ for id_ in found if any(not match.signature.weak for match in found[id_])}
    yielded = {id_: tuple(other for other in evidence.yields_to.get(id_, ()) if other in strong) for id_ in found}
    by_signature = sorted(found, key=lambda id_: (bool(yielded[id_]), id_ not in strong, -len(found[id_])))
    ranked = []
    for number, id_ in enumerate(evidence.entry_ids):
        score = float(base[number])
        ranks = {signal: int(place[number]) for signal, place in places.items()}
        if id_ in found:
            ranks["signature"] = by_signature.index(id_) + 1
            if id_ in strong and not yielded[id_]:
                # The message itself outweighs any likeness; likeness only orders entries whose messages are both there.
                score = constants.strong_signature + 0.1 * max(score, 0.0)
            else:
                score += constants.weak_signature
        ranked.append(Ranked(id_, score, ranks, yielded.get(id_, ())))
    return sorted(ranked, key=lambda entry: -entry.score)


def probability(log_odds: float) -> float:
    """The confidence that belongs to a score."""
    return 1 / (1 + math.exp(-log_odds))


def _places(scores: Scores) -> npt.NDArray[np.int64]:
    places = np.empty(len(scores), dtype=np.int64)
    places[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return places
