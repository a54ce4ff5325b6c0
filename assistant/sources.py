"""A paste and the entries of its hits -> what an answer may rest on: words, commands, settings, versions, addresses."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import re2

from assistant.wording import (
    CJK,
    PRODUCTS,
    THOUSANDS,
    Ways,
    address_of,
    arguments_of,
    assignments_in,
    pieces,
    product_of,
    squeezed,
    urls_in,
    visible,
)
from indexer import lexical
from indexer.entry import LANGUAGES, Entry, Language, Page, Part, outside_fences, read_text
from indexer.errors import EntryError
from indexer.query import Query
from indexer.ranking import Hit


class Known:
    """What a source vouches for. Looked for as it is needed: a set of all pieces would take longer to build than an answer."""

    def __init__(self, texts: Iterable[str], urls: Iterable[str] = ()) -> None:
        self.text = visible(THOUSANDS.sub("", "\n".join(texts)))
        self.urls = {address_of(url) for url in urls} | urls_in(self.text)

    def has(self, piece: str) -> bool:
        """Whether a piece stands in the text as it is, not as a part of a longer word or number; an option also in its case."""
        exact = piece.startswith("-")
        text, piece = (self.text, piece) if exact else (self.lower, piece.lower())
        start = text.find(piece)
        for _ in range(MAX_TRIES):
            if start < 0:
                return False
            end = start + len(piece)
            before, after = text[start - 1 : start], text[end : end + 1]
            if not (_joins(before, piece[0]) or _joins(after, piece[-1])) and not (exact and after == "-"):
                return True
            start = text.find(piece, start + 1)
        return False

    @cached_property
    def lower(self) -> str:
        return self.text.lower()

    @cached_property
    def squeezed(self) -> str:
        return squeezed(self.text)

    @cached_property
    def commands(self) -> str:
        """Every line of code, fenced or in backticks, as its words with single spaces: prose vouches for no command."""
        code = [line for _, line, prose in outside_fences(self.text.replace("\\\n", " ")) if not prose]
        code += [match[1] for match in _CODE_SPAN.finditer(self.text)]
        return "\n".join(f" {' '.join(arguments_of(line))} " for line in code)

    @cached_property
    def settings(self) -> dict[str, set[str]]:
        """The values that each setting is given."""
        found: dict[str, set[str]] = {}
        for name, value in assignments_in(self.text):
            found.setdefault(name, set()).add(value)
        return found

    @cached_property
    def versions(self) -> dict[str, set[str]]:
        """For each version or number, the products that stand near it."""
        found: dict[str, set[str]] = {}
        for line in self.text.split("\n"):
            row = list(pieces(line)) if _HAS_NUMBER.search(line) and _HAS_PRODUCT.search(line) else []
            products = [product_of(piece) for piece in row]
            for place, piece in enumerate(row):
                if piece[0].isdigit():
                    near = products[max(0, place - 10) : place + 6]
                    found.setdefault(piece.lower(), set()).update(filter(None, near))
        return found

    @cached_property
    def ways(self) -> Ways:
        return Ways(self.text)

    @cached_property
    def terms(self) -> set[str]:
        return set(lexical.tokens(self.text))


_CODE_SPAN = re.compile(r"`([^`\n]+)`")
MAX_TRIES = 1000
_HAS_NUMBER = re.compile(r"\d")
_HAS_PRODUCT = re2.compile("(?i)" + "|".join(map(re.escape, sorted({*PRODUCTS, "flash_attn", "llama_factory"}))))


def _joins(neighbour: str, edge: str) -> bool:
    """Whether a character beside a piece makes it part of a longer word."""
    if not neighbour.isascii():
        return neighbour.isalpha() and not re.match(rf"[{CJK}]", neighbour)
    return (neighbour.isalnum() and (edge.isalnum() or edge == "_")) or (neighbour == "_" and edge != "/")


class Sources:
    """What one answer may rest on: the hits' entries, with parts, summaries, signatures and scripts, and the paste."""

    def __init__(self, query: Query, hits: Sequence[Hit], entries: Mapping[str, Entry], language: Language) -> None:
        self.language = language
        self.entries = {hit.entry_id: entries[hit.entry_id] for hit in hits if hit.entry_id in entries}
        self.paste = Known(_paste_texts(query))
        self._all = entries
        self._known: dict[str, Known] = {}
        self._terms: dict[str, frozenset[str]] = {}
        self._english: dict[str, dict[str, frozenset[str]]] = {}

    def known(self, entry_id: str) -> Known:
        """What an entry among the hits vouches for."""
        if entry_id not in self._known:
            entry = self.entries[entry_id]
            self._known[entry_id] = Known(list(_texts(entry, self._all)), (source.url for source in entry.references))
        return self._known[entry_id]

    def cited(self, citation: str) -> str | None:
        """The id of the entry that a citation names; None where it, or what it points to in it, is not among the hits."""
        path, _, script = citation.partition("/")
        entry_id, _, place = path.partition("#")
        entry = self.entries.get(entry_id)
        if entry is None:
            return None
        if script:
            return entry_id if not place and script in _scripts(entry) else None
        if "#" not in citation:
            return entry_id
        part_id, _, number = place.partition(".")
        if number and not (number.isascii() and number.isdigit()):
            return None
        return entry_id if self.has_step(entry, part_id, int(number[:4]) if number else None) else None

    def has_step(self, entry: Entry, part_id: str, number: int | None) -> bool:
        """Whether the entry has that part, and the part that step, in the answer's language."""
        for part in entry.pages[self.language].parts:
            if part.id == part_id and part_id:
                return number is None or 1 <= number <= len(part.steps)
        return False

    def terms(self, entry_id: str) -> frozenset[str]:
        """The tokens of an entry's page and asks, in Chinese with the English page; none of one not among the hits."""
        if entry_id not in self.entries:
            return frozenset()
        if entry_id not in self._terms:
            own = self.vocabulary.terms[entry_id] | self.vocabulary.asked[entry_id]
            if self.language != "en":
                page = self.entries[entry_id].pages["en"]
                own = own.union(_terms((page.title, page.summary)), *self._english_parts(entry_id).values())
            self._terms[entry_id] = own
        return self._terms[entry_id]

    @cached_property
    def part_terms(self) -> dict[str, frozenset[str]]:
        """The tokens of each part of the hits' entries by what cites it, in Chinese with those of the English part."""
        found = {}
        for id_ in self.entries:
            english = self._english_parts(id_) if self.language != "en" else {}
            for part_id, own in self.vocabulary.parts[id_].items():
                found[f"{id_}#{part_id}"] = own | english.get(part_id, frozenset())
        return found

    def _english_parts(self, entry_id: str) -> dict[str, frozenset[str]]:
        if entry_id not in self._english:
            self._english[entry_id] = {part.id: _terms(_part_texts(part)) for part in self.entries[entry_id].pages["en"].parts}
        return self._english[entry_id]

    @cached_property
    def vocabulary(self) -> _Vocabulary:
        return _vocabulary(self._all, self.language)


class _Vocabulary:
    """The tokens of every entry's page in one language, of its parts, and of its asks; how telling each is, by how few have it.

    With the asks a plain word is not rare merely because few pages use it; parts are enough to tell without.
    """

    def __init__(self, entries: Mapping[str, Entry], language: Language) -> None:
        pages = {id_: entry.pages[language] for id_, entry in entries.items()}
        # Each text is read once: nothing here takes longer.
        read = {
            id_: [(part.id, lexical.tokens("\n".join(_part_texts(part)))) for part in page.parts] for id_, page in pages.items()
        }
        counted = {id_: Counter(lexical.tokens(f"{page.title}\n{page.summary}")) for id_, page in pages.items()}
        for id_, parts in read.items():
            for _, found in parts:
                counted[id_].update(found)
        self.terms = {id_: frozenset(terms) for id_, terms in counted.items()}
        self.parts = {id_: {part_id: frozenset(found) for part_id, found in parts if part_id} for id_, parts in read.items()}
        self.shares = {
            id_: {term: CHANCE if count == 1 and term >= "\u3400" else 1.0 for term, count in terms.items()}
            for id_, terms in counted.items()
        }
        self.asked = {id_: _terms(page.asks) for id_, page in pages.items()}
        self.rarity = _rarity([self.terms[id_] | self.asked[id_] for id_ in pages])
        self.part_rarity = _rarity([terms for parts in self.parts.values() for terms in parts.values()])


def _rarity(texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """How telling each term is, by how few of the texts have it."""
    counts = Counter(term for terms in texts for term in terms)
    return {term: math.log(1 + (len(texts) - count + 0.5) / (count + 0.5)) for term, count in counts.items()}


def _terms(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(lexical.tokens("\n".join(texts)))


_last: dict[Language, tuple[Mapping[str, Entry], _Vocabulary]] = {}


def _vocabulary(entries: Mapping[str, Entry], language: Language) -> _Vocabulary:
    """The vocabulary of a collection, kept for the next answer: it takes 6 ms an entry."""
    if language not in _last or _last[language][0] is not entries:
        _last[language] = (entries, _Vocabulary(entries, language))
    return _last[language][1]


def _page_texts(page: Page) -> Iterator[str]:
    yield page.title
    yield page.summary
    for part in page.parts:
        yield from _part_texts(part)


def _part_texts(part: Part) -> tuple[str, str]:
    return part.heading, part.text


CHANCE = 0.7  # What a pair of Chinese characters weighs that stands once on a page: most straddle two words.
MAX_PASTE = 200_000  # Characters of a paste that vouch for something; a model is shown far less.


def _paste_texts(query: Query) -> Iterator[str]:
    """What the user said and pasted, what decides first."""
    room = MAX_PASTE
    for text in (query.sentence, *query.error_lines, query.launch, *(line.text for line in query.lines)):
        room -= len(text)
        if room < 0:
            return
        yield text


def _scripts(entry: Entry) -> set[str]:
    return {name for snippet in entry.snippets for name in (snippet.file, snippet.name)}


def _texts(entry: Entry, entries: Mapping[str, Entry]) -> Iterator[str]:
    """All that an entry says, in both languages, and its scripts' sources."""
    yield entry.id
    yield from (f"{entry.id}#{part.id}" for page in entry.pages.values() for part in page.parts)
    for language in LANGUAGES:
        yield from _page_texts(entry.pages[language])
        yield from (snippet.about[language] for snippet in entry.snippets)
        yield from (source.about[language] for source in entry.references)
    yield from (signature.pattern.replace("\\", "") for signature in entry.signatures)
    yield from entry.components
    for snippet in entry.snippets:
        owner = entries.get(snippet.of or entry.id, entry)
        yield snippet.file
        try:
            yield read_text(Path(owner.folder) / snippet.file)
        except EntryError:
            continue  # An entry of another machine: its pages still vouch.
