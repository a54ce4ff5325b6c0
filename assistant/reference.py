"""The commands of kbask -> the page that documents them, made from their own help so that it cannot fall behind."""

from __future__ import annotations

import inspect
import re

import click

from indexer.entry import Language
from indexer.markup import code, escape, fence, table

TITLES: dict[Language, str] = {"en": "Command line", "zh": "命令行"}
INTRODUCTIONS: dict[Language, str] = {
    "en": "Every command, as `kbask COMMAND --help` prints it.",
    "zh": (
        '以下内容由各命令的 `--help` 生成，只有英文。提问不用写命令名：`kbask "微调时 loss 变成 0"`；日志从管道或文件送进来：'
        "`kbask < train.log`。回答的语言跟着问题走，也可以用 `--lang zh` 指定。\n\n"
        "退出码：0 有答案，1 出错，2 用法不对，3 没有合适的条目。"
    ),
}
HEADS: dict[Language, tuple[str, str]] = {"en": ("Option", "What it does"), "zh": ("选项", "作用")}


def command_line(group: click.Group) -> dict[Language, str]:
    """The page's body in each language; the help itself is English in both."""
    top = click.Context(group, info_name="kbask", **group.context_settings)
    contexts = [top, *(click.Context(group.commands[name], top, f"kbask {name}") for name in sorted(group.commands))]
    return {
        language: "\n\n".join(
            [f"# {title} {{#command-line}}", INTRODUCTIONS[language], *(_command(context, language) for context in contexts)]
        )
        for language, title in TITLES.items()
    }


def _command(context: click.Context, language: Language) -> str:
    """A command's part of the page: what it does, its usage, examples and options."""
    name, command = str(context.info_name), context.command
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    blocks = [f"## {name} {{#{name.replace(' ', '-')}}}", fence(usage, "text")]
    # A paragraph after \b is laid out by lines; here those are the examples.
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            blocks.append(fence(inspect.cleandoc("\n" + paragraph.partition("Examples:\n")[2]), "bash"))
        else:
            blocks.append(_paragraph(paragraph))
    rows = []
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record and isinstance(option, click.Option) and (context.parent is None or "--help" not in option.opts):
            rows.append((code(record[0]), escape(record[1])))
    return "\n\n".join([*blocks, table(HEADS[language], rows)])


def _paragraph(text: str) -> str:
    """A paragraph of help as Markdown; what stands in backticks there is code here."""
    return "".join(part if part.startswith("`") else escape(part) for part in re.split(r"(`[^`]+`)", " ".join(text.split())))
