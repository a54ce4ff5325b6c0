"""Signatures: one RE2 set, matched line by line, in the subset that JavaScript reads alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from indexer.entry import Entry
from indexer.index import Index
from indexer.query import Query
from indexer.signatures import SignatureSet, longest_literal, pattern_faults


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("Watchdog caught", 15),
        (r"WorkNCCL\(SeqNum=\d+", 16),
        ("ab*cdef", 4),
        (r"\d{1,10}abc", 3),
        ("(?:Linux|macOS) build", 6),
        ("abcdefgh|x", 1),
        ("[abc]{6}", 0),
    ],
)
def test_the_longest_literal_of_a_pattern_is_what_each_match_contains(pattern: str, length: int) -> None:
    assert longest_literal(pattern) == length


@pytest.mark.parametrize(
    "pattern", [r"'loss': 0\.0[,}]", r"Watchdog caught collective operation timeout: WorkNCCL\(", r"exitcode {0,8}: -9"]
)
def test_ordinary_patterns_have_no_faults(pattern: str) -> None:
    assert pattern_faults(pattern) == []


def test_the_literal_of_many_alternatives_is_measured_at_once() -> None:
    start = time.process_time()
    assert longest_literal("|".join(["abcdefgh"] * 400)) == 8
    assert time.process_time() - start < 1


@pytest.mark.parametrize("pattern", ["abcdef.{0,100}b.{0,100}c", r"abcdef(?:x|y){0,90}[^ ]{0,90}z"])
def test_a_pattern_of_many_states_is_a_fault(pattern: str) -> None:
    assert any("states" in fault for fault in pattern_faults(pattern))


def test_every_signature_of_the_entries_means_the_same_to_javascript(index: Index) -> None:
    node = shutil.which("node") or shutil.which("nodejs")
    if not node:
        pytest.skip("node is not installed: JavaScript's reading of the signatures was not checked")
    patterns = [signature.pattern for entry in index.entries.values() for signature in entry.signatures]
    lines = [
        line.text for entry in index.entries.values() for sample in entry.samples for line in Query.from_text(sample).lines
    ]
    script = "const {patterns, lines} = JSON.parse(require('fs').readFileSync(0)); " \
        "console.log(JSON.stringify(patterns.map(p => lines.map(l => new RegExp(p, 'u').test(l)))))"  # fmt: skip
    done = subprocess.run(
        [node, "-e", script],
        input=json.dumps({"patterns": patterns, "lines": lines}),
        capture_output=True,
        text=True,
        check=True,
    )
    import re2

    assert json.loads(done.stdout) == [[bool(re2.search(pattern, line)) for line in lines] for pattern in patterns]


def test_each_signature_is_reported_once_at_its_first_line(index: Index) -> None:
    entry = index.entries["nccl-watchdog-timeout"]
    lines = Query.from_text("hello\n" + entry.samples[0] * 3).lines
    matches = SignatureSet([entry]).match(lines)
    assert matches
    assert len({match.signature for match in matches}) == len(matches)
    assert all(match.line.number <= len(entry.samples[0].split("\n")) + 1 for match in matches)


def test_no_entries_match_nothing() -> None:
    entries: list[Entry] = []
    assert SignatureSet(entries).match(Query.from_text("anything").lines) == []


def test_a_long_hostile_line_takes_linear_time(index: Index) -> None:
    signatures = SignatureSet(index.entries.values())
    line = Query.from_text("Watchdog caught collective " * 40_000).lines
    start = time.perf_counter()
    signatures.match(line)
    assert time.perf_counter() - start < 5
