"""A model explains and chooses; commands come from the entries, and what no entry bears out is not shown."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from assistant.answer import Answer, Block
from assistant.conversation import Conversation, Turn
from assistant.generation import estimate_tokens
from assistant.rag import NOTHING_BEFORE, answer, write
from assistant.written import with_values
from indexer.entry import LANGUAGES, Language
from indexer.errors import GenerationError
from indexer.index import Index
from indexer.query import Query

LOG = """{'loss': 3.84, 'grad_norm': 2.1, 'learning_rate': 1.96e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.92e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.88e-05}
data file: train.jsonl, model at ./model
"""
GOOD: dict[Language, str] = {
    "en": """DIAGNOSIS
Half precision overflowed: grad_norm is nan from the second report on. [loss-zero-sft#half-precision]
STEPS
loss-zero-sft#half-precision.1 It shows whether the zeros are NaN.
loss-zero-sft#half-precision.2 The weights may be ruined already.
RUN
loss-zero-sft/check_labels.py data=train.jsonl It counts the trained tokens of each sample.
""",
    "zh": """DIAGNOSIS
半精度溢出了：从第二次打印起 grad_norm 就是 nan。[loss-zero-sft#half-precision]
STEPS
loss-zero-sft#half-precision.1 先看清楚这些 0 是不是 NaN。
loss-zero-sft#half-precision.2 权重可能已经坏了。
RUN
loss-zero-sft/check_labels.py data=train.jsonl 统计每条样本有多少 token 参与训练。
""",
}
BAD = """DIAGNOSIS
Run `pip install magic-fix==9.9` and all is well. [loss-zero-sft#half-precision]
It is solved at https://evil.example/fix [loss-zero-sft#half-precision]
A claim without anything behind it.
STEPS
loss-zero-sft#no-such-part.1 Because.
never-heard-of#cause.1 Because.
RUN
loss-zero-sft/rm_everything.py Because.
"""


@dataclass
class Replay:
    """A model that writes what it was given, piece by piece, and remembers what it was sent."""

    reply: str
    is_local: bool = True
    name: str = "replay"
    context: int = 16_000
    sent: list[Mapping[str, str]] = field(default_factory=list)

    def stream(self, messages: Sequence[Mapping[str, str]], max_tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        self.sent += messages
        for start in range(0, len(self.reply), 7):
            yield self.reply[start : start + 7]

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)


def written(
    index: Index,
    model: Replay | None,
    language: Language = "en",
    text: str = LOG,
    conversation: Conversation = NOTHING_BEFORE,
) -> tuple[list[Block], Answer]:
    """The blocks of an answer in the order in which they came, and the answer."""
    return drained(write(Query.from_text(text), index, language, (lambda: model) if model else None, 5, "short", conversation))


def drained(blocks: Generator[Block, None, Answer]) -> tuple[list[Block], Answer]:
    shown = []
    while True:
        try:
            shown.append(next(blocks))
        except StopIteration as end:
            return shown, end.value


@pytest.mark.parametrize("language", LANGUAGES)
def test_steps_and_commands_are_printed_from_the_entry(index: Index, language: Language) -> None:
    shown, found = written(index, Replay(GOOD[language]), language)
    part = index.entries["loss-zero-sft"].part("half-precision", language)
    assert [block.kind for block in shown] == ["head", "claim", "step", "step", "run", "foot"]
    assert shown[2].text.startswith(f"1. {part.steps[0]}\n")
    assert shown[3].text.startswith(f"2. {part.steps[1]}\n")
    assert "kbask run loss-zero-sft -- --tokenizer ./model --data train.jsonl" in shown[4].text
    assert found.blocks == tuple(shown)
    assert found.model == "replay"
    assert "replay" in shown[5].text
    assert [citation.id for citation in found.citations][:1] == ["loss-zero-sft#half-precision"]
    assert [call.snippet.file for call in found.snippets] == ["check_labels.py"]


def test_a_part_after_its_steps_repeats_none_of_them(index: Index) -> None:
    reply = GOOD["en"].replace("RUN\n", "loss-zero-sft#half-precision All of it.\nloss-zero-sft#half-precision.1 Again.\nRUN\n")
    _, found = written(index, Replay(reply))
    for step in index.entries["loss-zero-sft"].part("half-precision", "en").steps:
        assert found.text.count(step) == 1


def test_the_head_is_there_before_the_model_is_asked_for(index: Index) -> None:
    blocks = write(Query.from_text(LOG), index, "en", lambda: pytest.fail("asked for too early"))
    head = next(blocks)
    assert head.kind == "head"
    assert "**First:** Show the NaN" in head.text
    blocks.close()


@pytest.mark.parametrize("reply", [BAD, "", "blah " * 5000, "I cannot help with that.", "DIAGNOSIS\nSTEPS\nRUN\n"])
def test_what_no_entry_bears_out_is_not_shown_and_the_entrys_own_answer_is(index: Index, reply: str) -> None:
    shown, found = written(index, Replay(reply))
    text = "\n".join(block.text for block in shown)
    assert "magic-fix" not in text
    assert "evil.example" not in text
    assert "rm_everything" not in text
    assert found.answered
    assert found.model is None
    assert "Too little of what replay wrote holds" in text
    assert set(composed(index).blocks[1:]) <= set(shown)


def composed(index: Index) -> Answer:
    return written(index, None)[1]


def test_without_a_model_the_blocks_are_those_of_the_composed_answer(index: Index) -> None:
    shown, found = written(index, None)
    assert found.blocks == tuple(shown)
    assert found == answer(Query.from_text(LOG), index, "en")


def test_a_model_that_cannot_be_had_is_told_in_a_line_and_the_entrys_own_answer_follows(index: Index) -> None:
    def none_there() -> Replay:
        raise GenerationError("No model answers at nowhere. Start it")

    shown, found = drained(write(Query.from_text(LOG), index, "en", none_there))
    assert [block.kind for block in shown[:2]] == ["head", "notice"]
    assert shown[1].text == "No model wrote this: No model answers at nowhere. Start it"
    assert tuple(shown[2:]) == composed(index).blocks[1:]
    assert found.model is None


def test_a_model_that_breaks_off_is_told_and_what_had_passed_stays(index: Index) -> None:
    class Broken(Replay):
        def stream(self, messages: Sequence[Mapping[str, str]], max_tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
            yield from super().stream(messages, max_tokens, stop)
            raise GenerationError("it went silent")

    shown, found = written(index, Broken(GOOD["en"]))
    assert "The model broke off: it went silent" in [block.text for block in shown if block.kind == "notice"]
    assert found.model == "replay"
    shown, found = written(index, Broken(GOOD["en"].partition("STEPS")[0]))
    assert found.model is None
    assert shown[1].kind == "claim"
    assert set(composed(index).blocks[1:]) <= set(shown)


def test_a_reply_that_is_cut_off_in_the_middle_ends_before_it(index: Index) -> None:
    whole, _, _ = GOOD["en"].partition("loss-zero-sft#half-precision.2")
    _, found = written(index, Replay(whole + "loss-zero-sft#half-precision.2 The weights may"))
    assert "The weights may" not in found.text
    _, found = written(index, Replay(whole + "loss-zero-sft#half-precision.2"))
    assert index.entries["loss-zero-sft"].part("half-precision", "en").steps[1] in found.text


@pytest.mark.parametrize("reply", ["DIAGNOSIS\nNO ENTRY FITS", "DIAGNOSIS\n**NO ENTRY FITS**\n", "诊断\n没有合适的条目。\n"])
def test_a_model_may_find_that_no_entry_fits(index: Index, reply: str) -> None:
    shown, found = written(index, Replay(reply))
    assert "finds that this entry does not fit" in shown[1].text
    assert set(composed(index).blocks[1:]) <= set(shown)
    assert found.model is None


def test_what_was_turned_down_is_not_pointed_to_again(index: Index) -> None:
    first = composed(index)
    conversation = Conversation((Turn(LOG, first.text),), "that was not it")
    _, found = written(index, Replay(GOOD["en"]), conversation=conversation)
    part = index.entries["loss-zero-sft"].part("half-precision", "en")
    assert part.steps[0] not in found.text
    model = Replay(GOOD["en"])
    turns = tuple(Turn("next", f"## {cause.heading}\n") for cause in index.entries["loss-zero-sft"].causes("en"))
    _, found = written(index, model, conversation=Conversation((Turn(LOG, ""), *turns), "next"))
    assert [block.kind for block in found.blocks] == ["head", "notice", "foot"]
    assert model.sent == []


def test_no_more_sentences_are_shown_than_a_diagnosis_has(index: Index) -> None:
    many = "".join(f"Half precision overflowed: grad_norm is nan. {n}\n" for n in range(1))
    claim = "Half precision overflowed: grad_norm is nan from the second report on. [loss-zero-sft#half-precision]\n"
    reply = "DIAGNOSIS\n" + "".join(claim.replace("the second report", f"report {n}") for n in range(2, 9)) + many
    shown, _ = written(index, Replay(reply + GOOD["en"].partition("\n")[2].partition("\n")[2]))
    assert sum(block.kind == "claim" for block in shown) <= 5


def test_a_context_that_holds_no_entry_asks_nothing(index: Index) -> None:
    model = Replay(GOOD["en"], context=1200)
    shown, _ = written(index, model)
    assert "no room for an entry" in shown[1].text
    assert model.sent == []


def test_an_answer_of_good_and_bad_shows_the_good_and_says_so(index: Index) -> None:
    _, found = written(index, Replay(GOOD["en"] + BAD))
    assert "Half precision overflowed" in found.text
    assert "magic-fix" not in found.text
    assert "Left out of what the model wrote" in found.text


def test_weak_evidence_asks_no_model(index: Index) -> None:
    model = Replay(GOOD["en"])
    _, found = written(index, model, text="how do I bake bread?")
    assert not found.answered
    assert model.sent == []


def test_another_host_is_not_told_whose_paste_it_is(index: Index) -> None:
    model = Replay(GOOD["en"], is_local=False)
    secrets = 'File "/home/u1/work/train.py", line 3, in main\nhf_abcdefghijklmnopqrstuvwxyzABCDEFGH'
    written(index, model, text=LOG + secrets)
    sent = "\n".join(message["content"] for message in model.sent)
    assert "/home/u1" not in sent
    assert "hf_abcdefghij" not in sent
    assert "grad_norm" in sent


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ({"data": "a.jsonl"}, "kbask run x -- --data a.jsonl --max-length 2048"),
        ({"max_length": "512"}, "kbask run x -- --data train.jsonl --max-length 512"),
        ({"data": "a b; rm -rf /"}, "kbask run x -- --data 'a b; rm -rf /' --max-length 2048"),
        ({"new": "1"}, "kbask run x -- --data train.jsonl --max-length 2048"),
    ],
)
def test_values_go_into_options_that_are_there_and_nowhere_else(values: dict[str, str], command: str) -> None:
    assert with_values("kbask run x -- --data train.jsonl --max-length 2048", values) == command
