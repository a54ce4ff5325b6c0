"""Commands for who writes entries or minds the knowledge base: new, import, lint, index, eval, export-site."""

from __future__ import annotations

import sys
from typing import Any

import click

from assistant.console import (
    collection_options,
    echo,
    json_option,
    kb_option,
    open_index,
    print_json,
    print_markdown,
    read_config,
    say,
)


@click.command()
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


@click.command(name="import")
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


@click.command()
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


@click.command()
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


@click.command(name="eval", cls=EvalCommand)
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


@click.command(name="export-site")
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
    whole = click.get_current_context().find_root().command
    assert isinstance(whole, click.Group)
    for text in collection.notices:
        say(f"kbask: {text}")
    staged = stage(
        collection,
        folders,
        Path.cwd(),
        Path(out).expanduser(),
        command_line(whole),
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


def plain_fields(taken: Any) -> dict[str, Any]:
    """What was taken from a question, without the question itself."""
    return {name: value for name, value in vars(taken).items() if name != "question"}


AUTHORS = (new, import_, lint, index, eval_, export_site)
