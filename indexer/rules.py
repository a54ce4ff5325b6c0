"""The rules an entry must meet: one function a rule; its docstring is the rule's documentation.

A rule takes a source and what it is held against, and yields (language or path, 1-based line, message) of each fault.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import re2

from indexer.background import Background, read_background
from indexer.denoise import Line
from indexer.entry import (
    FIXED_HEADINGS,
    KINDS,
    LANGUAGES,
    PAGE_FILES,
    Language,
    Part,
    Signature,
    Source,
    entry_folders,
    fixed_id,
    headings,
    outside_fences,
    parse_body,
    read_text,
    script_block,
)
from indexer.errors import EntryError
from indexer.passages import cells, first_sentence
from indexer.query import Query
from indexer.signatures import SignatureSet, pattern_faults

SYMPTOMS = (
    "crash", "hang", "out-of-memory", "nan", "zero", "slow", "bad-output", "build", "install", "warning", "question",
)  # fmt: skip
SEVERITIES = ("blocks", "degrades", "cosmetic")
STAGES = ("setup", "data", "pretraining", "sft", "preference", "evaluation", "inference")
MIN_ASKS = 20
MIN_SAMPLES = 2
MAX_SUMMARY_CELLS = 320
MAX_HEADING_CELLS = 76
MAX_STEP_CELLS = 150
# Several times what any real entry has; what would take minutes to look at is refused by it.
MAX_LINE = 10_000
MAX_HEADINGS = 100
MAX_LISTED = 200

_SHARED_KEYS = {"summary": str, "asks": list, "snippets": list, "references": list}
_ENGLISH_KEYS = {
    **_SHARED_KEYS,
    "kind": str, "components": list, "stages": list, "symptoms": list, "severity": str, "signatures": list, "applies": dict,
    "yields_to": list, "related": list, "added": datetime.date, "reviewed": datetime.date, "seed": int, "superseded_by": str,
}  # fmt: skip
_REQUIRED: dict[Language, tuple[str, ...]] = {
    "en": (
        "summary",
        "asks",
        "kind",
        "components",
        "stages",
        "symptoms",
        "severity",
        "references",
        "added",
        "reviewed",
    ),
    "zh": ("summary", "asks"),
}
_SHAPES: dict[str, dict[str, type]] = {
    "signatures": {"pattern": str, "weak": bool, "cause": str},
    "snippets": {"file": str, "does": str, "about": str, "of": str},
    "references": {"url": str, "about": str},
}
_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# RE2: of a hundred thousand brackets that are opened and never closed, each is looked at once.
_LINK = re2.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)(?:\s[^)]*)?\)|<(https?://[^>\s]+)>")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Context:
    """What an entry is held against: the folders of entries that it stands among."""

    folders: tuple[Path, ...]
    today: datetime.date

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Context:
        return cls(tuple(folders), datetime.date.today())

    @cached_property
    def homes(self) -> dict[str, list[Path]]:
        """Entry id -> the folders that bear it, in the last folder of entries only: an overlay may replace an entry."""
        homes: dict[str, list[Path]] = {}
        for path in entry_folders(self.folders[-1]):
            homes.setdefault(path.name, []).append(path)
        return homes

    def folders_of(self, id_: str) -> list[Path]:
        """The folders of an entry, in the folders of entries that have it."""
        return [path for folder in self.folders for path in entry_folders(folder) if path.name == id_]

    @cached_property
    def ids(self) -> set[str]:
        """Ids that may be named: of entries, and of those to come."""
        ids = {path.name for folder in self.folders for path in entry_folders(folder)}
        for folder in self.folders:
            with contextlib.suppress(EntryError):
                ids.update(known.id for known in read_background(folder) if known.about)
        return ids

    @cached_property
    def samples(self) -> dict[str, dict[str, str]]:
        """Samples of every entry, by id and file name."""
        samples: dict[str, dict[str, str]] = {}
        for folder in self.folders:
            for path in entry_folders(folder):
                samples[path.name] = {}
                for file in sorted((path / "samples").glob("*.txt")):
                    with contextlib.suppress(EntryError):  # Its own entry's fault, and reported there.
                        samples[path.name][file.name] = read_text(file)
        return samples


Found = Iterator[tuple[Language | Path, int, str]]
Rule = Callable[[Source, Context], Found]
RULES: dict[str, Rule] = {}


def rule(code: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES[code] = function
        return function

    return register


@rule("KB001")
def front_matter_keys(source: Source, context: Context) -> Found:
    """The front matter has an entry's keys, each once, and no others; the Chinese page only what differs by language."""
    for language in LANGUAGES:
        allowed = _ENGLISH_KEYS if language == "en" else _SHARED_KEYS
        lines = source.meta_lines[language]
        for key in source.meta[language]:
            if key not in allowed:
                yield language, lines.get(key, 1), f"unknown key {key}; known are {', '.join(allowed)}"
        for key in _REQUIRED[language]:
            if key not in source.meta[language]:
                yield language, 1, f"key {key} is missing"
    for language, key, line in source.duplicate_keys:
        yield language, line, f"key {key} stands twice"


@rule("KB002")
def front_matter_values(source: Source, context: Context) -> Found:
    """Every value has its type, and where there is a fixed list, one of its words."""
    for language in LANGUAGES:
        lines = source.meta_lines[language]
        for key, value in source.meta[language].items():
            wanted = _ENGLISH_KEYS.get(key)
            if wanted and (not isinstance(value, wanted) or isinstance(value, datetime.datetime)):
                yield language, lines[key], f"{key} is {type(value).__name__}, wanted is {wanted.__name__}"
            elif key in _SHAPES:
                for fault in _shape_faults(key, value, language):
                    yield language, lines[key], fault
            elif key == "applies":
                if not all(isinstance(name, str) and isinstance(version, str) for name, version in value.items()):
                    yield language, lines[key], 'applies maps packages to versions, as in {torch: ">=2.6"}'
            elif wanted is list and not all(isinstance(item, str) and item.strip() for item in value):
                yield language, lines[key], f"{key} holds something that is not text; quote it"
    meta, lines = source.meta["en"], source.meta_lines["en"]
    one_of: tuple[tuple[str, tuple[str, ...]], ...] = (("kind", KINDS), ("severity", SEVERITIES))
    some_of: tuple[tuple[str, tuple[str, ...]], ...] = (("symptoms", SYMPTOMS), ("stages", STAGES))
    for key, words in one_of:
        if isinstance(meta.get(key), str) and meta[key] not in words:
            yield "en", lines[key], f"{key} is {meta[key]}; wanted is one of {', '.join(words)}"
    for key, words in some_of:
        for word in meta[key] if isinstance(meta.get(key), list) else ():
            if word not in words:
                yield "en", lines[key], f"{key} names {word}; known are {', '.join(words)}"


def _shape_faults(key: str, items: list[Any], language: Language) -> Iterator[str]:
    shape = _SHAPES[key]
    needed = {"signatures": {"pattern"}, "snippets": {"file", "about"}, "references": {"url", "about"}}[key]
    if key == "snippets" and language == "en":
        needed = needed | {"does"}
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            yield f"{key} item {number} is no mapping"
            continue
        for name in item.keys() - shape.keys():
            yield f"{key} item {number} has the unknown key {name}; known are {', '.join(shape)}"
        for name in needed - item.keys():
            yield f"{key} item {number} lacks {name}"
        for name in item.keys() & shape.keys():
            if not isinstance(item[name], shape[name]):
                yield f"{key} item {number}: {name} is {type(item[name]).__name__}, wanted is {shape[name].__name__}"
        if item.get("does", "check") not in ("check", "fix"):
            yield f"{key} item {number}: does is {item['does']}; wanted is check or fix"


@rule("KB003")
def title(source: Source, context: Context) -> Found:
    """The title is the first line of the body, an H1, and the only one."""
    for language in LANGUAGES:
        found = [(line, level) for line, level, _, _ in headings(source.body[language])]
        ones = [line for line, level in found if level == 1]
        if not ones or source.body[language][: source.body[language].find("# ")].strip():
            yield language, source.body_line[language], "the body does not begin with the title, a line # Title"
        for line in ones[1:]:
            yield language, source.body_line[language] + line, "a second title; an entry answers one question"


@rule("KB004")
def fixed_headings(source: Source, context: Context) -> Found:
    """The H2 headings are those of the entry's kind, in their order; a guide begins with its short answer."""
    wanted = ["short-answer"] if source.kind == "guide" else ["symptom", "causes", "check", "details"]
    optional = {"details"}
    for language in LANGUAGES:
        twos = [(line, text, id_) for line, level, text, id_ in headings(source.body[language]) if level == 2]
        first = source.body_line[language]
        names = [fixed_id(text, language) for _, text, _ in twos]
        spelled = [FIXED_HEADINGS[id_][language] for id_ in wanted]
        if source.kind == "guide":
            if names[:1] != wanted:
                yield language, first, f"the first heading of a guide is ## {spelled[0]}"
            continue
        if [name for name in names if name not in optional] != [id_ for id_ in wanted if id_ not in optional]:
            yield (
                language,
                first,
                f"the headings are {', '.join(f'## {name}' for name in spelled)} (the last optional), in this order",
            )
        elif "details" in names and names[-1] != "details":
            yield language, first, f"## {spelled[-1]} stands last"


def _parts(source: Source, language: Language) -> tuple[Part, ...]:
    return parse_body(source.body[language], language)[1]


def _causes(source: Source, language: Language) -> list[Part]:
    level = 2 if source.kind == "guide" else 3
    return [part for part in _parts(source, language) if part.level == level and part.id != "short-answer"]


@rule("KB005")
def cause_ids(source: Source, context: Context) -> Found:
    """Each cause, and each heading of a guide, has an id {#like-this}: once, and both languages the same ones in one order."""
    ids: dict[Language, list[str]] = {}
    for language in LANGUAGES:
        ids[language] = [part.id for part in _causes(source, language)]
        for line, level, text, id_ in headings(source.body[language]):
            at = source.body_line[language] + line
            if level in (2, 3) and id_ is None and fixed_id(text, language) is None:
                yield language, at, f"the heading {text!r} has no id; write {{#an-id}} after it"
            elif id_ is not None and not _KEBAB.fullmatch(id_):
                yield language, at, f"the id {id_} is not of the form like-this"
        everything = Counter(part.id for part in _parts(source, language) if part.id)
        for id_ in sorted(id_ for id_, count in everything.items() if count > 1):
            yield language, source.body_line[language], f"the id {id_} stands twice"
    if ids["en"] != ids["zh"]:
        yield (
            "zh",
            source.body_line["zh"],
            f"ids of causes differ: en has {', '.join(ids['en'])}; zh has {', '.join(ids['zh'])}",
        )
    if source.kind != "guide" and not ids["en"]:
        yield "en", source.body_line["en"], "there is no cause; each is a heading ### A cause {#its-id}"


@rule("KB006")
def steps(source: Source, context: Context) -> Found:
    """Each cause says how to tell that it is this one, then has numbered steps, alike in number and code in both languages."""
    if source.kind == "guide":
        return
    for english, chinese in zip(_causes(source, "en"), _causes(source, "zh"), strict=False):
        for language, part in zip(LANGUAGES, (english, chinese), strict=True):
            at = _line_of(source, language, part)
            if not part.intro:
                yield language, at, f"the cause {part.id} does not say how to tell that it is this one"
            if not part.steps:
                yield language, at, f"the cause {part.id} has no numbered steps"
        if len(english.steps) != len(chinese.steps):
            line = _line_of(source, "zh", chinese)
            yield (
                "zh",
                line,
                f"the cause {chinese.id} has {len(chinese.steps)} steps; in English it has {len(english.steps)}",
            )
        elif [_code(step) for step in english.steps] != [_code(step) for step in chinese.steps]:
            yield (
                "zh",
                _line_of(source, "zh", chinese),
                f"the code in the steps of {chinese.id} differs from the English page's",
            )


def _code(text: str) -> list[str]:
    """The lines of fenced code without comments, which are translated."""
    lines = [line for _, line, prose in outside_fences(text) if not prose]
    return [stripped for line in lines if (stripped := re.sub(r"(?:^|\s)#.*", "", line).strip())]


def _line_of(source: Source, language: Language, part: Part) -> int:
    for line, _, text, _ in headings(source.body[language]):
        if text == part.heading:
            return source.body_line[language] + line
    return source.body_line[language]


@rule("KB007")
def summary(source: Source, context: Context) -> Found:
    """The summary is one or two sentences that fit into four lines of a terminal."""
    for language in LANGUAGES:
        text = source.meta[language]["summary"].strip()
        line = source.meta_lines[language]["summary"]
        if not text:
            yield language, line, "the summary is empty"
        if cells(text) > MAX_SUMMARY_CELLS:
            yield language, line, f"the summary takes {cells(text)} columns; at most {MAX_SUMMARY_CELLS}"
        if "\n" in text:
            yield language, line, "the summary spans lines"
        sentences = len(re.findall(r"[.!?](?=\s+[A-Z0-9`])|[。！？](?=.)", text)) + 1
        if sentences > 2:
            yield language, line, f"the summary has {sentences} sentences; at most 2"


@rule("KB008")
def asks(source: Source, context: Context) -> Found:
    """At least twenty asks a language, none twice."""
    for language in LANGUAGES:
        own = [ask.strip().lower() for ask in source.meta[language]["asks"]]
        line = source.meta_lines[language]["asks"]
        if len(own) < MIN_ASKS:
            yield language, line, f"{len(own)} asks; at least {MIN_ASKS}"
        for ask in sorted(ask for ask, count in Counter(own).items() if count > 1):
            yield language, line, f"the ask {ask!r} stands twice"


@rule("KB009")
def patterns(source: Source, context: Context) -> Found:
    """A signature is in the subset that RE2 and JavaScript read alike, has six literal characters, and repeats little."""
    line = source.meta_lines["en"].get("signatures", 1)
    causes = {part.id for part in _causes(source, "en")}
    for signature in source.meta["en"].get("signatures", ()):
        for fault in pattern_faults(signature["pattern"]):
            yield "en", line, f"the pattern {signature['pattern']!r} {fault}"
        if signature.get("cause", None) not in {None, *causes}:
            yield (
                "en",
                line,
                f"the pattern {signature['pattern']!r} names the cause {signature['cause']}, which is not here",
            )


@cache
def _lines_of(text: str) -> tuple[Line, ...]:
    return Query.from_text(text).lines


@cache
def _set_of(signatures: tuple[Signature, ...]) -> SignatureSet:
    return SignatureSet([Background("", "", (), tuple(one for one in signatures if not pattern_faults(one.pattern)))])


def _signatures(source: Source) -> tuple[Signature, ...]:
    return tuple(Signature(**item) for item in source.meta["en"].get("signatures", ()))


def _signature_hits(source: Source, text: str) -> set[Signature]:
    return {match.signature for match in _set_of(_signatures(source)).match(_lines_of(text))}


@rule("KB010")
def samples(source: Source, context: Context) -> Found:
    """An error or symptom has two samples or more; each is found by a signature, and each signature is in some sample."""
    if source.kind == "guide":
        return
    if len(source.samples) < MIN_SAMPLES:
        yield "en", 1, f"{len(source.samples)} samples in samples/*.txt; at least {MIN_SAMPLES}"
    hits = {name: _signature_hits(source, text) for name, text in source.samples.items()}
    line = source.meta_lines["en"].get("signatures", 1)
    for name, found in hits.items():
        if not found:
            yield source.folder / "samples" / name, 1, "no signature of the entry is found in this sample"
    for item in source.meta["en"].get("signatures", ()):
        if hits and not pattern_faults(item["pattern"]) and not any(Signature(**item) in found for found in hits.values()):
            yield "en", line, f"the pattern {item['pattern']!r} is in no sample of the entry"


@rule("KB011")
def foreign_samples(source: Source, context: Context) -> Found:
    """No strong signature fires on another entry's sample, unless the entry yields to that one."""
    for id_, texts in context.samples.items():
        if id_ == source.id or id_ in source.meta["en"].get("yields_to", ()):
            continue
        for name, text in texts.items():
            for signature in _signature_hits(source, text):
                if not signature.weak:
                    line = source.meta_lines["en"]["signatures"]
                    yield (
                        "en",
                        line,
                        f"the pattern {signature.pattern!r} fires on {id_}/samples/{name}; make it weak, or yield to {id_}",
                    )


@rule("KB012")
def snippets(source: Source, context: Context) -> Found:
    """Every script of the folder is listed, exists, carries PEP 723 metadata, and is linked in both languages.

    One that is another entry's (`of: ID`) is that entry's, and its command line stands in the text instead of a link.
    """
    scripts = {path.name for path in source.folder.glob("*.py")}
    borrowed = {item["file"]: item["of"] for item in source.meta["en"].get("snippets", ()) if "of" in item}
    for language in LANGUAGES:
        line = source.meta_lines[language].get("snippets", 1)
        for name, owner in borrowed.items():
            if Path(name).name != name:
                yield language, line, f"the snippet {name} is a path; wanted is the name of a file"
            elif not any((folder / name).is_file() for folder in context.folders_of(owner)):
                yield language, line, f"the snippet {name} is to be {owner}'s, which has no such file"
            elif f"kbask run {owner}" not in source.body[language]:
                yield language, line, f"the command line of {owner}'s {name} is not in the text; write kbask run {owner}"
        listed = [item["file"] for item in source.meta[language].get("snippets", ()) if item["file"] not in borrowed]
        for name in sorted(scripts - set(listed)):
            yield language, line, f"the snippet {name} is not listed under snippets"
        for name in listed:
            if name not in scripts:
                yield language, line, f"the snippet {name} is listed, but there is no such file"
            elif f"]({name})" not in source.body[language]:
                yield language, line, f"the snippet {name} is not linked in the text; write [{name}]({name})"
    for name in sorted(scripts):
        path = source.folder / name
        if script_block(read_text(path)) is None:
            yield path, 1, "has no PEP 723 block (# /// script ... # ///)"


@rule("KB013")
def links(source: Source, context: Context) -> Found:
    """A link leads to a file of the entry, a heading of the page or a reference; both pages have the same references."""
    urls = [reference["url"] for reference in source.meta["en"]["references"]]
    for url in urls:
        if not re.fullmatch(r"https?://\S+", url):
            yield "en", source.meta_lines["en"]["references"], f"the reference {url} is no web address"
    chinese = [reference["url"] for reference in source.meta["zh"].get("references", ())]
    if sorted(chinese) != sorted(urls):
        differing = ", ".join(sorted(set(urls) ^ set(chinese)) or ["one stands twice"])
        yield (
            "zh",
            source.meta_lines["zh"].get("references", 1),
            f"the references differ from the English page's: {differing}",
        )
    for language in LANGUAGES:
        ids = {part.id for part in _parts(source, language)}
        for number, line, prose in outside_fences(source.body[language]):
            for match in _LINK.finditer(re.sub(r"`[^`]*`", "", line)) if prose else ():
                target = next(filter(None, match.groups()))
                at = source.body_line[language] + number
                if target.startswith(("http://", "https://")):
                    if target not in urls:
                        yield language, at, f"{target} is linked, but is not among the references"
                elif target.startswith("#"):
                    if target[1:] not in ids:
                        yield language, at, f"there is no heading with the id {target[1:]}"
                elif not _inside(source.folder, target.partition("#")[0]):
                    yield language, at, f"the link {target} leads to no file of this entry"


def _inside(folder: Path, target: str) -> bool:
    try:
        path = (folder / target).resolve()
        return path.is_file() and path.is_relative_to(folder.resolve())
    except (OSError, ValueError):  # Too long for a path, or with a NUL.
        return False


@rule("KB014")
def ids(source: Source, context: Context) -> Found:
    """The entry's id is of the form like-this and stands once; what it names exists or is planned, and is not itself."""
    if not _KEBAB.fullmatch(source.id):
        yield "en", 1, f"the folder's name {source.id} is not of the form like-this"
    for other in context.homes.get(source.id, ()):
        if other.resolve() != source.folder.resolve():
            yield "en", 1, f"the id {source.id} stands in {other.parent.name} too"
    for key in ("related", "yields_to", "superseded_by"):
        named = source.meta["en"].get(key) or ()
        for id_ in [named] if isinstance(named, str) else named:
            line = source.meta_lines["en"][key]
            if id_ == source.id:
                yield "en", line, f"{key} names the entry itself"
            elif id_ not in context.ids:
                yield "en", line, f"{key} names {id_}, which is neither an entry nor in the catalogue"


@rule("KB015")
def dates(source: Source, context: Context) -> Found:
    """An entry is reviewed on or after the day it was added, and neither day is to come."""
    added, reviewed = source.meta["en"]["added"], source.meta["en"]["reviewed"]
    lines = source.meta_lines["en"]
    if reviewed < added:
        yield "en", lines["reviewed"], f"reviewed on {reviewed}, before it was added on {added}"
    for key, day in (("added", added), ("reviewed", reviewed)):
        if day > context.today + datetime.timedelta(days=1):
            yield "en", lines[key], f"{key} is {day}, a day to come"


@rule("KB016")
def unfinished(source: Source, context: Context) -> Found:
    """Nothing is left to do."""
    for language in LANGUAGES:
        for number, line in enumerate(read_text(source.path(language)).split("\n"), 1):
            if re.search(r"\bTODO\b", line):
                yield language, number, "TODO is left"


@rule("KB017")
def section_pages(source: Source, context: Context) -> Found:
    """A section has a page in each language: its title, and one line about it."""
    for name in PAGE_FILES.values():
        path = source.folder.parent / name
        lines = [line for line in read_text(path).split("\n") if line.strip()] if path.is_file() else []
        if len(lines) != 2 or not lines[0].startswith("# "):
            yield path, 1, "a section's page is its title, a line # Title, and one line about it"


@rule("KB018")
def lengths(source: Source, context: Context) -> Found:
    """Headings of causes and the first sentence of each step are short: the terminal prints them alone."""
    for language in LANGUAGES:
        for part in _causes(source, language):
            at = _line_of(source, language, part)
            if cells(part.heading) > MAX_HEADING_CELLS:
                yield language, at, f"the heading takes {cells(part.heading)} columns; at most {MAX_HEADING_CELLS}"
            for number, step in enumerate(part.steps, 1):
                if source.kind != "guide" and cells(first_sentence(step)) > MAX_STEP_CELLS:
                    taken = cells(first_sentence(step))
                    yield (
                        language,
                        at,
                        f"the first sentence of step {number} of {part.id} takes {taken} columns; at most {MAX_STEP_CELLS}",
                    )


@rule("KB019")
def control_characters(source: Source, context: Context) -> Found:
    """No control characters, and none that turn the direction of writing."""
    for language in LANGUAGES:
        for number, line in enumerate(read_text(source.path(language)).split("\n"), 1):
            if match := _CONTROL.search(line):
                yield language, number, f"has the control character {match[0]!r}"
    for language in LANGUAGES:
        for key, value in source.meta[language].items():
            for text in _strings(value):
                if match := _CONTROL.search(text):  # YAML writes them as escapes too, which the text does not show.
                    yield language, source.meta_lines[language][key], f"{key} has the control character {match[0]!r}"


@rule("KB020")
def sizes(source: Source, context: Context) -> Found:
    """Lines, headings and lists are of a size that somebody has written: many times that would take minutes to look at."""
    for language in LANGUAGES:
        for number, line in enumerate(read_text(source.path(language)).split("\n"), 1):
            if len(line) > MAX_LINE:
                yield language, number, f"the line has {len(line):,} characters; at most {MAX_LINE:,}"
        count = sum(1 for _ in headings(source.body[language]))
        if count > MAX_HEADINGS:
            yield language, source.body_line[language], f"{count:,} headings; at most {MAX_HEADINGS}"
        for key, value in source.meta[language].items():
            if isinstance(value, list) and len(value) > MAX_LISTED:
                yield language, source.meta_lines[language][key], f"{len(value):,} {key}; at most {MAX_LISTED}"


# A page is laid out in a browser too: what Markdown hands through as it stands would run or load there.
_NOT_MARKDOWN = (
    (re.compile(r"<(?!https?://)[A-Za-z/!?]"), "HTML"),
    (re.compile(r"\{(?!#[a-z0-9-]+\}\s*$)"), "braces that are no heading's id"),
    (re.compile(r"^\s*\[[^\]]{0,200}\]:"), "a link that is defined on a line of its own"),
)
_SHOWN = frozenset((".py", ".txt", ".jsonl", ".csv", ".json", ".yaml", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"))
_ACTIVE = re.compile(r"<script|<foreignObject|\bon[a-z]{1,20}\s*=|javascript:|https?://(?!www\.w3\.org/)", re.IGNORECASE)


@rule("KB021")
def plain_markdown(source: Source, context: Context) -> Found:
    """Prose is Markdown alone: no HTML, no attributes, code between single backticks; it links scripts, texts, pictures."""
    for language in LANGUAGES:
        for number, line, prose in outside_fences(source.body[language]):
            if not prose:
                continue
            at = source.body_line[language] + number
            bare = re.sub(r"`[^`]*`", "", line)
            if "`" in bare or "``" in line or "\\`" in line:
                yield language, at, "has code that is not between two single backticks on one line"
            for pattern, name in _NOT_MARKDOWN:
                if pattern.search(bare):
                    yield language, at, f"has {name}"
            for match in _LINK.finditer(bare):
                path = source.folder / (match[1] or "").partition("#")[0]
                if match[1] and _inside(source.folder, match[1].partition("#")[0]) and path.suffix not in _SHOWN:
                    yield language, at, f"links {path.name}; linked files end in {', '.join(sorted(_SHOWN))}"
    for path in sorted(source.folder.glob("*.svg")):
        if active := _ACTIVE.search(read_text(path)):
            yield path, 1, f"is a picture that could do more than be seen: {active[0]!r}"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
