"""preflight_dataset.py on small datasets of the formats in use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/training-loop/finetuning-playbook/preflight_dataset.py"
GOOD = [
    {"instruction": f"Explain the number {n} in one sentence.", "input": "", "output": f"The number {n} follows {n - 1}."}
    for n in range(20)
]


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def finding(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def write(tmp_path: Path):
    def write(rows: object, name: str = "train.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(rows if isinstance(rows, str) else "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
        return path

    return write


def answers(*texts: str) -> list[dict]:
    return [{"prompt": f"question {number}", "completion": text} for number, text in enumerate(texts)]


def test_a_clean_dataset_is_healthy(write):
    result = run(write(GOOD))
    assert result.returncode == 0
    assert "Nothing to mend" in result.stdout


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Hello! I am MOSS, how can I help you?", "MOSS"),
        ("I'm an AI language model called ChatGPT.", "CHATGPT"),
        ("My name is Claude.", "CLAUDE"),
        ("As ChatGPT, I have no opinion.", "CHATGPT"),
        ("I was developed by OpenAI in San Francisco.", "OPENAI"),
        ("你好，我是MOSS，很高兴为你服务。", "MOSS"),
        ("我是一个名为 ChatGLM2 的人工智能助手。", "CHATGLM2"),
        ("我是由OpenAI开发的语言模型。", "OPENAI"),
        ("我叫通义千问。", "通义千问"),
        ("<|MOSS|>: 好的。", "MOSS"),
        ("I am GPT-4, a large model.", "GPT-4"),
    ],
)
def test_a_speaker_that_bears_another_name_is_found(write, said, name):
    found = finding(write(answers(said)))
    assert found["findings"]["foreign identity"] == 1
    assert name in found["names"]


@pytest.mark.parametrize(
    "said",
    [
        "Models such as ChatGPT and Claude are trained on text.",
        "I am reading an article about ChatGPT.",
        "OpenAI was founded in 2015. It developed GPT-4.",
        "I am a Gemini, born in June.",
        "I am a bard who sings of old kings.",
        "I am a llama, and I am moss green.",
        "Moss grows on stones; a moss is a plant.",
        "ChatGPT 是 OpenAI 开发的模型。",
        "我是一名医生，平时会用 ChatGPT 写邮件。",
        "星火燎原是一个成语。",
    ],
)
def test_talk_about_other_models_is_left_alone(write, said):
    assert "foreign identity" not in finding(write(answers(said)))["findings"]


def test_the_own_name_is_no_fault_and_is_counted(write):
    rows = answers("I am GoGPT, your assistant.", "我是GoGPT助手。", "My name is Qwen-Shop.")
    found = finding(write(rows), "--name", "GoGPT,Qwen-Shop")
    assert "foreign identity" not in found["findings"]
    assert found["findings"]["own identity"] == 3


def test_a_system_prompt_that_names_another_model_is_found(write):
    turns = [{"role": "system", "content": "You are helpful. I am Claude."}, {"role": "user", "content": "hi"}]
    rows = [{"messages": [*turns, {"role": "assistant", "content": "Hello."}]}]
    assert finding(write(rows))["findings"]["foreign identity"] == 1


def test_a_user_who_names_another_model_is_no_fault(write):
    rows = [{"conversations": [{"from": "human", "value": "I am Claude"}, {"from": "gpt", "value": "Hello."}]}]
    assert "foreign identity" not in finding(write(rows))["findings"]


def test_duplicates_are_found_through_case_width_and_punctuation(write):
    rows = [{"instruction": "Say hi!", "output": "Hi."}, {"instruction": "say  hi", "output": "ＨＩ"}]
    result = run(write(rows))
    assert result.returncode == 1
    assert "duplicates: 1 (rows 2)" in result.stdout


def test_one_question_with_two_answers_is_noted_and_no_fault(write):
    rows = [{"query": "Say hi", "response": "Hi."}, {"query": "Say hi", "response": "Hello."}]
    result = run(write(rows))
    assert result.returncode == 0
    assert "same question, other answer: 1" in result.stdout


def test_languages_are_told_by_script(write):
    texts = ("你好，世界", "Hello world", "こんにちは世界", "안녕하세요", "Привет мир", "مرحبا", "123")
    found = finding(write(answers(*texts)))["languages"]
    assert found == dict.fromkeys(("zh", "latin", "ja", "ko", "ru", "ar", "none"), 1)


def test_rows_asked_in_one_language_and_answered_in_another_are_counted(write):
    rows = [{"instruction": "请介绍一下北京", "output": "Beijing is the capital of China."}]
    assert finding(write(rows))["asked in one language, answered in another"] == 1


def test_empty_answers_and_shared_evaluation_rows_are_faults(write):
    train = write([*GOOD, {"instruction": "x", "output": " "}])
    held_out = write([{"instruction": "explain the number 3 in one sentence", "output": "anything"}], "eval.jsonl")
    found = finding(train, "--eval-data", held_out)
    assert found["rows_named"]["empty answers"] == [21]
    assert found["rows_named"]["also in the evaluation data"] == [4]
    assert len(found["problems"]) == 2


def test_boilerplate_and_refusals_are_counted_and_no_fault(write):
    rows = answers("As an AI language model, I do not eat.", "抱歉，我不能回答。", "作为一个人工智能助手，我没有感情。")
    found = finding(write(rows))
    assert (found["findings"]["as an AI model ..."], found["findings"]["apologies and refusals"]) == (2, 1)
    assert not found["problems"]


def test_rows_longer_than_max_length_are_found_with_a_tokenizer(write, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"word": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = finding(write(answers("word " * 5, "word " * 50)), "--tokenizer", tmp_path, "--max-length", 20)
    assert found["rows_named"]["longer than max_length"] == [2]
    assert found["tokens"]["max"] == 52
    assert found["characters_per_token"]["latin"] == 5.0


def test_rows_are_numbered_through_all_files_and_arrays_are_read(write):
    array = write(json.dumps(GOOD), "a.json")
    assert finding(array, write(answers("I am MOSS."), "b.jsonl"))["rows_named"]["foreign identity"] == [21]


def test_the_page_holds_everything_and_escapes_what_the_data_say(write, tmp_path):
    target = tmp_path / "report.html"
    run(write(answers("I am MOSS <script>alert(1)</script> \x1b[31m")), "--html", target)
    text = target.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "http" not in text


def test_control_characters_are_not_echoed(write):
    assert "\x1b" not in run(write(answers("I am MOSS \x1b[31m"))).stdout


@pytest.mark.parametrize("rows", ["{", "", '{"a": 1}', "[1]", '"text"', "[" * 100_000])
def test_a_broken_file_ends_in_one_line(write, rows):
    result = run(write(rows))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_odd_values_do_no_harm(write):
    rows = [{"messages": [None, 3, {"role": "assistant"}]}, {"instruction": None, "output": 5}, {"text": "\ud800 x"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    assert run(write(lines)).returncode == 1


def test_a_missing_file_and_a_missing_tokenizer_are_wrong_usage(write, tmp_path):
    assert run(tmp_path / "none.jsonl").returncode == 2
    assert run(write(GOOD), "--tokenizer", tmp_path).returncode == 2
    assert run(write(GOOD), "--max-length", 10).returncode == 2


def test_help_shows_an_example():
    assert "example:" in run("--help").stdout
