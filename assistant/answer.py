"""What kbask says, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from indexer.entry import Entry, Language, Snippet
from indexer.query import Query
from indexer.ranking import Hit


@dataclass(frozen=True)
class Block:
    """A piece of an answer that is shown as a whole, as Markdown.

    `head` says which entry and how sure; `claim`, `step` and `run` are what a model chose and explained; `body` is the entry's
    own; `notice` is about the answer itself; `foot` is what to run and read next.
    """

    kind: Literal["head", "claim", "step", "run", "body", "notice", "foot"]
    text: str


@dataclass(frozen=True)
class Citation:
    """What a part of the answer rests on: `slug#part` of an entry, or a source by its address."""

    id: str
    title: str
    url: str | None = None


@dataclass(frozen=True)
class SnippetCall:
    """A snippet to run next, with its command line."""

    entry_id: str
    snippet: Snippet
    command: str
    path: Path


@dataclass(frozen=True)
class Answer:
    """What kbask says, in blocks, and what it rests on; where not `answered`, no entry fits and the hits are the nearest.

    `model` is the name of the model that wrote it, None where it is composed of the entry's own words; `left_out` is how many
    of a model's sentences, steps and runs did not pass.
    """

    blocks: tuple[Block, ...]
    language: Language
    answered: bool
    confidence: float
    hits: tuple[Hit, ...] = ()
    citations: tuple[Citation, ...] = ()
    snippets: tuple[SnippetCall, ...] = ()
    model: str | None = None
    left_out: int = 0

    @property
    def text(self) -> str:
        """All of it as Markdown."""
        return "\n\n".join(block.text for block in self.blocks)

    def to_json(self, query: Query, entries: Mapping[str, Entry]) -> dict[str, Any]:
        """The stable JSON form: what `kbask --json` prints."""
        return {
            "answered": self.answered,
            "confidence": round(self.confidence, 4),
            "language": self.language,
            "model": self.model,
            "notices": [block.text for block in self.blocks if block.kind == "notice"],
            "left_out": self.left_out,
            "query": query_to_json(query),
            "hits": hits_to_json(self.hits, entries, self.language),
            "text": self.text,
            "citations": [vars(citation) for citation in self.citations],
            "snippets": [
                {
                    "entry": call.entry_id,
                    "file": call.snippet.file,
                    "does": call.snippet.does,
                    "about": call.snippet.about[self.language],
                    "command": call.command,
                    "path": str(call.path),
                }
                for call in self.snippets
            ],
        }


def query_to_json(query: Query) -> dict[str, Any]:
    """What was understood of an input."""
    return {
        "is_log": query.is_log,
        "language": query.language,
        "sentence": query.sentence,
        "error_lines": query.error_lines,
        "exceptions": query.exceptions,
        "frames": query.frames,
        "deaths": query.deaths,
        "versions": query.versions,
        "gpus": query.gpus,
        "launch": query.launch,
        "ranks": query.ranks,
    }


def hits_to_json(hits: Sequence[Hit], entries: Mapping[str, Entry], language: Language) -> list[dict[str, Any]]:
    """The entries that were found, best first, and why each was."""
    return [
        {
            "entry": hit.entry_id,
            "section": entries[hit.entry_id].section,
            "title": entries[hit.entry_id].pages[language].title,
            "score": round(hit.score, 4),
            "confidence": round(hit.confidence, 4),
            "ranks": hit.ranks,
            "matched": [match.line.text for match in hit.matched],
        }
        for hit in hits
    ]
