"""What real models replied, held against the entries: nothing of theirs that is shown is a command, a link or an image."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from assistant.reply import read_reply
from assistant.written import Written, written_blocks
from benchmarks.grounding import Recordings, read_answers, recordings, sources_of, strange_code
from indexer.index import Index

RECORDED: list[dict[str, Any]] = read_answers("recorded")


def test_replies_in_both_languages_say_where_they_are_from() -> None:
    assert min(Counter(row["language"] for row in RECORDED if row["origin"] == "recorded").values()) >= 12
    assert len({row["id"] for row in RECORDED}) == len({(row["model"], row["paste"]) for row in RECORDED}) == len(RECORDED)
    for row in RECORDED:
        assert row["model"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert re.fullmatch(r"[0-9a-f]{12}", row["prompt"])
    assert {row["paste"] for row in RECORDED} <= {row["paste"] for row in read_answers("tuning")}


@pytest.mark.parametrize("row", RECORDED, ids=[row["id"] for row in RECORDED])
def test_a_recorded_reply_brings_no_command_link_or_image_of_its_own(row: dict[str, Any], index: Index) -> None:
    sources = sources_of(row, index.entries)
    blocks = written_blocks(read_reply([row["reply"]]), sources, index.entries, row["language"], Written())
    shown = "\n\n".join(block.text for block in blocks)
    assert not strange_code(shown, row["paste"], row["hits"], index.entries)
    assert "![" not in shown
    assert "<img" not in shown


def test_what_is_read_is_shown_or_left_out_for_a_reason(index: Index) -> None:
    for found in recordings(index.entries).values():
        assert found.read > found.passed >= found.shown > 0
        assert found.left_out.total() >= found.read - found.passed


def test_code_that_is_in_no_entry_is_found_by_the_second_look(index: Index) -> None:
    entry, paste = "loss-zero-sft", "train.py --my-flag 3"
    own = "Set `logging_nan_inf_filter=False`, look at check_labels.py and --my-flag. [loss-zero-sft#half-precision.1]"
    assert not strange_code(own, paste, [entry], index.entries)
    foreign = "Run `nan-doctor` with --all from /opt/nan, see https://example.org/nan and (www.example.org)."
    assert strange_code(foreign, paste, [entry], index.entries) == {
        "nan-doctor", "--all", "/opt/nan", "https://example.org/nan", "www.example.org",
    }  # fmt: skip


def test_an_item_that_is_left_out_is_counted_by_its_fault(index: Index) -> None:
    reply = "STEPS\nloss-zero-sft#half-precision.1 It shows whether the zeros are NaN.\nRun nan-doctor. [loss-zero-sft]\n"
    row = {"id": "one", "language": "en", "paste": "loss 0.0", "hits": ["loss-zero-sft"], "reply": reply}
    found = Recordings([row], index.entries)
    assert (found.read, found.passed, dict(found.left_out), found.strange) == (2, 1, {"invented": 1}, [])
