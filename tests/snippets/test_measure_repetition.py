"""measure_repetition.py of the entry repetition-after-sft, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/after-training/repetition-after-sft/measure_repetition.py"
ESSAY = (
    "Ports are busy when ships arrive early. A crane lifts one box after another onto the quay, and lorries take them inland. "
    "In winter the harbour master keeps the channel free of ice, while pilots guide foreign captains through the fog. "
    "Prices follow the tides of trade: they rise with the harvest and fall when warehouses are full."
)
LOOP = "Expert: The trade is strong and will grow. Host: What do you think of the trade? "
CHINESE_LOOP = "通知如下。" + "请各部门按时提交材料。" * 12


def run(*arguments: object, isolated: bool = False, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script; isolated means a Python that sees no installed package."""
    command = [sys.executable, *(["-S", "-E"] if isolated else []), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", input=given, timeout=60)


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def report(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    return json.loads(result.stdout)["files"][0]


def test_varied_outputs_are_healthy(tmp_path: Path) -> None:
    result = run(write(tmp_path / "outputs.jsonl", [{"output": ESSAY, "finish_reason": "stop"}]), isolated=True)
    assert result.returncode == 0
    assert "No loops" in result.stdout


def test_a_loop_is_counted_quoted_and_placed(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs.jsonl", [{"output": ESSAY}, {"output": ESSAY + " " + LOOP * 9}])
    result = run(file, isolated=True)
    assert result.returncode == 1
    assert "loop to the end: 1 (50.0%)" in result.stdout
    found = report(file)["loop_examples"][0]
    assert (found["row"], found["turns"]) == (2, 9)
    assert found["text"].startswith("Expert : The trade is strong")
    assert 0.2 < found["begins"] < 0.4


def test_a_loop_that_the_limit_cut_in_the_middle_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs.jsonl", [{"output": LOOP * 5 + "Expert: The tra"}, {"output": LOOP * 5 + "Expert: The"}])
    assert report(file)["loops"] == 1
    assert report(file)["near_loops"] == 1  # a half word at the end is no exact loop any more


def test_chinese_loops_are_found_by_characters(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs.jsonl", [{"response": CHINESE_LOOP}])
    found = report(file)["loop_examples"][0]
    assert (found["turns"], found["text"]) == (12, "请各部门按时提交材料。")


def test_the_same_sentences_with_a_word_changed_are_a_near_loop(tmp_path: Path) -> None:
    text = " ".join(
        f"Host: How is the {word} market? Expert: It is strong and we remain calm." for word in ["oil"] * 4 + ["gas"] * 4
    )
    found = report(
        write(tmp_path / "outputs.jsonl", [{"output": text + " The end of it, with some other words to close the talk."}])
    )
    assert (found["loops"], found["near_loops"]) == (0, 1)


def test_a_list_whose_numbers_alone_change_is_a_near_loop_unless_the_model_ended_it(tmp_path: Path) -> None:
    text = " ".join(f"{number}. Use clear words." for number in range(1, 60))
    rows = [{"output": text, "finish_reason": "length"}, {"output": text, "finish_reason": "stop"}]
    found = report(write(tmp_path / "outputs.jsonl", rows))
    assert (found["near_loops"], found["near_loop_rows"]) == (1, [1])


def test_tables_of_numbers_and_code_are_no_loops(tmp_path: Path) -> None:
    numbers = ", ".join(f"{number * 7919 % 1000}.{number * 31 % 100}" for number in range(200))
    code = "\n".join(
        f"def {name}(value):\n    return value.{name}()\n" for name in ["strip", "lower", "title", "split", "upper"]
    )
    assert run(write(tmp_path / "outputs.jsonl", [numbers, code])).returncode == 0


def test_loops_at_the_length_limit_point_to_the_end_token(tmp_path: Path) -> None:
    result = run(write(tmp_path / "outputs.jsonl", [{"output": LOOP * 9, "finish_reason": "length"}]))
    assert "ended by: length 1" in result.stdout
    assert "whether the end token is trained" in result.stdout


def test_two_files_are_compared(tmp_path: Path) -> None:
    greedy = write(tmp_path / "greedy.jsonl", [{"output": LOOP * 9}])
    sampled = write(tmp_path / "sampled.jsonl", [{"output": ESSAY}])
    assert "is where to look" in run(greedy, sampled).stdout
    assert "look at the training data" in run(greedy, greedy).stdout


def test_an_ending_that_many_training_answers_share_is_named(tmp_path: Path) -> None:
    rows = [{"output": f"{ESSAY} Case {number} is closed. Thanks for sharing."} for number in range(10)]
    result = run(write(tmp_path / "train.jsonl", rows), "--field", "output")
    assert "same last sentence in 10 outputs: 'Thanks for sharing'" in result.stdout


def test_the_usual_forms_of_outputs_are_read(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": LOOP * 9}
    rows = [
        {"generated_text": LOOP * 9},
        {"messages": [{"role": "user", "content": "hi"}, answer]},
        {"choices": [{"message": answer, "finish_reason": "length"}]},
        {"choices": [{"text": LOOP * 9, "finish_reason": "length"}]},
    ]
    assert report(write(tmp_path / "outputs.jsonl", rows))["loops"] == len(rows)
    assert report(write(tmp_path / "strings.jsonl", [LOOP * 9]))["loops"] == 1


def test_plain_text_json_arrays_and_standard_input_are_read(tmp_path: Path) -> None:
    plain = tmp_path / "outputs.txt"
    plain.write_text(f"{ESSAY}\n\n{LOOP * 9}\n", encoding="utf-8")
    array = tmp_path / "outputs.json"
    array.write_text(json.dumps([{"output": LOOP * 9}], indent=1), encoding="utf-8")
    assert report(plain)["loop_examples"][0]["row"] == 3
    assert report(array)["loops"] == 1
    assert run("/dev/stdin", given=json.dumps({"output": LOOP * 9})).returncode == 1


def test_outputs_that_are_too_short_cannot_be_told(tmp_path: Path) -> None:
    result = run(write(tmp_path / "outputs.jsonl", [{"output": "Yes."}, {"output": ""}]))
    assert result.returncode == 3
    assert "too short" in result.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"output": "cut', "not JSON Lines"),
        ('{"question": "q"}', "--field"),
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


def test_bad_bytes_and_control_characters_are_not_echoed(tmp_path: Path) -> None:
    file = tmp_path / "outputs.txt"
    file.write_bytes(b"\xff\xfe start of it\n" + b"danger \x1b[31m ahead and more words " * 12 + b"\n")
    result = run(file)
    assert result.returncode == 1
    assert "\x1b" not in result.stdout


def test_a_very_long_output_takes_little_time(tmp_path: Path) -> None:
    result = run(write(tmp_path / "outputs.jsonl", [{"output": "word " * 500_000}, {"output": "a b c d e f g " * 100_000}]))
    assert result.returncode == 1


def test_help_tells_what_it_reads_and_shows_an_example() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "Changes nothing" in result.stdout
    assert "example: python measure_repetition.py" in result.stdout


def test_no_file_is_wrong_usage() -> None:
    assert run().returncode == 2
