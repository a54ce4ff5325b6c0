"""Raw lines -> lines without colours, bars, boxes, timestamps and rank prefixes; those that were wrapped are joined."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import re2

from indexer.reading import PIECE, RawLine


class Line(NamedTuple):
    """A cleaned line, its 1-based number in the input, the rank that printed it where a prefix says so, and whether a prefix
    was there that only programs print."""

    text: str
    number: int
    rank: int | None = None
    stamped: bool = False


# RE2 where a pattern looks for its beginning anywhere: each line takes linear time.
ESCAPE = re2.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# A tqdm bar, also glued to the front of a message: ` 37%|███▋      | 12/32 [00:10<00:17,  1.2it/s, loss=2.1]`.
BAR = re2.compile(r"[^|]{0,80}?\d{1,3}%\|[^|]{0,300}\|\s*[^\s/]+/\S+ \[[^\]]{0,200}\]")
# Rich draws a traceback as a box; a notebook marks the line that failed with an arrow.
BOX_CHARACTERS = "│┃╭╰┌└─━╮╯┐┘├┤❱"
HAS_BOX = re.compile(f"[{BOX_CHARACTERS}]")
# Ranks that write at once: one's prefix stands in the middle of another's line.
GLUED = re.compile(r"(?<=\S)(?=\[rank\d{1,5}\]:)", re.ASCII)

_DATE = r"\d{4}[-/]\d{2}[-/]\d{2}[T ]?"
_TIME = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
PREFIX = re.compile(
    r"\s*+(?:"
    + "|".join(
        (
            r"\[[Rr]ank ?\d+\]:?\s?",
            # torch's own: [E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] and the older [E ProcessGroupNCCL.cpp:828]
            r"\[[EWIF](?:\d{3,4} [\d:.]+)? [\w./-]+\.(?:cpp|cc|h|hpp|py):\d+\]\s?",
            # glog's: E1125 10:11:12.345000 140 torch/distributed/elastic/multiprocessing/api.py:833]
            r"[EWIF]\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\]\s?",
            # vLLM's: ERROR 11-25 02:07:08 [core.py:404]
            rf"(?:INFO|WARNING|ERROR|DEBUG) \d\d-\d\d {_TIME} \[?[\w./-]+:\d+\]\s?",
            r"\[\d+,\d+\]<std(?:out|err)>:\s?",
            r"\((?:\w+ )?pid=\d+(?:, ip=[\d.]+)?\)\s?",
            r"\[(?:[\w.-]*default)?\d+\]:\s?",
            r"\[ *\d+\.\d{3,9}\] ",  # the kernel's seconds since start
            rf"\[?(?:{_DATE})?{_TIME}\]?[\s,:-]*",
            r"\[?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d [\d:]{8}(?: \d{4})?\]?\s*",
            r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} [\w.-]+ [\w.-]+(?:\[\d+\])?:\s?",
            r"\|\s*(?:ERROR|WARNING|INFO|DEBUG)\s*\|\s*(?:std(?:err|out)\s*\|)?\s?",
            r"\[(?:INFO|WARNING|ERROR)\|[\w./-]+:\d+\]\s*",
            r"\[(?:INFO|WARNING|ERROR|DEBUG)\]\s*",
            r"\[[\w./-]+\.py:\d+(?::\w+)?\]\s*",
            r"[\w.-]+:\d+:\d+ \[\d+\] (?=NCCL )",
            r">>\s*",
            # Host names that launchers put before a line; a Python exception also ends in a colon, so a digit is asked for.
            r"(?:[a-z][a-z-]{1,30}\d{1,4}|\d{1,3}(?:\.\d{1,3}){3}):\s",
            r"\d{1,4}: ",
        )
    )
    + ")",
    re.ASCII,
)
# A line begins with one of these, or has no prefix at all: most lines are done with one look at their first character.
MAY_BEGIN = frozenset("[(|>0123456789 \t") | frozenset("abcdefghijklmnopqrstuvwxyz") | frozenset("JFMASONDTWEI")
RANK = re.compile(
    r"\[[Rr]ank ?(\d{1,6})\]|\[\d+,(\d{1,6})\]<std|default(\d{1,6})\]:|^\s*\[(\d{1,6})\]:|^\s*(\d{1,4}): ", re.ASCII
)
JOINED = 6  # Lines that one message may be wrapped over.


def clean_lines(raw: Iterable[RawLine]) -> Iterator[Line]:
    """The lines that carry something, cleaned, in order."""
    for text, number in raw:
        for part in GLUED.split(text) if text.count("[rank") > 1 or "[rank" in text[4:] else (text,):
            line = clean(part, number)
            if line.text and not line.text.isspace():
                yield line


def clean(raw: str, number: int = 1) -> Line:
    """One line without escape codes, control characters, bars, boxes and prefixes."""
    text = raw
    if not text.isprintable():
        text = text.encode("utf-8", errors="replace").decode()  # Halves of characters, which RE2 does not take.
        text = CONTROL.sub("", ESCAPE.sub("", text).replace("\t", "    "))
    if "%|" in text:
        text = BAR.sub("", text)
    if not text.isascii() and HAS_BOX.search(text[:PIECE]):
        text = text.strip(BOX_CHARACTERS + " ")
    rank = None
    stamped = False
    start = 0
    while text[start : start + 1] in MAY_BEGIN and (prefix := PREFIX.match(text, start)):
        stamped = True
        if rank is None and (found := RANK.search(prefix[0])):
            rank = int(next(filter(None, found.groups())))
        start = prefix.end()
    return Line(text[start:].rstrip(), number, rank, stamped)


def joined_lines(lines: list[Line]) -> Iterator[Line]:
    """Messages that a terminal or a box has wrapped, put together again, beside the lines as they are.

    A terminal breaks at its last column, in mid-word: where several lines have the same greatest length, that is its width. A
    box breaks between words: after a long line, what begins without a mark of its own may go on; after an exception, any line.
    """
    lengths = Counter(len(line.text) for line in lines)
    width = max(lengths, default=0)
    is_terminal = 60 <= width <= 300 and lengths[width] > 1
    for start, line in enumerate(lines):
        is_exception = bool(EXCEPTION.match(line.text))
        if len(line.text) < 40 and not is_exception:
            continue
        text = line.text
        for previous, following in zip(lines[start : start + JOINED], lines[start + 1 : start + JOINED + 1], strict=False):
            if following.number > previous.number + 1 or following.rank != line.rank:
                break
            if is_terminal and len(previous.text) == width:
                text += following.text
            elif (is_exception and previous is line) or (50 <= len(previous.text) <= 200 and GOES_ON.match(following.text)):
                text += " " + following.text.strip()
            else:
                break
        if text is not line.text:
            yield line._replace(text=text[:PIECE])


EXCEPTION = re.compile(r"\s*(?:\w+\.)*[A-Z]\w*(?:Error|Exception): ", re.ASCII)
GOES_ON = re.compile(r"\s*[a-z0-9'\"(\[/_.-]", re.ASCII)
