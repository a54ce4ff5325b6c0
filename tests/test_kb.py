"""Every entry, by being there: it lints clean, its samples find it, answers fit a screen, scripts explain themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assistant.compose import compose
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
        assert_fits_a_screen(render(compose(Query.from_text(ask), hits, index, language).text))  # type: ignore[arg-type]


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
    ("lr-zero-deepspeed-scheduler", "the lr curve reaches the bottom long before the epochs are over and then stays flat"),
    ("lr-zero-deepspeed-scheduler", "学习率提前降到零，之后一直是零，可是训练还没跑完"),
    (
        "multi-turn-data-format",
        "how do I lay out several rounds of a conversation so that only the assistant's replies are scored",
    ),
    ("multi-turn-data-format", "多轮对话怎么拼成一条训练样本，用户说的话要不要算 loss"),
    ("nvcc-not-found-fused-adam", "compiling the fused optimizer fails because the compiler's path does not exist"),
    ("nvcc-not-found-fused-adam", "编译 fused adam 的时候找不到 nvcc，CUDA_HOME 应该怎么设"),
    ("english-sft-datasets", "which public English instruction sets can I download for tuning, and under which licence"),
    ("english-sft-datasets", "有哪些开源的英文指令数据集可以直接拿来微调"),
    ("data-mix-ratio", "in which proportion should Chinese and English samples be blended for instruction tuning"),
    ("data-mix-ratio", "中英文指令数据按什么比例混合比较好"),
    ("cuda-ecc-uncorrectable", "the GPU reports memory errors that cannot be corrected, is the card broken?"),
    ("cuda-ecc-uncorrectable", "显卡报 ECC 不可纠正错误，是不是显存坏了要换卡"),
    ("finetuning-playbook", "in what order should a fine-tuning project be planned, and what is checked before the first run"),
    ("finetuning-playbook", "第一次做大模型微调，整个流程应该怎么安排"),
    ("repetition-after-sft", "after tuning, the model says the same sentence over and over until the limit"),
    ("repetition-after-sft", "微调后模型像复读机一样反复输出同一句话"),
    ("openssl-legacy-provider", "importing llama fails because OpenSSL cannot load its old algorithms"),
    ("openssl-legacy-provider", "导入 transformers 时提示 OpenSSL 的 legacy provider 加载失败"),
    (
        "flash-attn-renamed-functions",
        "an old repository imports unpadded flash attention functions that my version no longer has",
    ),
    ("flash-attn-renamed-functions", "flash attention 升级到 2 以后，原来的 unpadded 函数导入不了"),
    ("nccl-async-failure", "everything was shut down to avoid inconsistent data, who failed first?"),
    ("nccl-async-failure", "所有进程被一起杀掉，说是为了避免数据不一致，怎么找最先出错的"),
    ("post-sft-bad-cases", "typical flaws in a tuned model's answers: cut off in mid-sentence, mixed languages, stray marks"),
    ("post-sft-bad-cases", "微调后的回答会突然截断、中英混杂、还冒出 ###，这些常见问题怎么处理"),
]


@pytest.mark.parametrize(("entry_id", "question"), QUESTIONS)
def test_a_question_in_other_words_finds_its_entry_first(index: Index, entry_id: str, question: str) -> None:
    found = answer(Query.from_text(question), index, "en")
    assert (found.hits[0].entry_id, found.answered) == (entry_id, True)


MESSAGES = [
    ("loss-zero-sft", "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.9e-05, 'epoch': 0.04}"),
    ("nccl-watchdog-timeout", "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9, OpType=BROADCAST, "),
    ("nvcc-not-found-fused-adam", "/bin/sh: /usr/usr/local/cuda-12.2/bin/nvcc: No such file or directory"),
    ("cuda-ecc-uncorrectable", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    ("openssl-legacy-provider", "OpenSSL 3.0's legacy provider failed to load. This is a fatal error by default"),
    ("flash-attn-renamed-functions", "ImportError: cannot import name 'flash_attn_unpadded_qkvpacked_func' from 'flash_attn'"),
    ("nccl-async-failure", "To avoid data inconsistency, we are taking the entire process down."),
]  # fmt: skip


@pytest.mark.parametrize(("entry_id", "message"), MESSAGES)
def test_a_message_finds_its_entry_first(index: Index, entry_id: str, message: str) -> None:
    found = answer(Query.from_text(message), index, "en")
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


@pytest.mark.parametrize(
    ("planned_id", "question"),
    [
        ("cuda-oom-training", "CUDA out of memory during backward"),
        ("host-oom-killed", "一个 rank 被系统杀了，退出码 -9，内存满了"),
    ],
)
def test_a_known_problem_without_an_entry_is_named_and_not_answered(index: Index, planned_id: str, question: str) -> None:
    found = answer(Query.from_text(question), index, "en")
    assert not found.answered
    assert found.hits[0].behind == planned_id
    assert index.background[planned_id].about in found.text


@pytest.mark.parametrize("question", ["how do I center a div in CSS", "hello", "怎么做红烧肉"])
def test_a_problem_without_an_entry_is_not_named_where_something_is_merely_nearest(index: Index, question: str) -> None:
    behind = answer(Query.from_text(question), index, "en").hits[0].behind
    assert behind is None or not index.background[behind].about


@pytest.mark.parametrize("question", ELSEWHERE)
def test_what_is_about_something_else_is_refused(index: Index, question: str) -> None:
    found = answer(Query.from_text(question), index, "en")
    assert not found.answered
    assert len(found.hits) >= 1
