"""Entries -> the pages that list them, by section, symptom and component; what the home page shows; the coverage page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from indexer.entry import Entry
from indexer.markup import code, escape, table
from indexer.pages import Library, Page, address_name, plain_page

Nav = list[Any]  # As MkDocs has it: paths, and mappings of a title to a path or to a list of the same.
RECENT = 8  # Entries that the home page names as new.


@dataclass(frozen=True)
class Group:
    """Entries under one heading of a list; `address` is the page that holds them alone, from the root of the language."""

    id: str
    title: str
    intro: str
    address: str
    entries: Sequence[Entry]


def list_page(path: str, title: str, intro: str, groups: Sequence[Group], library: Library) -> Page:
    """A page that lists entries."""
    fields = {
        "template": "list.html",
        "title": title,
        "description": intro or title,
        "intro": intro,
        "groups": [
            {
                "id": group.id,
                "title": group.title,
                "intro": group.intro,
                "address": group.address,
                "entries": [_row(entry, library) for entry in group.entries],
            }
            for group in groups
        ],
    }
    head = f"# {escape(title)} {{#entries}}"
    blocks = [head, escape(intro)]
    colon = library.labels["colon"]
    above = "../" if path.count("/") > 1 or not path.endswith("index.md") else ""
    for group in groups:
        blocks.append(f"## {escape(group.title)}" if group.title else "")
        found = [(entry.id, entry.pages[library.language]) for entry in group.entries]
        blocks.append(
            "\n".join(f"- [{escape(p.title)}]({above}entries/{id_}.md){colon}{escape(p.summary)}" for id_, p in found)
        )
    return Page(path, fields, head, "\n\n".join(filter(None, blocks)) + "\n")


def _row(entry: Entry, library: Library) -> dict[str, Any]:
    """An entry as a list shows it."""
    page = entry.pages[library.language]
    return {
        "id": entry.id,
        "title": page.title,
        "summary": page.summary,
        "kind": entry.kind,
        "kind_label": library.label("kinds", entry.kind),
        "severity": entry.severity,
        "severity_label": library.label("severities", entry.severity),
        "components": [address_name(name) for name in entry.components],
        "added": entry.added,
    }


def groups_by_section(library: Library) -> list[Group]:
    return [
        Group(address_name(id_), section.title, section.intro, f"sections/{address_name(id_)}/", found)
        for id_, section in library.sections.items()
        if (found := [entry for entry in library.entries.values() if entry.section == id_])
    ]


def groups_by_symptom(library: Library) -> list[Group]:
    return [
        Group(id_, label, "", f"symptoms/{id_}/", found)
        for id_, label in library.words["labels"]["symptoms"].items()
        if (found := [entry for entry in library.entries.values() if id_ in entry.symptoms])
    ]


def groups_by_component(library: Library) -> list[Group]:
    names = sorted({address_name(name) for entry in library.entries.values() for name in entry.components})
    return [
        Group(
            name,
            name,
            "",
            f"components/{name}/",
            [entry for entry in library.entries.values() if name in map(address_name, entry.components)],
        )
        for name in names
    ]


def home_fields(library: Library) -> dict[str, Any]:
    """What the template of the home page shows beside its text."""
    groups = groups_by_section(library)
    newest = sorted(library.entries.values(), key=lambda entry: (entry.added, entry.reviewed), reverse=True)
    return {
        "template": "home.html",
        "sections": [
            {
                "id": group.id,
                "title": group.title,
                "intro": group.intro,
                "count": len(group.entries),
                "entries": [{"id": entry.id, "title": library.title(entry.id)} for entry in group.entries],
            }
            for group in groups
        ],
        "recent": [{"id": entry.id, "title": library.title(entry.id), "added": entry.added} for entry in newest[:RECENT]],
        "counts": {
            "entries": len(library.entries),
            "sections": len(groups),
            "scripts": sum(not snippet.of for entry in library.entries.values() for snippet in entry.snippets),
            "signatures": sum(len(entry.signatures) for entry in library.entries.values()),
        },
    }


def coverage_page(library: Library) -> Page:
    """What is written and what is planned, counted."""
    labels = library.labels
    sections: dict[str, list[int]] = {id_: [0, 0] for id_ in library.sections}
    for entry in library.entries.values():
        sections[entry.section][0] += 1
    for planned in library.planned.values():
        sections.setdefault(planned.section, [0, 0])[1] += 1

    def name(id_: str) -> str:
        return escape(library.sections[id_].title if id_ in library.sections else library.label("sections", id_))

    by_section = [
        (f"[{name(id_)}](../sections/{address_name(id_)}/index.md)" if written else name(id_), written, planned)
        for id_, (written, planned) in sections.items()
    ]
    together = (labels["sum"], len(library.entries), len(library.planned))
    by_entry = [
        (
            f"[{escape(library.title(entry.id))}](../entries/{entry.id}.md)",
            len(entry.signatures),
            len(entry.samples),
            sum(len(page.asks) for page in entry.pages.values()),
            len(entry.causes(library.language)),
            len(entry.snippets),
            len(entry.references),
            f"<time>{entry.reviewed}</time>",
        )
        for entry in library.entries.values()
    ]
    heads = [labels[key] for key in ("entry", "signatures", "samples", "asks", "causes", "scripts", "sources", "reviewed")]
    to_come = [
        f"### {name(id_)} {{#planned-{address_name(id_)}}}\n\n" + "\n".join(found)
        for id_ in sections
        if (found := [f"- {code(it.id)} {escape(it.about)}" for it in library.planned.values() if it.section == id_])
    ]
    intro = labels["coverage_intro"].format(written=len(library.entries), planned=len(library.planned))
    blocks = [
        f"# {labels['coverage']} {{#coverage}}",
        intro,
        f"## {labels['coverage_sections']} {{#sections}}",
        table([labels["section"], labels["written"], labels["planned_head"]], [*by_section, together], (1, 2)),
        f"## {labels['coverage_entries']} {{#written}}",
        table(heads, by_entry, range(1, 7)),
    ]
    if to_come:
        blocks += [f"## {labels['coverage_planned']} {{#planned}}", labels["coverage_planned_intro"], *to_come]
    fields = {"title": labels["coverage"], "description": labels["coverage_description"]}
    return plain_page("about/coverage.md", fields, "\n\n".join(blocks))


def list_pages(library: Library) -> tuple[list[Page], Nav]:
    """The pages that list entries, and their part of the navigation."""
    labels = library.labels
    sections = groups_by_section(library)
    by_section: Nav = []
    pages = [list_page("entries/index.md", labels["entries"], labels["entries_intro"], sections, library)]
    for group in sections:
        pages.append(_alone(f"{group.address}index.md", group, group.intro, library))
        by_section.append({group.title: [pages[-1].path, *(f"entries/{entry.id}.md" for entry in group.entries)]})
    nav: Nav = [{labels["entries"]: ["entries/index.md", *by_section]}]
    for name, groups in (("symptoms", groups_by_symptom(library)), ("components", groups_by_component(library))):
        pages.append(list_page(f"{name}/index.md", labels[name], labels[f"{name}_intro"], groups, library))
        for group in groups:
            intro = labels["component_intro"].format(name=group.title) if name == "components" else ""
            pages.append(_alone(f"{name}/{group.id}.md", group, intro, library))
        nav.append({labels[name]: [f"{name}/index.md", *(f"{name}/{group.id}.md" for group in groups)]})
    guides = [
        replace(group, intro="", entries=found)
        for group in sections
        if (found := [entry for entry in group.entries if entry.kind == "guide"])
    ]
    pages.append(list_page("guides/index.md", labels["guides"], labels["guides_intro"], guides, library))
    return pages, [*nav, {labels["guides"]: "guides/index.md"}]


def _alone(path: str, group: Group, intro: str, library: Library) -> Page:
    """The page of one group, whose heading is the page's own."""
    return list_page(path, group.title, intro, [replace(group, id="", title="", intro="")], library)
