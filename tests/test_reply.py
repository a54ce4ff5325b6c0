"""A model's text becomes sentences, steps and runs, however roughly it keeps to the format."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from assistant.reply import MAX_ITEMS, MAX_LINE, Item, Run, Sentence, Step, read_line, read_reply

REPLY = """DIAGNOSIS
The loss is a hidden NaN. It began at step 2. [loss-zero-sft#half-precision]
STEPS
loss-zero-sft#half-precision.1 It shows whether the zeros are NaN.
RUN
loss-zero-sft/check_labels.py data=train.jsonl tokenizer="./my model" It counts the trained tokens.
"""
ITEMS: list[Item] = [
    Sentence("The loss is a hidden NaN.", ("loss-zero-sft#half-precision",)),
    Sentence("It began at step 2.", ("loss-zero-sft#half-precision",)),
    Step("loss-zero-sft#half-precision", 1, "It shows whether the zeros are NaN."),
    Run(
        "loss-zero-sft", "check_labels.py", {"data": "train.jsonl", "tokenizer": "./my model"}, "It counts the trained tokens."
    ),
]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_a_reply_is_read_alike_however_it_is_cut(size: int) -> None:
    assert list(read_reply(REPLY[start : start + size] for start in range(0, len(REPLY), size))) == ITEMS


def test_an_item_is_there_as_soon_as_its_line_has_ended() -> None:
    items = read_reply(iter(["A claim. [loss-zero-sft]", "\nloss-zero-sft#check", " then this", "\nmore"]))
    assert next(items) == Sentence("A claim.", ("loss-zero-sft",))
    assert next(items) == Step("loss-zero-sft#check", None, "then this")


@pytest.mark.parametrize(
    "line",
    [
        "loss-zero-sft#half-precision.1 because",
        "1. loss-zero-sft#half-precision.1 | because",
        "- `loss-zero-sft#half-precision.1`: because",
        "2) [loss-zero-sft#half-precision.1] — because",
        "* **loss-zero-sft#half-precision#1** because",
        "loss-zero-sft#half-precision.1：because",
    ],
)
def test_a_step_may_be_written_in_many_ways(line: str) -> None:
    assert read_line(line) == [Step("loss-zero-sft#half-precision", 1, "because")]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("loss-zero-sft/check_labels.py", {}),
        ("- kbask run loss-zero-sft/check_labels", {}),
        ("`loss-zero-sft/check_labels.py` data=a.jsonl", {"data": "a.jsonl"}),
        ('loss-zero-sft/check_labels data="a b.jsonl" max-length=5', {"data": "a b.jsonl", "max-length": "5"}),
    ],
)
def test_a_run_may_be_written_in_many_ways(line: str, values: dict[str, str]) -> None:
    assert read_line(line) == [Run("loss-zero-sft", "check_labels.py", values, "")]


@pytest.mark.parametrize(
    "line", ["DIAGNOSIS", "**Diagnosis:**", "## Steps", "步骤：", "诊断", "RUN", "", "  ", "```", "```text"]
)
def test_a_heading_says_nothing(line: str) -> None:
    assert read_line(line) == []


def test_a_citation_stands_for_the_claims_before_it() -> None:
    line = "- labels 全是 -100。样本被截断了【loss-zero-sft#labels-masked】[multi-turn-data-format]，其余不清楚。"
    assert read_line(line) == [
        Sentence("labels 全是 -100。", ("loss-zero-sft#labels-masked",)),
        Sentence("样本被截断了", ("loss-zero-sft#labels-masked", "multi-turn-data-format")),
        Sentence("，其余不清楚。", ()),
    ]


def test_a_model_that_loops_is_cut_off() -> None:
    assert len(list(read_reply(["again and again. \n"] * 1000))) == MAX_ITEMS
    endless = list(read_reply("word " for _ in range(100_000)))
    assert len(endless) == MAX_ITEMS
    assert all(isinstance(item, Sentence) and len(item.text) <= MAX_LINE for item in endless)


@given(some.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    for item in read_reply([text]):
        assert isinstance(item, Sentence | Step | Run)


@pytest.mark.parametrize(
    "line", ["[" + "a-b/c.py" * 240 + "!", "[" + "a-b" * 600, "run" + " " * 1900 + "0", "x " * 900, "a-b/c.py=" * 200]
)
def test_a_line_that_can_be_told_in_many_ways_takes_no_time(line: str) -> None:
    assert len(line) <= MAX_LINE
    start = time.perf_counter()
    list(read_reply([line, "\n"]))
    assert time.perf_counter() - start < 1
