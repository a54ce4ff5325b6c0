"""The settings -> the model that writes the answer, or none: nobody waits for a model that was not asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.config import Config

if TYPE_CHECKING:
    from assistant.generation import Model

Choice = Callable[[], "Model"]


def server_folder(cache: Path) -> Path:
    """Where all that is known of this machine's model server lies."""
    return cache / "llm"


def chosen_model(config: Config, environment: Mapping[str, str], progress: Callable[[str], None]) -> Choice | None:
    """What gives the model when it is called, which may take its time and raise GenerationError; None where none was asked for.

    An address comes before this machine's own server, which is started where `llm` is on, and used where it runs already.
    """
    if config.llm is False:
        return None
    if config.llm_url:
        return lambda: _at(str(config.llm_url), config.llm_model, environment)
    if config.llm or _runs(server_folder(config.cache)):
        return lambda: _here(config, environment, progress)
    return None


def _at(url: str, name: str | None, environment: Mapping[str, str]) -> Model:
    from assistant.generation import base_url, connect, key_for

    return connect(url, name, key_for(base_url(url), environment))


def _runs(folder: Path) -> bool:
    """Whether a server of ours is there that could answer at once; one that is still loading is not waited for."""
    if not (folder / "server.lock").exists():  # The usual case costs one look at the disk.
        return False
    from assistant.llm_server import running

    state = running(folder)
    return state is not None and state.endpoint is not None


def _here(config: Config, environment: Mapping[str, str], progress: Callable[[str], None]) -> Model:
    from assistant.generation import connect
    from assistant.llm_server import DEFAULT_MODEL, Wanted, running, start

    folder = server_folder(config.cache)
    state = running(folder)
    endpoint = state.endpoint if state else None
    if endpoint is None or (config.llm and (config.llm_model or config.llm_command)):
        endpoint = start(folder, Wanted(config.llm_model or DEFAULT_MODEL, config.llm_command or ""), progress, environment)
    return connect(endpoint.url, endpoint.model, endpoint.token)
