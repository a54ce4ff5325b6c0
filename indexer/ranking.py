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
class Weights:
    """Log-odds of an entry = intercept + coverage * BM25 over its ceiling + dense * likeness + lead * lead over the others."""

    coverage: float
    dense: float
    lead: float
    intercept: float


@dataclass(frozen=True)
class Constants:
    """What ranking is tuned by: weights with vectors and without, what signatures are worth, and the threshold to answer."""

    both: Weights
    words: Weights
    strong_signature: float
    weak_signature: float
    bare_log: float
    threshold: float


def read_constants(path: Path = CONSTANTS_FILE) -> Constants:
    data = json.loads(path.read_text(encoding="utf-8"))
    constants = data["constants"]
    return Constants(**{**constants, "both": Weights(**constants["both"]), "words": Weights(**constants["words"])})


@dataclass(frozen=True)
class Hit:
    """A retrieved entry; every field says why it stands where it does.

    `score` is the evidence as log-odds, `confidence` the probability that this entry is the answer, `ranks` its place by each
    signal, `matched` the signatures found, `passages` its passages, the one nearest to the query first, `closeness` how near
    each is, by passage id, `behind` a planned problem without an entry that the query is nearer to.
    """

    entry_id: str
    score: float
    confidence: float
    ranks: dict[str, int]
    matched: tuple[Match, ...]
    passages: tuple[Passage, ...]
    closeness: dict[str, float]
    yielded_to: tuple[str, ...] = ()
    behind: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What each signal says of each entry and of what is planned, in that order: (n + planned,) each.

    `dense` is None where no embedding was needed or had.
    """

    entry_ids: Sequence[str]
    matches: dict[str, list[Match]]
    yields_to: dict[str, tuple[str, ...]]
    coverage: Scores
    dense: Scores | None
    planned_ids: Sequence[str] = ()
    is_bare_log: bool = False


@dataclass(frozen=True)
class Ranked:
    """An entry's place: evidence as log-odds, its rank by each signal, the entries whose messages came before its own, and
    the planned problem that the query is nearer to, if there is one."""

    entry_id: str
    score: float
    ranks: dict[str, int]
    yielded_to: tuple[str, ...]
    behind: str | None


def features(coverage: Scores, dense: Scores | None) -> Scores:
    """(n, 3) float32: coverage, likeness (0 without vectors), and the lead over the best other in summed z-scores."""
    likeness = np.zeros_like(coverage) if dense is None else dense
    combined = _standardised(coverage) + _standardised(likeness)
    order = np.sort(combined)
    best, second = order[-1], order[-2] if len(order) > 1 else order[-1]
    lead = combined - np.where(combined == best, second, best)
    return np.column_stack([coverage, likeness, lead]).astype(np.float32)


def _standardised(scores: Scores) -> Scores:
    return np.asarray((scores - scores.mean()) / max(float(scores.std()), 1e-6), dtype=np.float32)


def rank(evidence: Evidence, constants: Constants) -> list[Ranked]:
    """Every entry, best first."""
    if not evidence.entry_ids:
        return []
    weights = constants.words if evidence.dense is None else constants.both
    values = features(evidence.coverage, evidence.dense)
    base = values @ np.array([weights.coverage, weights.dense, weights.lead], dtype=np.float32) + weights.intercept
    count = len(evidence.entry_ids)
    leader = int(np.argmax(values[:, 2]))
    # A problem without an entry is named only where it is likelier than not: to something else, something is always nearest.
    behind = evidence.planned_ids[leader - count] if leader >= count and base[leader] >= 0 else None
    places = {"bm25": _places(evidence.coverage[:count])}
    if evidence.dense is not None:
        places["dense"] = _places(evidence.dense[:count])
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
        elif evidence.is_bare_log:
            # The words of a log are those of every log: without a message that we know they prove little.
            score += constants.bare_log
        ranked.append(Ranked(id_, score, ranks, yielded.get(id_, ()), behind))
    return sorted(ranked, key=lambda entry: -entry.score)


def probability(log_odds: float) -> float:
    """The confidence that belongs to a score."""
    return 1 / (1 + math.exp(-log_odds))


def _places(scores: Scores) -> npt.NDArray[np.int64]:
    places = np.empty(len(scores), dtype=np.int64)
    places[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return places
