"""What was asked and answered before -> what a follow-up is about, and what was tried; it comes with each question."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import re2

from indexer.entry import LANGUAGES, Entry
from indexer.query import Query

QUESTION = re.compile(
    r"[?？吗呢]\s*$|^\s*(?:why|what|how|which|when|where|who|is|are|do|does|can|should)\b|^\s*(?:为什么|怎么|什么|哪|谁)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Turn:
    """What was asked before, and what was answered, as Markdown."""

    question: str
    answer: str


# A follow-up that only turns the answer down: its words tell nothing of the problem. RE2, as a phrase may be told in two ways.
_CAUSE = r"(?:cause|problem|reason|fix|issue|case)s?"
_ENGLISH = (
    r"no|nope|sorry|hm+|well|no luck|next(?: one| cause)?|still the same|same (?:error|problem)(?: again)?",
    rf"(?:that|this|it)(?: (?:was|is)(?: not|n't)|'s not) (?:it|that|(?:the|my) {_CAUSE})",
    rf"not (?:it|that|the {_CAUSE})|(?:(?:that|this|it) )?(?:did|does)(?: not|n't) (?:help|work|fix it|change (?:it|anything))",
    r"(?:i )?(?:have |already )*(?:tried|checked|did) (?:that|this|it)(?: already)?|(?:i )?ruled (?:that|this|it) out",
    r"what else(?: (?:could|can|might) (?:it|this|that) be| (?:should|can|could) i (?:try|check|do)| is there)?",
    r"(?:any |what |which )?(?:other|another|more) (?:causes?|reasons?|ideas?|possibilit(?:y|ies))(?: (?:are|is) there)?",
)
_CHINESE = (
    r"(?:那|那么|可|但)?(?:这|那|它|这个|那个)?(?:好像|应该|似乎|肯定)?(?:都|也|并)?不是(?:这个|那个|它|这样)?的?(?:原因|问题|情况)?",
    r"(?:我|都|已经|也)*(?:试过|看过|查过|检查过|排除|试)了?|(?:也|都|还是)?(?:没用|没有用|没效果|不行|不对|没解决)|还是(?:一样|报错)",
    r"(?:那|那么)?还有(?:什么|哪些|没有)?(?:别的|其他|其它)?(?:原因|可能性?|办法|思路)?[吗呢么]?",
    r"(?:别的|其他|其它)(?:原因|可能性?|办法|思路)[吗呢]?|下一个|换一个|继续",
)
REJECTION = re2.compile(rf"(?i)(?:(?:{'|'.join(_ENGLISH)})[,.!? ]*)+|(?:(?:{'|'.join(_CHINESE)})[，。！？,!?. ]*)+")
SHORT = 200  # Characters: who says more has something to tell.


@dataclass(frozen=True)
class Conversation:
    """The turns before, and what is asked now."""

    turns: tuple[Turn, ...] = ()
    text: str = ""

    @property
    def is_rejection(self) -> bool:
        """Whether the last answer is turned down, and nothing else said."""
        return bool(self.turns) and _is_rejection(self.text)

    @property
    def turned_down(self) -> tuple[str, ...]:
        """The answers that the words right after them turned down."""
        following = [*(turn.question for turn in self.turns[1:]), self.text]
        return tuple(turn.answer for turn, words in zip(self.turns, following, strict=False) if _is_rejection(words))

    def query(self) -> Query:
        """What is asked now; a follow-up keeps the report that it is about, from the last log on. A log is a new report."""
        query = Query.from_text(self.text)
        if not self.turns or _is_report(query):
            return query
        questions = [turn.question for turn in self.turns]
        last = next((place for place in range(len(questions) - 1, 0, -1) if _is_report(Query.from_text(questions[place]))), 0)
        report = "\n".join(words for words in questions[last:] if not _is_rejection(words))
        question = "" if self.is_rejection else self.text
        return Query.read(io.BytesIO(report.encode("utf-8", errors="replace")), question)

    def tried(self, entry: Entry) -> set[str]:
        """Ids of the entry's causes in answers that were turned down."""
        return _causes_in(self.turned_down, entry)

    def asked_about(self, entry: Entry) -> set[str]:
        """Ids of the entry's causes in the last answer, where its reader asks about it and tells nothing new."""
        asks = len(self.text) <= SHORT and QUESTION.search(self.text)
        return _causes_in([turn.answer for turn in self.turns[-1:]], entry) if asks else set()


def _causes_in(answers: Sequence[str], entry: Entry) -> set[str]:
    """Ids of the causes that answers show: by heading where they are composed, by id where they cite."""
    return {
        part.id
        for language in LANGUAGES
        for part in entry.causes(language)
        if any(f"## {part.heading}\n" in f"{answer}\n" or f"[{entry.id}#{part.id}" in answer for answer in answers)
    }


def _is_rejection(words: str) -> bool:
    return len(words) <= SHORT and bool(REJECTION.fullmatch(words.strip()))


def _is_report(query: Query) -> bool:
    return query.is_log and bool(query.error_lines)
