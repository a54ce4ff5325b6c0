"""Entries -> the site's pages in one language: an entry's page, and what all pages have in common.

A page is front matter, which the templates lay out, and a body. An entry's body is its own Markdown with the generated parts
behind it. Heading ids are explicit and alike in both languages, so that a link keeps its place when the language changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.entry import Entry, Language, Reference, Signature, Snippet, Source, fixed_id, headings, outside_fences, read_text
from indexer.markup import (
    code,
    escape,
    fence,
    free_id,
    indented,
    outside_code,
    tidy,
    with_front_matter,
    with_ids,
    without_braces,
)


@dataclass(frozen=True)
class Page:
    """A page of the tree: its path, front matter and body, and the plain Markdown that stands beside it on the site."""

    path: str
    fields: Mapping[str, Any]
    body: str
    copy: str

    @property
    def title(self) -> str:
        return str(self.fields["title"])

    @property
    def address(self) -> str:
        """Where it is found, from the root of its language."""
        name = self.path.removesuffix(".md").removesuffix("index").rstrip("/")
        return f"{name}/" if name else ""

    @property
    def copy_path(self) -> str:
        """Its address without the slash, with `.md`."""
        return f"{self.address.rstrip('/') or 'index'}.md"

    @property
    def text(self) -> str:
        return with_front_matter(self.fields, self.body)


@dataclass(frozen=True)
class Section:
    """A section's title and what it says of itself."""

    id: str
    title: str
    intro: str


@dataclass(frozen=True)
class Planned:
    """A problem that the catalogue names and that no entry answers yet."""

    id: str
    section: str
    about: str


@dataclass(frozen=True)
class Library:
    """All that the pages of one language are made from; `words` are those of site/words.yaml."""

    language: Language
    entries: Mapping[str, Entry]
    sources: Mapping[str, Source]
    sections: Mapping[str, Section]
    planned: Mapping[str, Planned]
    words: Mapping[str, Any]
    cards: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """The words of the pages themselves."""
        labels: Mapping[str, str] = self.words["pages"]
        return labels

    def label(self, group: str, name: str) -> str:
        """What a kind, severity, stage or symptom is called."""
        return str(self.words["labels"][group].get(name, name))

    def aside(self, text: str) -> str:
        """A remark in brackets behind something."""
        return str(self.labels["aside"]).format(text=text)

    def title(self, entry_id: str) -> str:
        return self.entries[entry_id].pages[self.language].title


def address_name(name: str) -> str:
    """A component or section as it stands in an address; overlays may name them as they like."""
    return re.sub(r"[^\w+-]+", "-", name.lower()).strip("-") or "-"


def entry_page(entry: Entry, library: Library) -> Page:
    """The page of one entry."""
    page = entry.pages[library.language]
    fields: dict[str, Any] = {
        "template": "entry.html",
        "title": page.title,
        "description": page.summary,
        "entry": _entry_facts(entry, library),
    }
    body, ids = _own_body(entry, library)
    title, _, rest = body.strip().partition("\n")
    copy = [title, _facts_as_text(fields["entry"], library), rest.strip(), *_parts(entry, library, set(ids), tabs=False)]
    return Page(
        f"entries/{entry.id}.md",
        fields,
        "\n\n".join([body.strip(), *_parts(entry, library, ids, tabs=True)]),
        "\n\n".join(copy) + "\n",
    )


def _entry_facts(entry: Entry, library: Library) -> dict[str, Any]:
    """What the template of an entry shows around its text."""
    page = entry.pages[library.language]
    facts: dict[str, Any] = {
        "id": entry.id,
        "kind": entry.kind,
        "kind_label": library.label("kinds", entry.kind),
        "severity": entry.severity,
        "severity_label": library.label("severities", entry.severity),
        "section": {"id": address_name(entry.section), "title": library.sections[entry.section].title},
        "components": [address_name(name) for name in entry.components],
        "stages": [library.label("stages", stage) for stage in entry.stages],
        "symptoms": [{"id": symptom, "label": library.label("symptoms", symptom)} for symptom in entry.symptoms],
        "applies": [{"name": name, "versions": versions} for name, versions in entry.applies.items()],
        "added": entry.added,
        "reviewed": entry.reviewed,
        "summary": page.summary,
        "related": [_related(id_, library) for id_ in entry.related],
        "scripts": len(entry.snippets),
    }
    if library.cards:
        facts["card"] = f"cards/{entry.id}.png"
    if entry.superseded_by and entry.superseded_by in library.entries:
        facts["superseded_by"] = {"id": entry.superseded_by, "title": library.title(entry.superseded_by)}
    return facts


def _related(id_: str, library: Library) -> dict[str, Any]:
    if id_ in library.entries:
        page = library.entries[id_].pages[library.language]
        return {"id": id_, "title": page.title, "summary": page.summary, "written": True}
    about = library.planned[id_].about if id_ in library.planned else id_
    return {"id": id_, "title": about, "summary": "", "written": False}


def _parts(entry: Entry, library: Library, taken: set[str], tabs: bool) -> list[str]:
    """What stands behind an entry's own text: signatures, scripts (in tabs on the site), related entries, sources."""
    parts = {
        "signatures": _signatures(entry, library),
        "scripts": _scripts(entry, library, tabs),
        "related": "\n".join(f"- {_link_to(id_, library)}" for id_ in entry.related),
        "sources": "\n".join(_source(reference, library) for reference in entry.references),
    }
    heads = {name: f"## {library.labels[name]} {{#{free_id(name, taken)}}}" for name, text in parts.items() if text}
    return [f"{head}\n\n{parts[name]}" for name, head in heads.items()]


def _facts_as_text(facts: Mapping[str, Any], library: Library) -> str:
    """An entry's summary and facts, for whoever reads without a browser."""
    labels = library.labels
    comma = labels["comma"]
    rows = {
        labels["entry"]: facts["id"],
        labels["section"]: facts["section"]["title"],
        labels["kind"]: comma.join([facts["kind_label"], facts["severity_label"]]),
        labels["fact_components"]: comma.join(facts["components"]),
        labels["fact_symptoms"]: comma.join(symptom["label"] for symptom in facts["symptoms"]),
        labels["applies"]: comma.join(f"{item['name']} {item['versions']}" for item in facts["applies"]),
        labels["reviewed"]: facts["reviewed"],
    }
    listed = "\n".join(f"- {name}{labels['colon']}{escape(value)}" for name, value in rows.items() if value)
    return f"> {escape(facts['summary'])}\n\n{listed}"


def _own_body(entry: Entry, library: Library) -> tuple[str, set[str]]:
    """The page as it was written, with an id on every heading and links that lead somewhere; and those ids."""
    language = library.language
    body = library.sources[entry.id].body[language]
    taken = {id_ or fixed_id(text, language) or "" for _, level, text, id_ in headings(body) if level in (2, 3)}
    above, ids = entry.id, []
    for _, level, text, id_ in headings(body):
        own = id_ or fixed_id(text, language)
        if level in (2, 3) and own:
            above = own
        else:
            own = free_id(entry.id if level == 1 else own or f"{above}-more", taken)
        ids.append(own)
    text = _with_links(with_ids(body, ids), entry, library)
    return tidy(text, language), taken


_LINK = re.compile(r"(\]\()([^)\s]+)((?:\s[^)]*)?\))")


def linked_files(source: Source) -> list[str]:
    """Files of an entry that its page shows or offers: its own scripts, and what its text links, by path in its folder."""
    folder = source.folder.resolve()
    files = {str(item["file"]) for item in source.meta["en"].get("snippets", ()) if "of" not in item}
    for body in source.body.values():
        for _, line, prose in outside_fences(body):
            for match in _LINK.finditer(line) if prose else ():
                path = (folder / match[2].partition("#")[0]).resolve()
                if path.is_relative_to(folder) and path.is_file() and path.suffix != ".md":
                    files.add(path.relative_to(folder).as_posix())
    return sorted(files)


def _with_links(text: str, entry: Entry, library: Library) -> str:
    """Markdown whose links to files and to other entries hold from the entry's page."""
    files = set(linked_files(library.sources[entry.id]))

    def target_of(match: re.Match[str]) -> str:
        target, hash_, fragment = match[2].partition("#")
        name = target.removesuffix(".md").strip("/").rpartition("/")[2]
        if Path(target).as_posix() in files:
            target = f"{entry.id}/{Path(target).as_posix()}"
        elif target and ":" not in target and name in library.entries:
            target = f"{name}.md"
        return f"{match[1]}{target}{hash_}{fragment}{match[3]}"

    return "\n".join(
        outside_code(line, lambda part: _LINK.sub(target_of, part)) if prose else line
        for _, line, prose in outside_fences(text)
    )


def _link_to(id_: str, library: Library) -> str:
    related = _related(id_, library)
    if related["written"]:
        return f"[{escape(related['title'])}]({id_}.md)"
    return escape(related["title"]) + library.aside(library.labels["planned"])


def _signatures(entry: Entry, library: Library) -> str:
    if not entry.signatures:
        return ""
    headings_of = {part.id: part.heading for part in entry.pages[library.language].parts}

    def line(signature: Signature) -> str:
        notes = [library.labels["weak"]] if signature.weak else []
        if signature.cause in headings_of:
            notes.append(f"[{without_braces(headings_of[signature.cause])}](#{signature.cause})")
        return f"- {code(signature.pattern)}" + (library.aside(library.labels["clauses"].join(notes)) if notes else "")

    return "\n".join([f"{library.labels['signatures_intro']}\n", *map(line, entry.signatures)])


def _scripts(entry: Entry, library: Library, tabs: bool) -> str:
    blocks = []
    for snippet in entry.snippets:
        name = snippet.file.replace('"', "'")
        text = _script(entry, snippet, library)
        blocks.append(f'=== "{name}"\n\n{indented(text)}' if tabs else f"### {escape(name)}\n\n{text}")
    return "\n\n".join(blocks)


def _script(entry: Entry, snippet: Snippet, library: Library) -> str:
    """One script: what it does, how it is run, where to get it, and what is in it."""
    labels = library.labels
    owner = library.entries.get(snippet.of, entry) if snippet.of else entry
    source = read_text(Path(owner.folder) / snippet.file)
    command = f"kbask run {owner.run_name(snippet)}"
    says = f"**{labels[snippet.does]}**{labels['colon']}{escape(snippet.about[library.language])}"
    blocks = [says]
    if owner is not entry:
        blocks.append(f"{labels['script_of']} [{escape(library.title(owner.id))}]({owner.id}.md#scripts)")
    download = f"[{labels['download']} {escape(snippet.file)}]({owner.id}/{snippet.file}){{ .kb-download download }}"
    title = snippet.file.replace('"', "'")
    blocks += [fence(f"{command} -- --help", "bash"), download, fence(source, f'python title="{title}"')]
    return "\n\n".join(blocks)


def _source(reference: Reference, library: Library) -> str:
    """A source that was read, by its address, and what it establishes."""
    name = re.sub(r"^https?://(?:www\.)?", "", reference.url).rstrip("/")
    return f"- [{escape(name)}](<{reference.url}>){library.labels['colon']}{escape(reference.about[library.language])}"


def plain_page(path: str, fields: Mapping[str, Any], body: str) -> Page:
    """A page that is nothing but its text; its copy has no marks for templates, and its links lead to other copies."""
    text = re.sub(r"<!--.*?-->\n*", "", body.strip(), flags=re.DOTALL)
    return Page(path, fields, body, re.sub(r"(\]\([^)\s]*)/index\.md", r"\1.md", text) + "\n")
