"""A question-and-answer document in Markdown -> drafts of entries, a question each, and a count of what was taken from where.

An answer stands in its draft byte for byte. Lines that look like a message are proposed as signatures, addresses as
references. An image that does not come with the document becomes a TODO beside its link.
"""

from __future__ import annotations

import codecs
import re
import shutil
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import re2

from indexer.denoise import clean
from indexer.draft import Draft, write_draft
from indexer.entry import Language, fences, headings, read_bytes
from indexer.errors import EntryError
from indexer.query import Query, language_of
from indexer.signatures import pattern_faults

SECTION = "imported"
MAX_BYTES = 20_000_000
MAX_QUESTIONS = 5000
MAX_PATTERNS = 4
MAX_PATTERN = 90
MAX_SLUG = 60


@dataclass(frozen=True)
class Question:
    """A question of a document: its heading's 1-based line, the number in it or None, the rest of it, and the answer."""

    heading: str
    line: int
    number: int | None
    title: str
    text: str
    lines: int  # The heading's and the answer's.


@dataclass(frozen=True)
class Document:
    """A document taken apart: each of its lines belongs to a question, or is in `outside`."""

    questions: tuple[Question, ...]
    outside: tuple[str, ...]
    lines: int


@dataclass(frozen=True)
class Taken:
    """What one question gave: counts of what its answer holds, the images that are missing, the signatures proposed."""

    question: Question
    slug: str
    fences: int
    links: int
    images: int
    missing_images: tuple[str, ...]
    patterns: tuple[str, ...]


def read_document(path: Path) -> str:
    """The document's text with LF line ends; raises EntryError where it is no readable text."""
    try:
        data = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise EntryError(str(path), 0, f"cannot be read: {error.strerror}") from error
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise EntryError(
            str(path), line, "is not UTF-8. Convert it first, for example: iconv -f GB18030 -t UTF-8 OLD > NEW"
        ) from error
    if "\0" in text:
        raise EntryError(str(path), 0, "holds NUL characters; it is no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


_NUMBER = re.compile(r"(?:Q|问题?)?\s*(\d{1,6})\s*[.、):：]?\s*")


def take_apart(text: str, path: Path) -> Document:
    """Split a document at the level that has most numbered headings, else most headings; raises EntryError where it cannot."""
    for opened, closed in fences(text):
        if closed is None:
            raise EntryError(str(path), opened + 1, "a code fence is opened here and never closed; close it, and import again")
    found = list(headings(text))
    if not found:
        raise EntryError(str(path), 0, "has no headings; each question is to be a heading, like ## 1 Loss is zero")
    counts = Counter(level for _, level, _, _ in found)
    numbered = Counter(level for _, level, heading, _ in found if _NUMBER.match(heading))
    level = max(counts, key=lambda number: (numbered[number], counts[number], -number))
    starts = [(line, heading) for line, depth, heading, _ in found if depth == level]
    if len(starts) > MAX_QUESTIONS:
        raise EntryError(
            str(path), 0, f"has {len(starts):,} questions, at most {MAX_QUESTIONS:,} are imported at once; split it"
        )
    # A heading above that level ends an answer too: what follows it belongs to no question.
    lines = text.split("\n")
    ends = [*(line for line, depth, _, _ in found if depth <= level), len(lines)]
    questions = []
    for line, heading in starts:
        end = ends[bisect_right(ends, line)]
        number = _NUMBER.match(heading)
        title = heading[number.end() :] if number else heading
        body = "\n".join(lines[line + 1 : end])
        questions.append(
            Question(lines[line], line + 1, int(number[1]) if number else None, title or heading, body, end - line)
        )
    taken = {number for question in questions for number in range(question.line - 1, question.line + question.lines - 1)}
    outside = [line for number, line in enumerate(lines) if number not in taken]
    return Document(tuple(questions), tuple(outside), len(lines))


# RE2: a hundred thousand images that are begun and never ended took a minute.
_IMAGE = re2.compile(r"!\[[^\]\n]*\]\(([^)\s]+)[^)\n]*\)")
_URL = re.compile(r"https?://[^\s)>\]\"'，。；）]+")


def to_draft(question: Question, position: int, language: Language, folder: Path) -> tuple[Draft, Taken, dict[str, Path]]:
    """The draft of a question, what was taken, and the images to copy: path below the draft -> file beside the document."""
    slug = _slug(question, position)
    images = {target: unquote(target) for target in _IMAGE.findall(question.text)}
    found = {target: path for target, name in images.items() if (path := _beside(folder, name))}
    there = {str(path.relative_to(folder.resolve())): path for path in found.values()}
    missing = tuple(target for target in images if target not in found)
    notes = [f"TODO: the image {target} did not come with the document; say what it shows, or add it." for target in missing]
    body = question.text.strip("\n")
    messages, patterns = _messages(body)
    urls = tuple(dict.fromkeys(_URL.findall(body)))
    kind = "error" if patterns else "guide"
    draft = Draft(
        section=SECTION,
        slug=slug,
        kind=kind,
        titles={language: question.title},
        texts={language: "\n\n".join([body or "TODO", *notes])},
        patterns=patterns,
        samples=("\n".join(messages) + "\n",) if patterns else (),
        urls=urls,
        origin=f"line {question.line}: {question.heading}",
    )
    taken = Taken(question, slug, len(fences(body)), len(urls), len(images), missing, tuple(patterns))
    return draft, taken, there


def _beside(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder or below; None where there is none, or it is elsewhere."""
    try:
        path = (folder / name).resolve()
        return path if path.is_file() and path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):  # Too long for a path, as data: addresses are, or with a NUL.
        return None


def _slug(question: Question, position: int) -> str:
    words = re.findall(r"[a-z0-9]+", question.title.lower())
    number = question.number if question.number is not None else position
    slug = "-".join([f"q{number:02d}", *words])
    return slug if len(slug) <= MAX_SLUG else slug[:MAX_SLUG].rpartition("-")[0]


def _messages(body: str) -> tuple[list[str], list[str]]:
    """The lines that look like a message, and a pattern for each that makes a good signature."""
    messages, patterns = [], []
    for line in Query.from_text(_URL.sub("", body)).error_lines:
        pattern = _pattern(line)
        if pattern not in patterns and not pattern_faults(pattern):
            messages.append(line)
            patterns.append(pattern)
    return messages[:MAX_PATTERNS], patterns[:MAX_PATTERNS]


def _pattern(line: str) -> str:
    """The fixed part of a message as a pattern: numbers and paths may differ."""
    text = clean(line).text.strip()[:MAX_PATTERN]
    pieces = re.split(r"(/[\w./+-]{4,}|0x[0-9a-fA-F]+|\d+)", text)
    fixed = "".join(
        re.sub(r"([\\.^$*+?()\[\]{}|/])", r"\\\1", piece) if i % 2 == 0 else _variable(piece) for i, piece in enumerate(pieces)
    )
    return fixed.replace(r"\/", "/")


def _variable(piece: str) -> str:
    return r"/[^ ]+" if piece.startswith("/") else r"[0-9a-fx]+" if piece.startswith("0x") else r"\d+"


def import_document(path: Path, out: Path) -> tuple[Document, list[Taken]]:
    """Write a draft for each question below `out`; raises EntryError before anything is written where one is there already."""
    text = read_document(path)
    document = take_apart(text, path)
    language = language_of(text)
    drafts = [to_draft(question, place, language, path.parent) for place, question in enumerate(document.questions, 1)]
    slugs = Counter(draft.slug for draft, _, _ in drafts)
    for slug, count in slugs.items():
        if count > 1:
            raise EntryError(
                str(path), 0, f"{count} questions would become {slug}; give their headings different numbers or titles"
            )
        if (out / SECTION / slug).exists():
            raise EntryError(str(out / SECTION / slug), 0, "exists already; nothing was written")
    result = []
    for draft, taken, images in drafts:
        write_draft(out, draft)
        for name, source in images.items():
            target = out / SECTION / draft.slug / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        result.append(taken)
    return document, result
