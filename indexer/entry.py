"""One folder of Markdown -> one Entry; a folder of sections -> all of them; overlays laid over them.

`read_source` gives a folder's files as they stand, with line numbers, for the linter; `to_entry` turns a source that lints
clean into the `Entry` that everything else works with.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import re2

from indexer.errors import EntryError

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
PAGE_FILES: dict[Language, str] = {"en": "index.md", "zh": "index.zh.md"}
KINDS = ("error", "symptom", "guide")
FIXED_HEADINGS: dict[str, dict[Language, str]] = {
    "symptom": {"en": "Symptom", "zh": "现象"},
    "causes": {"en": "Causes and fixes", "zh": "原因与解决"},
    "check": {"en": "Check", "zh": "验证"},
    "details": {"en": "Details", "zh": "详情"},
    "short-answer": {"en": "Short answer", "zh": "简短回答"},
}
MAX_FILE_BYTES = 1_000_000
MAX_PAGE_BYTES = 200_000  # The largest real page has 22 kB; a larger one is a mistake or an attack.


@dataclass(frozen=True)
class Signature:
    """A pattern that identifies an entry in one line of a log; `weak` ones are printed by other problems too."""

    pattern: str
    weak: bool = False
    cause: str | None = None


@dataclass(frozen=True)
class Snippet:
    """A runnable script of an entry; it checks, or it fixes. `of` is the entry whose script it is, where that is another."""

    file: str
    does: Literal["check", "fix"]
    about: dict[str, str]
    of: str | None = None

    @property
    def name(self) -> str:
        return self.file.removesuffix(".py")


@dataclass(frozen=True)
class Reference:
    """A source that was read, and what it establishes."""

    url: str
    about: dict[str, str]


@dataclass(frozen=True)
class Part:
    """A headed part of a page: the paragraphs before its numbered steps, the steps verbatim, and what follows them."""

    id: str
    heading: str
    level: int
    intro: str
    steps: tuple[str, ...] = ()
    rest: str = ""

    @property
    def text(self) -> str:
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        return "\n\n".join(block for block in (self.intro, steps, self.rest) if block)


@dataclass(frozen=True)
class Page:
    """An entry in one language."""

    title: str
    summary: str
    asks: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Entry:
    """One problem or guide, in every language; its id and section come from its path."""

    id: str
    section: str
    kind: Literal["error", "symptom", "guide"]
    pages: dict[str, Page]
    severity: str
    components: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()
    applies: dict[str, str] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    yields_to: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    samples: tuple[str, ...] = ()
    added: str = ""
    reviewed: str = ""
    superseded_by: str | None = None
    folder: str = ""

    def causes(self, language: Language) -> tuple[Part, ...]:
        """The causes, likeliest first; for a guide, its own headings."""
        parts = self.pages[language].parts
        if self.kind == "guide":
            return tuple(part for part in parts if part.level == 2 and part.id != "short-answer")
        return tuple(part for part in parts if part.level == 3)

    def run_name(self, snippet: Snippet) -> str:
        """What `kbask run` calls one of its snippets: the entry's id where it has no other."""
        return self.id if len(self.snippets) == 1 else f"{self.id}/{snippet.name}"

    def part(self, part_id: str, language: Language) -> Part:
        """The part with that id; raises KeyError."""
        for part in self.pages[language].parts:
            if part.id == part_id:
                return part
        raise KeyError(f"{self.id}#{part_id}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        """The inverse of `to_json`, after a trip through JSON."""
        pages = {
            language: Page(
                title=page["title"],
                summary=page["summary"],
                asks=tuple(page["asks"]),
                parts=tuple(Part(**{**part, "steps": tuple(part["steps"])}) for part in page["parts"]),
            )
            for language, page in data["pages"].items()
        }
        lists = {name: tuple(data[name]) for name in ("components", "stages", "symptoms", "yields_to", "related", "samples")}
        return cls(
            **{
                **data,
                **lists,
                "pages": pages,
                "signatures": tuple(Signature(**signature) for signature in data["signatures"]),
                "snippets": tuple(Snippet(**snippet) for snippet in data["snippets"]),
                "references": tuple(Reference(**reference) for reference in data["references"]),
            }
        )


@dataclass(frozen=True)
class Source:
    """A folder's files as they stand: front matter with the line of each key, and the body with its first line."""

    folder: Path
    meta: dict[Language, dict[str, Any]]
    meta_lines: dict[Language, dict[str, int]]
    body: dict[Language, str]
    body_line: dict[Language, int]
    samples: dict[str, str]
    duplicate_keys: tuple[tuple[Language, str, int], ...] = ()

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def section(self) -> str:
        return self.folder.parent.name

    @property
    def kind(self) -> str:
        return str(self.meta["en"].get("kind", ""))

    def path(self, language: Language) -> Path:
        return self.folder / PAGE_FILES[language]


def builtin_folder() -> Path:
    """The entries that travel with kbask: in a wheel beside this module, in a checkout under kb/."""
    installed = Path(__file__).parent / "kb" / "entries"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "kb" / "entries"


def entry_folders(root: Path) -> list[Path]:
    """The entry folders below a folder of sections, by section and slug."""
    return sorted(page.parent for page in root.glob(f"*/*/{PAGE_FILES['en']}"))


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file; raises OSError, also where there are more than `limit`, or it is a pipe, which may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes")
    return data


def read_text(path: Path, limit: int = MAX_FILE_BYTES) -> str:
    """A text file with LF line ends; raises EntryError when it is missing, too large, no file or not UTF-8."""
    try:
        data = read_bytes(path, limit)
    except OSError as error:
        raise EntryError(str(path), 0, f"cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise EntryError(str(path), line, "is not UTF-8; save it as UTF-8") from error


def read_source(folder: Path) -> Source:
    """Read one entry's folder; raises EntryError when a file is missing or its front matter is no YAML mapping."""
    meta: dict[Language, dict[str, Any]] = {}
    meta_lines: dict[Language, dict[str, int]] = {}
    body: dict[Language, str] = {}
    body_line: dict[Language, int] = {}
    duplicates: list[tuple[Language, str, int]] = []
    for language, name in PAGE_FILES.items():
        path = folder / name
        front, body[language], body_line[language] = _split_front_matter(path, read_text(path, MAX_PAGE_BYTES))
        meta[language], meta_lines[language], repeated = _read_front_matter(path, front)
        duplicates += [(language, key, line) for key, line in repeated]
    samples = {path.name: read_text(path) for path in sorted((folder / "samples").glob("*.txt"))}
    return Source(folder, meta, meta_lines, body, body_line, samples, tuple(duplicates))


def _split_front_matter(path: Path, text: str) -> tuple[str, str, int]:
    lines = text.split("\n")
    if lines[0] != "---" or "---" not in lines[1:]:
        raise EntryError(str(path), 1, "has no front matter; it starts with a line --- and ends with another")
    end = lines.index("---", 1)
    return "\n".join(lines[1:end]), "\n".join(lines[end + 1 :]), end + 2


def _read_front_matter(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int], list[tuple[str, int]]]:
    import yaml  # 15 ms that a question to an index does not wait for.

    try:
        # An alias can stand for a billion strings, and a tag makes PyYAML raise anything; entries need neither.
        for token in yaml.scan(text, Loader=yaml.CSafeLoader):
            if isinstance(token, (yaml.AliasToken, yaml.TagToken)):
                what = "an alias (*name)" if isinstance(token, yaml.AliasToken) else "a tag (!name)"
                raise EntryError(str(path), token.start_mark.line + 2, f"uses {what} of YAML; write the value out")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise EntryError(str(path), mark.line + 2 if mark else 1, f"front matter is no valid YAML: {reason}") from error
    if not isinstance(node, yaml.MappingNode) or not isinstance(data, dict):
        raise EntryError(str(path), 2, "front matter is not a mapping of keys to values")
    lines: dict[str, int] = {}
    repeated = []
    for key, _ in node.value:
        line = key.start_mark.line + 2
        if key.value in lines:
            repeated.append((key.value, line))
        lines.setdefault(key.value, line)
    return {str(key): value for key, value in data.items()}, lines, repeated


# RE2: a heading of a hundred thousand ` {#` takes linear time.
HEADING = re2.compile(r"(#{1,6})\s+(.*?)(?:\s+\{#([^}]*)\})?\s*")
_STEP = re.compile(r"(\d{1,3})\.\s+(.*)")
_FENCE = re.compile(r"([\s>]*)(```+|~~~+)")


def fences(text: str) -> list[tuple[int, int | None]]:
    """First and last 0-based line of each fenced block, in quotes too; the last is None where a fence is never closed."""
    found: list[tuple[int, int | None]] = []
    opened: re.Match[str] | None = None
    start = 0
    for number, line in enumerate(text.split("\n")):
        match = _FENCE.match(line)
        if opened is not None and opened[1].strip() and not line.lstrip().startswith(">"):
            found.append((start, number - 1))  # A fence in a quote ends with the quote.
            opened = None
        if opened is None:
            if match:
                opened, start = match, number
        elif match and match[2].startswith(opened[2]) and not line[match.end() :].strip():
            found.append((start, number))
            opened = None
    return [*found, (start, None)] if opened is not None else found


def outside_fences(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line with its 0-based number and whether it is prose, that is, outside fenced code."""
    lines = text.split("\n")
    code: set[int] = set()
    for start, end in fences(text):
        code.update(range(start, (len(lines) - 1 if end is None else end) + 1))
    for number, line in enumerate(lines):
        yield number, line, number not in code


def headings(body: str) -> Iterator[tuple[int, int, str, str | None]]:
    """(0-based line, level, heading, id or None) of each heading outside fenced code."""
    for number, line, prose in outside_fences(body):
        match = HEADING.fullmatch(line) if prose and line.startswith("#") else None
        if match:
            yield number, len(str(match[1])), str(match[2]), match[3]


# RE2 here too: the first line may stand thousands of times, and the last one not at all.
_SCRIPT_BLOCK = re2.compile(r"(?m)^# /// script\n((?:#(?: .*)?\n)*?)# ///$")


def script_block(text: str) -> str | None:
    """The TOML of a script's PEP 723 block, None where it has none."""
    match = _SCRIPT_BLOCK.search(text)
    return "\n".join(line[2:] for line in str(match[1]).split("\n")) if match else None


def fixed_id(heading: str, language: Language) -> str | None:
    """The id that a fixed heading has by definition."""
    return next((id_ for id_, names in FIXED_HEADINGS.items() if names[language] == heading), None)


def parse_body(body: str, language: Language) -> tuple[str, tuple[Part, ...]]:
    """Title and parts of a page's body."""
    lines = body.split("\n")
    found = list(headings(body))
    title = next((heading for _, level, heading, _ in found if level == 1), "")
    parts = []
    marks = [mark for mark in found if mark[1] in (2, 3)]
    for index, (line, level, heading, id_) in enumerate(marks):
        end = marks[index + 1][0] if index + 1 < len(marks) else len(lines)
        intro, steps, rest = _split_steps("\n".join(lines[line + 1 : end]))
        parts.append(Part(id_ or fixed_id(heading, language) or "", heading, level, intro, steps, rest))
    return title, tuple(parts)


def _split_steps(text: str) -> tuple[str, tuple[str, ...], str]:
    intro: list[str] = []
    steps: list[list[str]] = []
    rest: list[str] = []
    for _, line, prose in outside_fences(text):
        step = _STEP.fullmatch(line) if prose and not rest else None
        if step and int(step[1]) == len(steps) + 1:
            steps.append([step[2]])
        elif not steps:
            intro.append(line)
        elif rest or (line and not line.startswith(" ")):
            rest.append(line)
        else:
            steps[-1].append(line)
    return "\n".join(intro).strip(), tuple("\n".join(step).rstrip() for step in steps), "\n".join(rest).strip()


def _by_language(source: Source, key: str, name: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The English items of a list in the front matter, each with its `about` in both languages."""
    chinese = {item[name]: item["about"] for item in source.meta["zh"].get(key, [])}
    items = source.meta["en"].get(key, [])
    return [(item, {"en": item["about"], "zh": chinese.get(item[name], item["about"])}) for item in items]


def to_entry(source: Source) -> Entry:
    """The entry of a source that lints clean."""
    meta = source.meta["en"]
    pages: dict[str, Page] = {}
    for language in LANGUAGES:
        title, parts = parse_body(source.body[language], language)
        own = source.meta[language]
        pages[language] = Page(title, own["summary"], tuple(own["asks"]), parts)
    return Entry(
        id=source.id,
        section=source.section,
        kind=meta["kind"],
        pages=pages,
        severity=meta["severity"],
        components=tuple(meta.get("components", ())),
        stages=tuple(meta.get("stages", ())),
        symptoms=tuple(meta.get("symptoms", ())),
        signatures=tuple(Signature(**signature) for signature in meta.get("signatures", ())),
        applies=dict(meta.get("applies", {})),
        snippets=tuple(
            Snippet(item["file"], item["does"], about, item.get("of"))
            for item, about in _by_language(source, "snippets", "file")
        ),
        yields_to=tuple(meta.get("yields_to", ())),
        related=tuple(meta.get("related", ())),
        references=tuple(Reference(item["url"], about) for item, about in _by_language(source, "references", "url")),
        samples=tuple(source.samples.values()),
        added=str(meta["added"]),
        reviewed=str(meta["reviewed"]),
        superseded_by=meta.get("superseded_by"),
        folder=str(source.folder),
    )
