"""Text of a terminal or a log -> lines without what surrounds the messages: colours, bars, boxes, timestamps, rank prefixes.

Patterns are RE2's, so that any line takes linear time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import re2


@dataclass(frozen=True)
class Line:
    """A cleaned line, its 1-based number in the input, and the rank that printed it where a prefix says so."""

    text: str
    number: int
    rank: int | None = None


# A longer line is no message. It is looked at in pieces, which overlap by more than the longest signature's match.
PIECE = 4000
OVERLAP = 400

_ESCAPE = re2.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re2.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

# A tqdm bar, also glued to the front of a message: ` 37%|███▋      | 12/32 [00:10<00:17,  1.2it/s, loss=2.1]`.
_BAR = re2.compile(r"[^|]{0,80}?\d{1,3}%\|[^|]{0,300}\|\s*[^\s/]+/\S+ \[[^\]]{0,200}\]")

# Rich draws a traceback as a box; a notebook marks the line that failed with an arrow.
_BOX = re2.compile(r"^[│┃╭╰┌└─━╮╯┐┘]+[ ─━]*|[ ─━]*[│┃╮╯┐┘]+\s*$")
_BOX_CHARACTERS = frozenset("│┃╭╰┌└─━╮╯┐┘")

_DATE = r"\d{4}[-/]\d{2}[-/]\d{2}[T ]?"
_TIME = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
_PREFIX = re2.compile(
    r"\s*(?:"
    + "|".join(
        (
            r"\[rank\d+\]:\s?",
            # torch's own: [E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] and the older [E ProcessGroupNCCL.cpp:828]
            r"\[[EWIF](?:\d{3,4} [\d:.]+)? [\w./-]+\.(?:cpp|cc|h|hpp|py):\d+\]\s?",
            r"\[\d+,\d+\]<std(?:out|err)>:\s?",
            r"\((?:\w+ )?pid=\d+(?:, ip=[\d.]+)?\)\s?",
            r"\[(?:[^\]\s]*?default)?\d+\]:\s?",
            rf"\[?(?:{_DATE})?{_TIME}\]?[\s,:-]*",
            r"\[?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d [\d:]{8}(?: \d{4})?\]?\s*",
            r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} [\w.-]+ [\w.-]+(?:\[\d+\])?:\s?",
            r"\|\s*(?:ERROR|WARNING|INFO|DEBUG)\s*\|\s*(?:std(?:err|out)\s*\|)?\s?",
            r"\[(?:INFO|WARNING|ERROR)\|[\w./-]+:\d+\]\s*",
            r">>\s*",
            # Host names that launchers put before a line; a Python exception also ends in a colon, so a digit is asked for.
            r"(?:[a-z][a-z-]{1,30}\d{1,4}|\d{1,3}(?:\.\d{1,3}){3}):\s",
            r"\d{1,4}: ",
        )
    )
    + ")"
)
# A line begins with one of these, or has no prefix at all: most lines are done with one look at their first character.
_MAY_BEGIN = frozenset("[(|>0123456789 \t") | frozenset("abcdefghijklmnopqrstuvwxyz") | frozenset("JFMASONDTW")
_RANK = re2.compile(r"\[rank(\d{1,6})\]:|\[\d+,(\d{1,6})\]<std|default(\d{1,6})\]:|^\s*\[(\d{1,6})\]:|^\s*(\d{1,4}): ")
_MAX_PREFIXES = 6


def clean_lines(text: str) -> Iterator[Line]:
    """The lines that carry something, cleaned, in order."""
    for number, raw in enumerate(text.split("\n"), 1):
        # A carriage return overwrites the line: what a bar drew before it is gone, but a message after it stays.
        for part in raw.split("\r") if "\r" in raw else (raw,):
            for start in range(0, max(len(part) - OVERLAP, 1), PIECE - OVERLAP):
                line = clean(part[start : start + PIECE], number)
                if line.text and not line.text.isspace():
                    yield line


def clean(raw: str, number: int = 1) -> Line:
    """One line without escape codes, control characters, bars, boxes and prefixes."""
    text = raw
    if not text.isprintable():
        text = _CONTROL.sub("", _ESCAPE.sub("", text).replace("\t", "    "))
    if "%|" in text:
        text = _BAR.sub("", text)
    if not text.isascii() and not _BOX_CHARACTERS.isdisjoint(text):
        text = _BOX.sub("", text)
    rank = None
    for _ in range(_MAX_PREFIXES):
        prefix = _PREFIX.match(text) if text[:1] in _MAY_BEGIN else None
        if not prefix or not prefix.end():
            break
        if rank is None and (found := _RANK.search(str(prefix[0]))):
            rank = int(next(filter(None, found.groups())))
        text = text[prefix.end() :]
    return Line(text.rstrip(), number, rank)
