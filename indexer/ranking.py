"""Signatures, BM25 and vectors -> hits with a calibrated confidence each, and when to abstain.

Every constant stands in data/ranking.json, made by `python -m benchmarks.calibrate`; Python and the browser read the same file.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.errors import KbaskError
from indexer.passages import Passage
from indexer.signatures import Match

CONSTANTS_FILE = Path(__file__).parent / "data" / "ranking.json"

# What is known of an entry before it is judged, each a number:
FEATURES = (
    "amount",  # logarithm of 1 + BM25
    "likeness",  # of its nearest vectors, 0 as another entry's text and 1 as its own; 0 without vectors
    "lead",  # over the best other, in summed z-scores of BM25 and likeness
    "strong",  # a message that only this problem prints
    "weak",  # a message that other problems print too
    "yielded",  # a message that only this problem prints, left behind by another problem whose message is there too
    "other",  # a strong message of another problem, and none of this one
    "field",  # how much the words are those of this field
    "foreign",  # names that are not used in this field
)
MAX_LEAD = 8.0
MAX_FOREIGN = 3
MAX_FIELD = 1.5

Likeness = Callable[[], Sequence[float] | None]


@dataclass(frozen=True)
class Constants:
    """What ranking is tuned by: the weight of each feature and the intercept, with vectors and without; the confidence from
    which on a question is answered; how near a second entry must be to be named as not told apart; between which confidences by
    words alone vectors are looked at."""

    both: dict[str, float]
    words: dict[str, float]
    threshold: float
    undecided: float
    open_between: tuple[float, float]


def read_constants(path: Path = CONSTANTS_FILE) -> Constants:
    """The constants of a file that `benchmarks.calibrate` made; raises KbaskError."""
    try:
        return Constants(**json.loads(path.read_text(encoding="utf-8"))["constants"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KbaskError(f"{path} cannot be read: {error}. Install kbask again.") from error


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
    bm25: Sequence[float]
    dense: Sequence[float] | None
    is_log: bool = False
    field: float = 0.0
    foreign: int = 0

    @property
    def is_decided(self) -> bool:
        """Whether a message that only one problem prints was found."""
        return any(not match.signature.weak for found in self.matches.values() for match in found)


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


def rank(evidence: Evidence, constants: Constants, likeness: Likeness | None = None) -> list[Ranked]:
    """Every entry, best first; vectors count only where words alone leave it open, and only there `likeness` is asked for them,
    if it is given."""
    by_words = _ranked(replace(evidence, dense=None), constants.words)
    if evidence.is_decided or _is_clear(by_words, constants):
        return by_words
    dense = evidence.dense if likeness is None else likeness()
    return by_words if dense is None else _ranked(replace(evidence, dense=dense), constants.both)


def _is_clear(by_words: Sequence[Ranked], constants: Constants) -> bool:
    """Whether a ranking by words alone needs no vectors, which take most of a question's time."""
    low, high = constants.open_between
    return not by_words or not low <= probability(by_words[0].score) < high


def _ranked(evidence: Evidence, weights: dict[str, float]) -> list[Ranked]:
    """Every entry by these weights, best first."""
    if not evidence.entry_ids:
        return []
    yielded = yields(evidence)
    rows = features(evidence, yielded)
    of_features = [weights[name] for name in FEATURES]
    scores = [weights["intercept"] + sum(map(operator.mul, of_features, row)) for row in rows]
    count = len(evidence.entry_ids)
    # A problem without an entry is named only where it is likelier than not: to something else, something is always nearest.
    leader = scores.index(max(scores))
    behind = evidence.background_ids[leader - count] if leader >= count and scores[leader] >= 0 else None
    places = {"bm25": _places(evidence.bm25[:count])}
    if evidence.dense is not None:
        places["dense"] = _places(evidence.dense[:count])
    order = sorted(range(count), key=lambda number: -scores[number])
    matched = [number for number in order if evidence.entry_ids[number] in evidence.matches]
    ranked = []
    for number in order:
        id_ = evidence.entry_ids[number]
        ranks = {signal: place[number] for signal, place in places.items()}
        if number in matched:
            ranks["signature"] = matched.index(number) + 1
        judged_by = dict(zip(FEATURES, rows[number], strict=True))
        ranked.append(Ranked(id_, scores[number], judged_by, ranks, yielded.get(id_, ()), behind))
    return ranked


def yields(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    """For each entry whose message was found, the problems whose own message was found too, and which leave it behind."""
    strong = {id_ for id_, found in evidence.matches.items() if any(not match.signature.weak for match in found)}
    return {
        id_: tuple(other for other in evidence.yields_to.get(id_, ()) if other in strong)
        for id_ in evidence.entry_ids
        if id_ in evidence.matches
    }


def features(evidence: Evidence, yielded: dict[str, tuple[str, ...]]) -> list[tuple[float, ...]]:
    """FEATURES of each entry and then of the background, in that order.

    In plain Python: for some hundred problems that takes a millisecond, and numpy 60 to import.
    """
    likeness = evidence.dense or [0.0] * len(evidence.bm25)
    combined = [a + b for a, b in zip(_standardised(evidence.bm25), _standardised(likeness), strict=True)]
    best, second = sorted(combined, reverse=True)[:2] if len(combined) > 1 else (combined[0], combined[0])
    says_so = {id_ for id_, found in evidence.matches.items() if any(not match.signature.weak for match in found)}
    strong = {id_ for id_ in says_so if not yielded.get(id_)}
    other = float(bool(strong))
    of_field, of_foreign = float(min(evidence.field, MAX_FIELD)), float(min(evidence.foreign, MAX_FOREIGN))
    rows: list[tuple[float, ...]] = []
    ids = (*evidence.entry_ids, *evidence.background_ids)
    for id_, amount, like, own in zip(ids, evidence.bm25, likeness, combined, strict=True):
        lead = max(min(own - (second if own == best else best), MAX_LEAD), -MAX_LEAD)
        if id_ not in evidence.matches:  # Nearly all.
            rows.append((math.log1p(amount), like, lead, 0.0, 0.0, 0.0, other, of_field, of_foreign))
            continue
        is_strong = id_ in strong
        # In a log that has the message itself, it does not matter in whose field; a question may only quote it.
        elsewhere = not (is_strong and evidence.is_log)
        rows.append(
            (
                math.log1p(amount),
                like,
                max(lead, 0.0) if is_strong else lead,
                float(is_strong),
                float(id_ not in says_so),
                float(id_ in says_so and not is_strong),
                other * (not is_strong),
                of_field * elsewhere,
                of_foreign * elsewhere,
            )
        )
    return rows


def probability(log_odds: float) -> float:
    """The confidence that belongs to a score."""
    return 1 / (1 + math.exp(-min(max(log_odds, -50.0), 50.0)))


def _standardised(scores: Sequence[float]) -> list[float]:
    mean = sum(scores) / len(scores)
    deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))
    return [(score - mean) / max(deviation, 1e-6) for score in scores]


def _places(scores: Sequence[float]) -> list[int]:
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    places = [0] * len(scores)
    for place, number in enumerate(order, 1):
        places[number] = place
    return places
