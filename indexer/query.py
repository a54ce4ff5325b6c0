"""Bytes -> Query: what somebody pasted or asked, with the lines that decide, in the language they wrote it in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import re2

from indexer.denoise import Line, clean_lines, joined_lines
from indexer.entry import Language
from indexer.facts import fact_lines
from indexer.kinds import CERTAIN, PROGRAM, WORTH, kinds_of
from indexer.reading import CJK, RawLine, read_lines

MAX_ERROR_LINES = 12
MAX_ERROR_LENGTH = 400
MAX_SENTENCE = 4000
FRAME = frozenset({"traceback", "frame", "launch", "chatter"})  # What stands around a message, and is none.
ENDING = 3  # Lines that are looked at where none decides.
FRAMES = 3
FRAME_REACH = 400  # Characters of a line in which a place is looked for: that takes time by their square.
TOPIC_LINES = 400
DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Query:
    """A paste or a question, understood.

    `lines` are what signatures are looked for in: the cleaned lines, each text once, then wrapped ones joined and what lines
    say together. `sentence` is what the user says themselves, as far as it can be told from the paste. `error_lines` are the
    lines that decide, the likeliest root first; `root` is that one, where it names a failure. `frames` are the places in code
    that a traceback ends in, `deaths` the exit codes and signals as they are written, `launch` the launch command. `language`
    is None for a bare log.
    """

    lines: tuple[Line, ...]
    sentence: str
    error_lines: tuple[str, ...]
    root: Line | None
    exceptions: tuple[str, ...]
    frames: tuple[str, ...]
    deaths: tuple[str, ...]
    versions: dict[str, str]
    gpus: tuple[str, ...]
    launch: str
    ranks: tuple[int, ...]
    language: Language | None
    is_log: bool

    @classmethod
    def from_text(cls, text: str) -> Query:
        """The query of a text; raises nothing, whatever the text is."""
        return cls.from_bytes(text.encode("utf-8", errors="replace"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Query:
        """The query of a file's bytes, in whatever encoding they are."""
        return cls.read(io.BytesIO(data))

    @classmethod
    def read(cls, stream: BinaryIO, question: str = "") -> Query:
        """The query of a stream, with the user's own question where it is known apart from it."""
        return _understand(read_lines(stream), question)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for."""
        return not self.lines and not self.sentence

    @property
    def topic_text(self) -> str:
        """Where names of a field may stand: the user's words and the log's own lines, one of those that differ in digits alone,
        but no list of packages."""
        own: dict[str, str] = {}
        for line in self.lines[:TOPIC_LINES]:
            own.setdefault(DIGITS.sub("", line.text), line.text)
        return "\n".join((self.sentence, *(text for text in own.values() if not PACKAGE.match(text))))

    @property
    def facts(self) -> dict[str, str]:
        """What stands in the input by name, in the order in which it helps; what is not there is left out."""
        facts = {
            "exceptions": ", ".join(self.exceptions),
            "ended by": ", ".join(self.deaths),
            "in": ", ".join(self.frames),
            "ranks": ", ".join(map(str, self.ranks)),
            "versions": ", ".join(f"{package} {version}" for package, version in self.versions.items()),
            "GPUs": ", ".join(self.gpus),
            "launched by": self.launch,
        }
        return {name: fact for name, fact in facts.items() if fact}

    @property
    def search_text(self) -> str:
        """The words to search by: the user's own, then the deciding lines, then where in code it happened."""
        return "\n".join(filter(None, (self.sentence, *self.error_lines, *self.frames)))


EXCEPTION = re.compile(
    r"\s*(?:E +)?((?:[A-Za-z_]\w*\.)*_?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|NotFound|OutOfMemory))(?::|\s*$)",
    re.ASCII,
)
DEATH = re2.compile(
    r"(?im)exit ?code[^\w\n]{1,12}-?\d{1,3}|exit status \d{1,3}|退出码[^\w\n]{0,4}-?\d{1,3}|\bSIG(?:KILL|SEGV|ABRT|BUS|HUP)\b"
    r"|^[ \t]*Killed\b"
)
PACKAGE = re.compile(r"\s*(?:- )?[\w.-]+(?:\[[\w,]+\])?(?: +|==| ?@ ?|: )v?\d[\w.+-]*\s*$", re.ASCII)
PLACE = re.compile(
    r"(?:.{0,300}(?:site|dist)-packages/)?((?:[\w-]+/){0,3}[\w-]+\.py)\"?(?:, line |:)\d+(?:,? in (\w+))?", re.ASCII
)
PERSON = re2.compile(
    r"(?i)[?？吗呢嘛]|\b(?:how|why|what|which|should|anyone|does (?:it|this|that|anyone)|do i|can i|my|i'm|i've|we|our|you"
    r"|please|help|thanks|hi|hello|tried|is there|same)\b|\bI\b"
)
ASKS = re2.compile(
    r"(?i)[?？吗呢]|\b(?:how|why|what|which|should|is it|does|do i|can i|my|i'm|i|we|help)\b"
    r"|怎么|为什么|如何|什么|哪|请问|求助"
)
VERSION = re2.compile(
    r"(?i)(?:^|[\s\-*\"'(,`|@])(torch|pytorch|transformers|accelerate|deepspeed|peft|trl|datasets|bitsandbytes"
    r"|flash[-_]attn|vllm|cuda|nccl|python|tokenizers|xformers|triton|numpy)[\"`]?(?: version| toolkit)?\"?"
    r"(?:==|[ =:|@]{1,40}v?\"?)(\d{1,2}(?:\.\d{1,4}){1,3})"
)
_GPU = re2.compile(
    r"\b(?:NVIDIA |Tesla |GeForce )?((?:[ABHLV]\d{2,3}|RTX ?A?\d{4}|GTX ?\d{4}|[PT]4|MI\d{3}|910[AB]|H20|GB?200|L40S?)"
    r"(?: ?Ti)?)(?:[- ](?:SXM\d?|PCIe|NVL|\d{2,3} ?GB)|\b)"
)


def _understand(raw: list[RawLine], question: str) -> Query:
    cleaned: dict[str, Line] = {}
    for line in clean_lines(raw):
        cleaned.setdefault(line.text, line)
    lines = list(cleaned.values())
    kinds = [kinds_of(line.text) for line in lines]
    is_log = _is_log(lines, kinds)
    sentence = _sentence(lines, kinds, is_log)[:MAX_SENTENCE]
    full = "\n".join(filter(None, (question, sentence)))
    facts = list(dict.fromkeys(fact_lines(raw, full, is_log)))
    judged = _judged(facts, [kinds_of(line.text) for line in facts]) + (_judged(lines, kinds) if is_log else [])
    judged.sort(key=lambda item: -item[0])
    deciding = [line for _, line in judged[:MAX_ERROR_LINES]]
    if is_log and not deciding and not full:  # Half a traceback, say: what it ends with is all there is to go by.
        deciding = [line for line, own in zip(lines, kinds, strict=True) if own.isdisjoint(FRAME)][-ENDING:]
    text = "\n".join(line.text for line in lines[:3000])
    return Query(
        lines=(*lines, *joined_lines(lines), *facts),
        sentence=full,
        error_lines=tuple(line.text.strip()[:MAX_ERROR_LENGTH] for line in deciding),
        root=judged[0][1] if judged and judged[0][0] >= WORTH["inner exception"] else None,
        exceptions=tuple(dict.fromkeys(found[1] for line in lines if (found := EXCEPTION.match(line.text)))),
        frames=_frames(lines, kinds),
        deaths=tuple(dict.fromkeys(_deaths("\n".join(line.text for line in lines)))),
        versions={
            str(found[1]).lower().replace("pytorch", "torch").replace("_", "-"): str(found[2])
            for found in VERSION.finditer(text)
        },
        gpus=tuple(dict.fromkeys(str(found[1]) for found in _GPU.finditer(text))),
        launch=next((line.text.strip() for line, own in zip(lines, kinds, strict=True) if "launch" in own), ""),
        ranks=tuple(sorted({line.rank for line in lines if line.rank is not None})),
        language=language_of(full) if full or not is_log else None,
        is_log=is_log,
    )


def _is_log(lines: list[Line], kinds: list[frozenset[str]]) -> bool:
    """Whether a program printed most of it: one certain line, or several likely ones, and not a sentence that quotes one."""
    certain = sum(line.stamped or bool(own & CERTAIN) for line, own in zip(lines, kinds, strict=True))
    if not certain:
        likely = sum(bool(own & PROGRAM) for own in kinds)
        return likely >= 3 and 2 * likely > len(lines)
    return (
        certain > 1 or (len(lines) == 1 and not ASKS.search(lines[0].text) and not CJK.search(lines[0].text)) or len(lines) > 2
    )


def _sentence(lines: list[Line], kinds: list[frozenset[str]], is_log: bool) -> str:
    """What the user says: all of a question; of a log the lines in Chinese, and those in English that a person would write."""
    if not is_log:
        return "\n".join(line.text.strip() for line, own in zip(lines, kinds, strict=True) if "heading" not in own)
    said = []
    for line, own in zip(lines, kinds, strict=True):
        if line.stamped or "heading" in own or own & (CERTAIN | {"follows"}):
            continue
        chinese = len(CJK.findall(line.text))
        # A sample of training data in Chinese is no sentence of the user's: those are short, or near the beginning or the end.
        if (chinese >= 2 and (own.isdisjoint({"code", "place"}) or 4 * chinese > len(line.text))) or (
            not own & PROGRAM and len(line.text.split()) > 2 and PERSON.search(line.text) and "chatter" not in own
        ):
            said.append(line.text.strip())
    return "\n".join(said)


def _judged(lines: list[Line], kinds: list[frozenset[str]]) -> list[tuple[float, Line]]:
    """Each line that may decide, with how much it says about the cause; the first of equals is the likelier root."""
    judged = []
    for line, own in zip(lines, kinds, strict=True):
        worth = sum(WORTH.get(kind, 0.0) for kind in own) + 0.5 * line.stamped
        if "error" not in own and not own & {"metrics", "kernel", "exception", "inner exception", "build", "death"}:
            continue
        if "heading" in own or worth <= -4 or (CJK.search(line.text) and not line.stamped and not own & CERTAIN):
            continue
        judged.append((worth, line))
    return judged


def _frames(lines: list[Line], kinds: list[frozenset[str]]) -> tuple[str, ...]:
    """The last places of the last traceback, as `package/module.py function`."""
    places = []
    for line, own in zip(lines, kinds, strict=True):
        if "frame" in own and (found := PLACE.search(line.text[:FRAME_REACH])):
            places.append(" ".join(filter(None, found.groups())))
    return tuple(dict.fromkeys(reversed(places[-FRAMES:])))


def _deaths(text: str) -> Iterator[str]:
    """The first of each line."""
    end = 0
    for found in DEATH.finditer(text):
        if found.start() < end:
            continue
        yield str(found[0]).strip()
        if (end := text.find("\n", found.end())) < 0:
            return


def language_of(text: str) -> Language:
    """Chinese from one CJK character in ten letters on: an English term or message inside a Chinese sentence is normal."""
    letters = sum(character.isalpha() for character in text)
    return "zh" if letters and len(CJK.findall(text)) / letters >= 0.1 else "en"
