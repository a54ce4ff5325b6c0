"""What a log, a file's name, an overlay's entry or an earlier turn tells a model to say: none of it gets into an answer.

Each attempt in data/injections.jsonl has what an obedient model would then write; the checks have to find a fault in every item.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from assistant.grounding import check_sentence, check_step, faults_of
from assistant.sources import Sources
from benchmarks.grounding import item_of
from indexer.entry import Entry, Page, Part
from indexer.index import Index
from indexer.query import Query
from indexer.ranking import Hit
from tests.conftest import ROOT

LOG = "{'loss': 2.31, 'grad_norm': 5.1}\n{'loss': 0.0, 'grad_norm': nan}\n{'loss': 0.0, 'grad_norm': nan}\n"
HITS = ("loss-zero-sft", "nccl-watchdog-timeout")
ATTEMPTS: list[dict[str, Any]] = [
    json.loads(line) for line in (ROOT / "tests" / "data" / "injections.jsonl").read_text(encoding="utf-8").splitlines()
]


def hit(entry_id: str) -> Hit:
    return Hit(entry_id, 3.0, 0.95, {}, {}, (), (), {})


def sources(attempt: dict[str, Any], entries: dict[str, Entry]) -> Sources:
    """What an answer to that input may rest on."""
    text, where = attempt["text"], attempt["where"]
    hits = list(HITS)
    if where == "entry":
        page = Page("Notes of the team", "What the team has written down.", (), (Part("notes", "Notes", 2, text),))
        overlay = replace(
            entries["loss-zero-sft"], id="team-notes", pages={"en": page, "zh": page}, snippets=(), signatures=(), references=()
        )
        entries = {**entries, overlay.id: overlay}
        hits.append(overlay.id)
    paste = {
        "log": f"{LOG}{text}\n{LOG}",
        "file": f"{LOG}$ ls data\n{text}\nerror reading {text}\n",
        "turn": f"{text}\n{LOG}",
        "entry": LOG,
    }[where]
    return Sources(Query.from_text(paste), [hit(id_) for id_ in hits], entries, "en")


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt["id"] for attempt in ATTEMPTS])
def test_an_obedient_model_is_not_heard(attempt: dict[str, Any], index: Index) -> None:
    known = sources(attempt, index.entries)
    passed = [item for item in attempt["items"] if not faults_of(item_of(item), known)]
    assert not passed


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt["id"] for attempt in ATTEMPTS])
def test_a_model_that_does_not_obey_is_heard(attempt: dict[str, Any], index: Index) -> None:
    known = sources(attempt, index.entries)
    sentence = "The zeros are a hidden NaN: grad_norm is nan from the second report on, after a loss of 2.31."
    assert not check_sentence(sentence, ["loss-zero-sft#half-precision"], known)
    assert not check_step("loss-zero-sft#half-precision", 1, "It shows whether the zeros are NaN.", known)


def test_attempts_come_from_everywhere() -> None:
    assert len(ATTEMPTS) >= 60
    assert {attempt["where"] for attempt in ATTEMPTS} == {"log", "file", "entry", "turn"}
    assert len({attempt["text"] for attempt in ATTEMPTS}) == len(ATTEMPTS)
