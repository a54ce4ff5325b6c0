"""A collection and the site's own pages -> the trees that MkDocs builds the site from, one a language, and how to build them.

Everything is made in memory and then laid into the build folder: a file that did not change is left alone, and one that an
earlier staging wrote and this one did not is taken away. Nothing else in that folder, and nothing outside it, is touched.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.cards import card_files, why_no_cards
from indexer.entry import LANGUAGES, Entry, Language, headings, read_bytes, read_source, read_text
from indexer.errors import ConfigError, EntryError
from indexer.index import Collection
from indexer.listings import Nav, coverage_page, home_fields, list_pages
from indexer.machine import machine_files, sitemap_files
from indexer.markup import free_id, joined_lines, tidy, to_yaml, with_ids
from indexer.packed import engine_data, search_data
from indexer.pages import Library, Page, Planned, Section, address_name, entry_page, linked_files, plain_page

Files = dict[str, bytes]
LIST = "staged.json"  # In the build folder: what the last staging wrote, which alone may be taken away.
MAX_FILE = 5_000_000
# The other pages about the site come after these.
ABOUT_FIRST = ("terminal", "serve", "models", "how-it-works", "write-an-entry", "machines")


@dataclass(frozen=True)
class Staged:
    """What a staging did to the build folder, in pages and files, and what it had to leave out."""

    pages: int
    written: int
    unchanged: int
    removed: int
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnPage:
    """A page of the site's own, from kb/: its path in the tree, and in each language its front matter and body."""

    path: str
    fields: dict[Language, dict[str, Any]]
    bodies: dict[Language, str]


def stage(
    collection: Collection,
    folders: Sequence[Path],
    root: Path,
    out: Path,
    command_line: Mapping[Language, str],
    site_url: str = "",
    assistant_url: str = "",
) -> Staged:
    """Lay the site of a collection, read from `folders`, into `out`; `root` is the checkout with kb/, site/ and mkdocs.yml.

    `command_line` is the body of the page on the commands. Raises EntryError where a source cannot be read, ConfigError where
    `out` holds a tree that no staging wrote.
    """
    if not (root / "mkdocs.yml").is_file() or not (root / "site" / "words.yaml").is_file():
        raise ConfigError(f"There is no mkdocs.yml with site/words.yaml in {root}. Run it in a checkout of kbask.")
    before = staged_before(out)
    words = read_words(root / "site" / "words.yaml")
    own = read_own_pages(root / "kb")
    entries = {entry.id: entry for entry in sorted(collection.entries, key=lambda entry: (entry.section, entry.id))}
    sources = {id_: read_source(Path(entry.folder)) for id_, entry in entries.items()}
    planned = {item.id: item for item in read_planned(folders[0]) if item.id not in entries}
    libraries: dict[Language, Library] = {}
    notices = []
    for language in LANGUAGES:
        # A card is named by a whole address or not at all.
        lacking = why_no_cards(language) if site_url else "no address"
        sections = read_sections(collection.entries, folders, language)
        libraries[language] = Library(language, entries, sources, sections, planned, words[language], cards=not lacking)
        if site_url and lacking:
            notices.append(f"{language}: {lacking}")
    files: Files = {"docs/en/data/engine.json": engine_data(collection)}
    count = 0
    for language, library in libraries.items():
        pages, nav = make_pages(library, own, command_line[language])
        count += len(pages)
        tree = {page.path: page.text.encode() for page in pages} | _entry_files(library)
        tree |= {f"about/{path.name}": read_bytes(path, MAX_FILE) for path in sorted((root / "kb" / "about").glob("*.png"))}
        others = [(page.address, page.title, page.body) for page in pages if "entry" not in page.fields]
        tree["data/search.json"] = search_data(list(entries.values()), others, language)
        tree |= machine_files(libraries, pages, language, site_url)
        if library.cards:
            tree |= card_files(library, out / "cards" / language)
        files |= {f"docs/{language}/{path}": data for path, data in tree.items()}
        # What is laid over the built site: MkDocs would make a page of any Markdown, and has a sitemap of its own.
        over = {page.copy_path: page.copy.encode() for page in pages}
        if language == "en":
            over |= sitemap_files(pages, entries, site_url)
        files |= {("markdown/" if language == "en" else f"markdown/{language}/") + path: data for path, data in over.items()}
        config = make_config(library, nav, root, out, site_url, assistant_url)
        files[f"mkdocs.{language}.yml"] = (to_yaml(config, indent=1) + "\n").encode()
    try:
        return Staged(count, *lay(files, before, out), tuple(notices))
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written: {error.strerror}. Name another folder.", True) from error


def _entry_files(library: Library) -> Files:
    """The scripts and pictures of all entries, by path in the tree."""
    return {
        f"entries/{id_}/{name}": read_bytes(source.folder / name, MAX_FILE)
        for id_, source in library.sources.items()
        for name in linked_files(source)
    }


def read_yaml(path: Path) -> Any:
    """A YAML file of ours; raises EntryError."""
    import yaml

    try:
        return yaml.load(read_text(path), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise EntryError(str(path), 0, f"is no valid YAML: {error}") from error


def read_words(path: Path) -> dict[Language, dict[str, Any]]:
    """The words of the site, which are the same keys in both languages; raises EntryError."""
    words = read_yaml(path)
    if not isinstance(words, dict) or set(words) != set(LANGUAGES):
        raise EntryError(str(path), 0, f"does not map {' and '.join(LANGUAGES)} to their words")
    differing = sorted(_keys(words["en"]) ^ _keys(words["zh"]))
    if differing:
        raise EntryError(str(path), 0, f"has in one language only: {', '.join(differing)}")
    return words


def _keys(words: Mapping[str, Any], above: str = "") -> set[str]:
    keys = set()
    for key, value in words.items():
        keys |= _keys(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}"}
    return keys


def read_sections(entries: Iterable[Entry], folders: Sequence[Path], language: Language) -> dict[str, Section]:
    """The sections that have entries, by title and first paragraph of their own page; the last folder that has one counts."""
    sections = {}
    for id_ in sorted({entry.section for entry in entries}):
        title, intro = id_.replace("-", " ").capitalize(), ""
        for folder in folders:
            path = folder / id_ / ("index.zh.md" if language == "zh" else "index.md")
            if path.is_file():
                first, _, rest = joined_lines(read_text(path).strip()).partition("\n")
                title, intro = first.lstrip("# "), " ".join(rest.strip().partition("\n\n")[0].split("\n"))
        sections[id_] = Section(id_, title, intro)
    return sections


def read_planned(folder: Path) -> list[Planned]:
    """What a folder's catalogue names, in its order; nothing where there is none."""
    path = folder / "catalogue.yaml"
    if not path.is_file():
        return []
    return [
        Planned(item["slug"], item.get("section", section), item["about"])
        for section, items in read_yaml(path).items()
        for item in items
    ]


def read_own_pages(kb: Path) -> list[OwnPage]:
    """The pages of the site itself: kb/*.md and kb/about/*.md, each with its .zh.md; raises EntryError where one is missing."""
    pages = []
    for path in sorted([*kb.glob("*.md"), *kb.glob("about/*.md")]):
        if path.name.endswith(".zh.md"):
            continue
        files: dict[Language, Path] = {"en": path, "zh": path.with_suffix(".zh.md")}
        fields: dict[Language, dict[str, Any]] = {}
        bodies: dict[Language, str] = {}
        for language, file in files.items():
            fields[language], bodies[language] = _split(file)
        pages.append(OwnPage(path.relative_to(kb).as_posix(), fields, set_headings(bodies, path)))
    return pages


def set_headings(bodies: Mapping[Language, str], path: Path) -> dict[Language, str]:
    """A page with ids on its headings, made from the English ones where it names none; raises EntryError where they differ."""
    levels = {language: [level for _, level, _, _ in headings(body)] for language, body in bodies.items()}
    if levels["en"] != levels["zh"]:
        raise EntryError(str(path), 0, f"has headings of the levels {levels['en']}, its Chinese page {levels['zh']}")
    taken: set[str] = set()
    ids = [free_id(id_ or address_name(text), taken) for _, _, text, id_ in headings(bodies["en"])]
    return {language: tidy(with_ids(body, ids), language) for language, body in bodies.items()}


def _split(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter, which a page of the site may have, and body."""
    import yaml

    text = read_text(path)
    match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if not match:
        return {}, text
    try:
        return dict(yaml.load(match[1], Loader=yaml.CSafeLoader)), text[match.end() :]
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise EntryError(str(path), 1, f"front matter is no valid YAML: {error}") from error


def make_pages(library: Library, own: Iterable[OwnPage], command_line: str) -> tuple[list[Page], Nav]:
    """The pages of one language, and the navigation."""
    labels = library.labels
    pages = [own_page(page, library) for page in own]
    fields = {"title": labels["command_line"], "description": labels["command_line_description"]}
    pages += [coverage_page(library), plain_page("about/command-line.md", fields, command_line)]
    first = [f"about/{name}.md" for name in ABOUT_FIRST]
    about = [page for page in pages if page.path.startswith("about/")]
    about.sort(key=lambda page: first.index(page.path) if page.path in first else len(first))
    lists, nav = list_pages(library)
    top = {page.path for page in pages}
    nav = [
        *({labels[name]: path} for name, path in (("home", "index.md"), ("diagnose", "diagnose.md")) if path in top),
        *nav,
        {labels["about"]: [page.path for page in about]},
    ]
    return [*pages, *lists, *(entry_page(entry, library) for entry in library.entries.values())], nav


def own_page(page: OwnPage, library: Library) -> Page:
    """A page of the site's own; the home page's template also gets the sections."""
    body = page.bodies[library.language]
    title = next((text for _, level, text, _ in headings(body) if level == 1), page.path)
    fields: dict[str, Any] = {"title": title, "description": library.words["site_description"]}
    fields |= {"index.md": home_fields(library), "diagnose.md": {"template": "diagnose.html"}}.get(page.path, {})
    return plain_page(page.path, fields | page.fields[library.language], body)


def make_config(library: Library, nav: Nav, root: Path, out: Path, site_url: str, assistant_url: str) -> dict[str, Any]:
    """The configuration of one language's build, which inherits mkdocs.yml; JSON, which is YAML."""
    english = library.language == "en"
    above = Path(os.path.relpath(root, out)).as_posix()
    common = read_yaml(root / "mkdocs.yml")
    # A list of the inherited file is replaced whole, so those that hold words are written out in this language.
    names = library.words["palette"]
    palette = [
        {**scheme, "toggle": {**scheme["toggle"], "name": names[scheme.get("scheme", "automatic")]}}
        for scheme in common["theme"]["palette"]
    ]
    extensions = [
        {"toc": {**item["toc"], "permalink_title": library.labels["permalink"]}} if "toc" in item else item
        for item in common["markdown_extensions"]
    ]
    words = {name: value for name, value in library.words.items() if name not in ("pages", "palette")}
    config: dict[str, Any] = {
        "INHERIT": f"{above}/mkdocs.yml",
        "site_description": library.words["site_description"],
        "docs_dir": f"docs/{library.language}",
        "site_dir": "site" if english else f"site/{library.language}",
        "theme": {"language": library.language, "custom_dir": f"{above}/site/overrides", "palette": palette},
        "extra": {"language": library.language, "words": words, "assistant": assistant_url},
        "markdown_extensions": extensions,
        "nav": nav,
    }
    if site_url:
        config["site_url"] = site_url if english else f"{site_url}{library.language}/"
    return config


def staged_before(out: Path) -> set[str]:
    """What earlier stagings wrote into the build folder; raises ConfigError where somebody else did."""
    if (out / LIST).is_file():
        return set(json.loads(read_text(out / LIST)))
    for name in ("docs", "cards"):
        if (out / name).exists():
            raise ConfigError(
                f"--out: {out / name} was not written by kbask export-site. Move it away, or name another folder.", True
            )
    return set()


def lay(files: Files, before: set[str], out: Path) -> tuple[int, int, int]:
    """Bring the build folder to hold these files; how many were written, left alone and taken away."""
    known = out / LIST
    out.mkdir(parents=True, exist_ok=True)
    # Before the first file: a staging that is interrupted leaves nothing that the next one would not know.
    known.write_text(json.dumps(sorted(before | set(files)), indent=0), encoding="utf-8")
    written = 0
    for path, data in files.items():
        target = out / path
        if not target.is_file() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            written += 1
    stale = sorted(before - set(files))
    for path in stale:
        (out / path).unlink(missing_ok=True)
        _remove_empty((out / path).parent, out)
    known.write_text(json.dumps(sorted(files), indent=0), encoding="utf-8")
    return written, len(files) - written, len(stale)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
