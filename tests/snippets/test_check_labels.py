"""check_labels.py of the entry loss-zero-sft, run as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/numerics/loss-zero-sft/check_labels.py"
PLAIN_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} </s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
MARKED_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> "
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }} </s>{% endgeneration %}"
    "{% else %}{{ message['content'] }} </s>{% endif %}{% endfor %}"
)


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


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tokenized(labels: list[int]) -> dict[str, list[int]]:
    return {"input_ids": list(range(len(labels))), "labels": labels}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a word-level tokenizer and a configuration saved in bfloat16."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>", "<user>", "<assistant>", "<human>", "<gpt>", *(f"w{number}" for number in range(40))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("model")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")
    fast.chat_template = PLAIN_TEMPLATE
    fast.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16"}))
    return folder


def test_wholly_masked_samples_are_found_without_any_package(tmp_path):
    data = write(tmp_path / "train.jsonl", [tokenized([-100] * 8), tokenized([-100, -100, 5, 6])])
    result = run("--data", data, isolated=True)
    assert result.returncode == 1, result.stderr
    assert "without a trained token: 1 (50.0%)" in result.stdout
    assert "every label is -100 (rows 1)" in result.stdout


def test_sound_labels_exit_with_0(tmp_path):
    result = run("--data", write(tmp_path / "train.jsonl", [tokenized([-100, 4, 5])] * 3))
    assert result.returncode == 0, result.stderr
    assert "labels are not why the loss is 0" in result.stdout


def test_a_label_on_the_first_token_alone_trains_nothing(tmp_path):
    result = run("--data", write(tmp_path / "train.jsonl", [tokenized([7, -100, -100])]))
    assert result.returncode == 1


def test_the_masks_of_trl_are_read(tmp_path):
    rows = [{"input_ids": [1, 2, 3], "completion_mask": [0, 1, 1]}, {"input_ids": [1, 2, 3], "assistant_masks": [0, 0, 0]}]
    report = json.loads(run("--data", write(tmp_path / "train.jsonl", rows), "--json").stdout)
    assert report["files"][0]["untrained"] == 1
    assert report["files"][0]["trained_tokens"] == {"min": 0, "median": 1, "max": 2}


def test_rows_without_labels_train_every_token(tmp_path):
    assert run("--data", write(tmp_path / "train.jsonl", [{"input_ids": [1, 2, 3]}])).returncode == 0


def test_labels_of_another_length_are_a_fault(tmp_path):
    result = run("--data", write(tmp_path / "train.jsonl", [{"input_ids": [1, 2, 3], "labels": [1]}]))
    assert result.returncode == 1
    assert "differ in length" in result.stdout


MIXED_ROWS = [
    {"prompt": "w1 " * 20, "completion": "w2 w3"},
    {"prompt": "w1 w2 ", "completion": "w3 " * 30},
    {"instruction": "w1", "input": "w2", "output": ""},
    {"messages": [{"role": "human", "content": "w1"}, {"role": "gpt", "content": "w2"}]},
    {"messages": [{"role": "\u001b[31mrobot", "content": "w1"}]},
    {"conversations": [{"from": "human", "value": "w1"}, {"from": "gpt", "value": "w2"}]},
]
HEALTHY_ROWS = [
    {"prompt": "w1 " * 20, "completion": "w2 w3"},
    {"prompt": [{"role": "user", "content": "w1"}], "completion": [{"role": "assistant", "content": "w2 w3"}]},
    {"instruction": "w1", "input": "w2", "output": "w3 w4"},
    {
        "messages": [
            {"role": "user", "content": "w1 w2"},
            {"role": "assistant", "content": "w3"},
            {"role": "user", "content": "w4"},
            {"role": "assistant", "content": "w5 w6"},
        ]
    },
]


@pytest.fixture(scope="module")
def mixed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What is printed on a file of text in every format, most rows with a fault of their own."""
    data = write(tmp_path_factory.mktemp("data") / "train.jsonl", MIXED_ROWS)
    return run("--tokenizer", model, "--data", data, "--max-length", 16)


def test_untrained_text_is_the_problem(mixed):
    assert mixed.returncode == 1, mixed.stderr
    assert "train.jsonl: 6 samples" in mixed.stdout
    assert "without a trained token: 4 (66.7%)" in mixed.stdout


def test_a_prompt_that_fills_max_length_is_named(mixed):
    assert "1: the prompt alone fills max_length 16 (rows 1)" in mixed.stdout


def test_an_answer_that_is_cut_is_counted(mixed):
    assert "answers cut at max_length: 1" in mixed.stdout


def test_an_empty_answer_is_named(mixed):
    assert "1: the answer is empty (rows 3)" in mixed.stdout


def test_foreign_role_names_leave_nothing_to_train(mixed):
    assert "no assistant turn (roles seen: gpt, human) (rows 4)" in mixed.stdout


def test_control_characters_of_the_data_do_not_reach_the_terminal(mixed):
    assert "robot) (rows 5)" in mixed.stdout
    assert "\u001b" not in mixed.stdout + mixed.stderr


def test_sound_text_of_every_format_exits_with_0(tmp_path, model):
    data = write(tmp_path / "train.jsonl", HEALTHY_ROWS)
    result = run("--tokenizer", model, "--data", data, "--max-length", 64, "--json")
    assert result.returncode == 0, result.stderr
    # Completions with their end of text: 3, 3 and 3 tokens; the two turns of the assistant: 2 and 3.
    assert json.loads(result.stdout)["files"][0]["trained_tokens"] == {"min": 3, "median": 3.0, "max": 5}


def test_a_template_with_generation_marks_is_used(tmp_path, model):
    shutil.copytree(model, tmp_path / "marked")
    (tmp_path / "marked/chat_template.jinja").write_text(MARKED_TEMPLATE)
    turns = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4"}]
    data = write(tmp_path / "chat.jsonl", [{"messages": turns}])
    result = run("--tokenizer", tmp_path / "marked", "--data", data, "--json")
    assert json.loads(result.stdout)["files"][0]["trained_tokens"]["max"] == 3


def test_rows_that_train_and_eval_share_are_counted(tmp_path):
    train = write(tmp_path / "train.jsonl", [tokenized([1, 2, 3]), tokenized([1, 2, 3, 4])])
    evaluation = write(tmp_path / "eval.jsonl", [tokenized([1, 2, 3]), tokenized([1, 2])])
    result = run("--data", train, "--eval-data", evaluation)
    assert result.returncode == 1
    assert "also in the training data: 1" in result.stdout


def test_fp16_on_a_bfloat16_model_is_a_risk_and_bf16_is_none(tmp_path, model):
    data = write(tmp_path / "train.jsonl", [tokenized([1, 2, 3])])
    risky = run("--tokenizer", model, "--data", data, "--dtype", "fp16")
    assert risky.returncode == 0, "a risk is told, but it is no finding"
    assert "trained in bfloat16 and may exceed 65504" in risky.stdout
    assert "Precision" not in run("--tokenizer", model, "--data", data, "--dtype", "bf16").stdout


def test_a_model_saved_in_float16_is_a_risk_unasked(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "float16"}))
    result = run("--tokenizer", tmp_path, "--data", write(tmp_path / "train.jsonl", [tokenized([1, 2, 3])]), "--json")
    assert "saved in float16" in json.loads(result.stdout)["precision_risk"]


def test_json_is_one_object(tmp_path):
    result = run("--data", write(tmp_path / "train.jsonl", [tokenized([-100, -100])]), "--json")
    report = json.loads(result.stdout)
    assert report["problem"] is True
    assert report["files"][0]["reasons"] == [{"reason": "every label is -100", "samples": 1, "rows": [1]}]


def test_a_json_array_is_read_like_json_lines(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps([tokenized([-100, 1])], indent=1))
    assert run("--data", path).returncode == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe not json\n",
        b'{"input_ids": [1, 2',
        b"[1, 2]",
        b'{"question": "w1"}\n',
        b'{"prompt": "w1"}\n',
        b"[" * 50000,
    ],
    ids=["empty", "binary", "truncated", "no objects", "unknown columns", "text without tokenizer", "nested"],
)
def test_what_cannot_be_read_ends_with_2_and_one_line(tmp_path, content):
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    result = run("--data", path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("check_labels: ")


def test_a_missing_file_ends_with_2(tmp_path):
    result = run("--data", tmp_path / "none.jsonl")
    assert result.returncode == 2
    assert "No such file" in result.stderr


def test_text_without_transformers_cannot_be_told(tmp_path):
    data = write(tmp_path / "train.jsonl", [{"prompt": "w1", "completion": "w2"}])
    result = run("--data", data, "--tokenizer", tmp_path, isolated=True)
    assert result.returncode == 3
    assert "pip install transformers" in result.stderr


def test_help_shows_an_example_and_the_exit_codes():
    result = run("--help", isolated=True)
    assert result.returncode == 0
    assert "example: python check_labels.py" in result.stdout
    assert "exit code: 0 healthy" in result.stdout


def test_a_wrong_option_ends_with_2():
    assert run("--data", "x", "--max-length", "0", isolated=True).returncode == 2
