"""Entry -> Passages, the units that are shown and cited, and the texts by which an entry is found."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from indexer.entry import LANGUAGES, Entry, Language


@dataclass(frozen=True)
class Passage:
    """One headed part of an entry in one language; `id` is `slug#part`."""

    id: str
    entry_id: str
    language: Language
    heading: str
    text: str


def passages(entry: Entry) -> list[Passage]:
    """The passages of an entry, in both languages, in the order of its pages."""
    return [
        Passage(f"{entry.id}#{part.id}", entry.id, language, part.heading, part.text)
        for language in LANGUAGES
        for part in entry.pages[language].parts
        if part.text
    ]


_CHINESE = r"[\u2e80-\u9fff\uff00-\uffef\u201c\u201d]"
_GAP = re.compile(rf"(?<={_CHINESE})\s+(?={_CHINESE})|(?<=[，。、；：？！）])\s+")


def one_line(text: str) -> str:
    """A paragraph on one line: a line's end is a space in English, and nothing between Chinese characters."""
    return _GAP.sub("", " ".join(text.split()))


_CODE = re.compile(r"```.*?```", re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def prose(markdown: str) -> str:
    """Markdown without fenced code, link targets and marks, on one line."""
    text = _LINK.sub(r"\1", _CODE.sub(" ", markdown))
    return one_line(re.sub(r"[*`>#|]+", " ", text))


def embedded_texts(entry: Entry) -> list[str]:
    """The text of each vector that stands for the entry: its titles with summaries, its asks, its passages."""
    texts = []
    for language in LANGUAGES:
        page = entry.pages[language]
        texts += [f"{page.title}. {page.summary}", *page.asks]
    texts += [f"{entry.pages[p.language].title}. {p.heading}. {prose(p.text)}" for p in passages(entry)]
    return texts


_ANY_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def lexical_document(entry: Entry) -> str:
    """What an entry is found by, in one text: titles, summaries, asks, headings, code, samples.

    Not its prose: that made its document unlike those of the background, which are asks. Without it, 0.95 of questions find
    their entry by words alone, with it 0.92 (tuning cases).
    """
    blocks = []
    for language in LANGUAGES:
        page = entry.pages[language]
        blocks += [page.title, page.summary, *page.asks]
        blocks += [text for part in page.parts for text in (part.heading, *_ANY_CODE.findall(part.text))]
    return "\n".join([*blocks, *entry.samples])


def cells(text: str) -> int:
    """Columns of a terminal that a text takes: two a Chinese character."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


_SENTENCE_END = re.compile(r"[。！？](?![)）」”])|[.!?](?=\s|$)(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)")


def first_sentence(markdown: str) -> str:
    """The first sentence of a step or paragraph, with its inline marks, on one line."""
    paragraph = one_line(re.split(r"\n\s*\n|\n\s*(?:```|~~~|[-*] |\|)", markdown, maxsplit=1)[0])
    code = [match.span() for match in re.finditer(r"`[^`]*`|\([^)]*\)", paragraph)]
    for match in _SENTENCE_END.finditer(paragraph):
        if not any(start < match.start() < end for start, end in code):
            sentence = paragraph[: match.end()].strip()
            return sentence + "**" if sentence.count("**") % 2 else sentence
    return paragraph
