"""Every rule catches its bad example, and nothing else is wrong with the good one."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.lint import lint
from indexer.rules import RULES
from tests.conftest import Kbask

Change = Callable[[Path], None]


def replace(file: str, old: str, new: str, count: int = 1) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), encoding="utf-8")

    return change


def write(file: str, text: str) -> Change:
    def change(folder: Path) -> None:
        (folder / file).write_text(text, encoding="utf-8")

    return change


def link_to(file: str, text: str) -> Change:
    def change(folder: Path) -> None:
        write(file, text)(folder)
        replace("index.md", "The do this", f"See [this]({file}). The do this")(folder)

    return change


def copy_entry_to_another_section(folder: Path) -> None:
    shutil.copytree(folder.parent, folder.parent.parent / "theirs")


def add_entry_with_the_same_message(folder: Path) -> None:
    other = folder.parent / "other-entry"
    shutil.copytree(folder, other)
    replace("index.md", "ERR_QUEUE_FULL 77'", "another message'")(other)
    write("samples/todo-1.txt", "another message\nERR_QUEUE_FULL 77\n")(other)
    write("samples/todo-2.txt", "another message\n")(other)


BORROWED = "snippets:\n  - {file: a.py, does: check, about: b, of: queue-full}"
OUTSIDE = "snippets:\n  - {file: /etc/hostname, does: check, about: b, of: loss-zero-sft}"
LISTED = "snippets:\n  - {file: a.py, does: check, about: b}"
TODAY = f"reviewed: {datetime.date.today()}"

BAD: list[tuple[str, str, Change]] = [
    ("KB000", "no front matter", write("index.md", "# A title\n")),
    ("KB000", "a missing language", lambda folder: (folder / "index.zh.md").unlink()),
    ("KB000", "broken YAML", replace("index.md", "kind: error", "kind: [error")),
    ("KB000", "an alias", replace("index.md", "components: [pytorch]", "components: &a [pytorch]\nstages: *a")),
    ("KB001", "an unknown key", replace("index.md", "severity:", "colour: red\nseverity:")),
    ("KB001", "an English key on the Chinese page", replace("index.zh.md", "references:", "kind: error\nreferences:")),
    ("KB001", "a missing key", replace("index.md", "severity: blocks", "related: []\n#")),
    ("KB001", "a key that stands twice", replace("index.md", "related: []", "related: []\nrelated: []")),
    ("KB002", "an unknown kind", replace("index.md", "kind: error", "kind: mistake")),
    ("KB002", "a number for symptoms", replace("index.md", "symptoms: [crash]", "symptoms: 5")),
    ("KB002", "an unknown symptom", replace("index.md", "symptoms: [crash]", "symptoms: [boom]")),
    ("KB002", "a number among the asks", replace("index.md", "  - queue ask 1\n", "  - 1\n")),
    ("KB002", "a bad date", replace("index.md", "added: ", "added: about ")),
    ("KB002", "a signature with an unknown key", replace("index.md", "  - pattern:", "  - colour: red\n    pattern:")),
    ("KB003", "text before the title", replace("index.md", "# The queue-full", "Well.\n\n# The queue-full")),
    ("KB003", "a second title", replace("index.zh.md", "## 现象", "# 现象")),
    ("KB004", "headings out of order", replace("index.md", "## Check", "## Symptom")),
    ("KB004", "a heading of another kind", replace("index.zh.md", "## 验证", "## 简短回答")),
    ("KB005", "a cause without an id", replace("index.md", " {#todo-cause}", "")),
    ("KB005", "ids that differ between the languages", replace("index.zh.md", "{#todo-cause}", "{#another-cause}")),
    ("KB006", "a cause without steps", replace("index.md", "1. The do this", "Do this")),
    ("KB006", "fewer steps in one language", replace("index.md", "## Check", "2. Then that.\n\n## Check")),
    ("KB007", "a summary of three sentences", replace("index.md", 'summary: "', 'summary: "One. Two. ')),
    ("KB008", "too few asks", replace("index.md", "  - queue ask 7\n", "")),
    ("KB008", "an ask that stands twice", replace("index.zh.md", "queue 问法 7\n", "queue 问法 8\n")),
    ("KB009", "a look-ahead", replace("index.md", "'ERR_QUEUE_FULL 77'", "'ERR_QUEUE_FULL(?= 77)'")),
    ("KB009", "an inline flag", replace("index.md", "'ERR_QUEUE_FULL 77'", "'(?i)ERR_QUEUE_FULL 77'")),
    ("KB009", "a back-reference", replace("index.md", "'ERR_QUEUE_FULL 77'", r"'ERR_QUEUE_FULL (7)\1'")),
    ("KB009", "too little that is literal", replace("index.md", "'ERR_QUEUE_FULL 77'", "'ERR.*77'")),
    ("KB009", "a large repetition", replace("index.md", "'ERR_QUEUE_FULL 77'", "'ERR_QUEUE_FULL.{0,500}77'")),
    ("KB009", "a cause that is not there", replace("index.md", "77'", "77'\n    cause: unknown-cause")),
    ("KB010", "a sample that no signature finds", write("samples/todo-1.txt", "all is well\n")),
    ("KB010", "one sample", lambda folder: (folder / "samples" / "todo-2.txt").unlink()),
    ("KB010", "a signature in no sample", replace("index.md", "77'", "77'\n  - pattern: 'never printed'")),
    ("KB011", "a signature that fires on another entry's sample", add_entry_with_the_same_message),
    ("KB012", "a snippet that is not listed", write("check_queue.py", "# /// script\n# ///\n")),
    ("KB012", "a snippet that is not there", replace("index.md", "snippets: []", LISTED)),
    ("KB012", "a snippet of an entry that has none", replace("index.md", "snippets: []", BORROWED)),
    ("KB012", "a snippet outside the folder", replace("index.md", "snippets: []", OUTSIDE)),
    ("KB013", "a link longer than a path", replace("index.md", "The do this", f"See [this]({'x' * 5000}). The do this")),
    ("KB013", "a dead link", replace("index.md", "The do this", "See [this](missing.md). The do this")),
    ("KB013", "a link out of the folder", replace("index.md", "The do this", "See [this](../../../x). The do this")),
    ("KB013", "a dead heading", replace("index.md", "The do this", "See [this](#nowhere). The do this")),
    ("KB013", "a page that is no reference", replace("index.md", "The do this", "See <https://example.org>. The do this")),
    ("KB013", "references that differ", replace("index.zh.md", "example.com/queue", "example.com/other")),
    ("KB014", "a dead id", replace("index.md", "related: []", "related: [never-heard-of]")),
    ("KB014", "an id that stands twice", copy_entry_to_another_section),
    ("KB015", "a day to come", replace("index.md", "reviewed: 20", "reviewed: 21")),
    ("KB015", "reviewed before it was added", replace("index.md", TODAY, "reviewed: 2020-01-01")),
    ("KB016", "something left to do", replace("index.md", "The do this", "TODO: do this")),
    ("KB017", "a section without its line", write("../index.md", "# ours\n")),
    ("KB018", "a long heading", replace("index.md", "the likeliest cause", "the likeliest cause " * 5)),
    ("KB018", "a long first sentence", replace("index.md", "do this first.", "do this first, and " * 20 + "that.")),
    ("KB019", "an escape code in a title", replace("index.md", "# The queue-full", "# The \x1b[31mqueue-full")),
    ("KB019", "an escaped one in the summary", replace("index.md", 'summary: "', r'summary: "\e[31m')),
    ("KB020", "a line without end", replace("index.md", "The do this", "The " + "do " * 5000)),
    ("KB020", "a thousand asks", replace("index.md", "  - queue ask 1\n", "".join(f"  - ask {i}\n" for i in range(1000)))),
    ("KB020", "a thousand headings", replace("index.zh.md", "## 验证", "### a {#a}\n" * 1000)),
    ("KB009", "a repetition that is repeated", replace("index.md", "'ERR_QUEUE_FULL 77'", "'ERR_QUEUE_FULL (?:[0-9]+[0-9 ]*)+77'")),
    ("KB021", "HTML", replace("index.md", "The do this", "The <img src=x onerror=alert(1)> do this")),
    ("KB021", "an end of a heading", replace("index.zh.md", "## 验证", "</h1>\n\n## 验证")),
    ("KB021", "a comment", replace("index.md", "The do this", "The <!-- box --> do this")),
    ("KB021", "attributes", replace("index.md", "The do this", "The *do*{: onmouseover=alert(1) } this")),
    ("KB021", "a link defined apart", replace("index.md", "## Check", "[y]: javascript:alert(1)\n\n## Check")),
    ("KB021", "HTML between code that only seems to be", replace("index.md", "The do this", "The `` ` `` <b> `` ` `` do this")),
    ("KB021", "code that ends on another line", replace("index.md", "The do this", "The `a\n   b` <b> `c` do this")),
    ("KB021", "a link to a page", link_to("evil.html", "<script>alert(1)</script>")),
    ("KB021", "a picture with a script", link_to("evil.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")),
    ("KB000", "a tag", replace("index.md", "related: []", "related: !!bool x")),
    ("KB009", "a pattern without end", replace("index.md", "'ERR_QUEUE_FULL 77'", f"'ERR_QUEUE_FULL 77{'|aaaaaaa' * 99}'")),
]  # fmt: skip


def test_a_good_entry_has_no_faults(team_kb: Path) -> None:
    assert lint(team_kb) == (1, [])


@pytest.mark.parametrize(("code", "what", "change"), BAD, ids=[f"{code} {what}" for code, what, _ in BAD])
def test_a_bad_example_is_caught_by_its_rule(team_kb: Path, code: str, what: str, change: Change) -> None:
    change(team_kb / "ours" / "queue-full")
    faults = lint(team_kb)[1]
    assert code in {fault.code for fault in faults}, faults
    for fault in faults:
        assert Path(fault.path).is_file() or fault.code == "KB000"
        assert fault.line >= 1


def test_every_rule_has_a_bad_example_and_a_documentation() -> None:
    assert set(RULES) <= {code for code, _, _ in BAD}
    assert all(rule.__doc__ and rule.__doc__.rstrip().endswith(".") for rule in RULES.values())


def test_the_command_prints_path_line_code_and_message_and_exits_1(team_kb: Path, kbask: Kbask) -> None:
    replace("index.md", "kind: error", "kind: mistake")(team_kb / "ours" / "queue-full")
    done = kbask("lint", str(team_kb))
    line = (
        (team_kb / "ours" / "queue-full" / "index.md").read_text().split("\n").index("kind: mistake  # error | symptom | guide")
    )
    expected = f"{team_kb}/ours/queue-full/index.md:{line + 1} KB002 kind is mistake; wanted is one of error, symptom, guide\n"
    assert (done.returncode, done.stdout) == (1, expected)


def test_one_entry_alone_can_be_linted(team_kb: Path, kbask: Kbask) -> None:
    done = kbask("lint", str(team_kb / "ours" / "queue-full"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 entries, 0 faults\n")


def test_what_pip_compiles_is_no_fault(team_kb: Path) -> None:
    compiled = team_kb / "ours" / "queue-full" / "__pycache__"
    compiled.mkdir()
    (compiled / "check_queue.cpython-311.pyc").write_bytes(b"\0\1\2")
    assert lint(team_kb)[1] == []


@pytest.mark.parametrize("kind", ["error", "guide"])
def test_a_new_draft_lints_clean_but_for_its_todos(tmp_path: Path, kbask: Kbask, kind: str) -> None:
    made = kbask("new", "memory/a-new-entry", "--kind", kind, "--into", str(tmp_path))
    assert made.returncode == 0
    assert {Path(line).is_file() for line in made.stdout.splitlines()} == {True}
    assert {fault.code for fault in lint(tmp_path)[1]} == {"KB016"}
    again = kbask("new", "memory/a-new-entry", "--into", str(tmp_path))
    assert again.returncode == 1
    assert "exists already; nothing was written" in again.stderr
