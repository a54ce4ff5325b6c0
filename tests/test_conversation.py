"""A follow-up keeps the report, and moves on from what was turned down."""

from __future__ import annotations

import time

import pytest

from assistant.answer import Answer
from assistant.conversation import Conversation, Turn
from assistant.rag import answer, question_of
from indexer.entry import LANGUAGES, Language, builtin_folder
from indexer.index import Index
from indexer.query import Query

REPORTS = {
    "a log": "{'loss': 3.84, 'grad_norm': 2.1}\n{'loss': 0.0, 'grad_norm': nan}\n{'loss': 0.0, 'grad_norm': nan}\n",
    "a question": "my two GPUs hang in an all_reduce until the watchdog times out",
    "一个问题": "SFT 训练时 loss 一直是 0",
}
NOT_IT: dict[Language, str] = {"en": "This was not it.", "zh": "不是这个原因。"}
ECC = "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered"


def talk(index: Index, *texts: str, language: Language = "en") -> list[Answer]:
    """The answers to what somebody says, one after the other."""
    turns: tuple[Turn, ...] = ()
    found = []
    for text in texts:
        conversation = Conversation(turns, text)
        found.append(answer(question_of(conversation, index), index, language, conversation=conversation))
        turns = (*turns, Turn(text, found[-1].text))
    return found


def shown(found: Answer) -> str:
    """The cause that an answer shows."""
    return found.citations[0].id


@pytest.mark.parametrize("report", REPORTS.values(), ids=list(REPORTS))
@pytest.mark.parametrize("language", LANGUAGES)
def test_this_was_not_it_goes_through_every_cause_and_then_says_so(index: Index, report: str, language: Language) -> None:
    (first,) = talk(index, report, language=language)
    causes = index.entries[first.hits[0].entry_id].causes(language)
    *found, last = talk(index, report, *[NOT_IT[language]] * len(causes), language=language)
    assert sorted(map(shown, found)) == sorted(f"{first.hits[0].entry_id}#{part.id}" for part in causes)
    assert [block.kind for block in last.blocks] == ["head", "notice", "foot"]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("rank 0 is tokenising the dataset before the first step", "slow-work"),
        ("the shards are uneven, each rank has another number of batches", "uneven-batches"),
    ],
)
def test_what_is_told_later_chooses_the_cause(index: Index, words: str, cause: str) -> None:
    log = (builtin_folder() / "distributed/nccl-watchdog-timeout/samples/torch-2.8-slow-checkpoint.txt").read_text("utf-8")
    assert shown(talk(index, log, NOT_IT["en"], words)[-1]) == f"nccl-watchdog-timeout#{cause}"


def test_a_cause_is_turned_down_in_whichever_language_it_was_shown_and_refused(index: Index) -> None:
    (english,) = talk(index, REPORTS["a log"])
    conversation = Conversation((Turn(REPORTS["a log"], english.text),), NOT_IT["zh"])
    chinese = answer(question_of(conversation, index), index, "zh", conversation=conversation)
    assert shown(chinese) != shown(english)


@pytest.mark.parametrize(
    "words", ["why?", "thanks, solved", "what does grad_norm mean?", "grad_norm is nan from the second step on"]
)
def test_only_turning_it_down_moves_on(index: Index, words: str) -> None:
    first, second = talk(index, REPORTS["a log"], words)
    assert shown(second) == shown(first)


@pytest.mark.parametrize(
    "words",
    [
        "This was not it.",
        "that's not it",
        "No, it didn't help!",
        "What else?",
        "that was not it, what else?",
        "next",
        "不是这个原因。",
        "试过了，没用",
        "还有别的原因吗？",
        "这不是原因，还有什么可能？",
        "好像不是这个问题，还有哪些可能性呢",
        "我都试过了，也不行。其他办法？",
        "It is not that. What other causes are there?",
        "I already tried that, still the same. What else could it be?",
    ],
)
def test_turning_an_answer_down_changes_nothing_of_what_was_reported(words: str) -> None:
    report = REPORTS["a log"]
    turns = (Turn(report, "…"),)
    assert Conversation(turns, words).query() == Query.from_text(report)
    assert Conversation((*turns, Turn(words, "…")), words).query() == Query.from_text(report)
    assert Conversation(turns, words).turned_down == ("…",)


@pytest.mark.parametrize("words", ["thanks", "ok, that was it", "谢谢", "原因是什么", "怎么试"])
def test_what_turns_nothing_down_is_no_rejection(words: str) -> None:
    assert not Conversation((Turn(REPORTS["a log"], "…"),), words).is_rejection


def test_a_phrase_that_can_be_told_in_many_ways_takes_no_time() -> None:
    start = time.perf_counter()
    assert not Conversation((Turn("loss is 0", "…"),), "还有其他原因" * 33 + "x").is_rejection
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "words", ["that is not it, grad_norm is fine", "no luck with bf16", "next step prints nan", "不是这个原因，grad_norm 正常"]
)
def test_turning_an_answer_down_with_a_reason_is_heard(words: str) -> None:
    assert Conversation((Turn(REPORTS["a log"], "…"),), words).query().sentence == words


def test_a_new_log_is_a_new_report_for_all_that_follows(index: Index) -> None:
    found = talk(index, REPORTS["a question"], ECC, NOT_IT["en"], "it is an A100")
    assert {one.hits[0].entry_id for one in found[1:]} == {"cuda-ecc-uncorrectable"}


def test_a_question_about_another_problem_is_answered(index: Index) -> None:
    found = talk(index, ECC, "and the loss is zero during sft")
    assert [one.hits[0].entry_id for one in found] == ["cuda-ecc-uncorrectable", "loss-zero-sft"]


def test_a_cause_that_is_only_named_among_others_was_not_tried(index: Index) -> None:
    entry = index.entries["loss-zero-sft"]
    first, second = entry.causes("en")[:2]
    composed = f"## {first.heading}\nIts first words.\n\n**Other causes**\n- {second.heading}"
    written = f"It is masked. [{entry.id}#{second.id}]"
    assert Conversation((Turn("loss is 0", composed),), "next").tried(entry) == {first.id}
    assert Conversation((Turn("loss is 0", written),), "next").tried(entry) == {second.id}
    assert Conversation((Turn("loss is 0", written),), "why?").tried(entry) == set()


def test_nothing_said_before_is_no_conversation() -> None:
    assert Conversation((), "loss is zero").query() == Query.from_text("loss is zero")
    assert not Conversation((), "next").is_rejection
