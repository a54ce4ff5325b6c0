"""find_late_rank.py, which the entry nccl-async-failure borrows, on logs that hold little but the tear-down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DISTRIBUTED = Path(__file__).parents[2] / "kb/entries/distributed"
SAMPLES = DISTRIBUTED / "nccl-async-failure/samples"
FAILED = (
    "Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU "
    "operations might run on corrupted/incomplete data."
)
DOWN = "To avoid data inconsistency, we are taking the entire process down."
REMOTE = (
    "Process group watchdog thread terminated with exception: NCCL error: remote process exited or there was a network "
    "error, NCCL version 2.26.2"
)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DISTRIBUTED / "nccl-watchdog-timeout/find_late_rank.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


def tear_down(rank: int) -> str:
    """What torch 2.7 prints on one rank when it goes down."""
    prefix = f"[rank{rank}]:[E917 04:41:08.204118310 ProcessGroupNCCL.cpp:684] [Rank {rank}] "
    return f"{prefix}{FAILED}\n{prefix}{DOWN}\n"


def failure(rank: int, last_line: str) -> str:
    lines = ("Traceback (most recent call last):", '  File "train.py", line 9, in <module>', last_line)
    return "".join(f"[rank{rank}]: {line}\n" for line in lines)


@pytest.mark.parametrize(
    "name", ["torch-1.12-one-line.txt", "torch-2.0-tear-down-only.txt", "torch-2.7-tail-of-eight-ranks.txt"]
)
def test_tear_down_alone_decides_nothing_and_says_what_to_look_at(name):
    result = run(SAMPLES / name)
    assert result.returncode == 3, result.stdout
    assert "only the tear-down" in result.stdout
    assert "complete logs of all ranks" in result.stdout
    assert "--redirects 3" in result.stdout


def test_the_process_that_got_sigterm_is_not_blamed():
    report = json.loads(run(SAMPLES / "torch-2.0-tear-down-only.txt", "--json").stdout)
    assert report["ranks"] == []


def test_an_abort_of_the_watchdog_in_torchruns_table_is_not_taken_for_the_cause():
    text = (SAMPLES / "torch-2.7-tail-of-eight-ranks.txt").read_text(encoding="utf-8")
    assert "exitcode  : -6" in text
    assert json.loads(run(SAMPLES / "torch-2.7-tail-of-eight-ranks.txt", "--json").stdout)["ranks"] == []


def test_an_exception_before_the_tear_down_is_named():
    result = run(SAMPLES / "torch-2.1-remote-error.txt")
    assert result.returncode == 1, result.stdout
    assert result.stdout.startswith("rank 1 ")
    assert "KeyError: 'response'" in result.stdout


def test_out_of_memory_on_one_rank_outranks_the_tear_down_of_the_others(tmp_path):
    log = tmp_path / "train.log"
    memory = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    log.write_text("".join(tear_down(rank) for rank in (0, 1, 3)) + failure(2, memory))
    report = json.loads(run(log, "--json").stdout)
    assert (report["code"], report["ranks"], report["kind"]) == (1, ["2"], "failed")
    assert "out of memory" in report["evidence"][0]["text"]


def test_a_remote_error_of_nccl_is_a_consequence_and_blames_nobody(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"{tear_down(rank)}[rank{rank}]:[E917 1 x.cpp:1895] {REMOTE}\n" for rank in (0, 1)))
    report = json.loads(run(log, "--json").stdout)
    assert (report["code"], report["ranks"]) == (3, [])


def test_one_file_a_rank_as_torchrun_writes_them_shows_the_rank_that_failed(tmp_path):
    for rank in range(4):
        path = tmp_path / f"logs/run/attempt_0/{rank}/stderr.log"
        path.parent.mkdir(parents=True)
        path.write_text(failure(rank, "ValueError: bad row 81") if rank == 3 else tear_down(rank))
    report = json.loads(run(tmp_path / "logs", "--json").stdout)
    assert (report["code"], report["ranks"]) == (1, ["3"])


def test_a_worker_that_torchrun_itself_had_to_kill_is_not_the_first_failure(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        tear_down(0)
        + failure(1, "KeyError: 'labels'")
        + "W1125 01:00:00.100000 77 torch/distributed/elastic/multiprocessing/api.py:1028] Unable to shutdown process 502 "
        "via 15, forcefully exiting via 9\nFailures:\n  rank      : 2 (local_rank: 2)\n  exitcode  : -9 (pid: 502)\n"
    )
    assert json.loads(run(log, "--json").stdout)["ranks"] == ["1"]


def test_a_kill_without_an_order_of_the_launcher_is_named(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(tear_down(0) + "Failures:\n  rank      : 2 (local_rank: 2)\n  exitcode  : -9 (pid: 502)\n")
    report = json.loads(run(log, "--json").stdout)
    assert (report["kind"], report["ranks"]) == ("killed", ["2"])


def test_a_tear_down_cut_in_the_middle_with_broken_bytes_is_read(tmp_path):
    log = tmp_path / "train.log"
    log.write_bytes(b"\xff\xfe\x1b[31m" + tear_down(4).encode()[:200])
    result = run(log)
    assert result.returncode == 3
    assert "\x1b" not in result.stdout
