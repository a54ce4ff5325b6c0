"""A collection -> the data with which the site's engine finds entries in a browser: patterns, counts, constants, titles.

Python's own patterns and numbers travel, so that site/overrides/assets/engine.js holds the steps only and cannot drift.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from indexer import denoise, facts, foreign, kinds, lexical, query, ranking, reading
from indexer.background import Background
from indexer.entry import LANGUAGES, Entry, Language
from indexer.index import Collection, count_words, documents_of, foreign_names
from indexer.lexical import Counts, count
from indexer.signatures import literals_of

FORMAT = 1


class Pattern(Protocol):
    """A compiled pattern of Python's re or of RE2."""

    @property
    def pattern(self) -> str | bytes: ...


def engine_data(collection: Collection) -> bytes:
    """The JSON file that the engine reads: everything it needs to judge a paste in both languages."""
    known: list[Entry | Background] = [*collection.entries, *collection.background]
    constants = ranking.read_constants()
    documents = documents_of(collection)
    return _to_json(
        {
            "format": FORMAT,
            "patterns": {name: javascript(pattern) for name, pattern in PATTERNS.items()},
            "kinds": {name: javascript(re.compile("".join(parts), re.ASCII)) for name, parts in kinds.KINDS.items()},
            "certain": sorted(kinds.CERTAIN),
            "frame": sorted(query.FRAME),
            "program": sorted(kinds.PROGRAM),
            "worth": kinds.WORTH,
            "limits": LIMITS,
            "names": {
                "box": denoise.BOX_CHARACTERS,
                "may_have": facts.MAY_HAVE,
                "metrics": facts.NAMES,
                "may_begin": "".join(sorted(denoise.MAY_BEGIN)),
            },
            "weights": constants.words,
            "threshold": constants.threshold,
            "undecided": constants.undecided,
            "entries": [_entry(entry) for entry in collection.entries],
            "background": [[one.id, one.about] for one in collection.background],
            "apart": collection.apart,
            "signatures": [
                [number, in_javascript(signature.pattern), int(signature.weak), signature.cause, literals_of(signature.pattern)]
                for number, one in enumerate(known)
                for signature in one.signatures
            ],
            "words": pack(count_words(collection, documents)),
            "foreign": "\n".join(foreign_names(collection, documents)),
        }
    )


def search_data(entries: Sequence[Entry], pages: Iterable[tuple[str, str, str]], language: Language) -> bytes:
    """The JSON file that the search of one language adds: the words of entries' pages, then of other pages as (address, title,
    Markdown). Asks are in the engine's own data."""
    others = list(pages)
    documents = [
        "\n".join([own.title, own.summary, *(f"{part.heading}\n{part.text}" for part in own.parts)])
        for own in (entry.pages[language] for entry in entries)
    ]
    return _to_json(
        {
            "entries": [
                {
                    "address": f"entries/{entry.id}/",
                    "title": entry.pages[language].title,
                    "text": entry.pages[language].summary,
                    "headings": [[part.id, part.heading] for part in entry.pages[language].parts if part.id],
                }
                for entry in entries
            ],
            "pages": [{"address": address, "title": title, "headings": _headings(text)} for address, title, text in others],
            "words": pack(count([*documents, *(f"{title}\n{text}" for _, title, text in others)])),
        }
    )


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "yields_to": entry.yields_to,
        "pages": {
            language: {
                "title": entry.pages[language].title,
                "summary": entry.pages[language].summary,
                "causes": [[part.id, part.heading] for part in entry.causes(language)],
            }
            for language in LANGUAGES
        },
    }


_HEADING = re.compile(r"^#{2,3} +(\S.*?) *\{#([\w-]+)\} *$", re.MULTILINE)


def _headings(markdown: str) -> list[list[str]]:
    return [[found[2], found[1]] for found in _HEADING.finditer(markdown)]


def pack(counts: Counts) -> dict[str, Any]:
    """Counts as short strings, a character a number, which a server's compression takes to about a byte each.

    `terms` are sorted, one a line; `documents` has for each term how many documents have it, `gaps` how far each is from the
    one before, `frequencies` how often it has the term there; `ours` and `others` are empty where there is nothing to compare.
    """
    gaps, frequencies = [], []
    for found in counts.postings:
        before = -1
        for document, frequency in found:
            gaps.append(document - before - 1)
            frequencies.append(frequency)
            before = document
    return {
        "terms": "\n".join(counts.terms),
        "documents": characters(map(len, counts.postings)),
        "gaps": characters(gaps),
        "frequencies": characters(frequencies),
        "lengths": counts.lengths,
        "ours": characters(counts.ours) if any(counts.sizes) else "",
        "others": characters(counts.others) if any(counts.sizes) else "",
        "sizes": counts.sizes,
        "k1": lexical.K1,
        "b": lexical.B,
        "max_field": lexical.MAX_FIELD,
    }


FIRST = 35  # The character that stands for 0: after the quotation mark, which JSON would escape.
LARGEST = 0xD000  # Below the halves of pairs; nothing is counted so often that more would matter.


def characters(numbers: Iterable[int]) -> str:
    """Each number as the character so many places after FIRST."""
    return "".join(chr(min(number, LARGEST) + FIRST) for number in numbers)


# Every pattern by which a paste is understood and words are told, as the engine names it.
PATTERNS: dict[str, Pattern] = {
    "escape": denoise.ESCAPE,
    "control": denoise.CONTROL,
    "bar": denoise.BAR,
    "has_box": denoise.HAS_BOX,
    "glued": denoise.GLUED,
    "prefix": denoise.PREFIX,
    "rank": denoise.RANK,
    "message": denoise.EXCEPTION,
    "goes_on": denoise.GOES_ON,
    "telling": reading.TELLING,
    "cjk": reading.CJK,
    "value": facts.VALUE,
    "policy": facts.POLICY,
    "classifier": facts.CLASSIFIER,
    "loop": facts.LOOP,
    "said": facts.SAID,
    "zero": facts.ZERO,
    "clause": facts.CLAUSE,
    "exception": query.EXCEPTION,
    "package": query.PACKAGE,
    "place": query.PLACE,
    "person": query.PERSON,
    "asks": query.ASKS,
    "version": query.VERSION,
    "run": lexical.RUN,
    "split": lexical.SPLIT,
    "case": lexical.CASE,
    "name": foreign.RUN,
}
LIMITS: dict[str, float] = {
    "head": reading.HEAD,
    "tail": reading.TAIL,
    "of_a_kind": reading.OF_A_KIND,
    "of_a_telling_kind": reading.OF_A_TELLING_KIND,
    "kinds": reading.KINDS,
    "middle": reading.MIDDLE,
    "piece": reading.PIECE,
    "overlap": reading.OVERLAP,
    "joined": denoise.JOINED,
    "reports": facts.REPORTS,
    "share": facts.SHARE,
    "loops": facts.MAX_LOOKED_AT,
    "reach": facts.REACH,
    "error_lines": query.MAX_ERROR_LINES,
    "error_length": query.MAX_ERROR_LENGTH,
    "sentence": query.MAX_SENTENCE,
    "ending": query.ENDING,
    "frames": query.FRAMES,
    "frame_reach": query.FRAME_REACH,
    "topic_lines": query.TOPIC_LINES,
    "token": lexical.MAX_TOKEN,
    "words": foreign.MAX_WORDS,
    "characters": foreign.MAX_CHARACTERS,
    "lead": ranking.MAX_LEAD,
    "foreign": ranking.MAX_FOREIGN,
    "field": ranking.MAX_FIELD,
}


def javascript(pattern: Pattern) -> list[str]:
    """A pattern as JavaScript's source and flags."""
    source = pattern.pattern.decode() if isinstance(pattern.pattern, bytes) else pattern.pattern
    ignores_case = isinstance(pattern, re.Pattern) and bool(pattern.flags & re.IGNORECASE)
    if source.startswith("(?i)"):
        source, ignores_case = source[4:], True
    # Nothing before it can end in a space, so that giving spaces back finds nothing more: JavaScript has no possessive `*+`.
    return [in_javascript(source.replace("*+", "*").replace("(?P<", "(?<")), "i" if ignores_case else ""]


_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")  # An escaped character, or a class.
_SPACES = r"\t\n\v\f\r "


def in_javascript(source: str) -> str:
    r"""A pattern's source, in which `\s` means what RE2 and Python's re.ASCII mean by it; JavaScript's has more spaces."""

    def piece(found: re.Match[str]) -> str:
        text = found[0]
        if text in (r"\s", r"\S"):
            return f"[{'^' if text == chr(92) + 'S' else ''}{_SPACES}]"
        if r"\S" in text and text[0] == "[":
            raise ValueError(f"JavaScript has no such class: {text}")
        # In JavaScript a bracket that comes first ends the class.
        return re.sub(r"^\[(\^?)\]", r"[\1\\]", text.replace(r"\s", _SPACES)) if text[0] == "[" else text

    return _PIECE.sub(piece, source)


def _to_json(data: object) -> bytes:
    return (json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
