"""Bytes of any size, encoding and state -> the lines that are worth a look, each with its number in the input.

A small input is read whole. Of a large one everything is looked at, block by block, and these lines are kept: its beginning,
its end, the first of every kind of line (digits aside), and more of those that name an error, a zero or a death.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import re2

BLOCK = 1 << 20
HEAD = 2000  # Lines kept of the beginning and of the end, whatever they say.
TAIL = 1000
OF_A_KIND = 8  # Lines kept of each kind between them,
OF_A_TELLING_KIND = 64  # and of each kind that tells something.
KINDS = 50_000
TELLING_IN_A_BLOCK = 500
MIDDLE = 4000  # Lines kept between beginning and end: the first so many, and the last so many.
# A longer line is no message. It is looked at in pieces, which overlap by more than the longest signature's match.
PIECE = 4000
OVERLAP = 400


class RawLine(NamedTuple):
    """A line, or a piece of a long one, and its 1-based number in the input."""

    text: str
    number: int


CJK = re.compile(r"[\u3400-\u9fff]")
# Lines of one kind differ in these only: counts, times, rates, bars.
_COUNTED = b"0123456789.,:+- #>=\t\xe2\x96\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f"
TELLING = re2.compile(
    rb"(?i)error|exception|traceback|fail|fatal|kill|abort|time[d-]? ?out|cannot|can't|could ?n[o']t|not found|no such|mismatch"
    rb"|invalid|unsupported|unable|undefined|denied|overflow|out of memory|watchdog|sigterm|exit ?code|xid|segmentation"
    rb"|core dumped|uncorrect|file \"|\bnan\b|\binf\b"
    rb"|(?:loss|lr|rate|norm)[\"']?\s{0,3}[:=]\s{0,3}[\"'\[]{0,2}-?0(?:\.0{1,12})?(?:e[+-]?00)?[\s,}'\"|\]]"
)


def read_lines(stream: BinaryIO) -> list[RawLine]:
    """The lines of a stream that are worth a look, in order; memory stays bounded whatever its size."""
    sieve = _Sieve()
    rest = b""
    for data in _utf8(stream):
        # A log that is cut while it is written to begins with as many NULs as were cut; a node that died leaves some too.
        block, end, following = (rest + data.replace(b"\0", b"")).rpartition(b"\n")
        if end:
            sieve.add(block)
            rest = following
        elif len(following) > BLOCK:  # No line ends here: a line of many megabytes is handed on in parts.
            sieve.add(following, ends=False)
            rest = following[-OVERLAP:]
        else:
            rest = following
    sieve.add(rest)
    return sieve.kept()


class _Sieve:
    """Lines in, those worth keeping out."""

    def __init__(self) -> None:
        self._number = 1  # Of the next line.
        self._head: list[tuple[int, bytes]] = []
        self._first: list[tuple[int, bytes]] = []
        self._last: deque[tuple[int, bytes]] = deque(maxlen=MIDDLE)
        self._tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL)
        self._kinds: dict[int, int] = {}

    def add(self, block: bytes, ends: bool = True) -> None:
        """Take whole lines; where the last one does not end with the block, its next part comes with the next."""
        lines = block.split(b"\n")
        numbered = [(number, line) for number, line in enumerate(lines, self._number) if line]
        if b"\r" in block or max(map(len, lines)) > PIECE:
            numbered = [(number, part) for number, line in numbered for part in _parts(line)]
        room = HEAD - len(self._head)
        self._head += numbered[:room]
        if numbered := numbered[room:]:
            self._tail.extend(numbered[-TAIL:])
            self._sift(numbered, _telling_lines(block, self._number))
        self._number += len(lines) - (not ends)

    def _sift(self, numbered: list[tuple[int, bytes]], telling: set[int]) -> None:
        """Keep the first of each kind of line; this loop is most of the work on a large input."""
        kinds = self._kinds
        for number, line in numbered:
            kind = hash(line.translate(None, _COUNTED))
            seen = kinds.get(kind, 0)
            if seen >= OF_A_KIND and (seen >= OF_A_TELLING_KIND or number not in telling):
                continue
            if not seen and len(kinds) >= KINDS and number not in telling:
                continue
            kinds[kind] = seen + 1
            (self._first if len(self._first) < MIDDLE else self._last).append((number, line))

    def kept(self) -> list[RawLine]:
        """All lines kept, once each, in order."""
        # Pieces of one long line have one number: what stands in the tail too is told by being the same object.
        in_tail = set(map(id, self._tail))
        middle = [item for item in (*self._first, *self._last) if id(item) not in in_tail]
        return [RawLine(line.decode("utf-8", errors="replace"), number) for number, line in (*self._head, *middle, *self._tail)]


def _telling_lines(block: bytes, number: int) -> set[int]:
    """Numbers of the lines that name an error, a zero or a death; `number` is that of the block's first line."""
    numbers: set[int] = set()
    position = counted = 0
    while (found := TELLING.search(block, position)) and len(numbers) < TELLING_IN_A_BLOCK:
        number += block.count(b"\n", counted, found.start())
        counted = found.start()
        numbers.add(number)
        position = block.find(b"\n", found.end())
        if position < 0:
            break
    return numbers


def _parts(line: bytes) -> Iterator[bytes]:
    """A line as a carriage return and its length divide it: what a bar drew is overwritten, but a message after it stays."""
    for part in line.split(b"\r") if b"\r" in line else (line,):
        if len(part) <= PIECE:
            if part:
                yield part
            continue
        for start in range(0, len(part) - OVERLAP, PIECE - OVERLAP):
            yield part[start : start + PIECE]


def _utf8(stream: BinaryIO) -> Iterator[bytes]:
    """The stream as UTF-8, in pieces of about BLOCK bytes; it may be UTF-16, by its mark or its NULs, or in part GBK."""
    data = stream.read(BLOCK)
    encoding = utf16_of(data)
    if encoding:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        while data:
            yield decoder.decode(data).encode("utf-8", errors="replace")
            data = stream.read(BLOCK)
        return
    data = data.removeprefix(codecs.BOM_UTF8)
    while data:
        # A piece should end where a line does, so that a character is not cut; a line without end is cut anyway.
        data += stream.readline(BLOCK)
        yield data if _is_utf8(data) else _mended(data)
        data = stream.read(BLOCK)


def utf16_of(data: bytes) -> str | None:
    """Which UTF-16 it is that begins so: by its mark, or by NULs in every second place and a text in the others."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = data[:200]
    places = len(start) // 2
    first, second = start[::2].count(0), start[1::2].count(0)
    if max(first, second) <= places // 2 or min(first, second) > places // 10:
        return None
    encoding = "utf-16-le" if second > first else "utf-16-be"
    text = start[: 2 * places].decode(encoding, errors="replace")
    printable = sum(character.isprintable() or character.isspace() for character in text)
    return encoding if 10 * printable >= 9 * len(text) else None


# What a text does not hold: control characters but for spaces, backspaces, colours, and NULs, which logs do have.
_BINARY = bytes(byte for byte in (*range(1, 32), 127) if byte not in b"\b\t\n\v\f\r\x1b")


def is_binary(data: bytes) -> bool:
    """Whether what begins so is no text: more than one in twenty is a control character; of random bytes it is one in ten."""
    text = data.replace(b"\0", b"")
    return not utf16_of(data) and 20 * (len(text) - len(text.translate(None, _BINARY))) > len(text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mended(data: bytes) -> bytes:
    """Bytes that are no UTF-8 as such: GBK, which Chinese Windows writes, where most of them are Chinese in it."""
    text = data.decode("utf-8", errors="replace")
    foreign = len(text) - len(text.encode("ascii", errors="ignore"))
    if 2 * text.count("\ufffd") > foreign:
        other = data.decode("gb18030", errors="replace")
        chinese = len(CJK.findall(other))
        if chinese > 2 and chinese > 4 * other.count("\ufffd"):
            text = other
    return text.encode()
