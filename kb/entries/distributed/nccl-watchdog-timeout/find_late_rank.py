# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Tell from the logs of all ranks which rank failed or fell behind before a collective timed out.

In: log files or folders (one file for all ranks, or one a rank). Out: the rank, the collective with its sequence
number, what that rank said last, how certain this is and the lines that show it. Nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ABOUT = """Reads the logs of a distributed run (torch 1.13 to 2.13; NCCL, also gloo) and tells which rank failed or
lagged first. Give it the logs of ALL ranks and nodes, with the launcher's output. It changes nothing."""
EXAMPLE = """example:
  python find_late_rank.py logs/attempt_0 train.log
exit code: 0 no time-out or failed rank in these logs, 1 found, 2 wrong usage, 3 nothing in the logs decides"""
MAX_LINE = 65536  # characters of one line that are read at once
LOG_SUFFIXES = {".log", ".txt", ".out", ".err"}

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
STAMP = re.compile(r"(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*Z?|\|)\s*")
GLOBAL_PREFIX = re.compile(r"\[rank(\d+)\]:? ?|\[1,(\d+)\]<std(?:out|err)>: ?")
LOCAL_PREFIX = re.compile(r"\[(?!rank)[A-Za-z_]+(\d+)\]:")
NODE_PREFIX = re.compile(r"(\d{1,4}|worker\d+|node\d+|\d+\.\d+\.\d+\.\d+): +|(\d{1,4}):(?=\[)")
RAY_PREFIX = re.compile(r"\(\w+ (pid=\d+)[^)]{0,40}\) ?")
GLUED = re.compile(r"(?<!^)(?=\[rank\d+\]:)")
OWN_WORDS_RANK = re.compile(r"\[?[Rr]ank[ :_=]?(\d+)\b")
CPP_LOG = re.compile(r"\[?[IWEF]\d* ?[\d:. ]*(?:\w+\.cpp:\d+\]|\d+ torch/)")

LAUNCHER = re.compile(  # frames, torchrun's messages and its table of failures: nobody's own words
    r"\s*(?:frame #|what\(\)|terminate called|[-=]+$|\[\d+\]:$|Failures:|Root Cause|\S+ FAILED$|"
    r"(?:time|host|error_file|traceback)\s+: |(?:WARNING|ERROR|INFO):torch\.distributed|W\d{4} |srun: |\$ |\+ |"
    r".*Sending process \d+ closing signal)"
)

WORK = re.compile(r"WorkNCCL\(SeqNum=(\d+), OpType=(\w+)(?:, NumelIn=(\d+), NumelOut=(\d+))?, Timeout\(ms\)=(\d+)\)")
NCCL_RANK = re.compile(r"Rank (\d+)\]")
GROUP = re.compile(r"\[PG (?:ID \d+ PG GUID )?([^\s(\]]+)[^\]]*? ?Rank \d+\]")
STATUS = re.compile(r"[Ll]ast enqueued (?:NCCL )?work: (-?\d+),.{0,80}?last completed (?:NCCL )?work: (-?\d+)")
DETECTED = re.compile(r"(?:detected by watchdog at work(?: sequence id)?|Timeout at NCCL work): (\d+)")
HEARTBEAT = re.compile(r"watchdog got stuck for \d+ seconds|Heartbeat monitor timed out")
DESYNC = re.compile(r"\[([\d, ]+)\] (?:finished collective #\d+, but didn't join collective #(\d+)|are the lagging)")
WORLD = re.compile(r"world[_ ]size['\"]?\s*[:=]\s*(\d{1,4})\b|Num processes: (\d{1,4})\b")
BATCHES = re.compile(r"(\d+) batches\b|\b(?:num_batches|batches|len\(\w*dataloader\))\s*[:=]\s*(\d+)")

TEAR_DOWN = re.compile(
    r"NCCL operations have failed or timed out|taking the entire process down|communicator was aborted|"
    r"Connection (?:closed|reset) by peer|Timed out waiting \d+ms for|remote process exited|ncclRemoteError|"
    r"Watchdog caught collective|collective timeout|Socket Timeout|[Ww]ait timeout after \d+ms|Broken pipe|"
    r"SignalException|ChildFailedError|KeyboardInterrupt|failed to recv|Timeout at NCCL work"
)
EXCEPTION = re.compile(  # a last line of a traceback: a name that ends in Error, has a module in front, or two humps
    r"(?:(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Iteration|Failure)|(?:\w+\.)+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*)"
    r"(?:: |:?$)"
)
PROGRESS = re.compile(r"\bloss\b|\bstep \d|\d+/\d+ \[")
FATAL = re.compile(
    r"CUDA out of memory|uncorrectable ECC error|illegal memory access|device-side assert|"
    r"DataLoader worker \(pid\(?s?\)? ?[^)]*\) (?:is killed by signal|exited unexpectedly)|"
    r"Segmentation fault|Bus error|unspecified launch failure|NVRM: Xid"
)
TABLE_RANK = re.compile(r"\s*rank\s+: (\d+) \(local_rank: (\d+)\)")
TABLE_EXIT = re.compile(r"\s*exitcode\s+: (-?\d+) \(pid: (\d+)\)")
EXIT_LINE = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+) \(pid: (\d+)\)")
STOPPED = re.compile(r"Sending process (\d+) closing signal|Unable to shutdown process (\d+)")
OWN_SIGNALS = {
    -4: "SIGILL",
    -7: "SIGBUS",
    -8: "SIGFPE",
    -9: "SIGKILL",
    -11: "SIGSEGV",
    135: "SIGBUS",
    137: "SIGKILL",
    139: "SIGSEGV",
}
SIZES_MAY_DIFFER = re.compile(r"(?:GATHER|SCATTER|ALLTOALL\w*|COALESCED)$")  # by root or by rank, rightly so
Key = tuple[str, str]  # (scope, number): scope "" holds global ranks, others local ranks, pids and the unknown


class Seen(NamedTuple):
    file: str
    line: int
    text: str


class Timeout(NamedTuple):
    sequence: int
    operation: str
    sizes: tuple[str, str]
    seen: Seen


@dataclass
class Rank:
    """What the logs hold of one rank."""

    timeouts: list[Timeout] = field(default_factory=list)
    groups: dict[int, str] = field(default_factory=dict)  # sequence number of a timed-out work -> its process group
    status: dict[str, tuple[int, int, Seen]] = field(default_factory=dict)  # group -> last enqueued, completed
    failure: Seen | None = None
    victim: Seen | None = None
    heartbeat: Seen | None = None
    killed: Seen | None = None
    in_table: Seen | None = None
    said_last: Seen | None = None
    batches: tuple[int, Seen] | None = None
    went_on: int = 0  # lines of progress after the failure: it may have survived it (or its output was buffered)
    files: set = field(default_factory=set)

    def merge(self, other: Rank) -> None:
        """Take over what was filed under another name of the same rank."""
        self.timeouts += other.timeouts
        self.groups.update(other.groups)
        self.status = {**other.status, **self.status}
        for name in ("failure", "victim", "heartbeat", "killed", "in_table", "batches"):
            setattr(self, name, getattr(self, name) or getattr(other, name))
        self.said_last = other.said_last or self.said_last
        self.went_on += other.went_on
        self.files |= other.files

    @property
    def timed_out(self) -> bool:
        return bool(self.timeouts or self.victim)


@dataclass
class Logs:
    ranks: dict[Key, Rank] = field(default_factory=lambda: defaultdict(Rank))
    names: dict[Key, str] = field(default_factory=dict)  # local rank or pid -> global rank
    world: int = 0
    desync: list[tuple[list[str], str, Seen]] = field(default_factory=list)
    table_files: set = field(default_factory=set)
    tear_down: Seen | None = None
    lines: int = 0  # with text in them


def log_files(paths: list[str]) -> list[Path]:
    """The files given and the log files below the folders given."""
    found: list[Path] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.is_file() and item.suffix in LOG_SUFFIXES)
        else:
            found.append(path)
    return found


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a file of any size; progress bars are taken apart at carriage returns."""
    with open(path, encoding="utf-8", errors="replace", newline="\n") as stream:
        number = 0
        while True:
            line = stream.readline(MAX_LINE)
            if not line:
                return
            number += 1
            for part in line.rstrip("\r\n").split("\r"):
                yield number, CONTROL.sub("", part)


def rank_of_file(path: Path) -> Key | None:
    """The rank that a file's name tells: rank_3.log (global), attempt_0/3/stderr.log (local to that node)."""
    named = re.search(r"rank[-_.]?(\d+)", path.stem)
    if named:
        return ("", named.group(1))
    if path.parent.name.isdigit() and path.parent.parent.name.startswith("attempt_"):
        return (str(path.parent.parent), path.parent.name)
    return None


def split_prefixes(line: str, path: Path, file_key: Key | None, logs: Logs) -> tuple[Key | None, str]:
    """Who speaks in a line, and the line without launcher's and logger's prefixes."""
    node, key, name = "", file_key, None
    while True:
        if match := GLOBAL_PREFIX.match(line):
            name = match.group(1) or match.group(2)
        elif (match := LOCAL_PREFIX.match(line)) or (match := RAY_PREFIX.match(line)):
            key = (f"{path}|{node}", match.group(1))
        elif match := NODE_PREFIX.match(line):  # `0:` is a node or a task of the launcher, never taken for a rank
            node = match.group(1) or match.group(2)
        elif not (match := STAMP.match(line)):
            break
        line = line[match.end() :]
    if name is None and key is None and (match := GLOBAL_PREFIX.search(line[:200])):  # behind a host's name or a bar
        name, line = match.group(1) or match.group(2), line[match.end() :]
    if name is not None:
        if key is not None and key[0]:
            logs.names[key] = name
        key = ("", name)
    return key, line


def read(path: Path, logs: Logs) -> None:
    """File what one log says under the ranks that say it."""
    file_key = rank_of_file(path)
    in_traceback: dict[Key, bool] = {}
    stopped_pids: set = set()
    table_row: tuple[str, str] | None = None
    nobody: Key = (f"{path}|?", "?")
    for number, line in lines_of(path):
        logs.lines += any(character.isalnum() for character in line[:200])
        for piece in GLUED.split(line) if line.count("[rank") > 1 or "%|" in line else [line]:
            key, body = split_prefixes(piece, path, file_key, logs)
            seen = Seen(str(path), number, body.strip()[:240])
            if match := STOPPED.search(body):
                stopped_pids.add(match.group(1) or match.group(2))
            if match := TABLE_RANK.match(body):
                table_row = (match.group(1), match.group(2))
                logs.table_files.add(str(path))
                logs.names[(f"{path}|", table_row[1])] = table_row[0]
                logs.ranks[("", table_row[0])].in_table = seen
                continue
            exit_of: tuple[Key, str, str] | None = None
            if (match := TABLE_EXIT.match(body)) and table_row:
                exit_of = (("", table_row[0]), match.group(1), match.group(2))
            elif match := EXIT_LINE.search(body):
                exit_of = ((f"{path}|", match.group(2)), match.group(1), match.group(3))
            if exit_of:
                if int(exit_of[1]) in OWN_SIGNALS and exit_of[2] not in stopped_pids:
                    logs.ranks[exit_of[0]].killed = seen
                continue
            if match := WORLD.search(body):
                logs.world = max(logs.world, int(match.group(1) or match.group(2)))
            work = WORK.search(body)
            if key is None:
                match = NCCL_RANK.search(body) if ".cpp:" in body or work else OWN_WORDS_RANK.match(body)
                key = ("", match.group(1)) if match else nobody
            file_line(body, seen, work, logs.ranks[key], logs, in_traceback, key)
            logs.ranks[key].files.add(str(path))


def file_line(
    body: str, seen: Seen, work: re.Match[str] | None, rank: Rank, logs: Logs, in_traceback: dict[Key, bool], key: Key
) -> None:
    """File one line under its rank: a time-out, a state, a failure, a tear-down, or the rank's own words."""
    status, group, detected = STATUS.search(body), GROUP.search(body), DETECTED.search(body)
    if match := DESYNC.search(body):
        logs.desync.append((match.group(1).replace(" ", "").split(","), match.group(2) or "", seen))
    if status and group:
        rank.status.setdefault(group.group(1), (int(status.group(1)), int(status.group(2)), seen))
        if detected:
            rank.groups[int(detected.group(1))] = group.group(1)
    if work:
        timeout = Timeout(int(work.group(1)), work.group(2), (work.group(3) or "", work.group(4) or ""), seen)
        if all((timeout.sequence, timeout.operation) != (old.sequence, old.operation) for old in rank.timeouts):
            rank.timeouts.append(timeout)
    elif HEARTBEAT.search(body):
        rank.heartbeat = rank.heartbeat or seen
    elif TEAR_DOWN.search(body):
        logs.tear_down = logs.tear_down or seen
        if in_traceback.pop(key, False) and not re.search("ChildFailedError|SignalException", body):
            rank.victim = rank.victim or seen
    elif body.startswith("Traceback (most recent call last)"):
        in_traceback[key] = True
    elif in_traceback.get(key) and (not body.strip() or body[0].isspace()):
        pass
    elif FATAL.search(body) or (in_traceback.get(key) and EXCEPTION.match(body)):
        in_traceback.pop(key, None)
        if not rank.timed_out:
            rank.failure = rank.failure or seen
    elif body.strip() and not status and not CPP_LOG.search(body) and not LAUNCHER.match(body):
        rank.said_last = seen
        rank.went_on += bool(rank.failure and PROGRESS.search(body) and not body.startswith("wandb"))
        if match := BATCHES.search(body):
            rank.batches = (int(match.group(1) or match.group(2)), seen)


def global_ranks(logs: Logs) -> dict[str, Rank]:
    """Bring local ranks and pids under the global rank where the logs tell it."""
    offsets: dict[str, set] = defaultdict(set)
    for (scope, local), name in logs.names.items():
        if local.isdigit():
            offsets[scope].add(int(name) - int(local))
    ranks: dict[str, Rank] = defaultdict(Rank)
    for key, rank in sorted(logs.ranks.items(), key=lambda item: item[0]):
        scope, number = key
        if not scope:
            name = number
        elif key in logs.names:
            name = logs.names[key]
        elif number.isdigit() and len(offsets[scope]) == 1:
            name = str(int(number) + offsets[scope].copy().pop())
        elif number.isdigit():
            name = f"{number} (local, of {scope.rstrip('|')})"
        else:
            name = "?" if number == "?" else f"? ({number})"
        ranks[name].merge(rank)
    return ranks


def ordered(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


@dataclass
class Verdict:
    """What the logs establish; `code` is the exit status."""

    code: int
    kind: str
    what: str
    next: str
    ranks: list[str] = field(default_factory=list)
    certainty: str = ""
    collective: dict[str, object] = field(default_factory=dict)
    evidence: list[Seen] = field(default_factory=list)


READ_IT = "Read that rank's log upwards from this line: its own error is the cause, the time-outs of the others follow."
STACK = "Let it hang again and run `py-spy dump --pid` on that rank's process: the stack shows what it was doing."
SILENT = (
    "See what it said last: that is what kept it. If its log simply ends it was killed: look at the exit codes in "
    "the launcher's output and at `dmesg -T`. Otherwise let it hang again and run `py-spy dump --pid` on it."
)
WHOLE_LOGS = (
    "Give the complete logs of all ranks and nodes with the launcher's output; if you have, run again with "
    "torchrun --log-dir logs --redirects 3, TORCH_NCCL_TRACE_BUFFER_SIZE=2000 and TORCH_NCCL_DESYNC_DEBUG=1."
)


def where_stuck(ranks: dict[str, Rank]) -> dict[str, tuple[int, Timeout]]:
    """For each process group the lowest sequence number that timed out, and one rank's message about it."""
    stuck: dict[str, tuple[int, Timeout]] = {}
    for rank in ranks.values():
        for timeout in rank.timeouts:
            group = rank.groups.get(timeout.sequence, "")
            if group not in stuck or timeout.sequence < stuck[group][0]:
                stuck[group] = (timeout.sequence, timeout)
    return stuck


def collective_of(group: str, timeout: Timeout) -> dict[str, object]:
    return {"operation": timeout.operation, "sequence": timeout.sequence, "group": group or None}


def find_failure(ranks: dict[str, Rank], logs: Logs) -> Verdict | None:
    """Ranks with an error of their own, or killed by a signal that the launcher did not send."""
    failed = ordered([name for name, rank in ranks.items() if rank.failure or rank.killed])
    ended_badly = logs.tear_down or logs.table_files or any(rank.timed_out or rank.killed for rank in ranks.values())
    if not ended_badly:
        failed = [name for name in failed if ranks[name].went_on < 3]
    if not failed:
        return None
    evidence = [seen for name in failed for seen in (ranks[name].failure, ranks[name].killed) if seen]
    others_waited = any(rank.timed_out for name, rank in ranks.items() if name not in failed)
    if len(failed) > 1:
        return Verdict(
            1,
            "failed",
            f"ranks {', '.join(failed)} failed by themselves; which was first the logs do not "
            "tell (clocks and interleaved lines mislead)",
            READ_IT,
            failed,
            "possible",
            evidence=evidence,
        )
    rank = ranks[failed[0]]
    killed = rank.killed and not rank.failure
    what = "was killed from outside" if killed else "failed with an error of its own"
    advice = (
        (
            "Exit code -9 without an order of the launcher is nearly always host memory: look at `dmesg -T`; "
            "-7 is a bus error (shared memory), -11 a crash in native code."
        )
        if killed
        else READ_IT
    )
    sure = failed[0].isdigit() and others_waited and not rank.timed_out and rank.went_on < 3
    return Verdict(
        1, "killed" if killed else "failed", what, advice, failed, "certain" if sure else "likely", evidence=evidence
    )


def sizes_of(timeout: Timeout) -> tuple[str, str]:
    """The sizes to compare between ranks; none where they may rightly differ."""
    return ("", "") if SIZES_MAY_DIFFER.match(timeout.operation) else timeout.sizes


def find_mismatch(ranks: dict[str, Rank]) -> Verdict | None:
    """Ranks that stand at one sequence number of one group with another operation or another size."""
    at: dict[tuple[str, int], list[tuple[str, Timeout]]] = defaultdict(list)
    for name, rank in ranks.items():
        for timeout in rank.timeouts:
            if timeout.operation not in ("SEND", "RECV"):
                at[(rank.groups.get(timeout.sequence, ""), timeout.sequence)].append((name, timeout))
    for (group, sequence), waiting in sorted(at.items()):
        forms = Counter((timeout.operation, sizes_of(timeout)) for _, timeout in waiting)
        if len(forms) < 2:
            continue
        (usual, most), (_, second) = forms.most_common(2)
        odd = [(name, seen) for name, seen in waiting if (seen.operation, sizes_of(seen)) != usual or most == second]
        names = ordered([name for name, _ in odd])
        what = (
            "these ranks disagree; which of them is wrong the logs do not tell"
            if most == second
            else f"came to this number with another operation or size than the others ({usual[0]})"
        )
        return Verdict(
            1,
            "mismatch",
            what,
            "Look in the code for a collective that only some ranks call, or call in "
            "another order or with another shape (if rank == 0, early return, empty batch).",
            names,
            "possible" if most == second else "likely" if not group else "certain",
            {"sequence": sequence, "group": group or None, "operation": odd[0][1].operation},
            [timeout.seen for _, timeout in (odd + waiting)[:4]],
        )
    return None


def find_behind(ranks: dict[str, Rank], logs: Logs) -> Verdict | None:
    """Ranks that did not issue the collective the others wait in, or the one where all issued it."""
    stuck = where_stuck(ranks)
    for names, sequence, seen in logs.desync:
        waited_in = [collective_of(group, timeout) for group, (_, timeout) in stuck.items()]
        return Verdict(
            1,
            "behind",
            "did not join the collective, by the desync report of PyTorch",
            STACK,
            names,
            "certain",
            waited_in[0] if waited_in else {"sequence": int(sequence or 0) or None},
            [seen],
        )
    behind: dict[str, tuple[str, Seen]] = {}
    for group, (sequence, _) in stuck.items():
        for name, rank in ranks.items():
            if group in rank.status and rank.status[group][0] < sequence:
                behind[name] = (group, rank.status[group][2])
    free = [name for name in behind if not ranks[name].timed_out]  # the others wait themselves, in another group
    names = ordered(free or list(behind))
    if names:
        group = behind[names[0]][0]
        return Verdict(
            1,
            "behind",
            "had not issued the collective that the others were waiting in",
            STACK,
            names,
            "certain" if free else "likely",
            collective_of(group, stuck[group][1]),
            [behind[name][1] for name in names[:4]] + [stuck[group][1].seen],
        )
    for group, (sequence, timeout) in stuck.items():
        known = {name: rank for name, rank in ranks.items() if group in rank.status}
        if len(known) < 2 or len(known) < max(logs.world, sum(name.isdigit() for name in ranks)):
            continue
        late = ordered([name for name, rank in known.items() if rank.status[group][1] < sequence])
        if len(late) < len(known):
            return Verdict(
                1,
                "stuck",
                "issued the collective but did not finish it, though others did",
                "Suspect this rank's GPU, its link or its CUDA stream: dmesg (Xid), nvidia-smi -q, nccl-tests on that node.",
                late,
                "likely",
                collective_of(group, timeout),
                [timeout.seen],
            )
        return Verdict(
            1,
            "all-issued",
            "no rank is late: all issued the collective and none finished it",
            "Data and slow work are not the cause. Compare shapes and order with the flight recorder, "
            "and test the links with nccl-tests (all_reduce_perf) and NCCL_DEBUG=INFO.",
            [],
            "likely",
            collective_of(group, timeout),
            [timeout.seen, *[rank.status[group][2] for rank in known.values()][:3]],
        )
    numbers = {name: min(t.sequence for t in rank.timeouts) for name, rank in ranks.items() if rank.timeouts}
    if list(stuck) == [""] and len(set(numbers.values())) > 1:  # before torch 2.3 no line tells the group
        names = ordered([name for name, number in numbers.items() if number == min(numbers.values())])
        return Verdict(
            1,
            "behind",
            "timed out at a lower sequence number than the others (these logs do not name the "
            "process group, so the numbers may belong to different ones)",
            STACK,
            names,
            "possible",
            collective_of("", stuck[""][1]),
            [ranks[name].timeouts[0].seen for name in names[:4]],
        )
    return None


def left_early(rank: Rank, logs: Logs) -> bool:
    """True for a rank that torchrun's table of the same node would list, had it not exited with code 0."""
    scopes = {key and key[0] for key in (rank_of_file(Path(name)) for name in rank.files)}
    one_node = len(scopes) == 1 and scopes != {None} and len(logs.table_files) == 1
    return not rank.in_table and bool(rank.files) and (bool(rank.files & logs.table_files) or one_node)


def find_silent(ranks: dict[str, Rank], logs: Logs) -> Verdict | None:
    """Ranks that report no time-out while others do."""
    waiting = [name for name, rank in ranks.items() if rank.timed_out]
    names = {name for name in ranks if name != "?" and not name.startswith("? ")}
    numbers = [int(name) for name in names if name.isdigit()]
    if len(numbers) == len(names) and numbers:
        names |= {str(number) for number in range(max(logs.world, max(numbers) + 1))}
    silent = ordered([name for name in names if name not in waiting])
    unseen = [name for name in silent if name not in ranks or not ranks[name].files]
    if len(silent) > len(waiting):  # too many to suspect them all: keep those whose log is here
        silent = [name for name in silent if name not in unseen]
    if not silent or len(silent) > len(waiting):
        return None
    stuck = where_stuck(ranks)
    collective = collective_of(*next((group, timeout) for group, (_, timeout) in stuck.items())) if stuck else {}
    evidence = [seen for seen in (ranks[waiting[0]].victim, *(t.seen for t in ranks[waiting[0]].timeouts)) if seen][:1]
    gone = [name for name in silent if name in ranks and left_early(ranks[name], logs)] if logs.table_files else []
    counts = {name: rank.batches[0] for name, rank in ranks.items() if rank.batches}
    fewest = [name for name, count in counts.items() if count == min(counts.values()) and len(set(counts.values())) > 1]
    evidence += [ranks[name].batches[1] for name in fewest if ranks[name].batches]  # type: ignore[index]
    if gone:
        return Verdict(
            1,
            "left-early",
            "ended without an error while the others were waiting: it is missing from "
            "the launcher's table of failures, as a process with exit code 0 is",
            "Count the batches of every rank before the loop: uneven shards or an early return end one rank sooner.",
            gone,
            "likely",
            collective,
            evidence,
        )
    what = "reported no time-out while the others did"
    if unseen:
        what += f"; no line of rank {', '.join(unseen[:8])} is in these logs"
    return Verdict(
        1,
        "silent",
        what,
        WHOLE_LOGS if unseen else SILENT,
        silent,
        "possible" if unseen or len(silent) > 1 else "likely",
        collective,
        evidence,
    )


def judge(ranks: dict[str, Rank], logs: Logs) -> Verdict:
    """The strongest finding that the logs allow."""
    stuck_watchdog = ordered([name for name, rank in ranks.items() if rank.heartbeat])
    found = find_failure(ranks, logs) or find_mismatch(ranks) or find_behind(ranks, logs) or find_silent(ranks, logs)
    if found:
        group_and_timeout = [(group, timeout) for group, (_, timeout) in where_stuck(ranks).items()]
        if not found.collective and group_and_timeout:
            found.collective = collective_of(*group_and_timeout[0])
        return found
    if stuck_watchdog:
        return Verdict(
            1,
            "watchdog-stuck",
            "the watchdog thread of this rank itself was stuck, in a CUDA call or "
            "waiting for the GIL; that is no proof of a late rank",
            "Run py-spy dump --native on that process; look for a blocking CUDA call, a hung GPU (dmesg, Xid) or a lock.",
            stuck_watchdog,
            "possible",
            evidence=[ranks[name].heartbeat for name in stuck_watchdog[:4]],
        )  # type: ignore[misc]
    waiting = ordered([name for name, rank in ranks.items() if rank.timed_out])
    if waiting:
        collective = [collective_of(group, timeout) for group, (_, timeout) in where_stuck(ranks).items()]
        return Verdict(
            3,
            "undecided",
            f"ranks {', '.join(waiting[:16])} waited in vain; for whom the logs do not tell",
            WHOLE_LOGS,
            [],
            "",
            collective[0] if collective else {},
            [s for r in ranks.values() for s in (r.victim, *(t.seen for t in r.timeouts)) if s][:4],
        )
    if logs.tear_down:
        return Verdict(
            3, "undecided", "only the tear-down is in these logs; it decides nothing", WHOLE_LOGS, evidence=[logs.tear_down]
        )
    return Verdict(0, "healthy", "no time-out and no failed rank in these logs", "Nothing to do.")


def last_words(names: list[str], ranks: dict[str, Rank]) -> dict[str, Seen]:
    """What the ranks found said last; if one of them said nothing, also the last line that names no rank."""
    said = {name: ranks[name].said_last for name in names[:8] if name in ranks}
    if names and len([seen for seen in said.values() if seen]) < len(names[:8]) and "?" in ranks:
        said["?"] = ranks["?"].said_last
    return {name: seen for name, seen in said.items() if seen}


def report(verdict: Verdict, ranks: dict[str, Rank]) -> str:
    """The verdict for people."""
    place = "{0.file}:{0.line}: {0.text}".format
    who = ("rank " if len(verdict.ranks) == 1 else "ranks ") + ", ".join(verdict.ranks[:16])
    lines = [f"{who} ({verdict.certainty}): {verdict.what}" if verdict.ranks else verdict.what]
    if verdict.collective:
        known = {name: value or "not named" for name, value in verdict.collective.items()}
        lines.append(
            f"collective: {known.get('operation', 'not named')}, sequence number {known.get('sequence')}, "
            f"process group {known.get('group', 'not named')}"
        )
    for name, seen in last_words(verdict.ranks, ranks).items():
        speaker = f"rank {name}" if name != "?" else "a process that does not name its rank"
        lines.append(f"{speaker} said last: {place(seen)}")
    lines += [f"evidence: {place(seen)}" for seen in verdict.evidence]
    seen_ranks = ordered([name for name in ranks if name.isdigit() and ranks[name].files])
    lines.append(f"ranks with lines in these logs: {', '.join(seen_ranks) or 'none that could be named'}")
    return "\n".join([*lines, f"next: {verdict.next}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=ABOUT, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="LOG", help="a log file, or a folder that holds them")
    parser.add_argument("--json", action="store_true", help="print the finding as JSON")
    arguments = parser.parse_args()
    files = log_files(arguments.paths)
    if not files:
        print(f"find_late_rank: no {' '.join(sorted(LOG_SUFFIXES))} file below {arguments.paths[0]}", file=sys.stderr)
        return 2
    attempts = {part for path in files for part in path.parts if re.match(r"attempt_\d+$", part)}
    if len(attempts) > 1:
        print(
            f"find_late_rank: {len(attempts)} attempts of torchrun are in there; give one of {sorted(attempts)}",
            file=sys.stderr,
        )
        return 2
    logs = Logs()
    for path in files:
        try:
            read(path, logs)
        except OSError as error:
            print(f"find_late_rank: cannot read {CONTROL.sub('', str(path))}: {error.strerror}", file=sys.stderr)
            return 2
    if not logs.lines:
        print("find_late_rank: there is no line of text in these logs; give the logs of all ranks", file=sys.stderr)
        return 2
    ranks = global_ranks(logs)
    verdict = judge(ranks, logs)
    if arguments.json:
        found = {
            **vars(verdict),
            "evidence": [seen._asdict() for seen in verdict.evidence],
            "said_last": {name: seen._asdict() for name, seen in last_words(verdict.ranks, ranks).items()},
        }
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print(report(verdict, ranks))
    return verdict.code


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
