"""How many questions a second `kbask serve` answers while many ask at once, and how long they wait; composed answers.

    python -m benchmarks.load                              60 seconds, 16 clients
    python -m benchmarks.load --seconds 600 --plot         ten minutes, with the curve in benchmarks/load.svg
    python -m benchmarks.load --paste 50                   beside them, pastes of 50 MB, one after the other
    python -m benchmarks.load --check                      exit 1 where a goal is missed

The mix: half of the requests are logs of 40 to 400 lines, each different (a sample of an entry among lines of a training run),
a quarter one of twenty questions over and over, a quarter questions that were not asked before. Server and clients share the
machine: what the clients need is taken from the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.entry import builtin_folder, entry_folders, read_source, to_entry

ROOT = Path(__file__).parent.parent
CASES = ROOT / "benchmarks" / "cases" / "tuning.jsonl"
GOAL_RATE, GOAL_P99, GOAL_GROWTH = 100.0, 0.5, 1.15
WARM_UP = 3.0  # Seconds whose answers are not counted.
CURVE_EVERY = 1.0


class Mix:
    """Requests of the stated mix, the same ones for the same seed."""

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)
        entries = [to_entry(read_source(folder)) for folder in entry_folders(builtin_folder())]
        self.samples = [
            path.read_text("utf-8") for entry in entries for path in sorted(Path(entry.folder).glob("samples/*.txt"))
        ]
        cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
        self.questions = [case["text"] for case in cases if case["kind"] == "question"]
        self.repeated = self.random.sample(self.questions, 20)
        self.number = 0

    def text(self) -> str:
        self.number += 1
        kind = self.random.random()
        if kind < 0.5:
            return self.log()
        if kind < 0.75:
            return self.random.choice(self.repeated)
        return f"{self.random.choice(self.questions)} (run {self.number})"

    def log(self) -> str:
        lines, draw = self.random.randint(40, 400), self.random.random
        sample = self.random.choice(self.samples).splitlines()
        first = 1000 * self.number
        steps = [
            f"[rank{step % 8}]: step {step} | loss {1 + draw():.4f} | grad_norm {draw():.3f} | lr {draw() / 1e4:.2e}"
            for step in range(first, first + max(0, lines - len(sample)))
        ]
        at = self.random.randint(0, len(steps))
        return "\n".join([*steps[:at], *sample, *steps[at:]])


@dataclass
class Seen:
    """What came of the requests: (when it ended, seconds it took) each, those that failed and why, the server's memory."""

    taken: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    pastes: list[float] = field(default_factory=list)


def request_bytes(text: str, port: int, path: str = "/v1/ask") -> bytes:
    body = json.dumps({"text": text}).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    """The status of one request on a connection that stays open, its body read."""
    writer.write(data)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
    return int(head.split()[1])


async def client(mix: Mix, port: int, began: float, until: float, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.perf_counter() < until:
            data = request_bytes(mix.text(), port)
            start = time.perf_counter()
            try:
                status = await ask(reader, writer, data)
            except (OSError, asyncio.IncompleteReadError) as error:
                seen.failed.append(repr(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            end = time.perf_counter()
            if status != 200:
                seen.failed.append(str(status))
            elif start - began > WARM_UP:
                seen.taken.append((end - began, end - start))
    finally:
        writer.close()


async def paste(megabytes: int, mix: Mix, port: int, until: float, seen: Seen) -> None:
    """Large pastes, one after the other, beside the others."""
    block = "\n".join(mix.log() for _ in range(200)) + "\n"
    data = request_bytes(block * (megabytes * 1_000_000 // len(block) + 1), port)
    while time.perf_counter() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        start = time.perf_counter()
        status = await ask(reader, writer, data)
        writer.close()
        if status != 200:
            seen.failed.append(f"paste: {status}")
        seen.pastes.append(time.perf_counter() - start)


async def watch(pid: int, began: float, until: float, seen: Seen) -> None:
    while time.perf_counter() < until:
        seen.memory.append((time.perf_counter() - began, resident(pid)))
        await asyncio.sleep(CURVE_EVERY)


def resident(pid: int) -> float:
    """Megabytes of a process and its children."""
    pids, total = [pid], 0
    while pids:
        one = pids.pop()
        try:
            status = Path(f"/proc/{one}/status").read_text(encoding="ascii")
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            pids += map(int, Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii").split())
        except (OSError, StopIteration):
            continue
    return total / 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def run(options: argparse.Namespace) -> tuple[Seen, float]:
    mix, seen, port = Mix(), Seen(), free_port()
    command = [sys.executable, "-m", "assistant.cli", "serve", "--port", str(port), "--requests", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KBASK_")}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"kbask serve ended with {server.returncode} before it listened")
                await asyncio.sleep(0.1)
        await ask(reader, writer, request_bytes("loss is zero", port))
        writer.close()
        began = time.perf_counter()
        until = began + WARM_UP + options.seconds
        jobs = [client(mix, port, began, until, seen) for _ in range(options.clients)]
        jobs += [paste(options.paste, mix, port, until, seen)] if options.paste else []
        await asyncio.gather(watch(server.pid, began, until, seen), *jobs)
        return seen, time.perf_counter() - began - WARM_UP
    finally:
        server.terminate()
        server.wait(20)


def figures(seen: Seen, seconds: float) -> dict[str, Any]:
    times = sorted(took for _, took in seen.taken)
    fifth = max(1, len(seen.memory) // 5)
    early, late = ([memory for _, memory in part] for part in (seen.memory[:fifth], seen.memory[-fifth:]))
    return {
        "requests/s": len(times) / seconds,
        "p50 ms": 1000 * statistics.median(times),
        "p99 ms": 1000 * times[int(0.99 * len(times))],
        "failed": len(seen.failed),
        "memory MB, first fifth": max(early),
        "memory MB, last fifth": max(late),
        **({"large pastes": len(seen.pastes), "seconds each": statistics.median(seen.pastes)} if seen.pastes else {}),
    }


def plot(seen: Seen, seconds: float, clients: int) -> Path:
    """Requests a second, the slowest hundredth of each ten seconds, and memory, over time."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "kbask"
    from matplotlib import pyplot

    bins: dict[int, list[float]] = {}
    for at, took in seen.taken:
        bins.setdefault(int(at // 10), []).append(took)
    full = [number for number in sorted(bins) if 10 * number >= WARM_UP and 10 * (number + 1) <= seconds + WARM_UP]
    when = [10 * number for number in full]
    rows = [
        ("requests/s", when, [len(bins[number]) / 10 for number in full]),
        ("p99, ms", when, [1000 * sorted(bins[number])[int(0.99 * len(bins[number]))] for number in full]),
        ("memory, MB", [at for at, _ in seen.memory], [memory for _, memory in seen.memory]),
    ]
    figure, axes = pyplot.subplots(3, 1, figsize=(7, 5.5), sharex=True, layout="constrained")
    for axis, (label, x, y) in zip(axes, rows, strict=True):
        axis.plot(x, y, color="#0b6e4f", linewidth=1.4)
        axis.set_ylabel(label)
        axis.set_ylim(0, 1.15 * max(y))
        axis.grid(alpha=0.25)
    axes[0].set_title(f"kbask serve, {clients} clients, composed answers", fontsize=10)
    axes[-1].set_xlabel("seconds")
    path = Path(__file__).parent / "load.svg"
    figure.savefig(path, metadata={"Date": None})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--paste", type=int, default=0, metavar="MB", help="large pastes of so many megabytes beside them")
    parser.add_argument("--plot", action="store_true", help="draw benchmarks/load.svg")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    options = parser.parse_args()
    seen, seconds = asyncio.run(run(options))
    found = figures(seen, seconds)
    print(f"{options.clients} clients, {seconds:.0f} s, {os.cpu_count()} cores")
    for name, value in found.items():
        print(f"  {name:24} {value:10.1f}")
    for reason in sorted(set(seen.failed)):
        print(f"  failed {seen.failed.count(reason)} times: {reason}")
    if options.plot:
        print(plot(seen, seconds, options.clients).name)
    growth = found["memory MB, last fifth"] / found["memory MB, first fifth"]
    missed = [
        *([f"{found['requests/s']:.0f} requests/s, the goal is {GOAL_RATE:.0f}"] if found["requests/s"] < GOAL_RATE else []),
        *([f"p99 {found['p99 ms']:.0f} ms, the goal is {1000 * GOAL_P99:.0f}"] if found["p99 ms"] > 1000 * GOAL_P99 else []),
        *([f"{found['failed']} failed"] if seen.failed else []),
        *([f"memory grew {growth:.2f} times"] if growth > GOAL_GROWTH else []),
    ]
    if options.check and missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
