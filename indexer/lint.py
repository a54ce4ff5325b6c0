"""Entries' folders -> every fault in them, as `path:line KB004 message`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.entry import PAGE_FILES, Source, read_source
from indexer.errors import EntryError
from indexer.rules import RULES, Context

MAX_MESSAGE = 500  # Characters: a message names what it is about, and that may be long.
# What a rule reads must be of the right shape and size: a group stands back where one before it has found a fault.
GROUPS: tuple[Iterable[str], ...] = (("KB001", "KB002"), ("KB020",), RULES)


@dataclass(frozen=True)
class Fault:
    """A place where an entry does not meet a rule; `line` is 1-based."""

    path: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.code} {self.message}"


def lint_source(source: Source, context: Context) -> list[Fault]:
    """All faults of one entry, by file and line; those of the first group of rules that finds any."""
    faults: list[Fault] = []
    for codes in GROUPS:
        faults = faults or [fault for code in codes for fault in _apply(code, source, context)]
    return sorted(faults, key=lambda fault: (fault.path, fault.line, fault.code))


def lint(root: Path, beneath: Sequence[Path] = ()) -> tuple[int, list[Fault]]:
    """How many entries a folder of sections (or of one entry) holds, and their faults; it is laid over `beneath`."""
    alone = (root / PAGE_FILES["en"]).is_file() and not any(root.glob(f"*/*/{PAGE_FILES['en']}"))
    home = root.parent.parent if alone else root
    context = Context.of([*beneath, home])
    faults: list[Fault] = []
    folders = [root] if alone else _candidates(root)
    for folder in folders:
        try:
            faults += lint_source(read_source(folder), context)
        except EntryError as error:
            faults.append(Fault(error.path, error.line or 1, "KB000", error.reason))
    return len(folders), faults


def _candidates(root: Path) -> list[Path]:
    """Folders that are entries or were meant to be: a page of either language, or a snippet, is in them."""
    found = {page.parent for name in PAGE_FILES.values() for page in root.glob(f"*/*/{name}")}
    return sorted(found | {script.parent for script in root.glob("*/*/*.py")})


def _apply(code: str, source: Source, context: Context) -> Iterator[Fault]:
    for where, line, message in RULES[code](source, context):
        path = where if isinstance(where, Path) else source.path(where)
        text = message.replace("\n", " ")
        yield Fault(str(path), line, code, text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…")
