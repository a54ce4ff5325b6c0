"""The staged site: what is in its trees, that MkDocs builds them without a word, and that nothing else is touched."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import pytest
import yaml

from assistant.cli import kbask as group
from assistant.reference import command_line
from indexer.entry import LANGUAGES, builtin_folder, entry_folders, headings, read_source
from indexer.errors import ConfigError, EntryError
from indexer.index import read_collection
from indexer.markup import code, escape, fence, tidy, with_front_matter, with_ids
from indexer.publish import Staged, read_own_pages, read_words, stage
from tests.browser import run_mkdocs
from tests.conftest import ROOT, Kbask

ENTRIES = [folder.name for folder in entry_folders(builtin_folder())]
ADDRESS = "https://kb.example.org/"


def put(out: Path, folders: list[Path] | None = None, site_url: str = "", assistant_url: str = "") -> Staged:
    """Stage the built-in entries, or those of `folders`, into `out`."""
    folders = folders or [builtin_folder()]
    return stage(read_collection(folders), folders, ROOT, out, command_line(group), site_url, assistant_url)


@dataclass(frozen=True)
class Site:
    """The built-in entries, staged and built, and what MkDocs said."""

    out: Path
    said: str

    def staged(self, language: str, path: str) -> str:
        return (self.out / "docs" / language / path).read_text(encoding="utf-8")

    def page(self, language: str, address: str) -> Headings:
        root = self.out / "site" if language == "en" else self.out / "site" / language
        return Headings((root / address / "index.html").read_text(encoding="utf-8"))


class Headings(HTMLParser):
    """A page's ids, its headings as (tag, id), and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[tuple[str, str | None]] = []
        self.source = page
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        id_ = dict(attrs).get("id")
        if id_:
            self.ids.append(id_)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, id_))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    out = tmp_path_factory.mktemp("site")
    put(out, site_url=ADDRESS)
    return Site(out, run_mkdocs(out))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def front_matter(page: str) -> dict[str, Any]:
    """Front matter as MkDocs finds and reads it."""
    match = re.match(r"-{3}[ \t]*\n(.*?\n)(?:-{3}|\.{3})[ \t]*\n", page, re.DOTALL)
    assert match
    data: dict[str, Any] = yaml.safe_load(match[1])
    return data


def html(text: str) -> str:
    return markdown.markdown(text, extensions=["attr_list", "tables", "pymdownx.superfences", "toc"])


# The trees


def test_a_strict_build_of_both_languages_is_silent(site: Site) -> None:
    assert site.said == ""


def test_both_trees_have_the_same_pages_and_files(site: Site) -> None:
    english, chinese = (set(files(site.out / "docs" / language)) for language in LANGUAGES)
    assert english - chinese == {"data/engine.json", "entries.json", "robots.txt"}
    assert {path for path in chinese - english if not path.startswith("cards/")} == set()


def test_every_heading_has_an_id_which_is_alike_in_both_languages_and_stands_once(site: Site) -> None:
    for path in files(site.out / "docs" / "en"):
        if path.endswith(".md"):
            marks = [[(level, id_) for _, level, _, id_ in headings(site.staged(language, path))] for language in LANGUAGES]
            assert marks[0] == marks[1], path
            assert all(id_ for _, id_ in marks[0]), path
            english, chinese = (site.page(language, re.sub(r"(^|/)index$", "", path[:-3])) for language in LANGUAGES)
            assert english.headings == chinese.headings, path
            for page in (english, chinese):
                assert len(page.ids) == len(set(page.ids)), path


def bare(text: str) -> str:
    """Markdown without what staging changes: white space, the targets of links, ids."""
    return re.sub(r"\s|\{#[\w-]+\}", "", re.sub(r"\]\([^)]*\)", "]", text))


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_keeps_its_words_and_offers_its_scripts(site: Site, entry: str) -> None:
    source = read_source(next(builtin_folder().glob(f"*/{entry}")))
    for language in LANGUAGES:
        assert bare(source.body[language]) in bare(site.staged(language, f"entries/{entry}.md"))
        for item in source.meta["en"].get("snippets", ()):
            owner = item.get("of", entry)
            root = site.out / "site" if language == "en" else site.out / "site" / language
            assert (root / "entries" / owner / item["file"]).is_file()
            link = rf'<a class="kb-download" download[^>]* href="[^"]*{item["file"]}"'
            assert re.search(link, site.page(language, f"entries/{entry}").source)
            assert f"kbask run {owner}" in site.staged(language, f"entries/{entry}.md")


def test_a_link_to_an_entry_that_is_not_written_yet_is_text(site: Site) -> None:
    related = front_matter(site.staged("en", "entries/loss-zero-sft.md"))["entry"]["related"]
    planned = next(item for item in related if not item["written"])
    assert f"- {escape(planned['title'])} (not written yet)" in site.staged("en", "entries/loss-zero-sft.md")
    assert f"({planned['id']}.md)" not in site.staged("en", "entries/loss-zero-sft.md")


def test_the_coverage_page_counts_every_entry_and_every_plan(site: Site) -> None:
    page = site.staged("en", "about/coverage.md")
    catalogue = yaml.safe_load((builtin_folder() / "catalogue.yaml").read_text(encoding="utf-8"))
    slugs = {item["slug"] for items in catalogue.values() for item in items}
    for slug in slugs:
        assert f"entries/{slug}.md" in page if slug in ENTRIES else f"`{slug}`" in page
    assert re.search(rf"^\| Total \| {len(ENTRIES)} \| {len(slugs - set(ENTRIES))} \|$", page, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_is_on_the_page_of_the_command_line(site: Site, command: str) -> None:
    for language in LANGUAGES:
        page = site.staged(language, "about/command-line.md")
        assert f"\n## kbask {command} {{#kbask-{command}}}\n" in page
        for option in group.commands[command].params:
            assert all(name in page for name in option.opts if name.startswith("--"))


def test_every_page_has_a_markdown_copy_at_its_address(site: Site) -> None:
    copies = set(files(site.out / "markdown"))
    for path in files(site.out / "docs" / "en"):
        if path.endswith(".md"):
            copy = "index.md" if path == "index.md" else re.sub(r"/index\.md$", ".md", path)
            assert {copy, f"zh/{copy}"} <= copies


def test_links_of_the_markdown_copies_lead_to_copies_or_files(site: Site) -> None:
    for language, root in (("en", site.out / "markdown"), ("zh", site.out / "markdown" / "zh")):
        for path in root.rglob("*.md"):
            if language == "en" and "zh" in path.relative_to(root).parts:
                continue
            prose = re.sub(r"(?ms)^ *(`{3,}).*?^ *\1$|`[^`\n]*`", "", path.read_text(encoding="utf-8"))
            for target in re.findall(r"\]\(([^)<#:]+)(?:#[^)]*)?\)", prose):
                beside = os.path.relpath(path.parent / target, root)
                assert (root / beside).is_file() or (site.out / "docs" / language / beside).is_file(), f"{path}: {target}"


def test_without_an_address_nothing_claims_one(tmp_path: Path) -> None:
    put(tmp_path)
    staged = files(tmp_path)
    assert not any(path.endswith(("feed.xml", "sitemap.xml", "robots.txt")) or "/cards/" in path for path in staged)
    assert b"site_url" not in staged["mkdocs.en.yml"] + staged["mkdocs.zh.yml"]
    assert "card" not in front_matter(staged["docs/en/entries/loss-zero-sft.md"].decode())["entry"]


# The build folder


def test_a_second_staging_writes_nothing(tmp_path: Path) -> None:
    first = put(tmp_path)
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in files(tmp_path) if path != "staged.json"}
    second = put(tmp_path)
    assert (second.written, second.unchanged, second.removed) == (0, first.written, 0)
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in before} == before


def test_stale_files_go_and_files_of_others_stay(tmp_path: Path, team_kb: Path) -> None:
    put(tmp_path, [builtin_folder(), team_kb])
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "docs" / "en" / "mine.md").write_text("mine", encoding="utf-8")
    assert (tmp_path / "docs" / "zh" / "sections" / "ours" / "index.md").is_file()
    assert put(tmp_path).removed > 0
    left = [path for path in files(tmp_path) if not path.startswith("team-kb/")]
    assert {"notes.txt", "docs/en/mine.md"} <= set(left)
    assert not [path for path in left if "queue-full" in path or "ours" in path]
    assert not (tmp_path / "docs" / "zh" / "sections" / "ours").exists()


def test_a_folder_that_holds_other_docs_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="was not written by kbask export-site"):
        put(tmp_path)
    assert files(tmp_path) == {"docs/index.md": b"mine"}


@pytest.mark.parametrize("out", ["file/build", "theirs"])
def test_a_build_folder_that_cannot_be_one_is_wrong_usage_in_one_line(kbask: Kbask, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "theirs" / "docs").mkdir(parents=True)
    done = kbask("export-site", "--out", str(tmp_path / out))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"kbask: --out: .*another folder\.\n", done.stderr)


def test_nothing_outside_the_build_folder_is_touched(tmp_path: Path, team_kb: Path) -> None:
    """Not even where an overlay links a file outside its folder."""
    secret = team_kb.parent / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    page = team_kb / "ours" / "queue-full" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[up](../../../secret.txt)\n", encoding="utf-8")
    before = files(team_kb)
    out = tmp_path / "deep" / "build"
    put(out, [team_kb])
    assert files(team_kb) == before
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"build"}
    assert b"secret" not in {data for path, data in files(out).items() if path.endswith(".txt")}


def test_the_site_needs_no_plugin_no_hook_and_no_method_in_a_template() -> None:
    """So that the theme's successor, whose templates have filters alone, builds it too."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["plugins"] == []
    assert "hooks" not in config
    for path in (ROOT / "site" / "overrides").rglob("*.html"):
        for tag in re.findall(r"\{[{%](.*?)[%}]\}", path.read_text(encoding="utf-8"), re.DOTALL):
            called = set(re.findall(r"(\w+\.\w+)\(", tag))
            # `lang` and `kb` are macros, imported as in the theme's own templates.
            assert not [name for name in called if not name.startswith(("lang.", "kb."))], (path, tag)


def test_an_overlay_is_staged_and_builds(tmp_path: Path, team_kb: Path) -> None:
    """Its title and section's name are those of somebody who does not think of YAML, Markdown or addresses."""
    title = '"]: {hostile} `code` --- #\u2028 | <script>alert(1)</script> *a* {#x}'
    for page in (team_kb / "ours" / "queue-full").glob("index*.md"):
        text = re.sub(r"^# .*$", lambda _: f"# {title}", page.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
        page.write_text(text.replace("components: [", 'components: ["C++ / CUDA", "..", '), encoding="utf-8")
    (team_kb / "ours").rename(team_kb / "Our Team: notes")
    put(tmp_path, [team_kb])
    staged = (tmp_path / "docs" / "en" / "entries" / "queue-full.md").read_text(encoding="utf-8")
    assert front_matter(staged)["title"].startswith('"]: {hostile}')
    assert front_matter(staged)["entry"]["section"]["id"] == "our-team-notes"
    assert run_mkdocs(tmp_path) == ""
    # Its own page holds its own Markdown, which kbask lint refuses for this; no other page may.
    pages = [path for path in (tmp_path / "site").rglob("*.html") if path.parent.name != "queue-full"]
    assert [path for path in pages if "<script>alert" in path.read_text(encoding="utf-8")] == []
    assert len(pages) > 30


# Markdown


@pytest.mark.parametrize(
    "title", ["a: b", "---", "...", '"', "\\", "\u2028\x85", "{{ x }}", "# no", "- no", "null", "\U0001f600", "\ud83d"]
)
def test_no_title_breaks_the_front_matter(title: str) -> None:
    page = with_front_matter({"title": title, "groups": [{"title": title}]}, "body")
    assert front_matter(page) == {"title": title, "groups": [{"title": title}]} or title == "\ud83d"


@pytest.mark.parametrize(
    "text", ["_a_ *b* [c](d)", "a_b_c", "<b>", "&amp;", "| x |", "1. x", "- x", "# x", "`x", "\\n", "{#id}", "![x](y)"]
)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    shown = re.sub(r"<[^>]+>", "", html(f"- {escape(text)}")).strip()
    assert shown.replace("&lt;", "<").replace("&gt;", ">").replace("&#124;", "|").replace("&amp;", "&") == text


def test_a_script_with_backticks_stays_in_its_fence() -> None:
    source = 'print("""\n```\n````\n""")'
    assert html(fence(source, "python") + "\n\nafter").count("<pre>") == 1
    assert html(code("a ``b`` c`")) == "<p><code>a ``b`` c`</code></p>"


def test_a_list_a_table_and_a_fence_need_no_empty_lines() -> None:
    text = "Words:\n- one\n- two\n\n1. step\n    ```bash\n    x\n    ```\n    after\n2. step\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    made = html(tidy(text, "en"))
    assert [made.count(tag) for tag in ("<ul>", "<ol>", "<li>", "<pre>", "<table>")] == [1, 1, 4, 1, 1]


def test_chinese_paragraphs_have_no_spaces_where_lines_end() -> None:
    assert tidy("第一行，\n第二行\n第三行 word\nand more。\n\n```text\n中文\n中文\n```", "zh") == (
        "第一行，第二行第三行 word\nand more。\n\n```text\n中文\n中文\n```"
    )
    assert tidy("- 一\n- 二\n\n| 一 |\n| --- |\n| 二 |", "zh") == "- 一\n- 二\n\n| 一 |\n| --- |\n| 二 |"


def test_braces_of_a_heading_are_not_taken_for_its_attributes() -> None:
    assert html(with_ids("## Set {a: b} `{c}`", ["own"])) == '<h2 id="own">Set {a: b} <code>{c}</code></h2>'


# Its sources


def test_words_in_one_language_only_are_named(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("en: {a: x, b: {c: x}}\nzh: {a: x, b: {d: x}}\n", encoding="utf-8")
    with pytest.raises(EntryError, match=r"in one language only: b\.c, b\.d"):
        read_words(path)


def test_a_page_whose_languages_differ_in_headings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\n## B\n", encoding="utf-8")
    (tmp_path / "a.zh.md").write_text("# A\n", encoding="utf-8")
    with pytest.raises(EntryError, match="headings of the levels"):
        read_own_pages(tmp_path)


# The command


def test_the_command_says_what_it_wrote_and_what_comes_next(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("export-site", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ pages in .*: \d+ files written, 0 as before, 0 taken away\n", done.stdout)
    assert "without --site-url" in done.stderr
    assert f"mkdocs build --strict -f {tmp_path / 'mkdocs.en.yml'}" in done.stderr


def test_an_address_that_is_none_is_wrong_usage(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("export-site", "--out", str(tmp_path), env={"KBASK_SITE_URL": "kb.example.org"})
    assert (done.returncode, files(tmp_path)) == (2, {})
    assert "is no address like https://" in done.stderr


def test_outside_a_checkout_it_says_so(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("export-site", cwd=tmp_path)
    assert done.returncode == 1
    assert "Run it in a checkout of kbask" in done.stderr
    assert not (tmp_path / "build").exists()


def test_120_entries_are_staged_and_built_within_a_minute(tmp_path: Path) -> None:
    """Seconds of the processor, which other tests at the same time do not change: about 40 of them, half for highlighting scripts."""
    many = tmp_path / "many"
    for number in range(8):
        for folder in entry_folders(builtin_folder()):
            name = folder.name if number == 0 else f"{folder.name}-{number}"
            shutil.copytree(folder, many / folder.parent.name / name)
    assert len(entry_folders(many)) >= 120
    start = sum(os.times()[:4])
    put(tmp_path / "out", [many])
    assert run_mkdocs(tmp_path / "out") == ""
    assert sum(os.times()[:4]) - start < 60
