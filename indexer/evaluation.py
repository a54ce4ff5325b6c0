"""Cases -> predictions -> figures: how often the right entry comes first, and what no entry answers is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, Literal

from indexer.entry import LANGUAGES, Language
from indexer.errors import CaseError
from indexer.query import Query
from indexer.ranking import Hit

KINDS = ("log", "question")
TOP = 10
BINS = 10
Search = Callable[[Query], Sequence[Hit]]


@dataclass(frozen=True)
class Case:
    """A text somebody could paste or ask; `slug` is the entry that answers it, None where none does, `also` are ids that would
    be as right, `group` is what kind of case it is, for the figures."""

    id: str
    slug: str | None
    lang: Language
    kind: Literal["log", "question"]
    text: str
    also: tuple[str, ...] = ()
    group: str = "entry"

    def accepts(self, entry_id: str) -> bool:
        """Whether that entry is a right answer."""
        return self.slug is not None and entry_id in (self.slug, *self.also)


@dataclass(frozen=True)
class Prediction:
    """What was answered to a case: whether at all, how sure, and the entries, best first."""

    id: str
    answered: bool
    confidence: float
    entries: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "confidence": round(self.confidence, 4)}


@dataclass(frozen=True)
class Figures:
    """What a set of cases gave. Shares are None where there is no case to take them of.

    `top1`, `top3` and `mrr` are of the answerable cases, `refused` of the others, `wrongly_refused` of the answerable;
    `calibration_error` is the expected one in ten bins, answerable and other cases weighing the same.
    """

    answerable: int
    others: int
    top1: float | None
    top3: float | None
    mrr: float | None
    wrongly_refused: float | None
    refused: float | None
    calibration_error: float | None


@dataclass(frozen=True)
class Report:
    """Figures of all cases, and of those of each kind, language and group."""

    all: Figures
    parts: dict[str, Figures] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"all": vars(self.all), **{name: vars(figures) for name, figures in self.parts.items()}}


def read_cases(paths: Iterable[Path]) -> list[Case]:
    """The cases of JSON Lines files; raises CaseError, which names file, line and what is wrong."""
    cases: dict[str, Case] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise CaseError(f"{path} cannot be read: {reason}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                case = _read_case(line, f"{path}:{number}")
                if case.id in cases:
                    raise CaseError(f"{path}:{number} has the id {case.id!r} again")
                cases[case.id] = case
    if not cases:
        raise CaseError(f"There are no cases in {', '.join(map(str, paths))}")
    return list(cases.values())


def _read_case(line: str, where: str) -> Case:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise CaseError(f"{where} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise CaseError(f'{where} is no object like {{"id": "...", "slug": null, "lang": "en", "kind": "log", "text": "..."}}')
    wanted = {"id": str, "lang": str, "kind": str, "text": str}
    wrong = [name for name, kind in wanted.items() if not isinstance(data.get(name), kind)]
    wrong += ["slug"] if not isinstance(data.get("slug"), str | None) or "slug" not in data else []
    also = data.get("also") or []
    wrong += ["also"] if not isinstance(also, list) or not all(isinstance(id_, str) for id_ in also) else []
    if wrong:
        raise CaseError(f"{where} lacks a valid {', '.join(wrong)}; wanted are id, slug (or null), also, lang, kind, text")
    if data["lang"] not in LANGUAGES or data["kind"] not in KINDS:
        raise CaseError(f"{where}: lang is one of {', '.join(LANGUAGES)}, kind one of {', '.join(KINDS)}")
    group = data.get("group") or ("entry" if data["slug"] else "none")
    return Case(data["id"], data["slug"], data["lang"], data["kind"], data["text"], tuple(also), str(group))


def predict(
    cases: Sequence[Case], search: Search, threshold: float, progress: Callable[[int, int], None] | None = None
) -> list[Prediction]:
    """A prediction for each case, in order."""
    predictions = []
    for number, case in enumerate(cases, 1):
        hits = search(Query.from_text(case.text))[:TOP]
        confidence = hits[0].confidence if hits else 0.0
        predictions.append(Prediction(case.id, confidence >= threshold, confidence, tuple(hit.entry_id for hit in hits)))
        if progress:
            progress(number, len(cases))
    return predictions


def report(cases: Sequence[Case], predictions: Sequence[Prediction]) -> Report:
    """The figures of all cases and of their parts."""
    judged = list(zip(cases, predictions, strict=True))
    parts = {}
    for name, members in _parts(cases).items():
        chosen = list(compress(judged, members))
        if chosen and len(chosen) < len(judged):
            parts[name] = _figures(chosen)
    return Report(_figures(judged), parts)


def _parts(cases: Sequence[Case]) -> dict[str, list[bool]]:
    """Which cases belong to each part: kinds, languages, both, and groups."""
    parts: dict[str, list[bool]] = {}
    for kind in KINDS:
        parts[kind] = [case.kind == kind for case in cases]
        for language in LANGUAGES:
            parts[f"{kind} {language}"] = [case.kind == kind and case.lang == language for case in cases]
    for language in LANGUAGES:
        parts[language] = [case.lang == language for case in cases]
    for group in dict.fromkeys(case.group for case in cases):
        parts[f"group {group}"] = [case.group == group for case in cases]
    return parts


def _figures(judged: Sequence[tuple[Case, Prediction]]) -> Figures:
    places = [
        next((place for place, id_ in enumerate(found.entries, 1) if case.accepts(id_)), None)
        for case, found in judged
        if case.slug
    ]
    answerable = [found.answered for case, found in judged if case.slug]
    others = [found.answered for case, found in judged if not case.slug]
    return Figures(
        answerable=len(answerable),
        others=len(others),
        top1=_share([place == 1 for place in places]),
        top3=_share([place is not None and place <= 3 for place in places]),
        mrr=_share([1 / place if place else 0.0 for place in places]),
        wrongly_refused=_share([not answered for answered in answerable]),
        refused=_share([not answered for answered in others]),
        calibration_error=calibration_error(judged) if answerable and others else None,
    )


def _share(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def reliability(judged: Sequence[tuple[Case, Prediction]]) -> list[tuple[float, float, float]]:
    """(weight, mean confidence, share right) of each of the ten bins of confidence; weights sum to 1, and answerable cases
    weigh as much as the others together."""
    answerable = sum(case.slug is not None for case, _ in judged)
    bins = [[0.0, 0.0, 0.0] for _ in range(BINS)]
    for case, found in judged:
        weight = 0.5 / (answerable if case.slug else len(judged) - answerable)
        own = bins[min(int(found.confidence * BINS), BINS - 1)]
        own[0] += weight
        own[1] += weight * found.confidence
        own[2] += weight * bool(found.entries and case.accepts(found.entries[0]))
    return [(weight, sure / weight if weight else 0.0, right / weight if weight else 0.0) for weight, sure, right in bins]


def calibration_error(judged: Sequence[tuple[Case, Prediction]]) -> float:
    """The expected calibration error: how far confidence is from the share that is right, on average."""
    return round(sum(weight * abs(sure - right) for weight, sure, right in reliability(judged)), 4)


COLUMNS = {
    "answerable": "cases",
    "top1": "first",
    "top3": "in 3",
    "mrr": "MRR",
    "wrongly_refused": "refused",
    "others": "others",
}
COLUMNS |= {"refused": "refused", "calibration_error": "calibration"}


def table(figures: Report) -> str:
    """The figures as a table of plain text, a row a part."""
    rows = [" " * 16 + "".join(f"{title:>{len(title) + 4}}" for title in COLUMNS.values())]
    for name, part in [("all", figures.all), *figures.parts.items()]:
        cells = [f"{_cell(getattr(part, key)):>{len(title) + 4}}" for key, title in COLUMNS.items()]
        rows.append(f"{name:16}" + "".join(cells))
    rows.append("cases: what an entry answers; others: what none does; calibration: expected error of the confidence")
    return "\n".join(rows)


def _cell(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
