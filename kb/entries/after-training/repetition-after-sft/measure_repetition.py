# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Measure how many generated outputs loop, where the loops begin, and whether they ran into the length limit.

Goes in: one or several files of outputs (JSON Lines, a JSON array, or plain text with one output a line): strings, rows with a
column such as output, response, completion, generated_text or text, chat messages, or OpenAI-style responses with choices.
A file of training answers can be measured in the same way. Comes out, for each file: loops to the end, near loops (the same
sentences with a word changed), repeated 4-grams, and endings that many outputs share. Changes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple, NoReturn

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
COLUMNS = ("output", "response", "completion", "generated_text", "generation", "prediction", "predict", "answer", "text")
SHORTEST = 20  # units; nothing can be told from a shorter output
LONGEST = 20_000  # units looked at, from the end
LONGEST_PERIOD = 600  # units; a longer passage that returns counts as a near loop
FEWEST_TURNS = 3
FEWEST_COUNTED = 8  # turns of a list whose numbers alone change; short ones are often meant
SHORTEST_LOOP = 15  # units; "ha ha ha" and dotted lines are shorter
SENTENCE_ENDS = ".!?。！？"
NEAR_LOOP = 0.5  # share of 4-grams that were there before; essays, code and lists of distinct items stay well below
ROWS_NAMED = 5
# A unit is a word, a single Chinese, Japanese or Korean character, or a mark.
UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]")


class Output(NamedTuple):
    """One generated text, and why it ended where the row tells: "stop", "length", "repetition" or None."""

    text: str
    finish: str | None


class Loop(NamedTuple):
    """A passage that returns until the output ends: its text, how often, and where it begins (0 to 1)."""

    text: str
    turns: int
    begins: float


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"measure_repetition: {printable(message, 300)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 60) -> str:
    """The text on one line and without control characters, since outputs are not to be trusted."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_rows(path: str) -> Iterator[tuple[int, Any]]:
    """The rows of a file with their numbers, from 1; JSON Lines and plain text are read line by line."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            start, first = next(((number, line) for number, line in enumerate(file, 1) if line.strip()), (1, ""))
            if first.lstrip().startswith("["):
                yield from enumerate(json.loads(first + file.read()), 1)
                return
            is_json = first.lstrip().startswith(("{", '"'))
            for number, line in enumerate(chain([first], file), start):
                if line.strip():
                    yield number, json.loads(line) if is_json else line
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError, TypeError) as error:
        stop(USAGE, f"{path}: not JSON Lines, a JSON array or plain text ({error})")


def to_output(row: Any, field: str | None) -> Output | None:
    """The generated text of a row of any known form; None for an unknown one."""
    if isinstance(row, str):
        return Output(row, None)
    if not isinstance(row, dict):
        return None
    choices = row.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        row = {**choices[0], "output": choices[0].get("text"), **(choices[0].get("message") or {})}
    finish = row.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    if field is not None:
        return Output(str(row[field]), finish) if row.get(field) is not None else None
    turns = row.get("messages") or row.get("completion")
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
        return Output(str(turns[-1].get("content") or ""), finish)
    for column in ("content", *COLUMNS):
        if isinstance(row.get(column), str):
            return Output(row[column], finish)
    return None


def repeated_share(units: list[str], size: int = 4) -> float:
    """The share of n-grams that occurred before, 0 to 1 (rep-n: 1 - different / all)."""
    grams = [tuple(units[start : start + size]) for start in range(len(units) - size + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def final_loop(units: list[str]) -> Loop | None:
    """The shortest passage that returns, unchanged, until the end; None where there is none."""
    for period in range(1, min(LONGEST_PERIOD, len(units) // FEWEST_TURNS) + 1):
        length = period
        while length < len(units) and units[-length - 1] == units[-length - 1 + period]:
            length += 1
        if length >= max(FEWEST_TURNS * period, SHORTEST_LOOP) and any(unit.isalpha() for unit in units[-period:]):
            begin = len(units) - length
            passage = units[begin : begin + period]
            ends = [position for position, unit in enumerate(passage) if unit in SENTENCE_ENDS]
            start = ends[-1] + 1 if ends else 0  # shown from the beginning of a sentence
            passage = passage[start:] + passage[:start]
            glue = "" if sum(len(unit) == 1 for unit in passage) > len(passage) / 2 else " "
            return Loop(glue.join(passage), length // period, begin / len(units))
    return None


def counted_loop(units: list[str]) -> bool:
    """Whether the end is a list whose items differ in their numbers alone (14. the same, 15. the same, ...)."""
    loop = final_loop(["0" if unit.isdigit() else unit for unit in units])
    return loop is not None and loop.turns >= FEWEST_COUNTED


def last_sentence(text: str) -> str:
    """What follows the last but one end of a sentence, to find endings that many outputs share."""
    parts = [part.strip() for part in re.split(r"[.!?。！？\n]+", text[-400:]) if part.strip()]
    return parts[-1] if parts else ""


def examine(path: str, field: str | None) -> dict[str, Any]:
    """The report on one file."""
    outputs = short = 0
    shares: list[float] = []
    loops: list[dict[str, Any]] = []
    near: list[int] = []
    finishes: Counter[str] = Counter()
    loop_finishes: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    for number, row in read_rows(path):
        output = to_output(row, field)
        if output is None:
            known = sorted(row)[:8] if isinstance(row, dict) else type(row).__name__
            stop(USAGE, f"{path}, row {number}: no text found in {known}; name its column with --field")
        outputs += 1
        finishes[output.finish or "unknown"] += 1
        units = UNIT.findall(output.text[-8 * LONGEST :])[-LONGEST:]
        if len(units) < SHORTEST:
            short += 1
            continue
        endings[last_sentence(output.text)[:200]] += 1
        share = repeated_share(units)
        shares.append(share)
        loop = final_loop(units)
        if loop:
            loops.append({"row": number, "turns": loop.turns, "begins": round(loop.begins, 3), "text": loop.text[:300]})
            loop_finishes[output.finish or "unknown"] += 1
        elif share >= NEAR_LOOP or (output.finish != "stop" and counted_loop(units)):
            near.append(number)
    if not outputs:
        stop(USAGE, f"{path} holds no output")
    ending, times = endings.most_common(1)[0] if endings else ("", 0)
    return {
        "file": path,
        "outputs": outputs,
        "too_short": short,
        "loops": len(loops),
        "loops_ended_by": dict(loop_finishes),
        "loop_examples": sorted(loops, key=lambda item: item["begins"])[:ROWS_NAMED],
        "near_loops": len(near),
        "near_loop_rows": near[:ROWS_NAMED],
        "repeated_4grams": {"median": round(statistics.median(shares), 3), "max": round(max(shares), 3)} if shares else None,
        "ended_by": dict(finishes),
        "shared_ending": {"text": ending, "outputs": times} if times >= max(5, outputs / 20) else None,
    }


def print_report(report: dict[str, Any]) -> None:
    """The report on one file for people."""
    outputs = report["outputs"]
    print(f"{printable(report['file'], 200)}: {outputs:,} outputs")
    print(f"  loop to the end: {report['loops']:,} ({report['loops'] / outputs:.1%})")
    for item in report["loop_examples"]:
        print(f"    row {item['row']}: {item['turns']} x {printable(item['text'])!r}, from {item['begins']:.0%} of it on")
    known = {reason: many for reason, many in report["loops_ended_by"].items() if reason != "unknown"}
    if known:
        print("    ended by: " + ", ".join(f"{printable(reason, 20)} {many:,}" for reason, many in known.items()))
    if report["near_loops"]:
        rows = ", ".join(map(str, report["near_loop_rows"]))
        print(f"  near loop (same passages, a word changed, or a loop left again): {report['near_loops']:,} (rows {rows})")
    if report["repeated_4grams"]:
        grams = report["repeated_4grams"]
        print(f"  repeated 4-grams: median {grams['median']:.1%}, most {grams['max']:.1%}")
    if report["shared_ending"]:
        ending = report["shared_ending"]
        print(f"  same last sentence in {ending['outputs']:,} outputs: {printable(ending['text'])!r}")
    if report["too_short"]:
        print(f"  shorter than {SHORTEST} words or characters, not judged: {report['too_short']:,}")


def meaning(reports: list[dict[str, Any]]) -> list[str]:
    """What the findings mean and what to do next."""
    if not any(report["loops"] or report["near_loops"] for report in reports):
        return ["No loops. If some were seen, generate more outputs with the settings that showed them."]
    lines = []
    ended = sum((Counter(report["loops_ended_by"]) for report in reports), Counter[str]())
    limit = ended["length"] + ended["repetition"]
    if limit and limit >= sum(ended.values()) / 2:
        lines.append("The loops ended at a limit, not by an end token. First see whether the end token is trained (cause 1).")
    elif ended["unknown"]:
        lines.append("Keep finish_reason in the rows: whether loops ran into the length limit tells the causes apart.")
    if len(reports) > 1:
        rates = [(report["loops"] + report["near_loops"]) / report["outputs"] for report in reports]
        pairs = [f"{printable(report['file'], 40)} {rates[number]:.1%}" for number, report in enumerate(reports)]
        lines.append("Compared: " + ", ".join(pairs) + ".")
        if min(rates) <= max(rates) / 4:
            lines.append(
                "What differs between the best and the worst file is where to look: decoding, template, checkpoint or base."
            )
        else:
            lines.append("What differs between these files is not the cause: look at the training data and its labels.")
    else:
        lines.append(
            "Next: the same prompts sampled (temperature 0.7, top_p 0.9), and by the untuned model; give all files at once."
        )
    return lines


def main() -> int:
    """Read the arguments, examine the files, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python measure_repetition.py greedy.jsonl sampled.jsonl base.jsonl\n"
        "exit code: 0 no loops, 1 loops were found, 2 wrong usage or unreadable file, 3 cannot tell (all outputs too short)",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="outputs: JSON Lines, a JSON array, or plain text")
    parser.add_argument("--field", metavar="NAME", help="the column that holds the generated text")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    arguments = parser.parse_args()

    reports = [examine(path, arguments.field) for path in arguments.files]
    found = any(report["loops"] or report["near_loops"] for report in reports)
    judged = any(report["outputs"] > report["too_short"] for report in reports)
    if arguments.json:
        print(json.dumps({"files": reports, "problem": found}))
    else:
        for report in reports:
            print_report(report)
        print("\n".join(meaning(reports)) if judged else "All outputs are too short to tell.")
    return PROBLEM if found else HEALTHY if judged else CANNOT_TELL


if __name__ == "__main__":
    sys.exit(main())
