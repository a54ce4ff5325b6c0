"""find_late_rank.py on captured gloo runs (torch 2.13) and on NCCL's lines laid out after PyTorch's source."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "kb/entries/distributed/nccl-watchdog-timeout"
DATA = Path(__file__).parent / "data/late_rank"


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ENTRY / "find_late_rank.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def finding(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


def timeout(rank: int, sequence: int = 57, operation: str = "ALLREDUCE", size: int = 8, within: int = -1) -> str:
    inner = within if within >= 0 else rank
    return (
        f"[rank{rank}]:[E813 12:25:30.948355712 ProcessGroupNCCL.cpp:685] [Rank {inner}] Watchdog caught collective "
        f"operation timeout: WorkNCCL(SeqNum={sequence}, OpType={operation}, NumelIn={size}, NumelOut={size}, "
        "Timeout(ms)=600000) ran for 600096 milliseconds before timing out.\n"
    )


def status(
    rank: int, sequence: int, enqueued: int, completed: int, group: str = "ID 0 PG GUID 0(default_pg)", within: int = -1
) -> str:
    inner = within if within >= 0 else rank
    return (
        f"[rank{rank}]:[E813 12:25:30.948386260 ProcessGroupNCCL.cpp:2271] [PG {group} Rank {inner}]  failure "
        f"detected by watchdog at work sequence id: {sequence} PG status: last enqueued work: {enqueued}, last "
        f"completed work: {completed}\n"
    )


def dump(rank: int, enqueued: int, completed: int) -> str:
    return (
        f"[rank{rank}]:[E813 12:25:31.213133402 ProcessGroupNCCL.cpp:1746] [PG ID 0 PG GUID 0(default_pg) Rank "
        f"{rank}] Received a dump signal due to a collective timeout from  rank 1 and we will try our best to dump "
        f"the debug info. Last enqueued NCCL work: {enqueued}, last completed NCCL work: {completed}.\n"
    )


@pytest.fixture
def log(tmp_path: Path):
    def write(text: str, name: str = "train.log") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


# Captured runs: torchrun --nproc-per-node 3, gloo, torch 2.13.


@pytest.mark.parametrize(
    ("name", "rank", "kind"),
    [
        ("gloo_raise.log", "1", "failed"),
        ("gloo_sleep.log", "2", "silent"),
        ("gloo_uneven.log", "2", "left-early"),
        ("gloo_kill.log", "1", "killed"),
        ("folder_raise", "1", "failed"),
        ("folder_kill", "1", "silent"),
    ],
)
def test_the_rank_at_fault_is_named_in_captured_runs(name, rank, kind):
    found = finding(DATA / name)
    assert (found["ranks"], found["kind"], found["code"]) == ([rank], kind, 1)


def test_torchruns_root_cause_is_not_taken_for_the_culprit():
    assert "Root Cause" in (DATA / "gloo_sleep.log").read_text()
    result = run(DATA / "gloo_sleep.log")
    assert result.returncode == 1
    assert result.stdout.startswith("rank 2 (likely)")
    assert "saving checkpoint to ./out" in result.stdout


def test_ranks_that_all_wait_without_numbers_decide_nothing():
    assert run(DATA / "gloo_mismatch.log").returncode == 3


def test_a_folder_of_rank_logs_and_the_launchers_output_together_show_the_kill():
    found = finding(DATA / "folder_kill", DATA / "gloo_kill.log")
    assert (found["ranks"], found["kind"]) == (["1"], "killed")
    assert "-9" in found["evidence"][0]["text"]


# NCCL


def test_a_rank_behind_in_last_enqueued_is_late_though_it_prints_no_time_out():
    found = finding(ENTRY / "samples/torch-2.8-slow-checkpoint.txt")
    assert (found["ranks"], found["kind"], found["certainty"]) == (["0"], "behind", "certain")
    assert found["collective"] == {"operation": "ALLREDUCE", "sequence": 81204, "group": "0"}
    assert "saving checkpoint" in found["said_last"]["0"]["text"]


def test_an_exception_outranks_the_time_outs_that_follow_it():
    found = finding(ENTRY / "samples/torch-2.4-rank-failed.txt")
    assert (found["ranks"], found["certainty"]) == (["2"], "certain")
    assert found["evidence"][0]["line"] == 7
    assert found["collective"]["sequence"] == 6463


def test_the_old_form_without_numbers_points_to_the_silent_rank_with_reserve():
    found = finding(ENTRY / "samples/torch-2.0-broadcast.txt")
    assert (found["ranks"], found["certainty"], found["collective"]["sequence"]) == (["0"], "possible", 11455)
    assert "Running tokenizer" in found["said_last"]["?"]["text"]


def test_another_operation_at_the_same_number_is_a_mismatch_of_the_odd_one(log):
    text = "".join(timeout(r, operation="_ALLGATHER_BASE" if r == 3 else "ALLREDUCE") + status(r, 57, 57, 56) for r in range(4))
    found = finding(log(text))
    assert (found["ranks"], found["kind"], found["certainty"]) == (["3"], "mismatch", "certain")


def test_another_size_at_the_same_number_is_a_mismatch_too(log):
    text = "".join(timeout(r, size=4 if r == 1 else 8) + status(r, 57, 57, 56) for r in range(3))
    assert finding(log(text))["ranks"] == ["1"]


def test_two_ranks_that_disagree_are_both_named_without_a_verdict_on_which(log):
    found = finding(log(timeout(0) + timeout(1, operation="BROADCAST")))
    assert (found["ranks"], found["certainty"]) == (["0", "1"], "possible")


def test_sizes_of_an_alltoall_may_differ_between_ranks(log):
    text = "".join(timeout(r, operation="ALLTOALL_BASE", size=r + 1) + status(r, 57, 57, 56) for r in range(3))
    assert finding(log(text))["kind"] == "all-issued"


def test_no_rank_is_blamed_when_all_issued_the_collective(log):
    found = finding(log("".join(timeout(r) + status(r, 57, 59, 56) for r in range(4))))
    assert (found["ranks"], found["kind"], found["code"]) == ([], "all-issued", 1)


def test_numbers_of_different_process_groups_are_not_compared(log):
    text = "".join(timeout(r) + status(r, 57, 57, 56, "ID 1 PG GUID 1") + dump(r, 20, 20) for r in range(3))
    assert finding(log(text))["kind"] == "all-issued"


def test_the_rank_within_a_group_is_not_taken_for_the_global_rank(log):
    text = timeout(4, within=0) + status(4, 57, 57, 56, "ID 2 PG GUID 7", within=0)
    text += (
        "[rank5]:[E813 12:25:31.2 ProcessGroupNCCL.cpp:2271] [PG ID 2 PG GUID 7 Rank 1]  failure detected by "
        "watchdog at work sequence id: 50 PG status: last enqueued work: 55, last completed work: 49\n"
    )
    assert finding(log(text))["ranks"] == ["5"]


def test_local_ranks_and_node_prefixes_are_told_from_global_ranks(log):
    text = "".join(f"1: [default{r - 8}]:{timeout(r)}1: [default{r - 8}]:{status(r, 57, 57, 56)}" for r in (8, 9, 11))
    text += "1: [default2]:packing sequences, 71% done\n"
    found = finding(log(text + "world_size=12\n" + "".join(timeout(r) + status(r, 57, 57, 56) for r in range(8))))
    assert found["ranks"] == ["10"]
    assert "packing sequences" in found["said_last"]["10"]["text"]


def test_a_silent_rank_whose_log_is_there_is_suspected_before_ranks_whose_logs_are_missing(log):
    found = finding(log(timeout(0) + timeout(1) + timeout(8) + "[rank11]: packing rows\n"))
    assert (found["ranks"], found["certainty"]) == (["11"], "possible")
    assert "no line of rank 2, 3" in found["what"]


def test_lines_behind_a_host_name_are_filed_under_their_rank(log):
    found = finding(
        log(
            "".join(f"gpu-node-b: {timeout(r)}gpu-node-b: {status(r, 57, 57, 56)}" for r in (1, 2))
            + "gpu-node-a: "
            + dump(0, 56, 56)
        )
    )
    assert found["ranks"] == ["0"]


def test_a_rank_that_the_launcher_had_to_kill_is_not_the_culprit(log):
    table = (
        "W1125 01:00:00.1 77 torch/x/api.py:1] Unable to shutdown process 502 via Signals.SIGTERM, forcefully "
        "exiting via Signals.SIGKILL\nFailures:\n  rank      : 2 (local_rank: 2)\n  exitcode  : -9 (pid: 502)\n"
    )
    text = "[rank1]: Traceback (most recent call last):\n[rank1]:   File \"a.py\", line 1, in f\n[rank1]: KeyError: 'x'\n"
    assert finding(log(text + timeout(0) + table))["ranks"] == ["1"]


def test_a_dataloader_workers_death_is_its_ranks_failure(log):
    text = (
        '[rank3]: Traceback (most recent call last):\n[rank3]:   File "a.py", line 1, in f\n'
        "[rank3]: RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. \n"
    )
    assert finding(log(text + timeout(0) + timeout(1) + timeout(2)))["ranks"] == ["3"]


def test_an_ecc_error_outranks_the_time_outs_of_the_others(log):
    text = (
        timeout(0) + "[rank1]:[E813 12:25:30.9 ProcessGroupNCCL.cpp:1895] [PG ID 0 PG GUID 0(default_pg) Rank 1] "
        "Process group watchdog thread terminated with exception: CUDA error: uncorrectable ECC error encountered\n"
    )
    assert finding(log(text))["ranks"] == ["1"]


def test_a_stuck_watchdog_is_reported_as_no_proof_of_a_late_rank(log):
    found = finding(
        log(
            "[rank2]:[F813 12:25:30.9 ProcessGroupNCCL.cpp:1600] [PG ID 0 PG GUID 0(default_pg) Rank 2] "
            "ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring "
            "enqueued collectives. \n"
        )
    )
    assert (found["ranks"], found["kind"], found["certainty"]) == (["2"], "watchdog-stuck", "possible")


def test_batch_counts_that_differ_are_shown_as_evidence(log):
    text = "[rank0]: loader has 120 batches\n[rank1]: loader has 118 batches\n[rank2]: loader has 120 batches\n"
    found = finding(log(text + timeout(0) + timeout(2)))
    assert found["ranks"] == ["1"]
    assert any("118 batches" in seen["text"] for seen in found["evidence"])


def test_the_desync_report_of_pytorch_is_believed(log):
    found = finding(
        log(timeout(0) + timeout(1) + "\t     [2] finished collective #56, but didn't join collective #57 (count from 1)\n")
    )
    assert (found["ranks"], found["collective"]["sequence"]) == (["2"], 57)


def test_uneven_shards_are_told_from_a_stuck_watchdog_in_the_same_log():
    found = finding(ENTRY / "samples/torch-2.8-uneven-shards.txt")
    assert (found["ranks"], found["kind"]) == (["3"], "behind")
    assert "410 batches" in found["said_last"]["3"]["text"]


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\x1b[0m\n"])
def test_logs_without_text_are_wrong_usage(log, data):
    path = log("")
    path.write_bytes(data)
    result = run(path)
    assert result.returncode == 2
    assert "no line of text" in result.stderr


def test_only_tear_down_lines_decide_nothing(log):
    result = run(
        log(
            "[rank0]:[E813 1 ProcessGroupNCCL.cpp:681] [Rank 0] Some NCCL operations have failed or timed out.\n"
            "[rank0]:[E813 1 ProcessGroupNCCL.cpp:695] [Rank 0] To avoid data inconsistency, we are taking the "
            "entire process down.\n"
        )
    )
    assert result.returncode == 3
    assert "decides nothing" in result.stdout
    assert "next:" in result.stdout


def test_one_rank_alone_decides_nothing(log):
    assert run(log("world_size=8\n" + timeout(5) + status(5, 57, 57, 56))).returncode == 3


# One file a rank, broken input, usage


def test_one_file_a_rank_is_named_by_its_file(log):
    for rank in range(3):
        text = "step 10\n" + (timeout(rank).split("]:", 1)[1] if rank != 1 else "evaluating 500 prompts\n")
        path = log(text, f"logs/rank_{rank}.log")
    found = finding(path.parent)
    assert found["ranks"] == ["1"]
    assert "evaluating" in found["said_last"]["1"]["text"]


def test_a_truncated_log_with_broken_bytes_and_progress_bars_is_read_to_its_end(log):
    path = log("")
    path.write_bytes(
        b"\xff\xfe\x00\x1b[31m 12%|#\r 13%|#"
        + (timeout(1) + status(1, 57, 57, 56)).encode()
        + dump(0, 56, 56).encode()
        + timeout(2).encode()[:60]
    )
    result = run(path)
    assert result.stdout.startswith("rank 0 (certain)")
    assert "\x1b" not in result.stdout


def test_a_healthy_log_is_healthy(log):
    assert run(log("[rank0]: step 1 loss 2.1\n[rank1]: step 1 loss 2.1\n")).returncode == 0


def test_an_error_that_a_rank_survived_is_no_failure_in_a_healthy_log(log):
    text = '[rank0]: Traceback (most recent call last):\n[rank0]:   File "a.py", line 1, in f\n[rank0]: OSError: retry\n'
    assert run(log(text + "".join(f"[rank0]: step {n} loss 2.1\n" for n in range(5)))).returncode == 0


def test_an_exception_of_a_users_own_class_is_found_between_lines_of_other_output(log):
    text = (
        '[rank0]: Traceback (most recent call last):\n[rank0]:   File "a.py", line 1, in f\n[rank0]: loss 2.1\n'
        "[rank0]: data.reader.BadSample: row 12\n"
    )
    found = finding(log(text + timeout(1)))
    assert found["ranks"] == ["0"]
    assert "BadSample" in found["evidence"][0]["text"]


def test_a_big_log_is_read_in_one_pass(log):
    result = run(log("[rank0]: step 1 loss 2.1 lr 1e-5\n" * 100_000 + timeout(1) + status(1, 57, 57, 56) + dump(0, 5, 5)))
    assert result.stdout.startswith("rank 0 (certain)")


def test_several_attempts_are_refused(tmp_path):
    for attempt in ("attempt_0", "attempt_1"):
        shutil.copytree(DATA / "folder_raise/attempt_0", tmp_path / attempt)
    result = run(tmp_path)
    assert result.returncode == 2
    assert "attempt_1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_file_is_one_clear_line(tmp_path):
    result = run(tmp_path / "none.log")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


def test_help_tells_what_it_reads_and_shows_an_example():
    result = run("--help")
    assert result.returncode == 0
    assert "changes nothing" in result.stdout
    assert "example" in result.stdout
