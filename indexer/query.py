"""Bytes -> Query: what somebody pasted or asked, with the lines that matter, in the language they wrote it in."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import re2

from indexer.denoise import Line, clean_lines
from indexer.entry import Language

MAX_ERROR_LINES = 12


@dataclass(frozen=True)
class Query:
    """A paste or a question, understood.

    `text` is the input as decoded; `lines` are its cleaned lines, each text once; `sentence` is what the user says themselves,
    as far as it can be told from the paste; `language` is None for a bare log.
    """

    text: str
    lines: tuple[Line, ...]
    sentence: str
    error_lines: tuple[str, ...]
    exceptions: tuple[str, ...]
    versions: dict[str, str]
    language: Language | None
    is_log: bool

    @classmethod
    def from_bytes(cls, data: bytes) -> Query:
        """The query of a file or of standard input, in whatever encoding it is."""
        return cls.from_text(decode(data))

    @classmethod
    def from_text(cls, text: str) -> Query:
        text = text.encode("utf-8", errors="replace").decode()  # A lone surrogate is no character that could be matched.
        lines: list[Line] = []
        seen: set[str] = set()
        for line in clean_lines(text):
            if line.text not in seen:
                seen.add(line.text)
                lines.append(line)
        log_lines = [line.text for line in lines if _LOG.search(line.text)]
        is_log = bool(log_lines) and (len(lines) > 1 or not _ASKS.search(text))
        words = [line.text for line in lines if not _LOG.search(line.text)]
        if is_log and len(words) > len(log_lines):
            # A log's own lines that carry no mark of one; a person's sentence is the first or the last of them, or Chinese.
            words = [line for line in words if _CJK.search(line) or _ASKS.search(line)]
        sentence = " ".join(words)
        errors = [line for line in log_lines if _ERROR.search(line)] or log_lines
        return cls(
            text=text,
            lines=tuple(lines),
            sentence=sentence,
            error_lines=tuple(errors[-MAX_ERROR_LINES:]),
            exceptions=tuple(dict.fromkeys(str(match[1]) for line in errors if (match := _EXCEPTION.match(line)))),
            versions={str(match[1]).lower(): str(match[2]) for match in _VERSION.finditer(text[:200_000])},
            language=language_of(sentence) if sentence or not is_log else None,
            is_log=is_log,
        )

    @property
    def search_text(self) -> str:
        """The words to search by: the user's own, then the deciding lines, the last first."""
        return "\n".join(filter(None, (self.sentence, *reversed(self.error_lines))))


def decode(data: bytes) -> str:
    """Text of bytes in any state: UTF-8, UTF-16 by its mark or its NULs, GBK, else UTF-8 with what is invalid replaced."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data[:200].count(0) > len(data[:200]) // 4:
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Chinese Windows writes GBK, where most of what UTF-8 takes for faults are Chinese characters.
    text = data.decode("utf-8-sig", errors="replace")
    other = data.decode("gb18030", errors="replace")
    return other if text.count("\ufffd") > 2 * other.count("\ufffd") and len(_CJK.findall(other)) > 2 else text


_CJK = re.compile(r"[\u3400-\u9fff]")
_EXCEPTION = re2.compile(r"((?:[A-Za-z_][\w]*\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit|Failure))(?::|\s*$)")
_ERROR = re2.compile(
    r"(?i)\b(?:error|exception|failed|failure|fatal|killed|abort\w*|timeout|timed out|cannot|could not|not found|no such|"
    r"mismatch|invalid|unsupported|unable|undefined|denied|overflow|out of memory|watchdog|sigterm|sigkill|exitcode|nan|inf)\b"
    r"|Error\b|Exception\b|['\"]loss['\"]:"
)
# What only a program prints.
_LOG = re2.compile(
    r"^Traceback \(most recent|^\s*File \"[^\"]+\", line \d+|^\s*\^+$"  # a traceback
    r"|^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning)(?::|$)"
    r"|^\s*\{['\"]\w+['\"]: "  # a line of metrics
    r"|\.(?:cpp|cu|cc|h|py):\d+|^\s*(?:frame #\d+|#\d+ 0x)|\b0x[0-9a-f]{6,}\b"  # a place in code
    r"|\b(?:ERROR|WARNING|INFO|FATAL)[:\s|]|^\s*(?:FAILED|error|fatal|warning): "  # a level
    r"|(?:/[\w.+-]+){2,}|\w+\([^)]*=[^)]*\)"  # a path, a call
    r"|\bNCCL (?:INFO|WARN)\b|\bexitcode\b|\w+_\w+_\w+\b.*\berror\b"
    r"|^\s*[\w.-]+: (?:error|fatal error|command not found|No such file)"
)
_ASKS = re2.compile(
    r"[?？吗呢]|(?i:\b(?:how|why|what|which|should|is it|does|do i|can i|my|i'm|help)\b)|怎么|为什么|如何|什么|哪"
)
_VERSION = re2.compile(
    r"(?i)\b(torch|transformers|accelerate|deepspeed|peft|trl|datasets|bitsandbytes|flash[-_]attn|vllm|cuda|nccl|python|tokenizers)"
    r"(?:==|[ =:]+v?)(\d+(?:\.\d+){1,3})"
)


def language_of(text: str) -> Language:
    """Chinese from one CJK character in ten letters on: an English term or message inside a Chinese sentence is normal."""
    letters = sum(character.isalpha() for character in text)
    return "zh" if letters and len(_CJK.findall(text)) / letters >= 0.1 else "en"
