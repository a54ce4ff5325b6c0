"""A follow-up keeps the report, and moves on from what was tried."""

from __future__ import annotations

import pytest

from assistant.conversation import Turn, tried, whole_query
from assistant.rag import answer
from indexer.entry import LANGUAGES, Language
from indexer.index import Index

REPORTS = {
    "a log": "{'loss': 3.84, 'grad_norm': 2.1}\n{'loss': 0.0, 'grad_norm': nan}\n{'loss': 0.0, 'grad_norm': nan}\n",
    "a question": "my two GPUs hang in an all_reduce until the watchdog times out",
    "一个问题": "SFT 训练时 loss 一直是 0",
}
NOT_IT: dict[Language, str] = {"en": "This was not it.", "zh": "不是这个原因。"}


@pytest.mark.parametrize("report", REPORTS.values(), ids=list(REPORTS))
@pytest.mark.parametrize("language", LANGUAGES)
def test_this_was_not_it_goes_through_every_cause_and_then_says_so(index: Index, report: str, language: Language) -> None:
    conversation: list[Turn] = []
    text = report
    shown: list[str] = []
    first = answer(whole_query(report), index, language)
    causes = index.entries[first.hits[0].entry_id].causes(language)
    for _ in causes:
        found = answer(whole_query(text, conversation), index, language, conversation=conversation)
        assert found.hits[0].entry_id == first.hits[0].entry_id
        shown.append(found.citations[0].id)
        conversation.append(Turn(text, found.text))
        text = NOT_IT[language]
    assert sorted(shown) == sorted(f"{first.hits[0].entry_id}#{part.id}" for part in causes)
    last = answer(whole_query(text, conversation), index, language, conversation=conversation)
    assert [block.kind for block in last.blocks[:2]] == ["head", "notice"]


@pytest.mark.parametrize(
    "words",
    [
        "This was not it.",
        "that's not it",
        "No, it didn't help!",
        "What else?",
        "next",
        "不是这个原因。",
        "试过了，没用",
        "还有别的原因吗？",
    ],
)
def test_turning_an_answer_down_changes_nothing_of_what_was_reported(words: str) -> None:
    report = REPORTS["a log"]
    assert whole_query(words, [Turn(report, "…")]) == whole_query(report)
    assert whole_query(words, [Turn(report, "…"), Turn(words, "…")]) == whole_query(report)


@pytest.mark.parametrize(
    "words", ["that is not it, grad_norm is fine", "no luck with bf16", "next step prints nan", "不是这个原因，grad_norm 正常"]
)
def test_turning_an_answer_down_with_a_reason_is_heard(words: str) -> None:
    assert whole_query(words, [Turn(REPORTS["a log"], "…")]).sentence == words


def test_a_new_log_is_a_new_report(index: Index) -> None:
    conversation = [Turn(REPORTS["a question"], "…")]
    ecc = "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered"
    found = answer(whole_query(ecc, conversation), index, "en", conversation=conversation)
    assert found.hits[0].entry_id == "cuda-ecc-uncorrectable"


def test_a_cause_that_is_only_named_among_others_was_not_tried(index: Index) -> None:
    entry = index.entries["loss-zero-sft"]
    first, second = entry.causes("en")[:2]
    composed = f"## {first.heading}\nIts first words.\n\n**Other causes**\n- {second.heading}"
    assert tried([Turn("loss is 0", composed)], entry, "en") == {first.id}
    assert tried([Turn("loss is 0", f"It is masked. [{entry.id}#{second.id}]")], entry, "en") == {second.id}


def test_nothing_said_before_is_no_conversation() -> None:
    assert whole_query("loss is zero", []) == whole_query("loss is zero")
