"""What programs read of the site: complete, documented, valid, the same each time; its cards; the site's own prose."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from assistant.cli import kbask as group
from assistant.reference import command_line
from benchmarks.transcripts import printed
from indexer import cards, rules
from indexer.cards import card_files, draw_card, face, why_no_cards, wrapped
from indexer.entry import LANGUAGES, Entry, Language, builtin_folder, headings
from indexer.index import Index, read_collection
from indexer.machine import FEED_ENTRIES, VERSION, feed
from indexer.pages import Library, Section
from indexer.publish import read_words, stage
from tests.conftest import ROOT

SITE = "https://kb.example.org/docs/"
ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
ABOUT = sorted(path.name for path in (ROOT / "kb" / "about").glob("*.md"))


def put(out: Path, site_url: str = "") -> Path:
    folders = [builtin_folder()]
    stage(read_collection(folders), folders, ROOT, out, command_line(group), site_url)
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The staged site with an address."""
    return put(tmp_path_factory.mktemp("site"), SITE)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The staged site without one."""
    return put(tmp_path_factory.mktemp("bare"))


def read(out: Path, path: str, language: str = "en") -> bytes:
    return (out / "docs" / language / path).read_bytes()


def is_there(out: Path, address: str) -> bool:
    """Whether the site, once built from what is staged, has something at an address below its root."""
    language, path = ("zh", address.removeprefix("zh/")) if address.startswith("zh/") else ("en", address)
    pages = out / "docs" / language
    if path == "" or path.endswith("/"):
        return (pages / f"{path.rstrip('/') or 'index'}.md").is_file() or (pages / path / "index.md").is_file()
    return (pages / path).is_file() if not path.endswith(".md") else (out / "markdown" / address).is_file()


def library(entries: list[Entry], language: Language = "en") -> Library:
    sections = {entry.section: Section(entry.section, entry.section.title(), "") for entry in entries}
    words = read_words(ROOT / "site" / "words.yaml")[language]
    return Library(language, {entry.id: entry for entry in entries}, {}, sections, {}, words)


def fields_of(value: Any, path: str = "") -> set[str]:
    """Every field of a JSON value, as machines.md writes it."""
    if isinstance(value, list):
        return set().union(*(fields_of(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return {path}
    found = set()
    for key, item in value.items():
        name = "PACKAGE" if path.endswith(".applies") else "LANGUAGE" if key in LANGUAGES else key
        found |= fields_of(item, f"{path}.{name}" if path else name)
    return found


@pytest.mark.parametrize("page", ["machines.md", "machines.zh.md"])
def test_every_field_of_entries_json_is_documented_and_no_other(site: Path, page: str) -> None:
    text = (ROOT / "kb" / "about" / page).read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([\w\[\].]+)` \|", text.partition("{#fields}")[2], re.MULTILINE))
    assert documented == fields_of(json.loads(read(site, "entries.json")))
    assert f"| `version` | {VERSION} |" in text
    assert str(FEED_ENTRIES) in text


@pytest.mark.parametrize("with_address", [True, False])
def test_every_address_in_entries_json_leads_somewhere(site: Path, bare: Path, with_address: bool) -> None:
    out, above = (site, SITE) if with_address else (bare, "")
    data = json.loads(read(out, "entries.json"))
    addresses = [address for section in data["sections"] for address in section["address"].values()]
    for entry in data["entries"]:
        addresses += [page[name] for page in entry["pages"].values() for name in ("address", "markdown")]
        addresses += [snippet["address"] for snippet in entry["snippets"]]
    assert data["site"] == above
    assert [address for address in addresses if not address.startswith(above)] == []
    assert [address for address in addresses if not is_there(out, address.removeprefix(above))] == []


def test_entries_json_runs_another_entrys_script_by_its_owners_name(site: Path) -> None:
    entries = {entry["id"]: entry for entry in json.loads(read(site, "entries.json"))["entries"]}
    borrowed = entries["nccl-async-failure"]["snippets"][0]
    assert (borrowed["of"], borrowed["command"]) == ("nccl-watchdog-timeout", "kbask run nccl-watchdog-timeout")
    commands = [snippet["command"] for snippet in entries["lr-zero-deepspeed-scheduler"]["snippets"]]
    assert commands[0] == "kbask run lr-zero-deepspeed-scheduler/check_lr_schedule"


@pytest.mark.parametrize("language", LANGUAGES)
def test_llms_txt_has_the_form_of_its_convention_and_links_every_entry(site: Path, bare: Path, language: str) -> None:
    text = read(site, "llms.txt", language).decode()
    title, quote, _, *rest = text.split("\n\n")
    assert title == "# kbask"
    assert quote.startswith("> ")
    links = [line for block in rest if not block.startswith("## ") for line in block.strip().split("\n")]
    assert [line for line in links if not re.fullmatch(r"- \[.+\]\(https://\S+\.md\)(?:: .+)?", line)] == []
    addresses = re.findall(r"\]\((https[^\s)]+)\)", text)
    assert [address for address in addresses if not is_there(site, address.removeprefix(SITE))] == []
    root = SITE + ("zh/" if language == "zh" else "")
    written = {path.parent.name for path in builtin_folder().glob("*/*/index.md")}
    assert {f"{root}entries/{id_}.md" for id_ in written} <= set(addresses)
    assert "https" not in read(bare, "llms.txt", language).decode()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_feed_is_valid_atom(site: Path, language: str) -> None:
    top = ElementTree.fromstring(read(site, "feed.xml", language))
    assert top.tag == f"{ATOM}feed"
    own = SITE + ("zh/" if language == "zh" else "")
    assert top.findtext(f"{ATOM}id") == f"{own}feed.xml"
    assert {link.get("rel"): link.get("href") for link in top.findall(f"{ATOM}link")} == {
        "self": f"{own}feed.xml",
        "alternate": own,
    }
    assert top.find(f"{ATOM}author/{ATOM}name") is not None
    items = top.findall(f"{ATOM}entry")
    ids = [item.findtext(f"{ATOM}id") or "" for item in items]
    assert len(set(ids)) == len(ids) > 0
    for item in [top, *items]:
        assert (item.findtext(f"{ATOM}title") or "").strip()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", item.findtext(f"{ATOM}updated") or "")
    assert [id_ for id_ in ids if not is_there(site, id_.removeprefix(SITE))] == []


def test_the_feed_has_the_newest_first_and_not_all(index: Index) -> None:
    entry = index.entries["loss-zero-sft"]
    days = [f"2026-{1 + number // 28:02}-{1 + number % 28:02}" for number in range(FEED_ENTRIES + 20)]
    many = [replace(entry, id=f"number-{number}", added=day, reviewed=day) for number, day in enumerate(days)]
    items = ElementTree.fromstring(feed(library(many), SITE)).findall(f"{ATOM}entry")
    assert [(item.findtext(f"{ATOM}published") or "")[:10] for item in items] == days[::-1][:FEED_ENTRIES]


def test_marks_in_titles_break_neither_feed_nor_links(index: Index) -> None:
    entry = index.entries["loss-zero-sft"]
    page = replace(entry.pages["en"], title='a < b & "c" ]]> [d](e)', summary="<script>")
    text = feed(library([replace(entry, pages={**entry.pages, "en": page})]), SITE)
    assert ElementTree.fromstring(text).findtext(f"{ATOM}entry/{ATOM}title") == page.title


def test_the_sitemap_names_every_page_of_both_languages(site: Path) -> None:
    text = (site / "markdown" / "sitemap.xml").read_bytes()
    assert gzip.decompress((site / "markdown" / "sitemap.xml.gz").read_bytes()) == text
    addresses = [item.findtext(f"{SITEMAP}loc") or "" for item in ElementTree.fromstring(text)]
    staged = [path for language in LANGUAGES for path in (site / "docs" / language).rglob("*.md")]
    assert len(set(addresses)) == len(addresses) == len(staged)
    assert [address for address in addresses if not is_there(site, address.removeprefix(SITE))] == []
    for item in ElementTree.fromstring(text):
        links = {link.get("hreflang"): link.get("href") for link in item.findall("{http://www.w3.org/1999/xhtml}link")}
        assert links["zh"] == (links["en"] or "").replace(SITE, f"{SITE}zh/")
        assert item.findtext(f"{SITEMAP}loc") in links.values()
    assert f"Sitemap: {SITE}sitemap.xml" in read(site, "robots.txt").decode()


def test_what_needs_whole_addresses_is_not_there_without_one(bare: Path) -> None:
    made = {path.name for path in bare.rglob("*") if path.is_file()}
    assert {"entries.json", "llms.txt"} <= made
    assert not made & {"feed.xml", "robots.txt", "sitemap.xml", "sitemap.xml.gz"}
    pictures = {path.name for path in (ROOT / "kb" / "about").glob("*.png")}
    assert {name for name in made if name.endswith(".png")} == pictures  # And so no card.


def test_the_files_for_programs_are_the_same_each_time(site: Path, tmp_path: Path) -> None:
    again = put(tmp_path / "again", SITE)
    for name in ("entries.json", "llms.txt", "feed.xml"):
        assert read(again, name) == read(site, name)


TITLES = [
    "NCCL watchdog: a collective operation timed out",
    "导入 transformers 时报（OpenSSL 3.0's legacy provider failed to load），怎么办？",
    "多轮对话数据怎么构造，哪些 token 算 loss？“全部”都算，还是只算《回答》、（最后一轮）……",
    "torch.nn.functional.scaled_dot_product_attention_that_nobody_could_ever_write_on_one_line",
    "字" * 60,
    "a",
    "，。",
    "",
]


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("width", [300, 520, 1040])
def test_lines_fit_and_none_begins_with_a_closing_mark(title: str, width: int) -> None:
    lines = wrapped(title, lambda text: sum(20 if character.isascii() else 40 for character in text), width)
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert [line for line in lines if sum(20 if character.isascii() else 40 for character in line) > width] == []
    assert [line for line in lines[1:] if line[0] in "，。、；：？！）》”…"] == []
    assert [line for line in lines[:-1] if line[-1] in "（《“"] == []


def test_chinese_is_broken_behind_a_mark_rather_than_within_a_word() -> None:
    assert wrapped("训练还没完，学习率就降到 0 了", lambda text: len(text) * 10.0, 100) == ["训练还没完，", "学习率就降到 0 了"]


# In CI a missing font is a fault, as a missing browser is.
needs_font = pytest.mark.skipif(bool(why_no_cards("zh")) and not os.environ.get("CI"), reason=why_no_cards("zh") or "-")


@needs_font
@pytest.mark.parametrize("title", TITLES)
def test_a_card_is_small_and_the_same_each_time(title: str) -> None:
    from PIL import Image

    chosen = face("zh")
    assert chosen
    card = draw_card("分布式训练 and what else a section may be called, at great length, in two languages", title, chosen)
    with Image.open(io.BytesIO(card)) as image:
        assert (image.format, image.size) == ("PNG", (1200, 630))
    assert len(card) < 40_000
    assert card == draw_card(
        "分布式训练 and what else a section may be called, at great length, in two languages", title, chosen
    )


@needs_font
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_has_a_card(site: Path, language: str) -> None:
    for path in builtin_folder().glob("*/*/index.md"):
        assert read(site, f"cards/{path.parent.name}.png", language).startswith(b"\x89PNG")


@needs_font
def test_cards_are_drawn_once_and_those_of_yesterday_go(index: Index, tmp_path: Path) -> None:
    first, second = list(index.entries.values())[:2]
    files = card_files(library([first, second]), tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(written) == 2
    assert card_files(library([first, second]), tmp_path) == files
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    card_files(library([first]), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_font_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: Index) -> None:
    monkeypatch.setattr(cards, "CHINESE_FONTS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    face.cache_clear()
    try:
        assert "fonts-noto-cjk" in why_no_cards("zh")
        assert card_files(library(list(index.entries.values()), "zh"), tmp_path / "cards") == {}
    finally:
        monkeypatch.undo()
        face.cache_clear()


def text_of(page: str) -> str:
    return (ROOT / "kb" / "about" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [name for name in ABOUT if not name.endswith(".zh.md")])
def test_the_sites_own_pages_have_the_same_headings_in_both_languages(page: str) -> None:
    ids = [[id_ for _, level, _, id_ in headings(text_of(name)) if level > 1] for name in (page, page.replace(".md", ".zh.md"))]
    assert ids[0] == ids[1]
    assert None not in ids[0]


CODE = re.compile(r"^```bash\n(.*?)^```|`(kbask [^`\n]+)`", re.DOTALL | re.MULTILINE)
CALLS = [
    call
    for page in ABOUT
    for block, inline in CODE.findall(text_of(page))
    for line in (block or inline).split("\n")
    for call in line.split("; ")
    if call.startswith("kbask ")
]


@pytest.mark.parametrize("call", sorted(set(CALLS)))
def test_every_command_on_the_sites_own_pages_is_one_that_kbask_takes(call: str, index: Index) -> None:
    words = shlex.split(re.split(r" [<>] ?", call)[0])[1:]
    name, arguments = (words[0], words[1:]) if words and words[0] in group.commands else ("ask", words)
    if not arguments or arguments[-1] == "--help":
        return  # Its name alone, which is a command's, or a log and no words.
    group.commands[name].make_context(name, list(arguments))
    if name in ("show", "run"):
        id_, part, script = re.fullmatch(r"([\w-]+)(?:#([\w-]+)|/([\w.-]+))?", arguments[0]).groups()  # type: ignore[union-attr]
        entry = index.entries[id_]
        assert not part or entry.part(part, "en")
        assert not script or script in [snippet.file for snippet in entry.snippets]


TRANSCRIPTS = [
    found for page in ABOUT for found in re.findall(r"```console\n\$ (kbask [^\n]+)\n(.*?)```", text_of(page), re.DOTALL)
]


@pytest.mark.parametrize(("command", "output"), TRANSCRIPTS)
def test_a_transcript_on_the_sites_own_pages_is_what_kbask_prints(command: str, output: str) -> None:
    assert printed(command) == output.rstrip()


@pytest.mark.parametrize("page", ["write-an-entry.md", "write-an-entry.zh.md"])
def test_every_rule_and_every_key_of_an_entry_is_on_the_page_about_writing(page: str) -> None:
    rows = dict(re.findall(r"^\| (KB\d{3}) \| (.+) \|$", text_of(page), re.MULTILINE))
    assert list(rows) == list(rules.RULES)
    if page == "write-an-entry.md":
        written = {id_: " ".join((rule.__doc__ or "").split()) for id_, rule in rules.RULES.items()}
        assert {id_: text.replace("`{#like-this}`", "{#like-this}") for id_, text in rows.items()} == written
    front = text_of(page).partition("{#front-matter}")[2].partition("\n## ")[0]
    assert [key for key in rules._ENGLISH_KEYS if not re.search(rf"^{key}:|`{key}: ", front, re.MULTILINE)] == []


def test_the_example_of_an_entry_has_words_that_the_rules_take() -> None:
    import yaml

    example = re.search(r"```yaml\n---\n(.*?)---\n```", text_of("write-an-entry.md"), re.DOTALL)
    assert example
    meta = yaml.safe_load(example[1])
    assert meta["kind"] in rules.KINDS
    assert meta["severity"] in rules.SEVERITIES
    assert set(meta["stages"]) <= set(rules.STAGES)
    assert set(meta["symptoms"]) <= set(rules.SYMPTOMS)
