"""check_jsonl.py of the entry english-sft-datasets, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/data/english-sft-datasets/check_jsonl.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-E", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=60)


def report(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


def faults(found: dict) -> dict[str, list[int]]:
    return {item["fault"]: item["first"] for item in found["faults"]}


def write(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def alpaca(number: int, output: str = "An answer.") -> dict:
    return {"instruction": f"Question number {number}", "input": "", "output": f"{output} {number}"}


def test_help_shows_an_example() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "example: python check_jsonl.py" in shown.stdout


def test_a_sound_file_is_healthy_and_summed_up(tmp_path: Path) -> None:
    shown = run(write(tmp_path / "d.jsonl", *map(alpaca, range(3))))
    assert shown.returncode == 0
    assert "3 rows of instruction, input, output" in shown.stdout
    assert "No fault found." in shown.stdout


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        ({"instruction": "a", "context": "", "response": "b", "category": "qa"}, "instruction, context, response"),
        ({"prompt": "a", "completion": "b"}, "prompt, completion"),
        ({"system_prompt": "s", "question": "a", "response": "b"}, "question, system_prompt, response"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages (role, content)"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "conversations (from, value)"),
        ({"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}, None),
    ],
)
def test_every_known_layout_is_read(tmp_path: Path, row: dict, layout: str | None) -> None:
    found = report(write(tmp_path / "d.jsonl", row))
    assert list(found["layouts"]) == [layout or "prompt, completion"]
    assert found["problem"] is False


def test_a_json_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps([alpaca(1), alpaca(2)], indent=2), encoding="utf-8")
    assert report(path)["rows"] == 2


def test_broken_lines_do_not_stop_the_rest(tmp_path: Path) -> None:
    found = report(write(tmp_path / "d.jsonl", alpaca(1), '{"instruction": "cut o', alpaca(2), "[1]"))
    assert found["rows"] == 4
    assert faults(found) == {"no valid JSON object": [2, 4]}


def test_empty_answers_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = [alpaca(1), {"instruction": "a", "input": "<noinput>", "output": " "}, {**alpaca(3), "output": "<No Output>"}]
    shown = run(write(tmp_path / "d.jsonl", *rows))
    assert shown.returncode == 1
    assert "FAULT an empty answer: 2 rows (2, 3)" in shown.stdout
    assert "placeholders such as <noinput> stand in the input: 1" in shown.stdout


def test_versions_of_one_set_loaded_together_are_repeats(tmp_path: Path) -> None:
    rows = [alpaca(number) for number in range(10)]
    found = report(write(tmp_path / "d.jsonl", *rows, *rows[:8]))
    assert faults(found)["repeats an earlier row"] == [11, 12, 13, 14, 15]
    assert found["notes"]["rows whose question was asked before"] == 8


def test_a_single_repeat_in_many_rows_is_only_a_note(tmp_path: Path) -> None:
    rows = [alpaca(number) for number in range(200)]
    found = report(write(tmp_path / "d.jsonl", *rows, rows[0]))
    assert found["problem"] is False
    assert found["notes"]["rows repeat an earlier one"] == 1


def test_mixed_layouts_are_a_fault(tmp_path: Path) -> None:
    assert "several layouts in one file" in faults(
        report(write(tmp_path / "d.jsonl", alpaca(1), {"prompt": "a", "response": "b"}))
    )


def test_leftover_identities_are_noted(tmp_path: Path) -> None:
    found = report(write(tmp_path / "d.jsonl", alpaca(1, "As an AI language model, I cannot."), alpaca(2)))
    assert found["notes"] == {"answers name an AI or its maker": 1}


def test_rows_of_the_evaluation_are_found(tmp_path: Path) -> None:
    question = "A train leaves the town at nine and covers sixty miles in an hour and a half before it stops"
    train = write(tmp_path / "d.jsonl", alpaca(1), {"prompt": f"Solve this, please. {question}. How fast?", "response": "40"})
    evaluation = write(tmp_path / "e.jsonl", {"question": f"{question}?", "answer": "40"})
    assert faults(report(train, "--against", evaluation))["shares a run of words with the evaluation file"] == [2]
    assert report(train, "--against", write(tmp_path / "o.jsonl", {"question": "x " * 20, "answer": "y"}))["faults"] == [
        {"fault": "several layouts in one file", "rows": 0, "first": []}
    ]


def test_trees_of_messages_need_threads_first(tmp_path: Path) -> None:
    shown = run(write(tmp_path / "d.jsonl", {"message_id": "1", "parent_id": None, "text": "a", "role": "prompter"}))
    assert shown.returncode == 3
    assert "build the threads first" in shown.stdout


def test_an_unknown_layout_cannot_be_told(tmp_path: Path) -> None:
    assert run(write(tmp_path / "d.jsonl", {"text": "a"})).returncode == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b'[{"instruction": "a"', "cut off"),
        (b"hello\n", "neither JSON Lines"),
        (b"\n", "holds no row"),
    ],
)
def test_a_file_of_another_kind_is_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    shown = run(path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert message in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path / "none.jsonl").returncode == 2


def test_bad_bytes_and_control_characters_are_borne(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31md.jsonl"
    path.write_bytes(json.dumps(alpaca(1)).encode() + b'\n{"instruction": "\xff", "input": "", "output": "b"}\n')
    shown = run(path)
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert "not UTF-8: 1" in shown.stdout
