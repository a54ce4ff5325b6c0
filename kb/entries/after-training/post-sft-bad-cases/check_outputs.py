# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Sort generated outputs by what is wrong with them: cut off, stray template marks, mixed languages, empty and more.

Goes in: outputs as JSON Lines or a JSON array: rows with the text (output, response, completion, generated_text, text, chat
messages, or OpenAI-style choices) and, where there is one, the prompt (prompt, instruction, question), finish_reason, and
the retrieved passages (context, documents or passages). Comes out: how many rows show each fault, examples, and where to
look for its cause. A file of training answers can be checked in the same way. Changes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple, NoReturn

HEALTHY, PROBLEM, USAGE = 0, 1, 2
OUTPUTS = (
    "output",
    "response",
    "completion",
    "generated_text",
    "generation",
    "prediction",
    "predict",
    "answer",
    "content",
    "text",
)
PROMPTS = ("prompt", "instruction", "question", "query")
CONTEXTS = ("context", "documents", "passages")
ROWS_NAMED = 5
LONGEST = 100_000  # characters looked at; longer outputs are judged by their end
REPEATED = 0.5  # share of 4-grams that occurred before
FEWEST_WORDS = 20  # for repetition, mixed languages and use of the context
UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
SENTENCE_END = re.compile(r"[.!?。！？](?:\s|$|[\u3400-\u9fff])")
NOT_PROSE = re.compile(r"```.{0,50000}?(?:```|\Z)|`[^`\n]{0,200}`|https?://\S{1,300}|\$[^$\n]{1,200}\$", re.DOTALL)
OPEN_END = re.compile(r"[\w,，、;；:：(（“-]\Z")
LIST_OR_CODE = re.compile(r"^\s*(?:[-*+•|#>]|\d{1,3}[.)、]|```|[{}\[\]<])")
MARKS = re.compile(
    r"###\s?(?:Instruction|Input|Response|Human|Assistant|User|System)\b:?|^###[ \t]*$"
    r"|^(?:Human|User|Assistant|USER|ASSISTANT): ?"
    r"|<\|[\w ]{2,40}\|>|<｜[^｜\n]{2,40}｜>|</?s>|<eos>|<pad>|<unk>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>",
    re.MULTILINE,
)
ADVICE = {
    "empty": "print the ids: an end token first means that prompt or data differ from training; else look at post-processing",
    "at the limit": "finish_reason is length: raise max_new_tokens; if it then runs on, the end token is untrained",
    "ended itself early": "the model chose to end: look for answers cut in the training data, and for stop strings",
    "seems cut off": "keep finish_reason in the rows: it tells a limit from an end that the model learnt",
    "unclosed block": "a code fence, <think> or JSON was left open: usually the length limit, or such rows in the data",
    "template marks": "one id: decode with skip_special_tokens=True; several ids: text in your training data",
    "other language": "the answer is not in the prompt's language: look at the languages of the training answers",
    "mixed languages": "jargon aside, lower the temperature, grep the training answers for these words, try the untuned model",
    "repetition": "see the entry repetition-after-sft",
    "broken characters": "bytes of a character were decoded one by one, or the training data holds U+FFFD",
    "prompt repeated": "the prompt was decoded too (cut the ids at its length), or the model goes on with a bare prompt",
    "figures not in context": "check that the passages reach the model, then that training had answers from passages",
    "context unused": "check that the passages reach the model (decode the ids), then try with the right passage alone",
}  # fmt: skip


class Case(NamedTuple):
    """One row: the generated text, what it was given, and why it ended where the row tells."""

    output: str
    prompt: str
    context: str
    finish: str | None


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_outputs: {printable(message, 300)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 60) -> str:
    """The end of the text, on one line and without control characters, since outputs are not to be trusted."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= limit else "..." + text[3 - limit :]


def read_rows(path: str) -> Iterator[tuple[int, Any]]:
    """The rows of a file with their numbers, from 1; JSON Lines are read line by line."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            start, first = next(((number, line) for number, line in enumerate(file, 1) if line.strip()), (1, ""))
            if first.lstrip().startswith("["):
                yield from enumerate(json.loads(first + file.read()), 1)
                return
            for number, line in enumerate(chain([first], file), start):
                if line.strip():
                    yield number, json.loads(line)
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError, TypeError) as error:
        stop(USAGE, f"{path}: not JSON Lines or a JSON array ({error})")


def text_of(row: dict[str, Any], columns: tuple[str, ...]) -> str | None:
    """The first of the columns that holds text, a list of texts, or messages (of which the last one counts)."""
    for column in columns:
        value = row.get(column)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value:
            if isinstance(value[-1], dict) and "role" in value[-1]:
                return str(value[-1].get("content") or "")
            return "\n".join(str(item.get("text", item)) if isinstance(item, dict) else str(item) for item in value)
    return None


def to_case(row: Any, field: str | None) -> Case | None:
    """A row of any known form; None where no generated text is found."""
    if isinstance(row, str):
        return Case(row, "", "", None)
    if not isinstance(row, dict):
        return None
    finish = row.get("finish_reason")
    prompt = text_of(row, PROMPTS)
    choices, messages = row.get("choices"), row.get("messages")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        output = text_of({**choices[0], **(choices[0].get("message") or {})}, ("content", "text"))
        finish = choices[0].get("finish_reason")
    elif isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        output = text_of({"messages": messages}, ("messages",))
        prompt = prompt or text_of({"messages": messages[:-1]}, ("messages",))
    else:
        output = text_of(row, (field,) if field else OUTPUTS)
    if output is None:
        return None
    return Case(output[-LONGEST:], prompt or "", text_of(row, CONTEXTS) or "", finish if isinstance(finish, str) else None)


def scripts(text: str) -> Counter[str]:
    """The letters of a text by script, as Unicode names them (LATIN, CJK, CYRILLIC, ...); kana and hangul keep their names."""
    return Counter(unicodedata.name(letter, "?").split(" ")[0].split("-")[0] for letter in text if letter.isalpha())


def language_faults(prose: str, case: Case) -> Iterator[str]:
    """Whether the answer is in another script than the prompt, or has words of another script that nobody gave it."""
    found, asked = scripts(prose), scripts(NOT_PROSE.sub(" ", case.prompt))
    if sum(found.values()) < FEWEST_WORDS:
        return
    main = found.most_common(1)[0][0]
    if (
        asked
        and sum(asked.values()) >= 10
        and asked.most_common(1)[0][0] != main
        and found[asked.most_common(1)[0][0]] < found[main] / 4
    ):
        yield "other language"
        return
    given = (case.prompt + case.context).lower()
    if main == "LATIN":
        strange = [letter for letter in prose if letter.isalpha() and not unicodedata.name(letter, "LATIN").startswith("LATIN")]
        if sum(letter not in given for letter in strange) >= 2 and not asked.keys() - {"LATIN"}:
            yield "mixed languages"
    else:
        # Names and acronyms are capitalized; two plain lower-case words that nobody gave are a lapse, or jargon.
        words = {word for word in re.findall(r"(?<![A-Za-z0-9_./-])[a-z]{3,}(?![A-Za-z0-9_./-])", prose) if word not in given}
        others = found.keys() - {"LATIN", main, *asked} - ({"HIRAGANA", "KATAKANA", "CJK"} if found["HIRAGANA"] else set())
        if len(words) >= 2 or sum(found[script] for script in others if script not in ("MODIFIER", "?")) >= 2:
            yield "mixed languages"


def is_prose(text: str) -> bool:
    """Whether the text is punctuated, so that a full stop may be expected at its end."""
    return bool(SENTENCE_END.search(text)) or (len(UNIT.findall(text)) >= FEWEST_WORDS and bool(re.search("[,，、]", text)))


def end_faults(text: str, prose: str, case: Case) -> Iterator[str]:
    """Whether and how the answer breaks off."""
    bare = text.strip()
    open_block = text.count("```") % 2 == 1 or ("<think>" in text and "</think>" not in text)
    if bare[:1] in ("{", "[") and bare[:2] != "[[" and case.finish != "length":
        try:
            json.loads(bare)
        except (ValueError, RecursionError):
            open_block = open_block or bare[-1] not in "}])>.。"
    if case.finish == "length":
        yield "at the limit"
    elif open_block:
        yield "unclosed block"
    elif is_prose(prose) and not LIST_OR_CODE.match(bare.rsplit("\n", 1)[-1]) and OPEN_END.search(bare):
        yield "ended itself early" if case.finish == "stop" else "seems cut off"


def pairs_of(units: list[str]) -> set[tuple[str, str]]:
    """The neighbouring words or characters of a text."""
    return {(units[start], units[start + 1]) for start in range(len(units) - 1)}


def context_faults(text: str, case: Case) -> Iterator[str]:
    """Whether an answer with passages at hand shows figures that they lack, or shares nothing with them."""
    given = case.context + case.prompt
    if {figure for figure in re.findall(r"\d[\d.,]*\d", text) if len(figure) > 1} - set(re.findall(r"\d[\d.,]*\d", given)):
        yield "figures not in context"
    units, known = UNIT.findall(text.lower()), UNIT.findall(given.lower())
    if len(units) >= FEWEST_WORDS and not pairs_of(units) & pairs_of(known):
        yield "context unused"


def faults_of(case: Case, marks: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The faults of one output, and the template marks found in it."""
    text = case.output
    if not text.strip():
        return ["empty"], []
    prose = NOT_PROSE.sub(" ", text)
    faults = list(end_faults(text, prose, case))
    found = [mark.group().strip() for mark in marks.finditer(text) if mark.group().strip() not in case.prompt]
    if found:
        faults.append("template marks")
    faults += language_faults(MARKS.sub(" ", prose), case)
    units = UNIT.findall(text)
    grams = [tuple(units[start : start + 4]) for start in range(len(units) - 3)]
    if len(units) >= FEWEST_WORDS and 1 - len(set(grams)) / len(grams) >= REPEATED:
        faults.append("repetition")
    if "\ufffd" in text and "\ufffd" not in case.prompt:
        faults.append("broken characters")
    if len(case.prompt.strip()) >= 20 and case.prompt.strip()[-200:] in text[: len(case.prompt) + 400]:
        faults.append("prompt repeated")
    if case.context:
        faults += context_faults(text, case)
    return faults, found


def examine(path: str, field: str | None, marks: re.Pattern[str]) -> dict[str, Any]:
    """The report on the file."""
    rows = clean = 0
    counts: Counter[str] = Counter()
    mark_counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    for number, row in read_rows(path):
        case = to_case(row, field)
        if case is None:
            known = sorted(row)[:8] if isinstance(row, dict) else type(row).__name__
            stop(USAGE, f"{path}, row {number}: no text found in {known}; name its column with --field")
        rows += 1
        faults, found = faults_of(case, marks)
        clean += not faults
        mark_counts.update(set(found))
        for fault in dict.fromkeys(faults):
            counts[fault] += 1
            if len(examples.setdefault(fault, [])) < ROWS_NAMED:
                examples[fault].append({"row": number, "end": printable(case.output.rstrip())})
    if not rows:
        stop(USAGE, f"{path} holds no output")
    items = [{"fault": fault, "rows": many, "examples": examples[fault]} for fault, many in counts.most_common()]
    return {"file": path, "outputs": rows, "clean": clean, "faults": items, "marks": dict(mark_counts.most_common(10))}


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    print(f"{printable(report['file'], 200)}: {report['outputs']:,} outputs, {report['clean']:,} without a finding")
    for item in report["faults"]:
        rows = ", ".join(str(example["row"]) for example in item["examples"])
        more = ", ..." if item["rows"] > len(item["examples"]) else ""
        print(f"{item['fault']}: {item['rows']:,} ({item['rows'] / report['outputs']:.1%}; rows {rows}{more})")
        if item["fault"] == "template marks":
            print("  found: " + ", ".join(f"{printable(mark, 40)} in {many:,}" for mark, many in report["marks"].items()))
        else:
            print(f"  ends: {item['examples'][0]['end']!r}")
        print(f"  look at: {ADVICE[item['fault']]}")
    if report["faults"]:
        print("Run the same prompts through the untuned model too: what it does as well does not come from your data.")
    else:
        print("Nothing found. Wrong facts and ignored instructions are not seen here: read a sample by hand.")


def main() -> int:
    """Read the arguments, examine the file, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_outputs.py outputs.jsonl --mark '<END>'\n"
        "exit code: 0 nothing found, 1 outputs with faults, 2 wrong usage or unreadable file",
    )
    parser.add_argument("file", metavar="FILE", help="outputs: JSON Lines or a JSON array")
    parser.add_argument("--field", metavar="NAME", help="the column that holds the generated text")
    parser.add_argument(
        "--mark", action="append", default=[], metavar="TEXT", help="a mark of your own template; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    arguments = parser.parse_args()

    marks = re.compile("|".join([*map(re.escape, filter(None, arguments.mark)), MARKS.pattern]), re.MULTILINE)
    report = examine(arguments.file, arguments.field, marks)
    if arguments.json:
        print(json.dumps({**report, "problem": bool(report["faults"])}))
    else:
        print_report(report)
    return PROBLEM if report["faults"] else HEALTHY


if __name__ == "__main__":
    sys.exit(main())
