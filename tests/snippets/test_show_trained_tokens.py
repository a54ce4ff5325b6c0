"""show_trained_tokens.py of the entry multi-turn-data-format, run as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/data/multi-turn-data-format/show_trained_tokens.py"
PLAIN = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
MARKED = (
    "{% for message in messages %}<{{ message['role'] }}> {% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }} <end> {% endgeneration %}"
    "{% else %}{{ message['content'] }} <end> {% endif %}{% endfor %}"
)
END_OUTSIDE = MARKED.replace("<end> {% endgeneration %}", "{% endgeneration %}<end> ")
FORGETS_THINKING = (
    "{% for message in messages %}<{{ message['role'] }}> "
    "{% if message['role'] == 'assistant' and loop.last %}think {% endif %}{{ message['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
STRICT = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}" + PLAIN


def run(*arguments: object, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the script; isolated means a Python that sees no installed package."""
    command = [sys.executable, *(["-S", "-E"] if isolated else []), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def report(*arguments: object, isolated: bool = True) -> dict:
    return json.loads(run(*arguments, "--json", isolated=isolated).stdout)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def dialogue(*contents: str, first: str = "user") -> dict:
    other = {"user": "assistant", "assistant": "user"}
    roles = [first if number % 2 == 0 else other[first] for number in range(len(contents))]
    return {"messages": [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]}


def faults(found: dict) -> str:
    return "; ".join(item["fault"] for item in found["faults"])


TWO_ROUNDS = dialogue("w1 w2", "w3", "w4", "w5 w6")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with one word-level tokenizer and different chat templates."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<begin>", "<end>", "<user>", "<assistant>", "<system>", "think", *(f"w{number}" for number in range(30))]
    tokenizer = Tokenizer(kinds.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("models")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<begin>", eos_token="<end>")
    for name, template in {
        "plain": PLAIN,
        "marked": MARKED,
        "end_outside": END_OUTSIDE,
        "forgets": FORGETS_THINKING,
        "strict": STRICT,
        "none": None,
    }.items():
        fast.chat_template = template
        fast.save_pretrained(folder / name)
    return folder


def trained_text(found: dict) -> list[str]:
    row = found["row"]
    return [token for token, label in zip(row["tokens"], row["labels"], strict=True) if label != -100]


def test_help_shows_an_example() -> None:
    shown = run("--help", isolated=True)
    assert shown.returncode == 0
    assert "example: python show_trained_tokens.py" in shown.stdout


def test_a_sound_file_is_healthy_without_any_package(tmp_path: Path) -> None:
    shown = run("--data", write(tmp_path / "d.jsonl", TWO_ROUNDS), isolated=True)
    assert shown.returncode == 0
    assert "1 dialogues, 2 answers" in shown.stdout
    assert "No fault found." in shown.stdout


def test_faults_of_order_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = [
        TWO_ROUNDS,
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": "c"},
            ]
        },
        dialogue("a", "b", "c"),
        dialogue("a", "b", first="assistant"),
        dialogue("a", ""),
        {"messages": [{"role": "narrator", "content": "a"}, *dialogue("b", "c")["messages"]]},
        {"messages": [*dialogue("b", "c")["messages"], {"role": "system", "content": "late"}]},
    ]
    shown = run("--data", write(tmp_path / "d.jsonl", *rows), isolated=True)
    assert shown.returncode == 1
    for line in (
        "1: two user messages in a row (rows 2)",
        "2: ends with the user: nothing after the last answer is trained (rows 3, 4)",
        "1: begins with the assistant (rows 4)",
        "1: an empty answer (rows 5)",
        "1: unknown role 'narrator' (rows 6)",
        "1: a system message that is not the first (rows 7)",
    ):
        assert line in shown.stdout


def test_a_call_of_a_tool_is_no_fault(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    turns = [{"role": "user", "content": "w"}, call, {"role": "tool", "content": "{}"}, {"role": "assistant", "content": "x"}]
    assert report("--data", write(tmp_path / "d.jsonl", {"messages": turns}))["faults"] == []


def test_rows_that_grow_by_a_round_are_found(tmp_path: Path) -> None:
    rows = [dialogue("a", "b"), dialogue("a", "b", "c", "d"), dialogue("x", "y")]
    found = report("--data", write(tmp_path / "d.jsonl", *rows))
    assert found["faults"][0]["first"] == [2]
    assert "repeats the row before it" in faults(found)


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"conversation": [{"human": "a", "assistant": "b"}]},
        {"instruction": "a", "input": "", "output": "b", "history": []},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    ],
)
def test_every_known_layout_is_read(tmp_path: Path, row: dict) -> None:
    found = report("--data", write(tmp_path / "d.jsonl", row))
    assert (found["answers"], found["problem"]) == (1, False)


def test_history_counts_as_answers(tmp_path: Path) -> None:
    row = {"instruction": "c", "output": "d", "history": [["a", "b"]]}
    assert report("--data", write(tmp_path / "d.jsonl", row))["answers"] == 2


def test_role_names_of_sharegpt_are_noted(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    shown = run("--data", write(tmp_path / "d.jsonl", row), isolated=True)
    assert "role names gpt, human" in shown.stdout
    assert shown.returncode == 0


@pytest.mark.parametrize("template", ["plain", "marked"])
def test_both_answers_are_trained_with_their_ends(models: Path, tmp_path: Path, template: str) -> None:
    found = report("--data", write(tmp_path / "d.jsonl", TWO_ROUNDS), "--tokenizer", models / template, isolated=False)
    assert trained_text(found) == ["w3", "<end>", "w5", "w6", "<end>"]
    assert found["problem"] is False
    assert found["generation_markers"] is (template == "marked")


def test_the_layout_of_the_seed_is_built(models: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", TWO_ROUNDS)
    found = report("--data", data, "--tokenizer", models / "none", "--layout", "firefly", isolated=False)
    wanted = "<begin> w1 w2 <end> w3 <end> w4 <end> w5 w6 <end>"
    assert " ".join(found["row"]["tokens"]) == wanted
    assert trained_text(found) == ["w3", "<end>", "w5", "w6", "<end>"]


def test_trained_tokens_are_marked_on_the_screen(models: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", TWO_ROUNDS)
    shown = run("--data", data, "--tokenizer", models / "marked", "--max-length", 10)
    assert shown.returncode == 1
    assert "later answers are lost beyond max_length 10" in shown.stdout
    assert "  TRAINED | w3\u00b7<end>" in shown.stdout
    assert "  CUT OFF | <assistant>\u00b7w5\u00b7w6\u00b7<end>" in shown.stdout


def test_truncation_is_told_by_what_it_takes(models: Path, tmp_path: Path) -> None:
    three_rounds = dialogue("w1", "w2", "w3", "w4", "w5", "w6")
    data = write(tmp_path / "d.jsonl", TWO_ROUNDS, dialogue("w1 " * 12, "w2"), three_rounds)
    found = report("--data", data, "--tokenizer", models / "marked", "--max-length", 13, isolated=False)
    rows = {item["fault"]: item["first"] for item in found["faults"]}
    assert rows == {
        "the last answer is cut at max_length 13, its end token lost": [1],
        "no answer is left within max_length 13": [2],
        "later answers are lost beyond max_length 13": [3],
    }


def test_an_end_outside_the_loss_is_a_fault(models: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", TWO_ROUNDS)
    found = report("--data", data, "--tokenizer", models / "end_outside", isolated=False)
    assert faults(found) == "no end token is trained after an answer"


def test_a_template_that_drops_thinking_is_noticed(models: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", TWO_ROUNDS)
    found = report("--data", data, "--tokenizer", models / "forgets", isolated=False)
    assert "rendered otherwise once a turn follows" in faults(found)


def test_a_refusal_of_the_template_is_reported_and_the_rest_read(models: Path, tmp_path: Path) -> None:
    row = {"messages": [{"role": "system", "content": "w9"}, *TWO_ROUNDS["messages"]]}
    found = report("--data", write(tmp_path / "d.jsonl", row, TWO_ROUNDS), "--tokenizer", models / "strict", isolated=False)
    assert faults(found) == "the chat template refuses it (roles must alternate)"
    assert found["faults"][0]["first"] == [1]


def test_without_a_template_nothing_can_be_told(models: Path, tmp_path: Path) -> None:
    shown = run("--data", write(tmp_path / "d.jsonl", TWO_ROUNDS), "--tokenizer", models / "none")
    assert (shown.returncode, shown.stdout) == (3, "")
    assert "no chat template" in shown.stderr


def test_without_the_package_tokens_cannot_be_shown(tmp_path: Path) -> None:
    shown = run("--data", write(tmp_path / "d.jsonl", TWO_ROUNDS), "--tokenizer", tmp_path, isolated=True)
    assert shown.returncode == 3
    assert "pip install transformers" in shown.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"messages": [', "neither JSON Lines nor a JSON array"),
        (b'{"text": "a"}\n', "no dialogue in a known layout"),
        (b'{"messages": ["a"]}\n', "no dialogue in a known layout"),
        (b"[1]", "no dialogue in a known layout"),
        (b"\n", "holds no dialogue"),
        (b"\xff\xfe\x00", "neither JSON Lines"),
    ],
)
def test_a_broken_file_is_wrong_usage_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    shown = run("--data", path, isolated=True)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert message in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    assert run("--data", tmp_path / "none.jsonl", isolated=True).returncode == 2


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    row = {"messages": [{"role": "\x1b[31mred", "content": "a"}]}
    shown = run("--data", write(tmp_path / "d.jsonl", row), isolated=True)
    assert "\x1b" not in shown.stdout
    assert shown.returncode == 1
