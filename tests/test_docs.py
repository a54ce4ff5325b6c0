"""The README says what is so: every command and setting is in it, and its transcripts are what kbask prints today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assistant.cli import kbask as group
from assistant.config import ABOUT
from benchmarks.transcripts import TRANSCRIPT, printed
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSCRIPTS = [(command, output) for _, command, output in TRANSCRIPT.findall(README)]


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"`kbask {command}\b", README) or re.search(rf"^kbask {command}\b", README, re.MULTILINE)


@pytest.mark.parametrize("setting", ABOUT)
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"| `{setting}` |" in README
    assert f"`KBASK_{setting.upper()}`" in README


@pytest.mark.parametrize("target", re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
def test_every_make_target_is_documented(target: str) -> None:
    assert f"make {target}" in README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("command", "output"), TRANSCRIPTS)
def test_a_transcript_is_what_kbask_prints(command: str, output: str) -> None:
    assert printed(command) == output.rstrip()


def test_there_are_transcripts_in_both_languages() -> None:
    assert len(TRANSCRIPTS) >= 2
    assert any(re.search(r"[\u4e00-\u9fff]", output) for _, output in TRANSCRIPTS)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert Path(ROOT / target).exists(), target
