"""check_outputs.py of the entry post-sft-bad-cases, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/after-training/post-sft-bad-cases/check_outputs.py"
ENGLISH = (
    "Ports are busy when ships arrive early. Cranes lift one box after another onto the quay, and lorries take them inland."
)
CHINESE = "港口是贸易的重要节点，承担货物装卸的功能，对城市的经济有很大作用。"


def run(*arguments: object, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the script; isolated means a Python that sees no installed package."""
    command = [sys.executable, *(["-S", "-E"] if isolated else []), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=60)


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def faults(path: Path, rows: list[Any], *arguments: object) -> dict[str, list[int]]:
    """Each fault found, with the numbers of its rows."""
    report = json.loads(run(write(path / "outputs.jsonl", rows), *arguments, "--json").stdout)
    return {item["fault"]: [example["row"] for example in item["examples"]] for item in report["faults"]}


def test_good_outputs_of_many_kinds_show_no_finding(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Why are ports busy?", "output": ENGLISH, "finish_reason": "stop"},
        {"prompt": "港口有什么作用？", "output": CHINESE, "finish_reason": "stop"},
        {
            "prompt": "用 PyTorch 写一个例子",
            "output": "用 `import torch` 即可：\n```python\nimport torch\n```\n运行后没有输出。",
        },
        {"prompt": "Name a colour.", "output": "Red"},
        {"prompt": "List what a port has.", "output": "It has many things. For example:\n- cranes\n- boats"},
        {"prompt": "Give me JSON.", "output": '{"port": "busy", "cranes": [1, 2]}'},
        {
            "prompt": "日本の港について教えて",
            "output": "日本の港は貿易にとって重要です。横浜や神戸などが有名で、コンテナを扱います。",
        },
        {"prompt": "What does </s> mean?", "output": "The mark </s> ends a sequence in some tokenizers."},
    ]
    result = run(write(tmp_path / "outputs.jsonl", rows), isolated=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "8 outputs, 8 without a finding" in result.stdout


def test_answers_that_break_off_are_told_apart_by_why_they_ended(tmp_path: Path) -> None:
    cut = ENGLISH + " In winter the harbour"
    rows = [
        {"output": cut, "finish_reason": "length"},
        {"output": cut, "finish_reason": "stop"},
        {"output": cut},
        {"output": "综上所述,各方对香港促进股票市场流动性专责小组成立持不同的看法,但普遍认为这", "finish_reason": "stop"},
    ]
    assert faults(tmp_path, rows) == {"ended itself early": [2, 4], "at the limit": [1], "seems cut off": [3]}


@pytest.mark.parametrize("text", ["Use this.\n```python\nprint(1)", "<think>The port is big", '{"port": "busy", "cranes": [1,'])
def test_a_block_left_open_is_found(tmp_path: Path, text: str) -> None:
    assert "unclosed block" in faults(tmp_path, [{"output": text}])


def test_template_marks_are_counted_by_mark_and_own_marks_can_be_given(tmp_path: Path) -> None:
    rows = [
        {"output": "Red.\n\n### Instruction:\nName another colour.\n\n### Response:\nBlue."},
        {"output": "Red.</s>"},
        {"output": "Red.<|im_end|>\n<|im_start|>user"},
        {"output": "Red. <END>"},
        {"output": "### Ports\n\nA heading is no mark."},
    ]
    file = write(tmp_path / "outputs.jsonl", rows)
    report = json.loads(run(file, "--mark", "<END>", "--json").stdout)
    assert report["faults"][0]["rows"] == 4
    assert report["marks"]["### Instruction:"] == report["marks"]["</s>"] == report["marks"]["<END>"] == 1
    assert "found: " in run(file).stdout


def test_mixed_and_wrong_languages_are_found_against_the_prompt(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "港口有什么作用？请介绍一下",
            "output": "港口是 trade 的重要节点，承担货物装卸和 logistics 的功能，对城市经济作用很大。",
        },
        {
            "prompt": "请解释 trade 和 logistics 的区别",
            "output": "港口里的 trade 是指买卖，而 logistics 是指货物的运输，两者并不相同。",
        },
        {
            "prompt": "Why are ports busy?",
            "output": "Ports are busy because many ships 到港 every day, and 货物 must be moved on.",
        },
        {"prompt": "Explain what a port is.", "output": CHINESE},
    ]
    assert faults(tmp_path, rows) == {"mixed languages": [1, 3], "other language": [4]}


def test_empty_looping_broken_and_echoing_outputs_are_found(tmp_path: Path) -> None:
    prompt = "Write one sentence about the weather in a port."
    rows = [
        {"output": "  \n"},
        {"output": "Thanks for sharing this post. " * 20},
        {"output": "结果是\ufffd\ufffd。"},
        {"prompt": prompt, "output": prompt + " It rains."},
    ]
    expected = {"empty": [1], "repetition": [2], "broken characters": [3], "prompt repeated": [4]}
    assert faults(tmp_path, rows) == expected


def test_answers_are_held_against_the_passages(tmp_path: Path) -> None:
    passages = ["The fee for a berth is 120 dollars a day.", {"text": "Ships above 200 metres pay double."}]
    unused = "Harbours ask whatever sum seems right, I believe, since every captain must negotiate with local officials over "
    unused += "a cup of tea first."
    rows = [
        {"question": "What is the fee?", "context": passages[0], "output": "A berth costs 120 dollars a day."},
        {"question": "What is the fee?", "documents": passages, "output": "The fee for a berth is 450 dollars a day."},
        {
            "question": "What is the fee?",
            "passages": passages,
            "output": unused,
        },
    ]
    assert faults(tmp_path, rows) == {"figures not in context": [2], "context unused": [3]}


def test_chat_messages_and_api_responses_are_read(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "Red.</s>"}
    rows = [
        {"messages": [{"role": "user", "content": "Name a colour."}, answer]},
        {"choices": [{"message": answer, "finish_reason": "stop"}]},
        {"choices": [{"text": "Red.</s>", "finish_reason": "length"}]},
        {"completion": [answer]},
        "Red.</s>",
    ]
    found = faults(tmp_path, rows[:4])
    assert found == {"template marks": [1, 2, 3, 4], "at the limit": [3]}
    array = tmp_path / "outputs.json"
    array.write_text(json.dumps(rows[4:]), encoding="utf-8")
    assert run(array).returncode == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"output": "cut', "not JSON Lines"),
        ('{"reply": "q"}', "--field"),
        ("[1, 2]", "no text found"),
        ("", "holds no output"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_of_error(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "outputs.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    result = run(file)
    assert result.returncode == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_control_characters_are_not_echoed_and_huge_outputs_take_little_time(tmp_path: Path) -> None:
    rows = [{"output": "It is red \x1b[31m and so on, " * 20}, {"output": "word `" * 200_000}, {"output": "<|" * 100_000}]
    result = run(write(tmp_path / "outputs.jsonl", rows))
    assert result.returncode == 1
    assert "\x1b" not in result.stdout


def test_help_tells_what_it_reads_and_shows_an_example() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "Changes nothing" in result.stdout
    assert "example: python check_outputs.py" in result.stdout


def test_no_file_is_wrong_usage() -> None:
    assert run().returncode == 2
