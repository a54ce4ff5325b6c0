"""Every entry, by being there: it lints clean, its samples find it, answers fit a screen, scripts explain themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assistant.answer import compose
from assistant.rag import answer
from assistant.terminal import render
from indexer.entry import LANGUAGES, builtin_folder, entry_folders
from indexer.index import Index
from indexer.lint import lint
from indexer.passages import cells
from indexer.query import Query

FOLDERS = entry_folders(builtin_folder())
IDS = [folder.name for folder in FOLDERS]
SAMPLES = [sample for folder in FOLDERS for sample in sorted((folder / "samples").glob("*.txt"))]
SCRIPTS = [script for folder in FOLDERS for script in sorted(folder.glob("*.py"))]


def name_of(path: Path) -> str:
    return "/".join(path.relative_to(builtin_folder()).parts[1:])


def test_the_entries_lint_clean() -> None:
    checked, faults = lint(builtin_folder())
    assert [str(fault) for fault in faults] == []
    assert checked == len(IDS) >= 3


def test_the_three_kinds_are_there(index: Index) -> None:
    assert {entry.kind for entry in index.entries.values()} == {"error", "symptom", "guide"}


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_sample_finds_its_entry_first(index: Index, sample: Path) -> None:
    found = answer(Query.from_bytes(sample.read_bytes()), index, "en")
    assert found.answered
    assert found.hits[0].entry_id == sample.parent.parent.name
    assert found.hits[0].matched


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answer_to_a_sample_fits_a_screen(index: Index, sample: Path, language: str) -> None:
    found = answer(Query.from_bytes(sample.read_bytes()), index, language)  # type: ignore[arg-type]
    assert_fits_a_screen(render(found.text))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("entry_id", IDS)
def test_the_answer_to_any_ask_fits_a_screen(index: Index, entry_id: str, language: str) -> None:
    for ask in index.entries[entry_id].pages[language].asks:
        hits = sorted(index.search(Query.from_text(ask), top=50), key=lambda hit: hit.entry_id != entry_id)
        assert_fits_a_screen(render(compose(hits, index.entries, language).text))  # type: ignore[arg-type]


def assert_fits_a_screen(text: str) -> None:
    lines = text.split("\n")
    assert len(lines) <= 30, text
    assert all(cells(line) <= 80 or "://" in line or "kbask run" in line for line in lines), text


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_snippet_explains_itself_and_refuses_wrong_usage(script: Path) -> None:
    help_ = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert help_.returncode == 0
    assert script.name in help_.stdout
    wrong = subprocess.run(
        [sys.executable, str(script), "--no-such-option"], capture_output=True, text=True, timeout=60, check=False
    )
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


# Put in words of their own: none of these is an ask, nor close to one.
QUESTIONS = [
    ("loss-zero-sft", "every training step shows 0.0000 for the loss although the learning rate looks right"),
    ("loss-zero-sft", "LLaMA finetune reports loss=0 after the first report, did something overflow in half precision?"),
    ("loss-zero-sft", "训练日志里的 loss 全部显示为零，学习率倒是正常在变"),
    ("loss-zero-sft", "用 fp16 跑指令微调，第二次打印 loss 就成了 0，是精度溢出吗"),
    ("nccl-watchdog-timeout", "after half an hour of waiting one process aborts because a collective did not finish"),
    ("nccl-watchdog-timeout", "how do I raise the distributed timeout in the Trainer when rank 0 preprocesses for an hour"),
    ("nccl-watchdog-timeout", "多卡训练等了半小时就因为集合通信超时退出，怎么找到慢的那个 rank"),
    ("nccl-watchdog-timeout", "主进程在做数据预处理，其它进程 NCCL 等超时了，要改哪个参数"),
    ("prompt-template-choice", "which chat format is best when I instruction-tune a base checkpoint"),
    ("prompt-template-choice", "can I leave out the prompt template altogether for supervised finetuning?"),
    ("prompt-template-choice", "指令微调该选哪种提示模板，Alpaca 的还是模型自己的"),
    ("prompt-template-choice", "底座模型做 SFT 可以完全不加模板吗"),
]


@pytest.mark.parametrize(("entry_id", "question"), QUESTIONS)
def test_a_question_in_other_words_finds_its_entry_first(index: Index, entry_id: str, question: str) -> None:
    found = answer(Query.from_text(question), index, "en")
    assert (found.hits[0].entry_id, found.answered) == (entry_id, True)


ELSEWHERE = [
    "how do I center a div in CSS",
    "what is the capital of France",
    "怎么做红烧肉",
    "npm install fails with ERESOLVE unable to resolve dependency tree",
    "React useEffect runs twice in development",
    "我的电脑蓝屏了怎么办",
    "docker compose cannot find the yaml file",
    "TypeError: Cannot read properties of undefined (reading 'map')",
]


@pytest.mark.parametrize("question", ELSEWHERE)
def test_what_is_about_something_else_is_refused(index: Index, question: str) -> None:
    found = answer(Query.from_text(question), index, "en")
    assert not found.answered
    assert len(found.hits) >= 1
