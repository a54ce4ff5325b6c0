"""Entries and pages -> the files of the site that programs read: entries.json, llms.txt, the feed, robots.txt, the sitemap.

`machine_files` are staged beside a language's pages; `sitemap_files` are laid over the built site, where MkDocs writes a
sitemap of its own. What needs whole addresses (feed, robots.txt, sitemap) is made where the site's address is given.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree

from indexer.entry import LANGUAGES, Entry, Language
from indexer.pages import Library, Page, address_name

VERSION = 1  # Of entries.json: it goes up when a field changes its meaning or goes; a new field does not change it.
FEED_ENTRIES = 50
ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
XHTML = "http://www.w3.org/1999/xhtml"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "llms": "Every link leads to a page as plain Markdown, named after the entry's id. All entries with "
        "their signatures, scripts and sources in one file: [entries.json]({entries}). In Chinese: [llms.txt]({other}).",
        "feed": "kbask: entries as they are added",
    },
    "zh": {
        "llms": "每个链接都是一页纯 Markdown，地址最后一段就是条目的 id。全部条目连同特征、脚本和来源在同一个文件里："
        "[entries.json]({entries})。英文版：[llms.txt]({other})。",
        "feed": "kbask：新增条目",
    },
}


def machine_files(
    libraries: Mapping[Language, Library], pages: Sequence[Page], language: Language, site_url: str
) -> dict[str, bytes]:
    """The files of one language by path under its root; `pages` are all its pages, `site_url` is empty or ends with a slash."""
    library = libraries[language]
    files = {"llms.txt": llms_txt(library, pages, site_url).encode()}
    if site_url:
        files["feed.xml"] = feed(library, site_url)
    if language == "en":
        files["entries.json"] = entries_json(libraries, site_url)
        if site_url:
            files["robots.txt"] = f"User-agent: *\nAllow: /\n\nSitemap: {site_url}sitemap.xml\n".encode()
    return files


def root(language: Language, site_url: str) -> str:
    """Where a language begins: a whole address, or, without one of the site, the path from the English root."""
    return site_url if language == "en" else f"{site_url}{language}/"


def entries_json(libraries: Mapping[Language, Library], site_url: str) -> bytes:
    """All entries in both languages; every field is explained in kb/about/machines.md."""
    library = libraries["en"]
    data = {
        "version": VERSION,
        "generated_for": f"kbask {version('kbask')}",
        "site": site_url,
        "sections": [
            {
                "id": id_,
                "title": {language: libraries[language].sections[id_].title for language in LANGUAGES},
                "intro": {language: libraries[language].sections[id_].intro for language in LANGUAGES},
                "address": {language: f"{root(language, site_url)}sections/{address_name(id_)}/" for language in LANGUAGES},
            }
            for id_ in library.sections
        ],
        "entries": [_entry(entry, library.entries, site_url) for entry in library.entries.values()],
    }
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()


def _entry(entry: Entry, entries: Mapping[str, Entry], site_url: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "section": entry.section,
        "kind": entry.kind,
        "severity": entry.severity,
        "components": entry.components,
        "stages": entry.stages,
        "symptoms": entry.symptoms,
        "applies": entry.applies,
        "added": entry.added,
        "reviewed": entry.reviewed,
        "superseded_by": entry.superseded_by,
        "related": entry.related,
        "yields_to": entry.yields_to,
        "pages": {language: _page(entry, language, site_url) for language in LANGUAGES},
        "signatures": [
            {"pattern": signature.pattern, "weak": signature.weak, "cause": signature.cause} for signature in entry.signatures
        ],
        "snippets": _snippets(entry, entries, site_url),
        "references": [{"url": reference.url, "about": reference.about} for reference in entry.references],
    }


def _page(entry: Entry, language: Language, site_url: str) -> dict[str, Any]:
    page, address = entry.pages[language], f"{root(language, site_url)}entries/{entry.id}"
    return {
        "title": page.title,
        "summary": page.summary,
        "address": f"{address}/",
        "markdown": f"{address}.md",
        "causes": [{"id": part.id, "heading": part.heading} for part in entry.causes(language)],
    }


def _snippets(entry: Entry, entries: Mapping[str, Entry], site_url: str) -> list[dict[str, Any]]:
    snippets = []
    for snippet in entry.snippets:
        owner = entries.get(snippet.of or entry.id, entry)
        snippets.append(
            {
                "file": snippet.file,
                "of": owner.id,
                "does": snippet.does,
                "about": snippet.about,
                "address": f"{site_url}entries/{owner.id}/{snippet.file}",
                "command": f"kbask run {owner.run_name(snippet)}",
            }
        )
    return snippets


def llms_txt(library: Library, pages: Iterable[Page], site_url: str) -> str:
    """The site for a language model, after the convention of llmstxt.org; links are relative where the site has no address."""
    language = library.language
    own = root(language, site_url) if site_url else ""
    english = site_url or ("" if language == "en" else "../")
    other: Language = "zh" if language == "en" else "en"
    words = WORDS[language]
    intro = words["llms"].format(entries=f"{english}entries.json", other=f"{root(other, english)}llms.txt")
    blocks = ["# kbask", f"> {library.words['site_description']}", intro]

    def link(title: str, path: str, about: str = "") -> str:
        return f"- [{_label(title)}]({own}{path})" + (f": {about}" if about else "")

    for id_, section in library.sections.items():
        found = [entry for entry in library.entries.values() if entry.section == id_]
        links = [link(library.title(entry.id), f"entries/{entry.id}.md", entry.pages[language].summary) for entry in found]
        blocks += [f"## {section.title}", "\n".join(links)]
    about = [link(page.title, page.copy_path) for page in pages if page.path.startswith("about/")]
    if about:
        # The convention's own word for what may be left out.
        blocks += ["## Optional", "\n".join(about)]
    return "\n\n".join(blocks) + "\n"


def _label(text: str) -> str:
    """Text as it can stand between the brackets of a link."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def feed(library: Library, site_url: str) -> bytes:
    """The entries as they were added, newest first, as Atom; its times are days of the entries, never that of the build."""
    own = root(library.language, site_url)
    newest = sorted(library.entries.values(), key=lambda entry: entry.id)
    newest = sorted(newest, key=lambda entry: (entry.added, entry.reviewed), reverse=True)[:FEED_ENTRIES]
    top = ElementTree.Element("feed", {"xmlns": ATOM, "xml:lang": library.language})
    _text(top, "title", WORDS[library.language]["feed"])
    _text(top, "subtitle", library.words["site_description"])
    _text(top, "id", f"{own}feed.xml")
    _link(top, "self", "application/atom+xml", f"{own}feed.xml")
    _link(top, "alternate", "text/html", own)
    _text(top, "updated", _time(max((entry.reviewed for entry in newest), default="1970-01-01")))
    _text(ElementTree.SubElement(top, "author"), "name", "kbask")
    for entry in newest:
        page, address = entry.pages[library.language], f"{own}entries/{entry.id}"
        item = ElementTree.SubElement(top, "entry")
        _text(item, "title", page.title)
        _text(item, "id", f"{address}/")
        _link(item, "alternate", "text/html", f"{address}/")
        _link(item, "alternate", "text/markdown", f"{address}.md")
        _text(item, "published", _time(entry.added))
        _text(item, "updated", _time(entry.reviewed))
        ElementTree.SubElement(item, "category", {"term": entry.section, "label": library.sections[entry.section].title})
        _text(item, "summary", page.summary)
    return _xml(top)


def _time(day: str) -> str:
    return f"{day}T00:00:00Z"


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _link(parent: ElementTree.Element, relation: str, type_: str, address: str) -> None:
    ElementTree.SubElement(parent, "link", {"rel": relation, "type": type_, "href": address})


def _xml(top: ElementTree.Element) -> bytes:
    ElementTree.indent(top, " ")
    return DECLARATION + ElementTree.tostring(top, encoding="unicode").encode() + b"\n"


def sitemap_files(pages: Iterable[Page], entries: Mapping[str, Entry], site_url: str) -> dict[str, bytes]:
    """The sitemap of both languages, plain and packed, for the root of the site; none where the site has no address.

    `pages` are those of one language: the other has the same addresses.
    """
    if not site_url:
        return {}
    reviewed = {f"entries/{entry.id}/": entry.reviewed for entry in entries.values()}
    top = ElementTree.Element("urlset", {"xmlns": SITEMAP, "xmlns:xhtml": XHTML})
    for address in sorted(page.address for page in pages):
        for language in LANGUAGES:
            item = ElementTree.SubElement(top, "url")
            _text(item, "loc", root(language, site_url) + address)
            if address in reviewed:
                _text(item, "lastmod", reviewed[address])
            for other in LANGUAGES:
                alternate = {"rel": "alternate", "hreflang": other, "href": root(other, site_url) + address}
                ElementTree.SubElement(item, "xhtml:link", alternate)
    text = _xml(top)
    # MkDocs packs its own, which would stay beside ours.
    return {"sitemap.xml": text, "sitemap.xml.gz": gzip.compress(text, mtime=0)}
