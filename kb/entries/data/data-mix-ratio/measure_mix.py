# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Measure what an SFT mix is made of, and plan how often to take each part to reach wanted shares.

Goes in: JSON Lines (or JSON array) files of messages, conversations, instruction/input/output, prompt/completion and
the like; or a table of lines `name,rows`. Comes out: rows and trained tokens by language, task, source and file, their
lengths, duplicates; with --want or --cap a plan: rows to take, repeats, and probabilities for interleave_datasets.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import statistics
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
KINDS = ("language", "task", "source", "file")
TOLERANCE = 0.02  # a share may miss the wanted one by 2 points
DUPLICATES = 0.01  # of the rows; more is a fault
MAX_COMPARED = 2_000_000  # rows that are compared with each other
MAX_ARRAY = 512 * 1024 * 1024  # bytes; a JSON array cannot be streamed
MAX_GROUPS = 1000
PROMPT_KEYS = ("instruction", "prompt", "question", "query", "human", "input")
ANSWER_KEYS = ("output", "completion", "response", "answer", "target", "assistant")
ASSISTANT = ("assistant", "gpt", "bot", "model")
EXAMPLE = """train,2015045 firefly-train-1.1M,1645916 Belle,1429442 data,886545 multiturn,831015 ultrachat,682847
Belle.train,540702 generated,396001 guanaco,251518 school,248300 HealthCareMagic-200k,207407 alpaca,204164
comparision,103989 instinwild,103607 general,93043 sg,76838 stackoverflow,57046 quora,54454 medical,47107 final,44206
all,36711 paper,29012 gpt4-instruct-dedupe-only,18088 unified,15815 icliniq-15k,15134 databricks-dolly-15k,14974
chatalpaca,9997 toolformer-dedupe-only,7655 GenMedGPT-5k,5452 roleplay-simple-deduped,3146 reasoning,800 hotels,400
restaurants,245 event,240"""

ALPHABET = r"A-Za-z\u00c0-\u02af\u0370-\u1fff"
TOKEN = re.compile(rf"[{ALPHABET}0-9_]+|\S")  # a word, or one sign or Chinese character
HAN, KANA, WORD = re.compile(r"[\u3400-\u9fff]"), re.compile(r"[\u3040-\u30ff]"), re.compile(rf"[{ALPHABET}]+")
ENGLISH = re.compile(r"\b(?:the|of|and|to|is|in|that|it|you|for|a|are|with|this|what|how|be|can)\b", re.IGNORECASE)
FENCE = re.compile(r"```.*?(?:```|$)", re.DOTALL)
CODE = re.compile(r"```|^(?:def|class|import|from|#include|function|public|SELECT)\b", re.MULTILINE)
MATHS = re.compile(r"\\boxed|\\frac|\$\$|\d\s*[-+*/×÷=]\s*\d")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class UsageError(Exception):
    """Input that cannot be measured, said in one line."""


@dataclass
class Group:
    """What one language, task, source or file holds."""

    rows: int = 0
    tokens: int = 0
    lengths: array = field(default_factory=lambda: array("I"))


@dataclass
class Mix:
    groups: dict[str, dict[str, Group]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    rows: int = 0
    untrained: int = 0
    duplicates: int = 0
    compared: int = 0
    switched: int = 0


def rows_of(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and value of each row; a file that begins with [ is one JSON array."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        if stream.read(1) == "[":
            if path.stat().st_size > MAX_ARRAY:
                raise UsageError(f"{path} is one array of more than 512 MiB; give it as .jsonl, one row a line")
            stream.seek(0)
            yield from enumerate(parse(stream.read().lstrip("\ufeff"), str(path)), 1)
            return
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            if line.strip("\ufeff \r\n\t"):
                yield number, parse(line.lstrip("\ufeff"), f"{path}:{number}")


def parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {error}") from error


def turns_of(row: Any) -> list[tuple[bool, str]]:
    """(is trained, text) of each turn, in order; empty where no known form is met."""
    if not isinstance(row, dict):
        return []
    for key in ("messages", "conversations", "conversation"):
        if isinstance(row.get(key), list):
            return [turn for message in row[key] if isinstance(message, dict) for turn in turns_of_message(message)]
    if isinstance(row.get("text"), str):
        return [(True, row["text"])]
    prompt = "\n".join(text for key in PROMPT_KEYS for text in texts(row.get(key)))
    history = row.get("history") if isinstance(row.get("history"), list) else []
    past = [(bool(index % 2), str(text)) for pair in history if isinstance(pair, list) for index, text in enumerate(pair[:2])]
    return past + [(False, prompt)] * bool(prompt) + [(True, text) for key in ANSWER_KEYS for text in texts(row.get(key))]


def turns_of_message(message: dict) -> list[tuple[bool, str]]:
    role = str(message.get("role", message.get("from", ""))).lower()
    if role:
        return [(role in ASSISTANT, text) for text in texts(message.get("content", message.get("value")))]
    return [(key in ANSWER_KEYS, text) for key in message for text in texts(message[key])]  # {"human": , "assistant": }


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = value.get("text", value.get("content"))
    if isinstance(value, str):
        return [value]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


def language_of(text: str) -> str:
    """zh, en, other or none; code in fences does not count, and a word weighs as much as 1.5 Chinese characters."""
    text = FENCE.sub(" ", text[:20000])
    han, kana, words = (len(pattern.findall(text)) for pattern in (HAN, KANA, WORD))
    if not han and not kana and not words:
        return "none"
    if han + kana > 1.5 * words:
        return "zh" if kana < 0.1 * han else "other"
    return "en" if words < 12 or len(ENGLISH.findall(text)) > 0.06 * words else "other"


def task_of(row: dict, turns: list[tuple[bool, str]]) -> str:
    """The task that the row names, else what its answers look like."""
    for key in ("task", "category", "kind", "type"):
        if isinstance(row.get(key), str) and row[key]:
            return row[key][:60]
    answers = [text for trained, text in turns if trained]
    sample = "\n".join(answers)[:20000]
    if CODE.search(sample):
        return "code"
    if len(MATHS.findall(sample)) > 1:
        return "maths"
    return "dialogue" if len(answers) > 1 else "single turn"


def token_counter(path: Path | None) -> Callable[[str], int]:
    """Counts with the tokenizer given; else words, signs and Chinese characters, one each."""
    if path is None:
        return lambda text: sum(1 for _ in TOKEN.finditer(text))
    try:
        from tokenizers import Tokenizer
    except ImportError:
        print("measure_mix: --tokenizer needs a package: pip install tokenizers", file=sys.stderr)
        sys.exit(CANNOT_TELL)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises no narrower class
        raise UsageError(f"{path} is no tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def measure(options: argparse.Namespace) -> Mix:
    """One pass over the files."""
    mix, seen, count = Mix(), set(), token_counter(options.tokenizer)
    for path in options.files:
        for number, row in rows_of(path):
            turns = turns_of(row)
            if not turns:
                raise UsageError(f"{path}:{number} has none of the known forms; wanted are messages, or a prompt and an answer")
            position = trained = 0
            for is_answer, text in turns:
                length = count(text)
                trained += min(length, max(0, options.max_length - position)) if is_answer else 0
                position += length
            language = language_of("\n".join(text for is_answer, text in turns if is_answer))
            asked = next((language_of(text) for is_answer, text in turns if not is_answer), language)
            mix.rows += 1
            mix.untrained += not trained
            mix.switched += {asked, language} == {"zh", "en"}
            source = row.get(options.source_key)
            names = {"language": language, "task": task_of(row, turns), "source": path.stem, "file": path.stem}
            if isinstance(source, str) and source:
                names["source"] = source
            for kind, name in names.items():
                groups = mix.groups[kind]
                group = groups.setdefault(name if name in groups or len(groups) < MAX_GROUPS else "(further ones)", Group())
                group.rows += 1
                group.tokens += trained
                group.lengths.append(trained)
            if mix.compared < MAX_COMPARED:
                mix.compared += 1
                key = hash(tuple(turns))
                mix.duplicates += key in seen
                seen.add(key)
    if not mix.rows:
        raise UsageError("there is no row in the files given")
    return mix


def read_counts(text: str, where: str) -> dict[str, Group]:
    """A table of lines `name,rows`; a heading is skipped."""
    groups: dict[str, Group] = {}
    for line in filter(str.strip, text.splitlines()):
        name, _, rows = line.rpartition(",")
        if rows.strip().isdigit() and name.strip():
            groups[name.strip().strip('"')] = Group(rows=int(rows), tokens=int(rows))
        elif groups:
            raise UsageError(f"{where}: {line[:60]!r} is no line `name,rows`")
    if not sum(group.rows for group in groups.values()):
        raise UsageError(f"{where} holds no line `name,rows`")
    return groups


def wanted_shares(groups: dict[str, Group], want: str, by: str) -> dict[str, float]:
    """Group -> wanted share of the trained tokens, of those that are named."""
    shares: dict[str, float] = {}
    for part in want.split(","):
        name, _, number = part.strip().rpartition("=")
        if name not in groups or not groups[name].tokens:
            raise UsageError(f"--want names {name or part!r}; by {by} there is {', '.join(sorted(groups)[:20])}")
        if not re.fullmatch(r"\d+(\.\d+)?", number) or not float(number):
            raise UsageError(f"--want: {part!r} is not NAME=NUMBER")
        shares[name] = float(number)
    return {name: number / sum(shares.values()) for name, number in shares.items()}


def plan_shares(groups: dict[str, Group], shares: dict[str, float], options: argparse.Namespace) -> dict[str, Any]:
    """Rows of each group for the wanted shares; without a budget as many as the scarcest group allows."""
    scarce = min(shares, key=lambda name: groups[name].tokens / shares[name])
    once = groups[scarce].tokens / shares[scarce]  # tokens of the largest mix without repeats
    total = options.budget or once * options.max_repeats
    rows = {name: round(share * total / groups[name].tokens * groups[name].rows) for name, share in shares.items()}
    return {"scarcest": scarce, "tokens_without_repeats": round(once), **plan_rows(groups, rows)}


def plan_rows(groups: dict[str, Group], rows: dict[str, int]) -> dict[str, Any]:
    everything = sum(rows.values()) or 1
    tokens = {name: number * groups[name].tokens / groups[name].rows for name, number in rows.items()}
    parts = {
        name: {
            "rows": number,
            "repeats": number / groups[name].rows,
            "whole": number // groups[name].rows,
            "extra": number % groups[name].rows,
            "share": tokens[name] / (sum(tokens.values()) or 1),
            "probability": number / everything,
        }
        for name, number in rows.items()
    }
    return {"rows": sum(rows.values()), "tokens": round(sum(tokens.values())), "parts": parts}


def find_faults(mix: Mix, groups: dict[str, Group], shares: dict[str, float], plan: dict[str, Any], most: float) -> list[str]:
    faults, total = [], sum(group.tokens for group in groups.values()) or 1
    if mix.duplicates > DUPLICATES * mix.compared:
        faults.append(f"{mix.duplicates:,} rows repeat another one exactly and raise its share: remove them first")
    if mix.untrained:
        faults.append(f"{mix.untrained:,} rows have no answer within the length: they count as rows and train nothing")
    if shares and any(abs(group.tokens / total - shares.get(name, 0)) > TOLERANCE for name, group in groups.items()):
        faults.append("the shares are not the wanted ones (more than 2 points off): follow the plan below")
    often = [name for name, part in plan.get("parts", {}).items() if part["repeats"] > most * 1.001]
    if often:
        faults.append(f"the plan takes {', '.join(often[:5])} more than {most:g} times: lower the share or the budget")
    return faults


def plot(groups: dict[str, Group], shares: dict[str, float], title: str) -> str:
    """A self-contained SVG: a bar for the share that each group has, a mark for the wanted one."""
    total = sum(group.tokens for group in groups.values()) or 1
    order = sorted(groups, key=lambda name: -groups[name].tokens)[:40]
    scale = 330 / max([groups[name].tokens / total for name in order] + list(shares.values()) + [1e-9])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {40 + 18 * len(order)}" font-family="sans-serif" '
        f'font-size="11" role="img"><title>{html.escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="8" y="18" font-size="14">{html.escape(title)}</text>',
    ]
    for number, name in enumerate(order):
        y, share = 32 + 18 * number, groups[name].tokens / total
        lines.append(f'<text x="186" y="{y + 10}" text-anchor="end">{html.escape(printable(name)[:28])}</text>')
        lines.append(f'<rect x="192" y="{y}" width="{max(share * scale, 0.5):.1f}" height="12" fill="#4477aa"/>')
        label = f"{share:.2%} ({groups[name].rows:,} rows)"
        if shares:
            lines.append(
                f'<rect x="{190 + shares.get(name, 0) * scale:.1f}" y="{y - 2}" width="4" height="16" fill="#cc3311"/>'
            )
            label += f", wanted {shares.get(name, 0):.1%}"
        lines.append(f'<text x="530" y="{y + 10}" font-size="10">{label}</text>')
    return "\n".join([*lines, "</svg>", ""])


def printable(text: str) -> str:
    """Text for a terminal: control characters are not sent."""
    return CONTROL.sub(" ", text)


def show_groups(kind: str, groups: dict[str, Group]) -> None:
    rows, total = sum(group.rows for group in groups.values()), sum(group.tokens for group in groups.values()) or 1
    measured = any(group.lengths for group in groups.values())
    print(
        f"{'by ' + kind:<26}{'rows':>11}{'of rows':>9}" + (f"{'of tokens':>11}{'median':>8}{'longest':>9}" if measured else "")
    )
    for name, group in sorted(groups.items(), key=lambda item: -item[1].tokens)[:20]:
        line = f"{printable(name)[:25]:<26}{group.rows:>11,}{group.rows / rows:>9.2%}"
        if measured:
            line += f"{group.tokens / total:>11.2%}{statistics.median(group.lengths):>8.0f}{max(group.lengths):>9,}"
        print(line)
    if len(groups) > 20:
        print(f"... and {len(groups) - 20} more")
    print()


def show_plan(plan: dict[str, Any], by: str, unit: str, left_out: list[str]) -> None:
    print(f"plan by {by}: {plan['rows']:,} rows" + (f", {plan['tokens']:,} {unit}" if unit != "rows" else ""))
    for name, part in list(plan["parts"].items())[:40]:
        shares = f"{part['share']:>7.2%} of {unit}, probability {part['probability']:.4f}"
        print(f"  {printable(name)[:25]:<26}{part['rows']:>11,} rows, each {part['repeats']:.2f} times, {shares}")
    if left_out:
        print(f"  left out: {printable(', '.join(left_out))[:300]}")
    if "scarcest" in plan:
        scarcest, once = printable(plan["scarcest"]), plan["tokens_without_repeats"]
        print(f"  {scarcest} is the scarcest: without repeats {once:,} {unit} are possible")


def report(options: argparse.Namespace) -> int:
    if options.files:
        mix, unit = measure(options), "trained tokens"
        groups = mix.groups[options.by]
    else:
        text = EXAMPLE.replace(" ", "\n") if options.example else options.counts.read_text("utf-8-sig", "replace")
        groups, unit, options.by = read_counts(text, str(options.counts)), "rows", "source"
        mix = Mix(rows=sum(group.rows for group in groups.values()))
        mix.groups["source"] = groups
    shares = wanted_shares(groups, options.want, options.by) if options.want else {}
    plan: dict[str, Any] = {}
    if shares:
        plan = plan_shares(groups, shares, options)
    elif options.cap:
        plan = plan_rows(groups, {name: min(group.rows, options.cap) for name, group in groups.items() if group.rows})
    faults = find_faults(mix, groups, shares, plan, options.max_repeats)
    if options.svg:
        options.svg.write_text(plot(groups, shares, f"{mix.rows:,} rows: shares of {unit} by {options.by}"), encoding="utf-8")
    if options.plan:
        options.plan.write_text(json.dumps(plan, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    tables = {kind: found for kind, found in mix.groups.items() if found and (kind != "file" or options.by == "file")}
    if options.json:
        sizes = {kind: {n: {"rows": g.rows, "tokens": g.tokens} for n, g in found.items()} for kind, found in tables.items()}
        counted = {name: getattr(mix, name) for name in ("rows", "duplicates", "untrained", "switched")}
        print(json.dumps({**counted, "unit": unit, "groups": sizes, "plan": plan, "faults": faults}, ensure_ascii=False))
        return PROBLEM if faults else HEALTHY
    for kind, found in tables.items():
        show_groups(kind, found)
    if mix.switched:
        print(f"{mix.switched:,} rows are asked in Chinese and answered in English, or the other way round")
    for fault in faults:
        print(f"fault: {printable(fault)}")
    if plan:
        show_plan(plan, options.by, unit, sorted(set(groups) - set(plan["parts"])))
    else:
        print("next: say which shares you want, as in --by language --want zh=60,en=40")
    if options.files and options.tokenizer is None:
        print("tokens here are words, signs and Chinese characters; give --tokenizer for those of your model")
    return PROBLEM if faults else HEALTHY


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measures languages, tasks, sources and lengths of an SFT mix in trained tokens, and plans how to reach "
        "wanted shares. Looks at the FILEs and changes none of them; writes only what --svg and --plan name.",
        epilog="example: python measure_mix.py data/*.jsonl --by language --want zh=60,en=40 --plan plan.json. Exit status: 0 "
        "measured, nothing wrong; 1 duplicates, rows without an answer, or shares that are not the wanted ones; 2 wrong usage "
        "or unreadable input; 3 cannot tell (a package is missing).",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=".jsonl, or a .json array")
    parser.add_argument("--counts", type=Path, help="in place of FILE: a table of lines `name,rows`")
    parser.add_argument("--example", action="store_true", help="in place of FILE: the 34 sources of a mix of 2023")
    parser.add_argument("--by", choices=KINDS, default="source", help="what --want, --cap and --svg are about (%(default)s)")
    parser.add_argument("--source-key", default="source", help="the field that names a row's source, else the file's name")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json or its folder; without it words and characters count")
    parser.add_argument("--max-length", type=int, default=10**9, help="tokens of a row that training keeps")
    parser.add_argument("--want", help="wanted shares of the trained tokens, as in zh=60,en=40")
    parser.add_argument("--cap", type=int, help="in place of --want: at most so many rows of a group")
    parser.add_argument("--max-repeats", type=float, default=1.0, help="how often a row may be taken (%(default)s)")
    parser.add_argument("--budget", type=float, help="trained tokens of the plan, in place of what --max-repeats allows")
    parser.add_argument("--svg", type=Path, help="write a plot here")
    parser.add_argument("--plan", type=Path, help="write the plan here, as JSON")
    parser.add_argument("--json", action="store_true", help="output for programs")
    options = parser.parse_args()
    if bool(options.files) + bool(options.counts) + options.example != 1:
        parser.error("give one of FILE, --counts, --example")
    if options.want and options.cap:
        parser.error("give --want or --cap")
    if min(options.max_length, options.max_repeats, options.cap or 1, options.budget or 1) <= 0:
        parser.error("--max-length, --max-repeats, --cap and --budget are positive")
    try:
        return report(options)
    except (OSError, UsageError) as error:
        print(f"measure_mix: {printable(str(error))}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
