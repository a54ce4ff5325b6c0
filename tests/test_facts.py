"""What several lines say together, or one says in words, as a line that signatures can name."""

from __future__ import annotations

import pytest

from indexer.facts import loop_lines, said_lines
from indexer.query import Query
from indexer.reading import RawLine


def facts(text: str) -> list[str]:
    return [line.text for line in Query.from_text(text).lines if line.text.startswith(("metrics: ", "text: ", "said: "))]


def reports(*losses: str, rate: str = "1.9e-05") -> str:
    return "\n".join(f"{{'loss': {loss}, 'learning_rate': {rate}, 'epoch': {n / 10}}}" for n, loss in enumerate(losses, 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (reports("2.31", "0.0", "0.0", "0.0"), ["metrics: loss 0 in the last 3 of 4 reports"]),
        (reports("2.31", "0.0", "1.98", "0.0", "1.7"), ["metrics: loss 0 in 2 of 5 reports"]),
        (reports("2.31", "1.9"), []),
        ("{'loss': '0', 'grad_norm': 'nan', 'learning_rate': '1e-05', 'epoch': '1'}", [
            "metrics: loss 0 in the last 1 of 1 reports, grad_norm nan",
            "metrics: grad_norm nan in the last 1 of 1 reports, loss 0",
        ]),
        ("[2024-05-01 10:00:00,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=0, lr=[0.0, 0.0], mom=[(0.9, 0.95)]",
         ["metrics: learning_rate 0 in the last 1 of 1 reports"]),
        ("iteration 100/ 5000 | lm loss: 0.000000E+00 | grad norm: 0.000\niteration 200/ 5000 | lm loss: 0.000000E+00 | grad norm: 0.000",
         ["metrics: loss 0 in the last 2 of 2 reports, grad_norm 0.000",
          "metrics: grad_norm 0 in the last 2 of 2 reports, loss 0.000000e+00"]),
    ],
)  # fmt: skip
def test_reports_of_metrics_are_read_together(text: str, found: list[str]) -> None:
    assert facts(text) == found


def test_a_report_that_each_rank_prints_counts_once() -> None:
    lines = reports("2.31", "0.0", "0.0").split("\n")
    text = "\n".join(f"[rank{rank}]: {line}" for line in lines for rank in range(8))
    assert facts(text) == ["metrics: loss 0 in the last 2 of 3 reports"]


@pytest.mark.parametrize(
    "text",
    [
        "{'loss': 0.0, 'reward': 0.4, 'kl': 0.0, 'learning_rate': 1e-06}",
        "782/782 - 7s - accuracy: 1.0000 - loss: 0.0000e+00 - learning_rate: 1.0e-03",
        "{'eval_loss': 0.0, 'eval_runtime': 3.1}",
    ],
    ids=["a policy", "a classifier", "an evaluation"],
)
def test_a_loss_of_another_kind_is_not_the_training_loss(text: str) -> None:
    assert not any(fact.startswith("metrics: loss") for fact in facts(f"Traceback (most recent call last):\n{text}\n{text}"))


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Loss 0 while lr goes on as planned", ["said: loss 0"]),
        ("learning rate is 0 but the loss is fine", ["said: learning_rate 0"]),
        ("学习率掉到 0 之后不动了，loss 也不降", ["said: learning_rate 0"]),
        ("lr too high so loss becomes 0.0", ["said: loss 0"]),
        ("loss does not go to zero", []),
        ("loss 从 0.9 降到 0.3", []),
    ],
)
def test_the_subject_of_zero_is_told(sentence: str, found: list[str]) -> None:
    assert [line.text for line in said_lines(sentence)] == found


def test_text_that_repeats_itself_is_seen() -> None:
    assert [line.text for line in loop_lines([RawLine("Yes. " + "the order is on its way. " * 9, 4)])] == [
        'text: 9 times "the order is on its way. "'
    ]


@pytest.mark.parametrize("text", ["=" * 300, "ab" * 300, "no phrase of this sentence is ever repeated, however long it gets"])
def test_what_does_not_repeat_words_is_no_loop(text: str) -> None:
    assert list(loop_lines([RawLine(text, 1)])) == []
