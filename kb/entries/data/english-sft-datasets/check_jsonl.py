# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Check a downloaded instruction dataset before it is trained on, and sum it up.

Goes in: a JSON Lines file (read line by line) or a JSON array, with rows of
    instruction, input, output      (Alpaca; also Dolly's context and response)
    messages, or ShareGPT's conversations
    prompt and completion or response; question and answer or response
Comes out: what it is when it is no dataset (a Git LFS pointer, a web page, Parquet), broken lines, layouts, empty
answers, repeated rows, leftover identities, lengths; with --against also which rows share a run of words with an
evaluation file. Changes nothing, needs no package.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, Optional

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
ROWS_NAMED = 5
REPEATS_ALLOWED = 0.01
RUN_OF_WORDS = 13
BROKEN = "no valid JSON object"
UNKNOWN = "unknown layout"
TREE = "messages of conversation trees (OASST): build the threads first"
NO_ANSWER = {"", "<nooutput>", "<no output>", "n/a", "none", "null"}
NO_INPUT = {"<noinput>", "<no input>", "noinput", "no input"}
IDENTITY = re.compile(
    r"\b(?:as an ai (?:language )?model|(?:i am|i'm) (?:an ai|a language model)|chatgpt|openai|anthropic)\b", re.I
)
CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
QUESTIONS = ("instruction", "prompt", "question", "query")
ANSWERS = ("output", "completion", "response", "answer")
CONTEXTS = ("input", "context", "system", "system_prompt")
USERS, ASSISTANTS = {"user", "human", "prompter"}, {"assistant", "gpt"}
MAGIC = {
    b"PAR1": "a Parquet file: export it first, datasets.load_dataset('parquet', data_files=...)['train'].to_json(...)",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"PK\x03\x04": "a zip file: unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the data: fetch it with git lfs pull or hf download",
}


class Sample(NamedTuple):
    """What a row teaches: `answers` has one text for each turn of the assistant."""

    layout: str
    question: str
    answers: list[str]
    odd_input: bool


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_jsonl: {printable(message)[:300]}", file=sys.stderr)
    sys.exit(code)


def printable(text: str) -> str:
    """The text without control characters, since data files are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def refuse_other_formats(path: str) -> None:
    """Stop with the next thing to do if the file holds something else than JSON."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    for magic, advice in MAGIC.items():
        if head.startswith(magic):
            stop(USAGE, f"{path} is {advice}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        stop(USAGE, f"{path} is a web page (an error, a login or a viewer), not the data: take the resolve/ address")


def read_rows(path: str) -> Iterator[tuple[int, Any]]:
    """Rows with their numbers from 1; None for a line that is no JSON."""
    refuse_other_formats(path)
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            if first.lstrip().startswith("["):
                yield from enumerate(json.load(file), 1)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except (ValueError, RecursionError):
                        yield number, None
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: a JSON array that cannot be read, perhaps cut off ({error})")


def text(value: Any) -> str:
    """A value as text: of lists of messages their contents, empty for nothing."""
    if isinstance(value, list):
        parts = [turn.get("content", turn.get("value")) if isinstance(turn, dict) else turn for turn in value]
        return "\n".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else "" if value is None else str(value)


def read_sample(row: Any) -> Optional[Sample]:
    """The sample of a row of any known layout; None for an unknown one."""
    turns = row.get("messages") or row.get("conversations") or row.get("conversation")
    if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns):
        if any("human" in turn for turn in turns):
            turns = [
                {"role": role, "content": turn.get(key)}
                for turn in turns
                for role, key in (("user", "human"), ("assistant", "assistant"))
            ]
        roles = [str(turn.get("role", turn.get("from"))) for turn in turns]
        contents = [text(turn.get("content", turn.get("value"))) or str(turn.get("tool_calls") or "") for turn in turns]
        answers = [content for role, content in zip(roles, contents) if role in ASSISTANTS]  # noqa: B905
        others = [content for role, content in zip(roles, contents) if role not in ASSISTANTS]  # noqa: B905
        names = "conversations (from, value)" if any("from" in turn for turn in turns) else "messages (role, content)"
        return Sample(names, "\n".join(others), answers, False)
    question = next((name for name in QUESTIONS if name in row), None)
    answer = next((name for name in ANSWERS if name in row), None)
    if question is None or answer is None:
        return None
    contexts = [name for name in CONTEXTS if name in row]
    asked = "\n".join(part for part in (text(row[name]) for name in (question, *contexts)) if part)
    odd = any(text(row[name]).strip().lower() in NO_INPUT for name in contexts)
    return Sample(", ".join([question, *contexts, answer]), asked, [text(row[answer])], odd)


def words_of(content: str) -> list[str]:
    """Words in lower case; each Chinese or Japanese character counts as one."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+", content.lower())


def runs(content: str) -> set[int]:
    """Hashes of all runs of RUN_OF_WORDS words, or of the whole if it is shorter but not tiny."""
    words = words_of(content)
    if len(words) < RUN_OF_WORDS:
        return {hash(tuple(words))} if len(words) >= RUN_OF_WORDS // 2 else set()
    return {hash(tuple(words[at : at + RUN_OF_WORDS])) for at in range(len(words) - RUN_OF_WORDS + 1)}


def evaluation_runs(path: str) -> set[int]:
    """The runs of words of an evaluation file's questions (of all its text where the layout is unknown)."""
    found: set[int] = set()
    for _, row in read_rows(path):
        if isinstance(row, dict):
            sample = read_sample(row)
            texts = [sample.question] if sample else [value for value in row.values() if isinstance(value, str)]
            for content in texts:
                found |= runs(content)
    if not found:
        stop(USAGE, f"{path} holds no text to compare with")
    return found


def lengths(values: list[int]) -> dict[str, int]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values)
    return {
        "median": int(statistics.median(ordered)),
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
        "max": ordered[-1],
    }


def examine(path: str, against: set[int]) -> dict[str, Any]:
    """The report on one file."""
    layouts: Counter[str] = Counter()
    faults: dict[str, list[int]] = {}
    notes: Counter[str] = Counter()
    seen: dict[bytes, int] = {}
    asked: Counter[bytes] = Counter()
    questions, answers, turns = [], [], []
    rows = 0
    for number, row in read_rows(path):
        rows += 1
        if not isinstance(row, dict):
            faults.setdefault(BROKEN, []).append(number)
            continue
        sample = read_sample(row)
        if sample is None:
            faults.setdefault(TREE if {"parent_id", "message_id"} <= row.keys() else UNKNOWN, []).append(number)
            continue
        layouts[sample.layout] += 1
        questions.append(len(sample.question))
        answers.append(sum(map(len, sample.answers)))
        turns.append(len(sample.answers))
        if not sample.answers or any(one.strip().lower() in NO_ANSWER for one in sample.answers):
            faults.setdefault("an empty answer", []).append(number)
        if not sample.question.strip():
            faults.setdefault("an empty question", []).append(number)
        whole = hashlib.blake2b(json.dumps([sample.question, sample.answers]).encode(), digest_size=12).digest()
        if whole in seen:
            faults.setdefault("repeats an earlier row", []).append(number)
        seen.setdefault(whole, number)
        asked[hashlib.blake2b(json.dumps(words_of(sample.question)).encode(), digest_size=12).digest()] += 1
        if against and not against.isdisjoint(runs(sample.question)):
            faults.setdefault("shares a run of words with the evaluation file", []).append(number)
        joined = "\n".join(sample.answers)
        notes["answers name an AI or its maker"] += bool(IDENTITY.search(joined))
        notes["placeholders such as <noinput> stand in the input"] += sample.odd_input
        notes["rows with Chinese, Japanese or Korean"] += bool(CJK.search(sample.question + joined))
        notes["rows with characters that were not UTF-8"] += "\ufffd" in sample.question + joined
    if not rows:
        stop(USAGE, f"{path} holds no row")
    if len(faults.get(BROKEN, [])) == rows:
        stop(USAGE, f"{path}: neither JSON Lines nor a JSON array of objects")
    notes["rows whose question was asked before"] = sum(asked.values()) - len(asked)
    if len(layouts) > 1:
        faults["several layouts in one file"] = []
    repeats = len(faults.get("repeats an earlier row", []))
    if repeats and repeats <= REPEATS_ALLOWED * rows:
        notes["rows repeat an earlier one"] = len(faults.pop("repeats an earlier row"))
    report: dict[str, Any] = {"file": path, "rows": rows, "layouts": dict(layouts.most_common())}
    if questions:
        report["characters"] = {"question": lengths(questions), "answer": lengths(answers)}
        report["answers_per_row"] = lengths(turns)
    report["faults"] = [{"fault": fault, "rows": len(where), "first": where[:ROWS_NAMED]} for fault, where in faults.items()]
    report["notes"] = {note: count for note, count in notes.items() if count}
    report["problem"] = bool(faults)
    return report


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    print(f"{printable(report['file'])}: {report['rows']:,} rows")
    for layout, count in report["layouts"].items():
        print(f"  {count:,} rows of {printable(layout)}")
    if "characters" in report:
        for name, values in report["characters"].items():
            print(f"  {name}: {values['median']:,} characters (median), {values['p95']:,} (95 %), {values['max']:,} (longest)")
        print(f"  answers a row: {report['answers_per_row']['median']} (median), {report['answers_per_row']['max']} (most)")
    for item in report["faults"]:
        first = ", ".join(map(str, item["first"])) + (", ..." if item["rows"] > ROWS_NAMED else "")
        print(f"FAULT {item['fault']}" + (f": {item['rows']:,} rows ({first})" if first else ""))
    for note, count in report["notes"].items():
        print(f"note  {note}: {count:,}")
    print("Mend or drop these rows before training." if report["faults"] else "No fault found.")


def main() -> int:
    """Read the arguments, examine the file, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_jsonl.py alpaca_data.json --against gsm8k_test.jsonl\n"
        "exit code: 0 healthy, 1 a fault was found, 2 wrong usage or a file of another kind, 3 no row has a known layout",
    )
    parser.add_argument("file", help="the dataset, JSON Lines or a JSON array")
    parser.add_argument(
        "--against", metavar="FILE", help=f"evaluation data: name rows that share {RUN_OF_WORDS} words in a run"
    )
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    report = examine(options.file, evaluation_runs(options.against) if options.against else set())
    if options.json:
        print(json.dumps(report))
    else:
        print_report(report)
    if not report["layouts"]:
        return CANNOT_TELL
    return PROBLEM if report["problem"] else HEALTHY


if __name__ == "__main__":
    sys.exit(main())
