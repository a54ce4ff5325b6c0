"""Markdown as it was written -> Markdown that MkDocs lays out as it was meant; and plain text, code and fences as Markdown.

Entries are written in CommonMark. Python-Markdown wants empty lines around lists, tables and fences, and shows a line end
between two Chinese characters as a space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from indexer.entry import Language, fences, headings, outside_fences
from indexer.passages import one_line

_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def to_yaml(value: object, indent: int | None = None) -> str:
    """A value as JSON, which is YAML that no text in it can break."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def with_front_matter(fields: Mapping[str, Any], body: str) -> str:
    """A page: its front matter, a line a key, and its body."""
    lines = [f"{key}: {to_yaml(value)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", "", body.strip(), ""])


def escape(text: str) -> str:
    """Plain text as Markdown that shows it as it is, on one line."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    text = re.sub(r"([\\`*{}\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return re.sub(r"^(\d+(?=\.)|(?=[#+>-]))", r"\1\\", text)


def code(text: str) -> str:
    """Text as inline code, whatever backticks it holds."""
    ticks = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def fence(text: str, info: str) -> str:
    """Text as a fenced block, with a fence that no line of it can close."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}{info}\n{text.rstrip()}\n{ticks}"


def indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def free_id(id_: str, taken: set[str]) -> str:
    """The id itself, or, where the page has it already, the first of id-2, id-3... that is free."""
    free, number = id_, 1
    while free in taken:
        number += 1
        free = f"{id_}-{number}"
    taken.add(free)
    return free


def with_ids(body: str, ids: Sequence[str]) -> str:
    """Markdown whose headings have these ids, in their order."""
    lines = body.split("\n")
    for (number, level, text, _), id_ in zip(headings(body), ids, strict=True):
        lines[number] = f"{'#' * level} {without_braces(text)} {{#{id_}}}"
    return "\n".join(lines)


def without_braces(heading: str) -> str:
    """A heading whose braces, outside code, are not taken for its attributes."""
    return outside_code(heading, lambda text: re.sub(r"(?<!\\)([{}])", r"\\\1", text))


_CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")


def outside_code(line: str, change: Callable[[str], str]) -> str:
    """A line with `change` applied to what is not inline code."""
    parts, end = [], 0
    for match in _CODE_SPAN.finditer(line):
        parts += [change(line[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(line[end:])])


def tidy(text: str, language: Language) -> str:
    """Markdown that MkDocs lays out as it was meant."""
    return _spaced(joined_lines(text) if language == "zh" else text)


_CHINESE = r"[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f\u201c\u201d]"
_MARK = r"[，。、；：？！）】》”…]"
_JOIN = re.compile(rf"(?:{_CHINESE}\n\s*(?={_CHINESE})|{_MARK}\n\s*|\n\s*(?={_MARK}))")
_BLOCK = re.compile(r"\s*(?:#{1,6}\s|\||>|\d{1,3}\.\s|[-*+]\s|```|~~~|!!!|\?\?\?|===|$)")


def joined_lines(text: str) -> str:
    """Chinese paragraphs without the line ends that a browser would show as spaces between two characters."""
    lines: list[str] = []
    open_paragraph = False
    for _, line, prose in outside_fences(text):
        if open_paragraph and prose and not _BLOCK.match(line) and _JOIN.search(f"{lines[-1][-1:]}\n{line.lstrip()[:1]}"):
            lines[-1] += line.lstrip()
        else:
            lines.append(line)
        open_paragraph = prose and bool(line.strip()) and not line.lstrip().startswith(("#", "|", ">"))
    return "\n".join(lines)


_ITEM = re.compile(r"(?:\d{1,3}\.|[-*+])\s")


def _spaced(text: str) -> str:
    """Markdown with the empty lines that Python-Markdown needs, and CommonMark does not, around fences, lists and tables."""
    blocks = fences(text)
    opening, closing = {start for start, _ in blocks}, {end for _, end in blocks}
    spaced: list[str] = []
    before, in_item, numbered = "", False, False
    for number, line, prose in outside_fences(text):
        item = prose and bool(_ITEM.match(line))
        if item and in_item and line[0].isdigit() != numbered:
            spaced += ["", "<!-- another list -->", ""]  # Else its items are taken for more of the one before.
        begins = (
            number in opening
            or number - 1 in closing
            or (item and not (in_item and _ITEM.match(before)))
            or (prose and line.startswith("|") and not before.startswith("|"))
        )
        if begins and before.strip(" >") and line.strip(" >"):
            spaced.append(_quote_of(line))
        spaced.append(line)
        if item:
            numbered = line[0].isdigit()
        if prose:
            in_item = item or (in_item and (not line.strip() or line.startswith(" ")))
        before = line
    return "\n".join(spaced)


def _quote_of(line: str) -> str:
    """An empty line of the quote that a line stands in."""
    match = re.match(r"\s*>[\s>]*", line)
    return match[0].rstrip() if match else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()) -> str:
    """Rows of Markdown as a table; the columns of `numbers` are set to the right."""
    right = set(numbers)
    marks = ["---:" if column in right else "---" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (heads, marks, *rows))
