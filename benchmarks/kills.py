"""Kills at random moments of an index build: after each, the cache holds whole indexes or none, and the next start mends it.

    python -m benchmarks.kills [--kills 1000] [--seed 7]

Each round changes an entry and builds in a process that is forked from this warm one and killed (SIGKILL): every second one at
any moment, the others soon after they began to write. Then every finished folder must open, the next build must not speak of
damage, and what killed builds left must go once it is old. Prints how many were killed when; exits 1 on a failure.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from indexer import storage
from indexer.entry import PAGE_FILES, builtin_folder, entry_folders
from indexer.errors import KbaskError
from indexer.index import Index, open_or_build

EMBEDDER = "none"
ENDED = "not killed: it had ended"
ENTRIES = 3  # Of ours: a build of them takes long enough to be killed in, and short enough for a thousand.
SWEEP = 50  # Rounds after which all that was left is made old, and looked at.
WRITING = 0.05  # Of a build is spent on writing, renaming, pointing and pruning.


def build_in_a_fork(kb: Path, cache: Path) -> int:
    """The process id of a child that builds the index and exits 0."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            open_or_build([kb], EMBEDDER, cache)
            code = 0
        finally:
            os._exit(code)
    return child


def is_writing(cache: Path, child: int) -> bool:
    return any(f".{child}-" in path.name for path in cache.glob("*.tmp"))


def kill(child: int) -> bool:
    """Kill a child; returns whether it had not ended by itself before."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def has_ended(child: int) -> bool:
    """Whether it has, without reaping it."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def faults_after(kb: Path, cache: Path) -> list[str]:
    """What is wrong with a cache after a kill: a folder that does not open, or a start that speaks of it."""
    faults = []
    for folder in storage.whole_folders(cache):
        try:
            Index.open(folder, EMBEDDER)
        except KbaskError as error:
            faults.append(str(error))
    notices: list[str] = []
    try:
        if not open_or_build([kb], EMBEDDER, cache, notice=notices.append).entries:
            faults.append("the next build has no entries")
    except Exception as error:  # Whatever it is, it is counted, and the next round goes on.
        faults.append(f"the next build failed: {error!r}")
    return faults + notices


def swept(kb: Path, cache: Path, page: Path) -> list[str]:
    """Make all that is in the cache old and build again; returns the names of what should have gone and is there."""
    for path in cache.iterdir():
        os.utime(path, (1, 1))
    page.write_text(page.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    open_or_build([kb], EMBEDDER, cache)
    whole = storage.whole_folders(cache)
    expected = {path.name for path in whole[: storage.KEPT]} | {path.name for path in cache.glob("*.json")}
    return sorted(path.name for path in cache.iterdir() if path.name not in expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=1000, help="rounds in which the build was still going on when it was killed (1000)"
    )
    parser.add_argument("--seed", type=int, default=7, help="of the moments (7)")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    when: Counter[str] = Counter()
    faults: dict[str, int] = {}  # Each with the round after which it was first seen.
    left_most = 0
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kb, cache = Path(folder) / "kb", Path(folder) / "cache"
        for entry in entry_folders(builtin_folder())[:ENTRIES]:
            shutil.copytree(entry, kb / entry.parent.name / entry.name)
        page = entry_folders(kb)[0] / PAGE_FILES["en"]
        text = page.read_text(encoding="utf-8")
        open_or_build([kb], EMBEDDER, cache)  # Loads what is to be loaded once.
        start = time.perf_counter()
        open_or_build([kb], EMBEDDER, cache, rebuild=True)
        build_seconds = time.perf_counter() - start
        number = 0
        while when.total() - when[ENDED] < options.kills:
            number += 1
            if number % SWEEP == 1:
                shutil.rmtree(cache)  # An empty cache is a state to be killed in too.
                cache.mkdir()
            page.write_text(f"{text}\n<!-- round {number} -->\n", encoding="utf-8")
            known = {path.name for path in storage.whole_folders(cache)}
            child = build_in_a_fork(kb, cache)
            if number % 2:
                time.sleep(chance.uniform(0, build_seconds * 1.1))
            else:
                while not is_writing(cache, child) and not has_ended(child):
                    time.sleep(0.0005)
                time.sleep(chance.uniform(0, build_seconds * WRITING))
            was_killed = kill(child)
            left = list(cache.glob("*.tmp"))
            left_most = max(left_most, len(left))
            if not was_killed:
                when[ENDED] += 1
            elif is_writing(cache, child):
                when["while writing"] += 1
            elif {path.name for path in storage.whole_folders(cache)} - known:
                when["after the folder was in place"] += 1
            else:
                when["before writing"] += 1
            found = faults_after(kb, cache)
            if number % SWEEP == 0:
                found += [f"{name} is left for ever" for name in swept(kb, cache, page)]
            for fault in found:
                faults.setdefault(fault, number)
    print(f"{number} rounds in {time.perf_counter() - begin:.0f} s, a build takes {build_seconds:.2f} s")
    for moment, count in when.most_common():
        print(f"  {moment}: {count}")
    print(f"  left by killed builds at once, at most: {left_most} ({SWEEP} rounds within the hour in which nothing is swept)")
    print(f"  faults: {len(faults)}")
    for fault, number in list(faults.items())[:20]:
        print(f"    round {number}: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
