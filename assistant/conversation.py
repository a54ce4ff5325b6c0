"""What was asked and answered before -> what a follow-up is about, and what was tried; it comes with each question."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.entry import Entry, Language
from indexer.query import Query


@dataclass(frozen=True)
class Turn:
    """What was asked before, and what was answered, as Markdown."""

    question: str
    answer: str


def whole_query(text: str, conversation: Sequence[Turn] = ()) -> Query:
    """The query of a text; that of a follow-up keeps the report which the conversation is about. A log is a new report."""
    query = Query.from_text(text)
    if not conversation or (query.is_log and query.error_lines):
        return query
    report = "\n".join(turn.question for turn in conversation)
    return Query.read(io.BytesIO(report.encode("utf-8", errors="replace")), text)


def tried(conversation: Sequence[Turn], entry: Entry, language: Language) -> set[str]:
    """Ids of the entry's parts that an earlier answer showed: by heading where it is composed, by id where it is cited."""
    answers = [f"{turn.answer}\n" for turn in conversation]
    return {
        part.id
        for part in entry.causes(language)
        if any(f"## {part.heading}\n" in answer or f"[{entry.id}#{part.id}" in answer for answer in answers)
    }
