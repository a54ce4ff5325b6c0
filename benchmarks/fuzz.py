"""Coverage-guided fuzzing of what reads foreign bytes: pastes, entries, documents to import.

    python -m benchmarks.fuzz [--seconds 60] [--target query|entry|importer]

Prints runs and coverage of each target. Exits 1 where an input raised what it should not, or took more than 2 seconds; it is
saved in build/fuzz, and is run again with: python -m benchmarks.fuzz --target TARGET --again FILE
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SAVED = ROOT / "build" / "fuzz"
SLOW_SECONDS = 2.0
HANG_SECONDS = 20
MAX_BYTES = 16_384
MEGABYTES = 1024  # More than that is held to be a fault too.
Check = Callable[[bytes], None]


class SlowInputError(Exception):
    """An input took more than SLOW_SECONDS of processor time."""


def query_target() -> Check:
    """Decode, denoise and understand; then the tokens to search by."""
    from indexer.lexical import tokens
    from indexer.query import Query

    def check(data: bytes) -> None:
        query = Query.from_bytes(data)
        tokens(query.search_text)

    return check


def entry_target() -> Check:
    """The English page of a good entry is replaced; then it is read and linted."""
    from indexer.draft import Draft, write_draft
    from indexer.entry import builtin_folder, read_source
    from indexer.errors import EntryError
    from indexer.lint import lint_source
    from indexer.rules import Context

    root = Path(tempfile.mkdtemp())
    write_draft(root, Draft("ours", "an-entry", "error"))
    folder = root / "ours" / "an-entry"
    context = Context.of([builtin_folder(), root])
    _ = context.samples, context.ids, context.homes  # Read once.

    def check(data: bytes) -> None:
        (folder / "index.md").write_bytes(data)
        with contextlib.suppress(EntryError):
            lint_source(read_source(folder), context)

    return check


def importer_target() -> Check:
    """A document is imported."""
    from indexer.errors import KbaskError
    from indexer.importer import import_document

    root = Path(tempfile.mkdtemp())
    document, out = root / "faq.md", root / "out"

    def check(data: bytes) -> None:
        document.write_bytes(data)
        with contextlib.suppress(KbaskError):
            import_document(document, out)
        shutil.rmtree(out, ignore_errors=True)

    return check


TARGETS: dict[str, Callable[[], Check]] = {"query": query_target, "entry": entry_target, "importer": importer_target}


def seeds(target: str) -> list[bytes]:
    """Good inputs to begin from."""
    from indexer.draft import Draft
    from indexer.entry import builtin_folder

    kb = builtin_folder()
    if target == "query":
        logs = [path.read_bytes()[:MAX_BYTES] for path in sorted(kb.glob("*/*/samples/*.txt"))]
        return [*logs, "微调的时候 loss 一直是 0".encode(), "显存爆了怎么办".encode("gbk"), "loss is zero".encode("utf-16")]
    if target == "entry":
        drafts = [Draft("ours", "an-entry", kind).files()["index.md"].encode() for kind in ("error", "symptom", "guide")]
        return [*drafts, *(path.read_bytes()[:MAX_BYTES] for path in sorted(kb.glob("*/*/index.md")))]
    texts = [path.read_text(encoding="utf-8").split("---\n")[2] for path in sorted(kb.glob("*/*/index*.md"))]
    return [
        b"# 1 Why?\nBecause.\n# 2 How?\n```\nRuntimeError: x\n```\n![a](b.png)\n",
        *(text.encode()[:MAX_BYTES] for text in texts),
    ]


# What mutation seldom hits upon, given to libFuzzer as whole words.
WORDS = (
    "!!bool ", "!!int ", "!!float ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ", "&a ", "*a", "<<: ", "? ", "---", "```",
    "~~~", "> ", "## ", "### ", "{#a}", "1. ", "![a](", "](", "https://", "[rank0]:", "%|",
    "Traceback (most recent call last)", "Error: ", "\ufeff", "\x1b[", "\x85", "\u2028", "\u202e", "\u4e2d",
    "\xff\xfe", "9999999999", "2026-13-45",
)  # fmt: skip


def dictionary() -> str:
    """WORDS in libFuzzer's form."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n' for word in WORDS)


def timed(check: Check) -> Check:
    def run(data: bytes) -> None:
        start = time.process_time()
        check(data)
        if (taken := time.process_time() - start) > SLOW_SECONDS:
            raise SlowInputError(f"{len(data)} bytes took {taken:.1f} s")

    return run


def fuzz_in_this_process(target: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["indexer"]):
        check = TARGETS[target]()
    # libFuzzer calls _exit from within; the targets' folders are below the parent's, which clears them away.
    atheris.Setup([sys.argv[0], *arguments], timed(check))
    atheris.Fuzz()


def fuzz(target: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own, and print what came of it; returns whether nothing was found."""
    SAVED.mkdir(parents=True, exist_ok=True)
    before = set(SAVED.glob(f"{target}-*"))
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds(target)):
            (corpus / str(number)).write_bytes(seed)
        (Path(folder) / "words").write_text(dictionary(), encoding="ascii")
        flags = [
            f"-dict={folder}/words",
            f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEGABYTES}",
            f"-artifact_prefix={SAVED}/{target}-", "-print_final_stats=1", "-verbosity=1", str(corpus),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", "--target", target, "--child", *flags],
            cwd=ROOT, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    log = done.stderr + done.stdout
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log) or re.findall(r"^#(\d+)", log, re.MULTILINE)
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", log)
    edges, features = coverage[-1] if coverage else ("0", "0")
    peak = re.findall(r"stat::peak_rss_mb:\s*(\d+)", log)
    found = sorted(set(SAVED.glob(f"{target}-*")) - before)
    print(
        f"{target}: {int(runs[-1]) if runs else 0:,} runs in {seconds} s, {edges} branches and {features} features covered, "
        f"at most {peak[-1] if peak else '?'} MB, {len(found)} inputs saved",
        flush=True,
    )
    for path in found:
        print(f"  {path}")
    if done.returncode or found:
        shown = log[log.find("Uncaught Python exception") :] if "Uncaught Python exception" in log else log[-3000:]
        print("  " + "\n  ".join(shown.splitlines()[:40]))
    return not done.returncode and not found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--target", choices=TARGETS, help="one target only")
    parser.add_argument("--again", metavar="FILE", type=Path, help="run one saved input, without atheris")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.again:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        timed(TARGETS[options.target or "query"]())(options.again.read_bytes())
        print("Nothing is wrong with it.")
        return
    if find_spec("atheris") is None:
        sys.exit(f"Fuzzing needs atheris, which is for Linux. Run: {sys.executable} -m pip install atheris==3.0.0")
    if options.child is not None:
        fuzz_in_this_process(options.target, options.child)
    good = [fuzz(target, options.seconds) for target in ([options.target] if options.target else TARGETS)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
