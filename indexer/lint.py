"""Entries' folders -> every fault in them, as `path:line KB004 message`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.entry import PAGE_FILES, Source, read_source
from indexer.errors import EntryError
from indexer.rules import RULES, Context


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
    """All faults of one entry, by file and line; the rules on values stand back where the front matter has no right shape."""
    faults = [fault for code in ("KB001", "KB002") for fault in _apply(code, source, context)]
    if not faults:
        faults = [fault for code in RULES for fault in _apply(code, source, context)]
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
        yield Fault(str(path), line, code, message)
