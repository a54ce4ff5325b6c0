"""Entries as the page and programs read them: the list, one whole with its HTML, and the source of a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.compose import snippet_calls
from assistant.http_answers import source_address
from assistant.http_html import to_html
from assistant.snippets import find, script
from indexer.entry import Entry, Language, read_text


def list_entries(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """All entries by section, with their titles in both languages."""
    ordered = sorted(entries.values(), key=lambda entry: (entry.section, entry.id))
    return {"entries": [_line(entry) for entry in ordered]}


def _line(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.id,
        "section": entry.section,
        "kind": entry.kind,
        "title": {language: page.title for language, page in entry.pages.items()},
        "summary": {language: page.summary for language, page in entry.pages.items()},
    }


def entry_json(entry: Entry, entries: Mapping[str, Entry], language: Language) -> dict[str, Any]:
    """One entry in one language, each part as Markdown and as HTML."""
    page = entry.pages[language]
    known = frozenset(entries)
    return {
        "entry": entry.id,
        "section": entry.section,
        "kind": entry.kind,
        "severity": entry.severity,
        "language": language,
        "title": page.title,
        "summary": page.summary,
        "added": entry.added,
        "reviewed": entry.reviewed,
        "related": [{"entry": id_, "title": entries[id_].pages[language].title} for id_ in entry.related if id_ in entries],
        "parts": [
            {
                "id": part.id,
                "heading": part.heading,
                "level": part.level,
                "text": part.text,
                "html": to_html(part.text, known, entry.id),
            }
            for part in page.parts
        ],
        "snippets": [
            {
                "file": call.snippet.file,
                "does": call.snippet.does,
                "about": call.snippet.about[language],
                "command": call.command,
                "source": source_address(entry.id, call.snippet.file),
            }
            for call in snippet_calls(entry, dict(entries), language)
        ],
        "references": [{"url": source.url, "about": source.about[language]} for source in entry.references],
    }


def script_source(entry: Entry, file: str, entries: Mapping[str, Entry]) -> tuple[str, str]:
    """The name and the text of one of an entry's scripts; raises UnknownEntryError, EntryError."""
    snippet = find(entry, file)
    return snippet.file, read_text(script(entry, snippet, entries))
