"""All entries' signatures as one RE2 set: cleaned lines -> which entries they identify."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import re2

from indexer.background import Background
from indexer.denoise import Line
from indexer.entry import Entry, Signature
from indexer.errors import KbaskError

MAX_PATTERN = 500  # Characters; the longest real one has 138.
MAX_REPETITION = 100
MIN_LITERAL = 6
MAX_STATES = 4000
MANY = 20  # Lines from which on they are looked at together first.
_COUNTED = re.compile(r"(?:\.|\]|\)|\\[dwsDWS])\{\d*,?(\d+)\}")


@dataclass(frozen=True)
class Match:
    """A signature found in a line."""

    entry_id: str
    signature: Signature
    line: Line

    @property
    def start(self) -> int:
        """Where in the line it begins."""
        found = re2.search(self.signature.pattern, self.line.text, _options())
        return int(found.start()) if found else 0


class SignatureSet:
    """The signatures of all entries, matched together in time linear in the text."""

    def __init__(self, entries: Iterable[Entry | Background]) -> None:
        self._signatures = [(entry.id, signature) for entry in entries for signature in entry.signatures]
        self._set = re2.Set.SearchSet(_options())
        for _, signature in self._signatures:
            self._set.Add(loosened(signature.pattern))
        try:
            if self._signatures:
                self._set.Compile()
        except re2.error as error:
            raise KbaskError(
                "The signatures of these entries are too large to be matched together; shorten their bounds"
            ) from error

    def match(self, lines: Iterable[Line]) -> list[Match]:
        """Every signature found, in the order of the lines; each signature once, at its first line."""
        if not self._signatures:
            return []
        found: dict[int, Line] = {}
        for line in self._likely(list(lines)):
            for number in _matching(self._set, line.text):
                if number not in found and re2.search(self._signatures[number][1].pattern, line.text, _options()):
                    found[number] = line
        return [Match(*self._signatures[number], line) for number, line in found.items()]

    def _likely(self, lines: list[Line]) -> Iterable[Line]:
        """Of many lines those that may hold a signature: one look at a text of 200 lines takes less than a look at five."""
        if len(lines) < MANY or self._any is None:
            return lines
        starts = list(accumulate((len(line.text) + 1 for line in lines), initial=0))
        likely: dict[int, Line] = {}
        for found in self._any.finditer("\n".join(line.text for line in lines)):
            # What is not bounded by a line may run into the next ones, and hide what stands there.
            for number in range(bisect_right(starts, found.start()) - 1, bisect_left(starts, found.end())):
                likely[number] = lines[number]
        return likely.values()

    @cached_property
    def _any(self) -> re2._Regexp[str] | None:
        """All as one pattern; None where they are too large for one, which has less room than a set."""
        patterns = "|".join(f"(?:{loosened(signature.pattern)})" for _, signature in self._signatures)
        try:
            return re2.compile(f"(?m){patterns}", _options())
        except re2.error:
            return None


_COUNT = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\{\d*,?\d*\}")


def loosened(pattern: str) -> str:
    """The pattern with `*` for each counted repetition: what it matches and more.

    Counts make large automata: 463 patterns took 42 ms to compile together, and 9 without the counts of 82 of them.
    """
    return _COUNT.sub(lambda found: found[1] or "*", pattern)


def _matching(patterns: re2.Set, text: str) -> list[int]:
    return list(patterns.Match(text) or ())  # type: ignore[arg-type]  # the stubs say bool; it is a list of numbers


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return options


# What RE2 reads and JavaScript does not, or reads otherwise.
_NOT_SHARED = (
    (re.compile(r"\(\?[a-zA-Z-]+[:)]"), "inline flags"),
    (re.compile(r"\(\?P"), "named groups in Python's spelling"),
    (re.compile(r"\(\?<?[=!]"), "look-around"),
    (re.compile(r"\\[pPAzZQEGKXRC]"), r"one of \p \P \A \z \Q \E"),
    (re.compile(r"\\[1-9]"), "back-references"),
    (re.compile(r"[*+?}]\+"), "possessive quantifiers"),
    (re.compile(r"\[\[:"), "POSIX classes"),
    (re.compile(r"\\x\{"), r"\x{...}"),
)


def pattern_faults(pattern: str) -> list[str]:
    """What is wrong with a signature's pattern: not RE2, not JavaScript's too, too little that is literal, too costly."""
    if len(pattern) > MAX_PATTERN:
        return [f"is longer than {MAX_PATTERN} characters"]
    bare = pattern.replace("\\\\", "")
    faults = [f"uses {name}, which RE2 and JavaScript do not read alike" for regex, name in _NOT_SHARED if regex.search(bare)]
    try:
        re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0]
        faults.append(f"is not RE2: {reason.decode() if isinstance(reason, bytes) else reason}")
    if "\n" in pattern or r"\n" in bare:
        faults.append("spans lines; signatures are matched within one line")
    bounds = [int(number) for match in re.findall(r"\{(\d+)?(?:,(\d+)?)?\}", pattern) for number in match if number]
    if any(bound > MAX_REPETITION for bound in bounds):
        faults.append(f"repeats more than {MAX_REPETITION} times; keep bounds small")
    # Each counted wildcard multiplies the states of the automaton: 60 patterns with two of a hundred took 30 s for 20 kB.
    states = math.prod(int(bound) + 1 for bound in _COUNTED.findall(bare))
    if states > MAX_STATES:
        faults.append(f"counts to {states:,} states; multiply its bounds to at most {MAX_STATES:,}")
    if repeats_a_repetition(pattern):
        faults.append(
            "repeats without end a group that repeats without end, which takes JavaScript for ever; repeat one of the two"
        )
    if longest_literal(pattern) < MIN_LITERAL:
        faults.append(f"has no {MIN_LITERAL} literal characters in a row")
    return faults


_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?:)?|\)|.", re.DOTALL)
_ENDLESS = re.compile(r"[*+]|\{\d*,\}")


def repeats_a_repetition(pattern: str) -> bool:
    """Whether a group that repeats something without end is itself repeated so: JavaScript tries every division of the two."""
    groups = [False]  # For each open group, whether it holds an endless repetition.
    for part in _PART.finditer(pattern):
        if part[0].startswith("("):
            groups.append(False)
            continue
        is_endless = bool(_ENDLESS.match(pattern, part.end()))
        if part[0] == ")" and len(groups) > 1:
            holds = groups.pop()
            if holds and is_endless:
                return True
            groups[-1] |= holds
        groups[-1] |= is_endless
    return False


def longest_literal(pattern: str) -> int:
    """Length of the longest run of characters that every match of the pattern contains, nested groups not counted."""
    return min(map(len, literals_of(pattern)))


def literals_of(pattern: str) -> list[str]:
    """For each of the pattern's alternatives the longest run of characters that its matches contain, nested groups not
    counted: a line with none of these runs does not match."""
    best = run = ""
    found = []
    index = depth = 0
    while index < len(pattern):
        character = pattern[index]
        width = 1
        literal = character not in "[](){}.*+?|^$\\"
        if character == "\\" and index + 1 < len(pattern):
            width = 2
            character = pattern[index + 1]
            literal = not character.isalnum()
        elif character == "[":
            width = _class_width(pattern[index:])
        elif character == "{":
            width = max(pattern.find("}", index) - index + 1, 1)
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(depth - 1, 0)
        elif character == "|" and depth == 0:
            found.append(best)
            best = run = ""
        following = pattern[index + width : index + width + 1]
        if literal and depth == 0:
            run += "" if following in ("?", "*", "{") and following else character
            best = max(best, run, key=len)
        if not literal or depth or (following and following in "?*+{"):
            run = ""
        index += width
    return [*found, best]


def _class_width(text: str) -> int:
    match = re.match(r"\[\^?\]?(?:\\.|[^\]\\])*\]", text)
    return match.end() if match else 1
