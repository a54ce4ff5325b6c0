"""What holds for every input, looked for by hypothesis: it makes the inputs, and the same ones each time."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.terminal import render, safe
from indexer.denoise import clean
from indexer.entry import PAGE_FILES, read_source
from indexer.errors import EntryError, KbaskError
from indexer.importer import import_document
from indexer.lexical import tokens
from indexer.lint import lint
from indexer.query import Query
from indexer.reading import read_lines

settings.register_profile(
    "kbask",
    derandomize=True,
    deadline=None,
    max_examples=200,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# As a decorator on each test, so that no other file's tests change.
few = settings(settings.get_profile("kbask"), max_examples=60)
many = settings(settings.get_profile("kbask"))

ASCII_LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)
ANYTHING = st.text(st.characters(), max_size=300)
DECODED = st.text(st.characters(codec="utf-8"), max_size=300)  # As lines are: without halves of characters.
# A byte that is no ASCII may pair with the ASCII byte after it, in GBK: junk stands on lines of its own.
JUNK = st.one_of(st.binary(max_size=30), ANYTHING.map(lambda text: text.encode("gb18030", errors="replace")))

NUMBER = st.integers(min_value=0, max_value=99_999)
RANK = st.integers(min_value=0, max_value=1023)
DAY = st.datetimes()
# The prefixes that shared/reports.md names, each as its program prints it.
PREFIX = st.one_of(
    RANK.map(lambda rank: f"[rank{rank}]: "),
    RANK.map(lambda rank: f"[Rank {rank}] "),
    RANK.map(lambda rank: f"[rank{rank}]:[E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] [Rank {rank}] "),
    NUMBER.map(lambda pid: f"(WorkerDict pid={pid}) "),
    NUMBER.map(lambda pid: f"(RayTrainWorker pid={pid}, ip=10.0.0.2) "),
    st.integers(0, 99).map(lambda number: f"worker{number:02}: "),
    st.ip_addresses(v=4).map(lambda address: f"{address}: "),
    st.tuples(RANK, RANK).map(lambda pair: f"[{pair[0]},{pair[1]}]<stdout>:"),
    st.tuples(RANK, RANK).map(lambda pair: f"[{pair[0]},{pair[1]}]<stderr>: "),
    DAY.map(lambda day: f"{day:%b} {day.day:>2} {day:%H:%M:%S} gpu-node-3 torchrun[99]: "),
    DAY.map(lambda day: f"{day.year:04}-{day:%m-%d %H:%M:%S},{day.microsecond // 1000:03} "),
    DAY.map(lambda day: f"{day.year:04}-{day:%m-%dT%H:%M:%S}.{day.microsecond:06}Z "),
    DAY.map(lambda day: f"[{day.year:04}-{day:%m-%d %H:%M:%S},{day.microsecond // 1000:03}] "),
    DAY.map(lambda day: f"[{day:%H:%M:%S}] "),
    st.sampled_from(["| ERROR | stderr | ", "| INFO | stdout | ", "[INFO|trainer.py:1812] "]),
    NUMBER.map(lambda number: f"[{number:>5}.123456] "),
    RANK.map(lambda rank: f"[default{rank}]:"),
    NUMBER.map(lambda number: f"\x1b[{number % 48}m"),
    st.integers(0, 100).map(lambda part: f" {part:>2}%|███▋   | {part}/100 [00:10<00:17, 1.2it/s, loss=2.1]"),
)  # fmt: skip
MESSAGE = st.sampled_from(
    [
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=11455, OpType=BROADCAST)",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.96e-05, 'epoch': 0.02}",
        "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
        "NCCL WARN Call to ibv_modify_qp failed",
        "ValueError: 张量的形状不一致",
    ]
)
LOG_LINE = st.tuples(st.lists(PREFIX, max_size=2).map("".join), st.one_of(MESSAGE, ASCII_LINE, DECODED)).map("".join)
# Pieces of Markdown and YAML, for documents that are nearly good.
PIECE = st.sampled_from(
    [
        "# ", "## ", "### ", "1. ", "2 ", "Q3: ", "```", "~~~", "> ", "- ", "![a](", "[a](", ")", "](", "{#a}", "`", "**", "|",
        "\n", "\n\n", " ",
        "---\n", "summary: ", "asks: ", "kind: error", "signatures: ", "&a ", "*a", "!!bool ", "!!int ", "!!timestamp ",
        "? ", ": ", "[", "]",
        "{", "}", "'", '"', "2026-13-45", "9" * 50, "\t", "\r", "\ufeff", "\u2028", "RuntimeError: x", "loss", "为什么", "https://e.x/a",
    ]
)  # fmt: skip
DOCUMENT = st.lists(st.one_of(PIECE, st.text(st.characters(codec="utf-8"), max_size=8)), max_size=60).map("".join)


def lines_of(data: bytes) -> list[str]:
    return [line.text for line in read_lines(io.BytesIO(data))]


@many
@given(st.lists(st.one_of(ASCII_LINE.map(str.encode), JUNK), min_size=1, max_size=12))
def test_no_ascii_line_of_a_small_input_is_lost(pieces: list[bytes]) -> None:
    data = b"\n".join([b"a log begins here", *pieces])
    found = lines_of(data)
    for line in data.split(b"\n"):
        if line and all(32 <= byte < 127 for byte in line):
            assert line.decode() in found


@many
@given(
    st.one_of(st.binary(max_size=500), JUNK, DOCUMENT.map(str.encode), LOG_LINE.map(lambda text: text.encode(errors="replace")))
)
def test_a_query_of_any_bytes_is_understood_twice_alike(data: bytes) -> None:
    query = Query.from_bytes(data)
    assert query == Query.from_bytes(data)
    assert query.search_text == Query.from_bytes(data).search_text


@many
@given(LOG_LINE)
def test_cleaning_what_is_clean_changes_nothing(raw: str) -> None:
    once = clean(raw).text
    assert clean(once).text == once


@many
@given(st.lists(PREFIX, max_size=2), MESSAGE)
def test_a_message_comes_out_of_any_stack_of_prefixes(prefixes: list[str], message: str) -> None:
    assert clean("".join(prefixes) + message).text.strip() == message


@many
@given(st.one_of(ASCII_LINE, DOCUMENT, LOG_LINE.map(lambda text: text.encode("utf-8", errors="replace").decode())))
def test_a_text_is_the_same_in_utf_16(text: str) -> None:
    assert Query.from_text(text) == Query.from_bytes(text.encode("utf-16"))


@many
@given(st.one_of(ANYTHING, LOG_LINE, DOCUMENT))
def test_tokens_are_lower_case_and_not_empty(text: str) -> None:
    for token in tokens(text):
        assert token
        assert token == token.lower()


@many
@given(st.one_of(DOCUMENT, ANYTHING))
def test_importing_raises_nothing_but_our_errors(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faq.md"
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        with contextlib.suppress(KbaskError):
            document, taken = import_document(path, Path(folder) / "out")
            assert len(taken) == len(document.questions)
            assert sum(question.lines for question in document.questions) + len(document.outside) == document.lines


@few
@given(st.one_of(st.binary(max_size=300), DOCUMENT.map(lambda text: f"---\n{text}\n---\n{text}".encode())))
def test_reading_an_entry_raises_nothing_but_its_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "ours" / "an-entry"
        folder.mkdir(parents=True)
        for name in PAGE_FILES.values():
            (folder / name).write_bytes(data)
        with contextlib.suppress(EntryError):
            read_source(folder)


DRAFT_KEYS = (
    "summary",
    "asks",
    "kind",
    "components",
    "signatures",
    "applies",
    "related",
    "seed",
    "added",
    "references",
    "snippets",
)
FIELD = st.sampled_from(["pattern", "file", "of", "url", "a"])
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(), DOCUMENT.map(lambda text: text[:20])
)
YAML = st.recursive(
    SCALAR, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELD, inner)), max_leaves=5
)  # fmt: skip


@few
@given(key=st.sampled_from(DRAFT_KEYS), value=YAML, body=DOCUMENT, language=st.sampled_from(["en", "zh"]))
def test_linting_an_entry_raises_nothing(team_kb: Path, key: str, value: object, body: str, language: str) -> None:
    """One key of a good entry has another value, and its text another end."""
    import yaml

    page = team_kb / "ours" / "queue-full" / ("index.md" if language == "en" else "index.zh.md")
    good = page.read_bytes()
    try:
        _, front, text = good.decode().split("---\n", 2)
        meta = {**yaml.safe_load(front), key: value}
        page.write_text(f"---\n{yaml.safe_dump(meta)}---\n{text}{body}", encoding="utf-8")
        for fault in lint(team_kb)[1]:
            assert re.fullmatch(r"KB\d{3}", fault.code)
    finally:
        page.write_bytes(good)


# What a terminal obeys: C0 and C1 but for the line's end, and what turns the direction of writing (Bidi_Control).
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
CONTROLLED = st.text(st.one_of(st.characters(categories=["Cc", "Cf", "Zl", "Zp"]), st.characters()), max_size=60)


@many
@given(CONTROLLED)
def test_what_is_safe_to_print_holds_no_control_character(text: str) -> None:
    assert not OBEYED.search(safe(text).replace("\t", ""))


@few
@given(st.one_of(CONTROLLED, DOCUMENT), st.integers(min_value=1, max_value=120))
def test_any_markdown_is_shown_without_control_characters(text: str, width: int) -> None:
    assert not OBEYED.search(render(text, width).replace("\t", ""))


@pytest.mark.parametrize("size", [0, 1])
def test_the_least_inputs_are_empty(size: int) -> None:
    assert Query.from_bytes(b"\0" * size).is_empty
