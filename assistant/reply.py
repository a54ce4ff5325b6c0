"""A model's text, piece by piece -> its sentences, steps and runs, each as soon as it is whole.

    DIAGNOSIS
    The loss is a hidden NaN: grad_norm is nan from the second report on. [loss-zero-sft#half-precision]
    STEPS
    loss-zero-sft#half-precision.1 It shows whether the zeros are NaN.
    RUN
    loss-zero-sft/check_labels.py data=train.jsonl It counts the trained tokens of each sample.

Small models keep to it roughly: headings may be Markdown or Chinese, lines numbered, ids in brackets or backticks. A line that
points to nothing is a sentence, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_LINE = 2000  # Characters: a model that loops writes no line end.
MAX_ITEMS = 40


@dataclass(frozen=True)
class Sentence:
    """A claim in the model's own words, and the parts of entries that it cites."""

    text: str
    citations: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A pointer to a part of an entry, or to one of its numbered steps, and why the model would take it now."""

    part_id: str
    number: int | None
    why: str

    @property
    def place(self) -> str:
        """What it points to, as it is written."""
        return self.part_id if self.number is None else f"{self.part_id}.{self.number}"


@dataclass(frozen=True)
class Run:
    """A pointer to an entry's script, with values for its options that were taken from the paste."""

    entry_id: str
    file: str
    values: Mapping[str, str]
    why: str


Item = Sentence | Step | Run

_SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)+"
_MARK = r"\s*(?:[-*+•]|\d{1,2}[.)、])?\s*[\[(<`*]*"
_AFTER = r"[\])>`*]*\s*(?:[|:：,，—–-]+\s*)?"
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)、])\s+")
_HEADING = re.compile(
    r"[#*_>\s]*(?:diagnosis|steps?|runs?|scripts?|诊断|步骤|运行|脚本)[*_\s]*(?:[:：][*_\s]*)?$", re.IGNORECASE
)
# What a reply begins with; what a model thinks before it is not for readers.
BEGINS = re.compile(r"[\s#*_>]*(?:diagnosis|诊断)\s*[*_]*\s*[:：\n]", re.IGNORECASE)
_STEP = re.compile(rf"{_MARK}({_SLUG}#[a-z0-9-]+)(?:[.#](\d{{1,2}}))?{_AFTER}(.*)", re.DOTALL)
_RUN = re.compile(
    rf"{_MARK}(?:kbask run )?({_SLUG})/([\w-]+)(?:\.py)?(?![\w.]){_AFTER}((?:\s*[\w-]+=(?:\"[^\"]*\"|\S+))*)\s*(.*)", re.DOTALL
)
_VALUE = re.compile(r"([\w-]+)=(?:\"([^\"]*)\"|(\S+))")
_ONE = rf"{_SLUG}(?:#[a-z0-9-]+(?:\.\d{{1,2}})?|/[\w.-]+)?"
# Something stands between two: else a row of them could be divided in more ways than there is time for.
_CITATION = re.compile(rf"[\[【(（]\s*({_ONE}(?:[\s,;、，；]+{_ONE})*)[\s,;、，；]*[\]】)）]")
_ID = re.compile(_ONE)
_WHOLE = re.compile(rf"[.!?。！？\])）】`*\"”]\s*$|^\s*[*#_]*NO ENTRY FITS|^{_MARK}{_SLUG}[#/][\w.#-]+$", re.IGNORECASE)
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'\u3400-\u9fff])|(?<=[。！？])\s*(?=\S)")


def read_reply(pieces: Iterable[str]) -> Iterator[Item]:
    """The items of a reply, each when its line has ended; what comes after MAX_ITEMS is not read."""
    count = 0
    for line in _lines(pieces):
        for item in read_line(line):
            yield item
            count += 1
            if count == MAX_ITEMS:
                return


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    rest = ""
    for piece in pieces:
        rest += piece
        while (end := rest.find("\n")) >= 0 or len(rest) > MAX_LINE:
            end = end if 0 <= end <= MAX_LINE else MAX_LINE
            yield rest[:end]
            rest = rest[end:].removeprefix("\n")
    # A reply that was cut off ends in the middle of something.
    if _WHOLE.search(rest):
        yield rest


def read_line(line: str) -> list[Item]:
    """What one line of a reply says; nothing for a heading or an empty line."""
    if not line.strip() or _HEADING.fullmatch(line) or line.strip().startswith("```"):
        return []
    if step := _STEP.fullmatch(line):
        return [Step(step[1], int(step[2]) if step[2] else None, step[3].strip())]
    if run := _RUN.fullmatch(line):
        values = {found[1]: found[2] if found[2] is not None else found[3] for found in _VALUE.finditer(run[3])}
        return [Run(run[1], f"{run[2]}.py", values, run[4].strip())]
    return _sentences(_LIST_MARK.sub("", line, count=1).strip())


def _sentences(line: str) -> list[Item]:
    """The claims of a line; a citation stands for all claims since the one before it."""
    found: list[Sentence] = []
    position = 0
    for match in _CITATION.finditer(line):
        citations = tuple(dict.fromkeys(_ID.findall(match[1])))
        claims = _split(line[position : match.start()])
        if not claims and found:  # A second citation of the same claim.
            last = found.pop()
            found.append(Sentence(last.text, (*last.citations, *citations)))
        found += [Sentence(claim, citations) for claim in claims]
        position = match.end()
    return [*found, *(Sentence(claim, ()) for claim in _split(line[position:]))]


def _split(text: str) -> list[str]:
    return [part.strip() for part in _END.split(text) if re.search(r"\w", part)]
