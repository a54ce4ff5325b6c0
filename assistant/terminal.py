"""Markdown of answers and entries -> lines of a terminal: wrapped by columns, coloured if wanted, no control characters."""

from __future__ import annotations

import re
import sys

import click

from indexer.entry import HEADING, outside_fences
from indexer.passages import cells, one_line

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Bounds, so that marks which are opened and never closed take linear time.
_INLINE = re.compile(
    r"(?<!`)(`++)(.{1,2000}?)(?<!`)\1(?!`)|\*\*(.{1,2000}?)\*\*|\[([^\[\]]{1,500})\]\(([^)\s]{1,2000})\)|(https?://[^\s)>]+)"
)
_ITEM = re.compile(r"(\s*)(\d+\.|[-*])(\s+)(.*)")
# A break may come before any Chinese character, but not before closing punctuation.
_UNIT = re.compile(
    r"\s+|[“‘（「『]?[\u2e80-\u9fff\uff00-\uffef][，。、；：？！）」』”’…]*|[^\s\u2e80-\u9fff\uff00-\uffef]+[，。、；：？！）」』”’…]*"
)


def safe(text: str) -> str:
    """The text without anything that a terminal would obey: what is printed may come from a log or from somebody's overlay."""
    return _CONTROL.sub("", text)


def render(markdown: str, width: int = 80, colour: bool = False) -> str:
    """The text as a terminal shows it, no line wider than `width` columns except code and addresses."""
    lines: list[str] = []
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph:
            lines.extend(_wrapped(one_line("\n".join(paragraph)), width, colour))
            paragraph.clear()

    for _, raw, is_prose in outside_fences(safe(markdown)):
        line = raw.rstrip()
        if not is_prose:
            flush()
            if not line.strip().startswith(("```", "~~~")):
                lines.append(_styled(f"  {line}", colour, fg="cyan"))
            continue
        item = _ITEM.fullmatch(line)
        if not line:
            flush()
            if lines and lines[-1]:
                lines.append("")
        elif line.startswith("#"):
            flush()
            heading = HEADING.fullmatch(line)
            rows = wrap(str(heading[2]) if heading else line, width)
            lines.extend(_styled(text, colour, bold=True, underline=line.startswith("# ")) for text in rows)
        elif line.lstrip().startswith("|"):
            flush()
            lines.append(line)
        elif item:
            flush()
            lead = item[1] + item[2] + item[3]
            lines.extend(_wrapped(item[4], width, colour, lead, " " * len(lead)))
        elif raw.startswith("  ") and not paragraph:
            indent = line[: len(line) - len(line.lstrip())]
            lines.extend(_wrapped(line.strip(), width, colour, indent, indent))
        elif re.match(r"\*\*[^*]+\*\* ", line):
            # A labelled line, as at the foot of an answer: a paragraph of its own.
            flush()
            lines.extend(_wrapped(line, width, colour, "", "  "))
        else:
            paragraph.append(line.strip())
    flush()
    return "\n".join(lines).strip("\n")


def _wrapped(text: str, width: int, colour: bool, first: str = "", following: str = "") -> list[str]:
    plain = one_line(_INLINE.sub(_plain, text))
    rows = wrap(plain, width, first, following)
    if not colour:
        return rows
    marks = [mark for match in _INLINE.finditer(text) if (mark := _mark(match))]
    return _style_marks(rows, marks)


def _plain(match: re.Match[str]) -> str:
    code, strong, title, address = match[2], match[3], match[4], match[5]
    if title:
        return title if title == address or not address.startswith("http") else f"{title} ({address})"
    return code or strong or match[6]


def _mark(match: re.Match[str]) -> tuple[str, dict[str, object]] | None:
    if match[2]:
        return match[2], {"fg": "cyan"}
    if match[3]:
        return match[3], {"bold": True}
    return (match[5] or match[6], {"fg": "blue", "underline": True}) if match[5] or match[6] else None


def _style_marks(rows: list[str], marks: list[tuple[str, dict[str, object]]]) -> list[str]:
    """Colour the marked pieces in order, also where a line break fell inside one."""
    styled = []
    pending = [(piece.split(), style) for piece, style in marks]
    for row in rows:
        out, rest = "", row
        while pending and pending[0][0]:
            words, style = pending[0]
            position = rest.find(words[0])
            if position < 0:
                break
            taken = 1
            while taken < len(words) and rest[position:].startswith(" ".join(words[: taken + 1])):
                taken += 1
            piece = " ".join(words[:taken])
            out += rest[:position] + click.style(piece, **style)  # type: ignore[arg-type]
            rest = rest[position + len(piece) :]
            pending[0] = (words[taken:], style)
            if not pending[0][0]:
                pending.pop(0)
        styled.append(out + rest)
    return styled


def _styled(text: str, colour: bool, **style: object) -> str:
    return click.style(text, **style) if colour and text.strip() else text  # type: ignore[arg-type]


def wrap(text: str, width: int, first: str = "", following: str = "") -> list[str]:
    """Lines of at most `width` columns, a Chinese character taking two; a word longer than a line stands on its own."""
    rows: list[str] = []
    row = first
    indent = len(first)
    for unit in _UNIT.findall(text):
        if unit.isspace():
            row += " " if len(row) > indent else ""
            continue
        if cells(row) + cells(unit) > width and row.strip() and len(row) > indent:
            rows.append(row.rstrip())
            row, indent = following, len(following)
        row += unit
    rows.append(row.rstrip())
    return rows


def wants_colour() -> bool:
    """Whether standard output is a terminal that is to be coloured (https://no-color.org)."""
    import os

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
