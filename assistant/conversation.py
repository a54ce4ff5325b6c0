"""What was asked and answered before -> what a follow-up is about, and what was tried; it comes with each question."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.entry import Entry, Language
from indexer.query import Query


@dataclass(frozen=True)
class Turn:
    """What was asked before, and what was answered, as Markdown."""

    question: str
    answer: str


# A follow-up that only turns the answer down: its words tell nothing of the problem.
REJECTION = re.compile(
    r"(?:no|sorry|nope|hm+)?[,. ]*(?:(?:(?:that|this|it) (?:was|is|did|does)|(?:that|this|it)'s)(?: ?not|n't) "
    r"(?:it|the (?:cause|problem|reason|fix)|help|work)|not (?:it|that)|(?:did|does)n't (?:help|work)|no luck|what else|next"
    r"(?: one| cause)?|(?:any )?other (?:causes?|ideas?)|still the same|same (?:error|problem)(?: again)?|no)[.!? ]*"
    r"|(?:试过了?|看过了?)?[，, ]*(?:都?不是(?:这个|它)?(?:原因|问题)?|没用|没有用|不行|不对|没解决|还是(?:一样|不行)"
    r"|还有(?:别的|其他)?(?:原因|可能)?吗?|下一个|换一个|其他原因)[。！？!?. ]*",
    re.IGNORECASE,
)


def whole_query(text: str, conversation: Sequence[Turn] = ()) -> Query:
    """The query of a text; that of a follow-up keeps the report which the conversation is about. A log is a new report."""
    query = Query.from_text(text)
    if not conversation or (query.is_log and query.error_lines):
        return query
    report = "\n".join(turn.question for turn in conversation if not REJECTION.fullmatch(turn.question.strip()))
    question = "" if REJECTION.fullmatch(text.strip()) else text
    return Query.read(io.BytesIO(report.encode("utf-8", errors="replace")), question)


def tried(conversation: Sequence[Turn], entry: Entry, language: Language) -> set[str]:
    """Ids of the entry's parts that an earlier answer showed: by heading where it is composed, by id where it is cited."""
    answers = [f"{turn.answer}\n" for turn in conversation]
    return {
        part.id
        for part in entry.causes(language)
        if any(f"## {part.heading}\n" in answer or f"[{entry.id}#{part.id}" in answer for answer in answers)
    }
