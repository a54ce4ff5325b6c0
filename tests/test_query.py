"""What people paste: bytes in any state, noise around the message, a sentence of their own."""

from __future__ import annotations

import io
import time

import pytest

from indexer.denoise import clean, clean_lines
from indexer.query import Query
from indexer.reading import read_lines

MESSAGE = "RuntimeError: CUDA error: uncorrectable ECC error encountered"


@pytest.mark.parametrize(
    ("raw", "text", "rank"),
    [
        (f"[rank3]: {MESSAGE}", MESSAGE, 3),
        (f"\x1b[31m{MESSAGE}\x1b[0m", MESSAGE, None),
        (f"2026-11-25 02:07:08,412 {MESSAGE}", MESSAGE, None),
        (f"[2026-11-25T02:07:08.412Z] {MESSAGE}", MESSAGE, None),
        (f"[rank0]:[E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] {MESSAGE}", MESSAGE, 0),
        (f"[E ProcessGroupNCCL.cpp:828] {MESSAGE}", MESSAGE, None),
        (f"(WorkerDict pid=4711) {MESSAGE}", MESSAGE, None),
        (f"(WorkerDict pid=4711, ip=10.0.0.2) {MESSAGE}", MESSAGE, None),
        (f"worker02: {MESSAGE}", MESSAGE, None),
        (f"10.0.0.2: {MESSAGE}", MESSAGE, None),
        (f"[1,2]<stderr>: {MESSAGE}", MESSAGE, 2),
        (f"[default5]:{MESSAGE}", MESSAGE, 5),
        (f"Nov 25 02:07:08 gpu-node-3 torchrun[99]: {MESSAGE}", MESSAGE, None),
        (f" 37%|███▋      | 12/32 [00:10<00:17,  1.2it/s, loss=2.1]{MESSAGE}", MESSAGE, None),
        (f"│ {MESSAGE}      │", MESSAGE, None),
        (f"[INFO|trainer.py:1812] 2026-11-25 02:07:08,412 >> {MESSAGE}", MESSAGE, None),
    ],
)
def test_what_surrounds_a_message_is_taken_off(raw: str, text: str, rank: int | None) -> None:
    line = clean(raw)
    assert (line.text.strip(), line.rank) == (text, rank)


@pytest.mark.parametrize(
    "text", ["{'loss': 0.0, 'learning_rate': 1.96e-05, 'epoch': 0.02}", '  File "a.py", line 3, in f', "a: b"]
)
def test_what_is_no_noise_stays(text: str) -> None:
    assert clean(text).text == text


def decode(data: bytes) -> str:
    return "\n".join(line.text for line in read_lines(io.BytesIO(data)))


def test_what_a_bar_overwrote_is_kept_apart_from_the_message_after_it() -> None:
    lines = list(clean_lines(read_lines(io.BytesIO(f"  5%|▌ | 1/20 [00:01<00:19, 1.0s/it]\r{MESSAGE}\n".encode()))))
    assert [line.text for line in lines] == [MESSAGE]
    assert lines[0].number == 1


@pytest.mark.parametrize(
    "data",
    [
        MESSAGE.encode(),
        b"\xef\xbb\xbf" + MESSAGE.encode(),
        MESSAGE.encode("utf-16"),
        MESSAGE.encode("utf-16-le"),
        MESSAGE.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "utf-16-le", "utf-16-be"],
)
def test_text_is_read_in_its_encoding(data: bytes) -> None:
    assert decode(data) == MESSAGE


def test_invalid_bytes_lose_only_themselves() -> None:
    assert MESSAGE in decode(b"ab\x80\x81 " + MESSAGE.encode())


@pytest.mark.parametrize(
    ("text", "language", "is_log"),
    [
        ("loss is zero during sft", "en", False),
        ("训练两步之后 loss 就变成 0 了", "zh", False),
        ("flash_attn 装不上怎么办", "zh", False),
        (f'Traceback (most recent call last):\n  File "/a/b.py", line 3, in <module>\n{MESSAGE}', None, True),
        (f'为什么会这样？\nTraceback (most recent call last):\n  File "/a/b.py", line 3, in <module>\n{MESSAGE}', "zh", True),
        (f"why does this happen?\n{MESSAGE}\n[rank0]: frame #3: 0x7f00000000 in libtorch.so", "en", True),
    ],
)
def test_language_and_kind_are_those_of_the_person_who_asks(text: str, language: str | None, is_log: bool) -> None:
    query = Query.from_text(text)
    assert (query.language, query.is_log) == (language, is_log)


def test_exceptions_versions_and_the_last_errors_are_found() -> None:
    query = Query.from_text(f"torch==2.6.0\ntransformers 4.57.1\nINFO: starting\n[rank1]: {MESSAGE}\n[rank1]: {MESSAGE}\n")
    assert query.exceptions == ("RuntimeError",)
    assert query.versions == {"torch": "2.6.0", "transformers": "4.57.1"}
    assert query.error_lines == (MESSAGE,)
    assert query.search_text.startswith(("torch", MESSAGE))


LOG = f"""为什么八卡训练到一半就挂了？
### System Info
- PyTorch version: 2.6.0+cu124
- `transformers` version: 4.51.3
torchrun --nproc-per-node 8 train.py --deepspeed ds_z3.json
GPU: NVIDIA A100-SXM4-80GB
[rank3]: Traceback (most recent call last):
[rank3]:   File "/opt/env/lib/python3.11/site-packages/transformers/trainer.py", line 2241, in train
[rank3]:     return inner_training_loop(
[rank3]: {MESSAGE}
[rank0]:[E ProcessGroupNCCL.cpp:583] [Rank 0] To avoid data inconsistency, we are taking the entire process down.
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
  exitcode  : -6 (pid: 4711)
"""


def test_everything_that_a_paste_says_is_read() -> None:
    query = Query.from_text(LOG)
    assert query.sentence == "为什么八卡训练到一半就挂了？"
    assert query.root is not None
    assert (query.root.text, query.root.number, query.root.rank) == (MESSAGE, 10, 3)
    assert query.error_lines[0] == MESSAGE
    assert query.exceptions[0] == "RuntimeError"
    assert query.frames == ("transformers/trainer.py train",)
    assert query.deaths == ("exitcode  : -6",)
    assert query.versions == {"torch": "2.6.0", "transformers": "4.51.3"}
    assert query.gpus == ("A100",)
    assert query.launch.startswith("torchrun --nproc-per-node 8")
    assert query.ranks == (0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA error: uncorrectable\nECC error encountered",
        "│ RuntimeError: CUDA error: uncorrectable ECC     │\n│ error encountered                               │",
        "(WorkerDict pid=77) RuntimeError: CUDA error: uncorrectable ECC error\n(WorkerDict pid=77) encountered",
        "x" * 80 + "\n" + ("y" * 30 + " uncorrectable ECC error encountered")[:80].ljust(80, "z") + "\n" + "y" * 63 + " uncorrectable EC\n"
        + "C error encountered",
    ],
    ids=["after an exception", "in a box", "behind prefixes", "at the last column"],
)  # fmt: skip
def test_a_wrapped_message_is_joined(text: str) -> None:
    assert any("uncorrectable ECC error encountered" in line.text for line in Query.from_text(text).lines)


def test_ranks_that_write_at_once_are_told_apart() -> None:
    query = Query.from_text(f"[rank0]: step 12[rank1]: {MESSAGE}")
    assert [(line.rank, line.text) for line in query.lines][:2] == [(0, "step 12"), (1, MESSAGE)]


@pytest.mark.parametrize("question", ["rank 3 上来就报这个，怎么回事", "what is this"])
def test_a_question_asked_beside_a_log_is_the_users_own(question: str) -> None:
    query = Query.read(io.BytesIO(f"[rank0]: {MESSAGE}\nINFO: done\n".encode()), question)
    assert query.is_log
    assert query.sentence == question


def test_a_large_log_is_looked_at_whole_and_kept_in_part() -> None:
    filler = "".join(f"[rank{n % 8}]: step {n} loss {1 + n % 7 / 10:.2f} tokens/s {n % 997}\n" for n in range(60_000))
    lines = read_lines(io.BytesIO((filler + MESSAGE + "\n" + filler).encode()))
    assert len(lines) < 4000
    assert [line.number for line in lines if line.text == MESSAGE] == [60_001]
    assert (lines[0].number, lines[-1].number) == (1, 120_001)


def test_chinese_from_a_gbk_terminal_is_read() -> None:
    assert decode("微调的时候 loss 一直是 0".encode("gbk")) == "微调的时候 loss 一直是 0"


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "[rank" + "9" * 5000 + "]: x", "\r\r\r"])
def test_odd_characters_are_survived(text: str) -> None:
    Query.from_text(text)


HOSTILE = ["x", "/a", "a_b", "f(=", "[1", "100%||", "\x1b[0", " ", "─ ", "1:1", "(pid=", "Error:", "A.", "┃"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_line_takes_linear_time(piece: str) -> None:
    """A megabyte in one line, and as many short lines: each took minutes when a pattern could go back."""
    start = time.process_time()
    Query.from_text(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 5


def test_a_message_in_the_middle_of_a_long_line_is_found() -> None:
    query = Query.from_text("x" * 50_000 + " " + MESSAGE + " " + "y" * 50_000)
    assert any(MESSAGE in line.text for line in query.lines)


def test_a_message_in_the_middle_of_a_line_of_many_megabytes_is_found() -> None:
    lines = read_lines(io.BytesIO(b"x" * 20_000_000 + MESSAGE.encode() + b"y" * 20_000_000))
    assert any(MESSAGE in line.text for line in lines)
    assert {line.number for line in lines} == {1}


def test_a_repeated_line_is_looked_at_once() -> None:
    assert len(Query.from_text(f"{MESSAGE}\n" * 500).lines) == 1
