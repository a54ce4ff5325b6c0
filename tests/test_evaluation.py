"""Cases in, predictions and figures out; a file that is not of the form is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.errors import CaseError
from indexer.evaluation import Case, Prediction, calibration_error, read_cases, report, table
from tests.conftest import ROOT, Kbask

CASES = ROOT / "benchmarks" / "cases"
A = Case("1", "a", "en", "log", "x")
B = Case("2", "b", "zh", "question", "y", also=("c",))
NONE = Case("3", None, "en", "question", "z", group="far")


def test_figures_are_those_of_the_definitions() -> None:
    predictions = [
        Prediction("1", True, 0.9, ("a", "b")),
        Prediction("2", False, 0.2, ("a", "b", "c")),
        Prediction("3", True, 0.6, ("a",)),
    ]
    figures = report([A, B, NONE], predictions)
    assert (figures.all.top1, figures.all.top3, figures.all.mrr) == (0.5, 1.0, 0.75)
    assert (figures.all.wrongly_refused, figures.all.refused) == (0.5, 0.0)
    assert figures.parts["log"].top1 == 1.0
    assert figures.parts["question zh"].mrr == 0.5
    assert figures.parts["group far"].refused == 0.0
    assert "question zh" in table(figures)


def test_an_entry_named_in_also_is_as_right() -> None:
    assert report([B, NONE], [Prediction("2", True, 0.9, ("c",)), Prediction("3", False, 0.1, ("a",))]).all.top1 == 1.0


def test_calibration_weighs_answerable_cases_as_much_as_the_others() -> None:
    judged = [(A, Prediction("1", True, 0.8, ("a",)))] + [(NONE, Prediction("3", False, 0.2, ("a",)))] * 9
    assert calibration_error(judged) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "1 is no JSON"),
        ("[]", "1 is no object"),
        ('{"id": "1", "lang": "en", "kind": "log", "text": "x"}', "lacks a valid slug"),
        ('{"id": 1, "slug": null, "lang": "en", "kind": "log", "text": "x"}', "lacks a valid id"),
        ('{"id": "1", "slug": null, "lang": "fr", "kind": "log", "text": "x"}', "lang is one of en, zh"),
        ('{"id": "1", "slug": "a", "also": "b", "lang": "en", "kind": "log", "text": "x"}', "lacks a valid also"),
        ("", "There are no cases"),
    ],
)
def test_a_case_of_another_form_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=says):
        read_cases([path])


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"id": "1", "slug": null, "lang": "en", "kind": "log", "text": "x"}\n' * 2, encoding="utf-8")
    with pytest.raises(CaseError, match=":2 has the id '1' again"):
        read_cases([path])


def test_the_development_cases_are_enough_and_share_no_text() -> None:
    tuning, test = read_cases([CASES / "tuning.jsonl"]), read_cases([CASES / "test.jsonl"])
    cases = [*tuning, *test]
    assert sum(case.slug is not None for case in cases) >= 150
    assert sum(case.slug is None for case in cases) >= 300
    assert {case.slug for case in cases} - {None} == {case.slug for case in tuning} - {None}
    answerable = [case for case in cases if case.slug]
    assert sum(case.lang == "zh" for case in answerable) >= 0.4 * len(answerable)
    assert len({case.text for case in cases}) == len(cases)


def test_no_ask_of_the_index_serves_as_a_case() -> None:
    from indexer.entry import builtin_folder
    from indexer.index import read_collection

    collection = read_collection([builtin_folder()])
    asks = {ask.strip().lower() for entry in collection.entries for page in entry.pages.values() for ask in page.asks}
    asks |= {ask.strip().lower() for known in collection.background for ask in known.asks}
    cases = read_cases([CASES / "tuning.jsonl", CASES / "test.jsonl"])
    assert [case.id for case in cases if case.text.strip().lower() in asks] == []


def test_eval_prints_a_table_and_writes_predictions(kbask: Kbask, tmp_path: Path) -> None:
    path, out = tmp_path / "cases.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"id": "1", "slug": "cuda-ecc-uncorrectable", "lang": "en", "kind": "log", "text": "CUDA error: uncorrectable ECC error encountered"},
        {"id": "2", "slug": None, "lang": "zh", "kind": "question", "text": "怎么做红烧肉"},
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    done = kbask("eval", str(path), "--predictions", str(out))
    assert done.returncode == 0
    assert "log" in done.stdout
    assert "1.000" in done.stdout
    predictions = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [prediction["answered"] for prediction in predictions] == [True, False]
    assert predictions[0]["entries"][0] == "cuda-ecc-uncorrectable"
    assert len(predictions[0]["entries"]) <= 10
    figures = json.loads(kbask("eval", str(path), "--json").stdout)
    assert figures["all"]["top1"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("eval", "missing.jsonl"), 1, "cannot be read"),
        (("eval", "--json"), 2, "Missing argument"),
        (("eval", "how good is my tuned model"), 0, ""),
    ],
)
def test_eval_tells_a_question_from_files(kbask: Kbask, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = kbask(*arguments)
    assert done.returncode in (code, 3 if code == 0 else code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
