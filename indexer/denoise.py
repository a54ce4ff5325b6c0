"""Text of a terminal or a log -> lines without what surrounds the messages: colours, bars, boxes, timestamps, rank prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A cleaned line, its 1-based number in the input, and the rank that printed it where a prefix says so."""

    text: str
    number: int
    rank: int | None = None


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

# A tqdm bar, also glued to the front of a message: ` 37%|███▋      | 12/32 [00:10<00:17,  1.2it/s, loss=2.1]`.
_BAR = re.compile(r"[^|\n]{0,80}?\d{1,3}%\|[^|\n]{0,300}\|\s*[^\s/]+/\S+ \[[^\]\n]{0,200}\]")

# Rich draws a traceback as a box; a notebook marks the line that failed with an arrow.
_BOX = re.compile(r"^[│┃╭╰┌└─━╮╯┐┘]+[ ─━]*|[ ─━]*[│┃╮╯┐┘]+\s*$")

_DATE = r"\d{4}[-/]\d{2}[-/]\d{2}[T ]?"
_TIME = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
_PREFIXES = (
    re.compile(r"\[rank(?P<rank>\d+)\]:\s?"),
    # torch's own: [E321 02:07:08.412345678 ProcessGroupNCCL.cpp:607] and the older [E ProcessGroupNCCL.cpp:828]
    re.compile(r"\[[EWIF](?:\d{3,4} [\d:.]+)? [\w./-]+\.(?:cpp|cc|h|hpp|py):\d+\]\s?"),
    re.compile(r"\[\d+,(?P<rank>\d+)\]<std(?:out|err)>:\s?"),
    re.compile(r"\((?:\w+ )?pid=\d+(?:, ip=[\d.]+)?\)\s?"),
    re.compile(r"\[[^\]\s]*?(?:default)?(?P<rank>\d+)\]:(?=\s?\S)"),
    re.compile(rf"\[?(?:{_DATE})?{_TIME}\]?[\s,:-]*"),
    re.compile(r"\[?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d [\d:]{8}(?: \d{4})?\]?\s*"),
    re.compile(r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} [\w.-]+ [\w.-]+(?:\[\d+\])?:\s?"),
    re.compile(r"\|\s*(?:ERROR|WARNING|INFO|DEBUG)\s*\|\s*(?:std(?:err|out)\s*\|)?\s?"),
    re.compile(r"\[(?:INFO|WARNING|ERROR)\|[\w./-]+:\d+\]\s*"),
    re.compile(r">>\s*"),
    # host names that launchers put before a line; a Python exception also ends in a colon, so a digit is asked for.
    re.compile(r"(?:[a-z][a-z-]{1,30}\d{1,4}|\d{1,3}(?:\.\d{1,3}){3}):\s(?=\S)"),
    re.compile(r"(?P<rank>\d{1,4}): (?=\S)"),
)
_MAX_PREFIXES = 6


def clean_lines(text: str) -> Iterator[Line]:
    """The lines that carry something, cleaned, in order."""
    for number, raw in enumerate(text.split("\n"), 1):
        # A carriage return overwrites the line: what a bar drew before it is gone, but a message after it stays.
        for piece in raw.split("\r"):
            line = clean(piece, number)
            if line.text.strip():
                yield line


def clean(raw: str, number: int = 1) -> Line:
    """One line without escape codes, control characters, bars, boxes and prefixes."""
    text = raw
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    if not text.isprintable():
        text = _CONTROL.sub("", text.replace("\t", "    "))
    if "%|" in text:
        text = _BAR.sub("", text)
    text = _BOX.sub("", text)
    rank = None
    for _ in range(_MAX_PREFIXES):
        stripped = text.lstrip() if text[:1].isspace() and text.lstrip()[:1] in "[|(" else text
        for prefix in _PREFIXES:
            match = prefix.match(stripped)
            if match:
                if "rank" in prefix.groupindex and rank is None:
                    rank = int(match["rank"])
                text = stripped[match.end() :]
                break
        else:
            break
    return Line(text.rstrip(), number, rank)
