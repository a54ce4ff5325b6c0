"""`kbask run`: says what it runs, runs it in the user's environment, hands its exit code on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from assistant import snippets
from indexer.entry import Snippet
from indexer.errors import KbaskError, UnknownEntryError
from indexer.index import Index
from tests.conftest import Kbask

SCRIPT = """# /// script
# requires-python = ">=3.9"
# dependencies = [{dependencies}]
# ///
import os, sys
print("args", sys.argv[1:], "threads", os.environ.get("OMP_NUM_THREADS"))
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""


@pytest.fixture
def script_kb(team_kb: Path) -> Path:
    """The team's entry with a snippet that prints its arguments and exits with the first."""
    folder = team_kb / "ours" / "queue-full"
    (folder / "echo.py").write_text(SCRIPT.format(dependencies=""), encoding="utf-8")
    for name in ("index.md", "index.zh.md"):
        page = folder / name
        text = page.read_text(encoding="utf-8")
        listed = "snippets:\n  - {file: echo.py, does: check, about: echo}\n"
        text = (
            text.replace("snippets: []\n", listed)
            if "snippets: []" in text
            else text.replace("references:", listed.replace("does: check, ", "") + "references:")
        )
        page.write_text(text + "\n[echo.py](echo.py)\n", encoding="utf-8")
    return team_kb


@pytest.mark.parametrize("target", ["queue-full", "queue-full/echo", "queue-full/echo.py"])
def test_a_snippet_runs_with_its_arguments_and_its_exit_code_is_handed_on(script_kb: Path, kbask: Kbask, target: str) -> None:
    done = kbask("run", target, "--kb", str(script_kb), "--", "7", "--flag", "x y")
    assert done.returncode == 7
    assert "args ['7', '--flag', 'x y']" in done.stdout
    assert done.stderr.splitlines()[0].endswith("/ours/queue-full/echo.py")
    assert done.stderr.splitlines()[1] == "queue-full: changes nothing"


@pytest.mark.parametrize("threads", ["6", None])
def test_a_snippet_has_the_users_environment_and_not_kbasks(script_kb: Path, kbask: Kbask, threads: str | None) -> None:
    env = {"OMP_NUM_THREADS": threads} if threads else {}
    done = kbask("run", "queue-full", "--kb", str(script_kb), env=env)
    assert f"threads {threads}" in done.stdout


def test_a_dry_run_runs_nothing(script_kb: Path, kbask: Kbask) -> None:
    done = kbask("run", "queue-full", "--kb", str(script_kb), "--dry-run", "--", "7")
    assert done.returncode == 0
    assert done.stdout.split()[1:] == [str(script_kb / "ours" / "queue-full" / "echo.py"), "7"]


def test_arguments_without_two_hyphens_are_no_call(kbask: Kbask) -> None:
    done = kbask("run", "loss-zero-sft", "--lang", "en", "train.jsonl")
    assert done.returncode == 2
    assert "come after --" in done.stderr


def listed(path: Path) -> tuple[Path, Snippet]:
    return path, Snippet(path.name, "check", {"en": "", "zh": ""})


def test_missing_packages_are_named_where_nothing_can_provide_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.py").write_text(SCRIPT.format(dependencies='"no-such-package>=2", "click"'))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KbaskError, match=r"needs no-such-package>=2, which this Python lacks"):
        snippets.plan(*listed(tmp_path / "s.py"), [])


@pytest.mark.skipif(os.name == "nt", reason="a stand-in for uv is a shell script")
def test_missing_packages_come_through_uv_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.py").write_text(SCRIPT.format(dependencies='"no-such-package>=2"'))
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexit 5\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    launch = snippets.plan(*listed(tmp_path / "s.py"), ["--x"])
    assert launch.command == (str(uv), "run", "--script", str(tmp_path / "s.py"), "--x")
    assert snippets.run(launch, os.environ) == 5


def test_packages_that_are_there_need_no_uv(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCRIPT.format(dependencies='"click>=8", "PyYAML"'))
    assert snippets.plan(*listed(tmp_path / "s.py"), ["1"]).command == (sys.executable, str(tmp_path / "s.py"), "1")


def test_a_signal_becomes_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import os\nos.kill(os.getpid(), 15)\n")
    assert snippets.run(snippets.plan(*listed(tmp_path / "s.py"), []), os.environ) == 143


def test_an_unknown_snippet_is_an_error_that_names_those_there_are(index: Index) -> None:
    with pytest.raises(UnknownEntryError, match="loss-zero-sft/check_labels"):
        snippets.find(index.entries["loss-zero-sft"], "check_nothing")
