"""A model explains and chooses; commands come from the entries, and what no entry bears out is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from assistant.answer import Answer
from assistant.generation import estimate_tokens
from assistant.rag import write
from assistant.written import with_values
from indexer.entry import LANGUAGES, Language
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


def drained(blocks: Iterator[str]) -> tuple[list[str], Answer]:
    shown = []
    while True:
        try:
            shown.append(next(blocks))
        except StopIteration as end:
            return shown, end.value


@pytest.mark.parametrize("language", LANGUAGES)
def test_steps_and_commands_are_printed_from_the_entry(index: Index, language: Language) -> None:
    shown, answer = drained(write(Query.from_text(LOG), index, language, Replay(GOOD[language])))
    part = index.entries["loss-zero-sft"].part("half-precision", language)
    assert shown[0].startswith("# ")
    assert part.steps[0] in answer.text
    assert part.steps[1] in answer.text
    assert "kbask run loss-zero-sft -- --tokenizer ./model --data train.jsonl" in answer.text
    assert answer.text == "\n\n".join(shown)
    assert [citation.id for citation in answer.citations][:1] == ["loss-zero-sft#half-precision"]
    assert [call.snippet.file for call in answer.snippets] == ["check_labels.py"]


@pytest.mark.parametrize("reply", [BAD, "", "blah " * 5000, "I cannot help with that.", "DIAGNOSIS\nSTEPS\nRUN\n"])
def test_what_no_entry_bears_out_is_not_shown_and_the_entrys_own_answer_is(index: Index, reply: str) -> None:
    shown, answer = drained(write(Query.from_text(LOG), index, "en", Replay(reply)))
    text = "\n".join(shown)
    assert "magic-fix" not in text
    assert "evil.example" not in text
    assert "rm_everything" not in text
    assert answer.answered
    assert answer.text in text
    assert "Show the NaN" in answer.text


def test_an_answer_of_good_and_bad_shows_the_good_and_says_so(index: Index) -> None:
    _, answer = drained(write(Query.from_text(LOG), index, "en", Replay(GOOD["en"] + BAD)))
    assert "Half precision overflowed" in answer.text
    assert "magic-fix" not in answer.text
    assert "Left out of what the model wrote" in answer.text


def test_weak_evidence_asks_no_model(index: Index) -> None:
    model = Replay(GOOD["en"])
    _, answer = drained(write(Query.from_text("how do I bake bread?"), index, "en", model))
    assert not answer.answered
    assert model.sent == []


def test_another_host_is_not_told_whose_paste_it_is(index: Index) -> None:
    model = Replay(GOOD["en"], is_local=False)
    drained(
        write(
            Query.from_text(LOG + 'File "/home/u1/work/train.py", line 3, in main\nhf_abcdefghijklmnopqrstuvwxyzABCDEFGH'),
            index,
            "en",
            model,
        )
    )
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
