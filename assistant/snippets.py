"""An entry's snippets: find one, see what it needs, run it in the user's own environment. Nothing is run unasked."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from indexer.entry import Entry, Snippet, read_text, script_block
from indexer.errors import KbaskError, UnknownEntryError


@dataclass(frozen=True)
class Launch:
    """How a snippet is going to be run: its file, the command line, and what that does."""

    path: Path
    command: tuple[str, ...]
    note: str


def find(entry: Entry, name: str | None) -> Snippet:
    """The snippet of that name, with or without `.py`; without a name, the only one. Raises UnknownEntryError."""
    names = ", ".join(f"{entry.id}/{snippet.name}" for snippet in entry.snippets)
    if not entry.snippets:
        raise UnknownEntryError(f"{entry.id} has no snippets. Read it: kbask show {entry.id}")
    if name is None:
        if len(entry.snippets) > 1:
            raise UnknownEntryError(f"{entry.id} has several snippets; name one of {names}")
        return entry.snippets[0]
    for snippet in entry.snippets:
        if name in (snippet.file, snippet.name):
            return snippet
    raise UnknownEntryError(f"{entry.id} has no snippet {name!r}. It has {names}")


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def dependencies(path: Path) -> list[str]:
    """The requirements in a script's PEP 723 block; raises KbaskError where it is not of its form."""
    try:
        named = tomllib.loads(script_block(read_text(path)) or "").get("dependencies", [])
    except (ValueError, RecursionError) as error:
        raise KbaskError(f"{path}: its PEP 723 block is no TOML: {error}") from error
    if not isinstance(named, list) or not all(isinstance(requirement, str) for requirement in named):
        raise KbaskError(f"{path}: the dependencies in its PEP 723 block are no list of texts")
    return named


def missing(requirements: Sequence[str]) -> list[str]:
    """The requirements whose package this Python does not have; versions are the package's own business to check."""
    absent = []
    for requirement in requirements:
        name = _NAME.match(requirement)
        try:
            version(name[0] if name else requirement)
        except PackageNotFoundError:
            absent.append(requirement)
    return absent


def script(entry: Entry, snippet: Snippet, entries: Mapping[str, Entry]) -> Path:
    """The file of an entry's snippet, which may be another entry's."""
    owner = entries.get(snippet.of, entry) if snippet.of else entry
    return Path(owner.folder) / snippet.file


def plan(path: Path, snippet: Snippet, arguments: Sequence[str]) -> Launch:
    """How to run a snippet: with this Python, or through uv where packages are missing. Raises KbaskError where neither can."""
    if not path.is_file():
        raise KbaskError(f"{path} is gone. Run: kbask index")
    changes = "changes nothing" if snippet.does == "check" else "shows what it would change; writes only with --apply"
    absent = missing(dependencies(path))
    if not absent:
        return Launch(path, (sys.executable, str(path), *arguments), changes)
    uv = shutil.which("uv")
    if uv:
        return Launch(path, (uv, "run", "--script", str(path), *arguments), f"{changes}; uv provides {', '.join(absent)}")
    packages = " ".join(f"'{requirement}'" for requirement in absent)
    raise KbaskError(
        f"{snippet.file} needs {', '.join(absent)}, which this Python lacks. "
        f"Run: {sys.executable} -m pip install {packages}, or install uv, or run {path} with a Python that has it."
    )


def run(launch: Launch, environment: Mapping[str, str]) -> int:
    """Run it in that environment, on this terminal; returns the exit code, 128 + the signal where one ended it."""
    code = subprocess.run(launch.command, env=dict(environment), check=False).returncode
    return code if code >= 0 else 128 - code
