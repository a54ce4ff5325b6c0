"""render_templates.py: each published form to the byte, the same as a chat_template, and the check of a training text."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/data/prompt-template-choice/render_templates.py"

SAFETY = (
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature."
)
COHERENCE = (
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something "
    "not correct. If you don't know the answer to a question, please don't share false information."
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nName a colour.\n\n### Response:"
)
# (template, extra arguments, the published prompt, what follows it when the answer is "Red.")
PUBLISHED = [
    ("alpaca", [], ALPACA, "Red.</s>"),
    (
        "alpaca",
        ["--input", "not blue"],
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a colour.\n\n### Input:\nnot blue\n\n### Response:",
        "Red.</s>",
    ),
    ("alpaca-lora", [], ALPACA + "\n", "Red.</s>"),
    ("llama2", [], "<s>[INST] Name a colour. [/INST]", " Red. </s>"),
    (
        "llama2",
        ["--system", "Be brief."],
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nName a colour. [/INST]",
        " Red. </s>",
    ),
    (
        "linksoul-llama2",
        [],
        "[INST] <<SYS>>\nYou are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
        f"while being safe.  {SAFETY}\n\n            {COHERENCE}\n<</SYS>>\n\nName a colour. [/INST]",
        " Red. </s>",
    ),
    ("linly", [], "### Instruction:Name a colour.  ### Response:", "Red.</s>"),
    ("nous-hermes", [], "### Instruction:\nName a colour.\n\n### Response:\n", "Red.</s>"),
    (
        "nous-hermes",
        ["--input", "not blue"],
        "### Instruction:\nName a colour.\n\n### Input:\nnot blue\n\n### Response:\n",
        "Red.</s>",
    ),
    (
        "yayi-llama2",
        [],
        "<|System|>:\nYou are a helpful, respectful and honest assistant named YaYi developed by Beijing Wenge "
        f"Technology Co.,Ltd. Always answer as helpfully as possible, while being safe. {SAFETY}\n\n{COHERENCE}\n\n"
        "<|Human|>:\nName a colour.\n\n<|YaYi|>:\n",
        "Red.\n\n<|End|>",
    ),
    (
        "stablebeluga2",
        [],
        "### System:\nYou are Stable Beluga, an AI that follows instructions extremely well. Help as much as you can. "
        "Remember, be safe, and don't do anything illegal.\n\n### User: Name a colour.\n\n### Assistant:\n",
        "Red.</s>",
    ),
    (
        "stablebeluga2-block",
        [],
        "### System:\nThis is a system prompt, please behave and help the user.\n\n"
        "### User:\nName a colour.\n\n### Assistant:\n",
        "Red.</s>",
    ),
    ("guanaco-data", [], "### Human: Name a colour.### Assistant:", " Red.</s>"),
    (
        "guanaco-card",
        [],
        "A chat between a curious human and an artificial intelligence assistant.The assistant gives helpful, detailed, "
        "and polite answers to the user's questions.\n### Human: Name a colour. ### Assistant:",
        " Red.</s>",
    ),
    ("guanaco-short", [], "### Human: Name a colour.\n### Assistant:", " Red.</s>"),
    (
        "chatml",
        ["--system", "Be brief."],
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n",
        "Red.<|im_end|>\n",
    ),
]
NAMES = sorted({name for name, *_ in PUBLISHED})
MULTI_TURN = ["chatml", "guanaco-data", "llama2", "yayi-llama2"]
ROUND = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Red."}]
AGAIN = [{"role": "user", "content": "为什么？"}, {"role": "assistant", "content": "因为 it's warm."}]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)


@pytest.mark.parametrize(("name", "extra", "prompt", "answer"), PUBLISHED)
def test_a_template_is_its_published_form_to_the_byte(name: str, extra: list[str], prompt: str, answer: str) -> None:
    asked = run("--template", name, "--prompt", "Name a colour.", *extra)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, prompt, "")
    answered = run("--template", name, "--prompt", "Name a colour.", *extra, "--answer", "Red.")
    assert answered.stdout == prompt + answer


def test_every_template_has_its_published_form_in_these_tests() -> None:
    listed = json.loads(run("--list", "--json").stdout)
    assert sorted(row["name"] for row in listed) == NAMES
    assert all(row["source"] and row["stop"] and row["note"] for row in listed)


def test_turns_follow_one_another_as_published(tmp_path: Path) -> None:
    wanted = {
        "llama2": "<s>[INST] Name a colour. [/INST] Red. </s><s>[INST] 为什么？ [/INST] 因为 it's warm. </s>",
        "guanaco-data": "### Human: Name a colour.### Assistant: Red.### Human: 为什么？### Assistant: 因为 it's warm.</s>",
        "chatml": "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\nRed.<|im_end|>\n"
        "<|im_start|>user\n为什么？<|im_end|>\n<|im_start|>assistant\n因为 it's warm.<|im_end|>\n",
    }
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"messages": ROUND + AGAIN}), encoding="utf-8")
    for name, text in wanted.items():
        assert run(file, "--template", name).stdout == text
    yayi = run(file, "--template", "yayi-llama2").stdout
    assert yayi.endswith("<|YaYi|>:\nRed.\n\n<|End|><|Human|>:\n为什么？\n\n<|YaYi|>:\n因为 it's warm.\n\n<|End|>")


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("alpaca", {"messages": ROUND + AGAIN}, "more than one question"),
        ("linly", {"messages": [{"role": "system", "content": "s"}, *ROUND]}, "no form for a system message"),
        ("llama2", {"instruction": "q", "input": "i", "output": "a"}, "no form for an input"),
        ("chatml", {"messages": [{"role": "tool", "content": "t"}]}, "user is wanted"),
        ("chatml", {"messages": [ROUND[0], ROUND[0]]}, "assistant is wanted"),
        ("llama2", {"messages": [{"role": "user", "content": "[INST] x"}]}, "Meta's code refuses it too"),
        ("chatml", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "is no text"),
        ("chatml", {"messages": [{"role": "system"}, ROUND[0]]}, "the system message is no text"),
    ],
)
def test_what_a_template_has_no_form_for_is_refused(tmp_path: Path, name: str, record: dict, reason: str) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text(json.dumps(record), encoding="utf-8")
    result = run(file, "--template", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def tokenizer():  # a byte-level tokenizer with a BOS and an EOS, built here
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|End|>", "<|Human|>", "<|YaYi|>", "<|System|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, vocab_size=300, show_progress=False)
    made.train_from_iterator(["### Instruction: ### Response: Red."], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


@functools.cache
def chat_template(name: str) -> str:
    return json.loads(run("--template", name, "--jinja", "--json").stdout)["chat_template"]


def conversations(name: str, prompt_only: bool) -> list[list[dict]]:
    talks = [ROUND]
    if name in MULTI_TURN:
        talks.append(ROUND + AGAIN)
    if name in ("llama2", "linksoul-llama2", "yayi-llama2", "stablebeluga2", "stablebeluga2-block", "chatml"):
        talks += [[{"role": "system", "content": 'Be "brief".\n'}, *talk] for talk in list(talks)]
    if name in ("alpaca", "alpaca-lora", "nous-hermes", "yayi-llama2"):
        talks.append([{"role": "user", "content": "Name a colour.", "input": "not 'blue'"}, ROUND[1]])
    return [talk[:-1] if prompt_only else talk for talk in talks]


@pytest.mark.parametrize("name", NAMES)
def test_the_chat_template_renders_what_python_renders(name: str, tokenizer, tmp_path: Path) -> None:
    template = chat_template(name)
    talks = conversations(name, prompt_only=False) + conversations(name, prompt_only=True)
    file = tmp_path / "talks.json"
    file.write_text(json.dumps([{"messages": talk} for talk in talks]), encoding="utf-8")
    for cue in (True, False):
        result = run(file, "--template", name, "--with-bos", "--json", *([] if cue else ["--no-cue"]))
        texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
        rendered = [
            tokenizer.apply_chat_template(talk, chat_template=template, tokenize=False, add_generation_prompt=cue)
            for talk in talks
        ]
        assert texts == rendered


@pytest.mark.parametrize("name", NAMES)
def test_the_assistant_mask_covers_the_answers_and_their_end(name: str, tokenizer) -> None:
    template = chat_template(name)
    _, _, _, end = next(row for row in PUBLISHED if row[0] == name)
    for talk in conversations(name, prompt_only=False):
        out = tokenizer.apply_chat_template(talk, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
        kept = [token for token, mask in zip(out["input_ids"], out["assistant_masks"], strict=True) if mask]
        answers = [message["content"] for message in talk if message["role"] == "assistant"]
        wanted = "".join(end.removesuffix("\n").replace("Red.", answer) for answer in answers)
        if name == "guanaco-data" and len(answers) == 2:  # the end token closes the whole conversation only
            wanted = wanted.replace("</s>", "", 1)
        assert tokenizer.decode(kept) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_the_chat_template_refuses_what_the_template_has_no_form_for(name: str, tokenizer) -> None:
    template = chat_template(name)
    with pytest.raises(Exception, match="alternate"):
        tokenizer.apply_chat_template([ROUND[0], ROUND[0]], chat_template=template, tokenize=False)
    if name not in MULTI_TURN:
        with pytest.raises(Exception, match="more than one question"):
            tokenizer.apply_chat_template(ROUND + AGAIN, chat_template=template, tokenize=False)


@pytest.mark.parametrize(("name", "extra", "prompt", "answer"), PUBLISHED)
def test_a_text_in_published_form_is_recognised(tmp_path: Path, name: str, extra: list, prompt: str, answer: str) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in (prompt, prompt + answer)), encoding="utf-8")
    result = run("--check", file, "--json")
    assert (result.returncode, json.loads(result.stdout)["exact"]) == (0, {name: 2})


def test_a_dialogue_that_waits_for_its_next_answer_is_recognised(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    texts = ["<s>[INST] a [/INST] b </s><s>[INST] c [/INST]", "<s>[INST] a [/INST] b </s><s>[INST] c [/INST] d </s>"]
    file.write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    assert json.loads(run("--check", file, "--json").stdout)["exact"] == {"llama2": 2}


def test_an_end_token_missing_between_turns_is_a_deviation(tmp_path: Path) -> None:
    file = tmp_path / "sample.txt"
    file.write_text("<s>[INST] a [/INST] b <s>[INST] c [/INST] d ", encoding="utf-8")
    result = run("--check", file)
    assert result.returncode == 1
    assert "</s> after every answer" in result.stdout


def test_the_newline_with_which_an_editor_ends_a_file_is_no_deviation(tmp_path: Path) -> None:
    file = tmp_path / "sample.txt"
    file.write_text(ALPACA + "Red.</s>\n", encoding="utf-8")
    assert json.loads(run("--check", file, "--json").stdout)["exact"] == {"alpaca": 1}


@pytest.mark.parametrize(
    ("text", "name", "published", "found"),
    [
        (ALPACA + " Red.", "alpaca", "\n\n### Response:", "\n\n### Response: "),
        (ALPACA.replace("\n", "\r\n") + "Red.", "alpaca", "\n\n### Response:", "\r\n\r\n### Response:"),
        ("### Instruction:hi ### Response:Red.", "linly", "  ### Response:", " ### Response:"),
        ("<s><s>[INST] hi [/INST] Red. </s>", "llama2", "<s>[INST] ", "<s><s>[INST] "),
        ("<s>[INST]hi[/INST] Red. </s>", "llama2", " [/INST] ", "[/INST] "),
        ("### Human： hi### Assistant: Red.", "guanaco-data", "### Human: ", "### Human： "),
    ],
)
def test_a_text_that_deviates_by_some_bytes_is_told_where(
    tmp_path: Path, text: str, name: str, published: str, found: str
) -> None:
    file = tmp_path / "sample.txt"
    file.write_text(text, encoding="utf-8", newline="")
    result = run("--check", file, "--json")
    assert result.returncode == 1
    differs = json.loads(result.stdout)["near"][name]["differs"]
    assert {"published": published, "found": found} in differs


def test_templates_mixed_in_one_file_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    texts = [ALPACA + "Red.", ALPACA + "Blue.", "### Human: hi### Assistant: Red.", "no template at all"]
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    result = run("--check", file, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1
    assert (report["exact"], report["none"]) == ({"alpaca": 2, "guanaco-data": 1}, [4])
    assert report["missing"] == ["BOS", "EOS"]


def test_a_text_of_no_template_cannot_be_told(tmp_path: Path) -> None:
    file = tmp_path / "sample.txt"
    file.write_bytes(b"\xff\xfe just words \x1b[31m ### Foo: bar")
    result = run("--check", file)
    assert result.returncode == 3
    assert "fits no template" in result.stdout
    assert "### Foo:" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_long_line_of_spaces_takes_no_time(tmp_path: Path) -> None:
    file = tmp_path / "sample.txt"
    file.write_text(ALPACA + " " * 300_000 + "x", encoding="utf-8")
    assert run("--check", file).returncode == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken.jsonl", '{"messages": [', "is no JSON"),
        ("other.json", '{"question": "q"}', "a conversation is"),
        ("absent.json", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_of_error(tmp_path: Path, name: str, content: str | None, reason: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content, encoding="utf-8")
    result = run(file)
    assert result.returncode == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_control_characters_are_shown_and_not_sent(tmp_path: Path) -> None:
    result = run("--template", "linly", "--prompt", "a\x1b[31mb")
    assert result.stdout == "### Instruction:a\\x1b[31mb  ### Response:"


def test_all_templates_are_shown_and_those_without_a_form_say_so() -> None:
    result = run("--prompt", "Name a colour.", "--system", "Be brief.")
    assert result.returncode == 0
    assert "== chatml" in result.stdout
    assert "alpaca: alpaca has no form for a system message" in result.stderr


def test_help_tells_what_it_reads_and_shows_an_example() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "changes nothing" in result.stdout
    assert "example: python render_templates.py" in result.stdout


def test_nothing_asked_is_wrong_usage() -> None:
    assert run().returncode == 2
    assert run("--jinja").returncode == 2
    assert run("--prompt", "q", "--template", "vicuna").returncode == 2
