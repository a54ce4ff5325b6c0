# /// script
# requires-python = ">=3.9"
# dependencies = ["transformers>=4.44", "jinja2"]
# ///
"""Check a file of dialogues, and show which tokens of one of them are trained.

Goes in: a JSON Lines (or JSON array) file whose rows hold one of
    messages (role, content), or ShareGPT's conversations (from, value)
    Firefly's conversation (human, assistant)
    prompt and completion (lists of messages)
    instruction, input, output and LLaMA-Factory's history
Comes out: rows whose roles, order or answers are at fault. With --tokenizer also what becomes of every answer under
the model's chat template (or Firefly's <s>input</s>target</s> layout) and --max-length, and one dialogue with its
trained tokens marked. Changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
IGNORED = -100
ROWS_NAMED = 5
ROLES = {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"}
MAY_FOLLOW = {"start": {"user"}, "user": {"assistant"}, "assistant": {"user", "tool"}, "tool": {"tool", "assistant"}}
GENERATION = re.compile(r"\{%-?\s*generation\b")

Message = dict[str, Any]


class Labelled(NamedTuple):
    """A dialogue as the loss sees it; `answers` are the (start, end) positions of each answer's trained tokens."""

    ids: list[int]
    labels: list[int]
    answers: list[tuple[int, int]]


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"show_trained_tokens: {printable(message)[:300]}", file=sys.stderr)
    sys.exit(code)


def printable(text: str) -> str:
    """The text without control characters, since data files are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def read_rows(path: str) -> Iterator[tuple[int, Any]]:
    """The rows of a file with their numbers, from 1; JSON Lines are read line by line."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            if first.lstrip().startswith("["):
                yield from enumerate(json.load(file), 1)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, json.loads(line)
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: neither JSON Lines nor a JSON array ({error})")


def to_messages(row: Any) -> list[Message] | None:
    """The messages of a row of any known layout, with today's role names; None for an unknown layout."""
    if not isinstance(row, dict):
        return None
    turns = row.get("messages") or row.get("conversations") or row.get("conversation")
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        turns = row["prompt"] + row["completion"]
    if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns):
        messages = []
        for turn in turns:
            if "human" in turn and "assistant" in turn:  # Firefly: one object a round
                messages += [
                    {"role": "user", "content": turn["human"]},
                    {"role": "assistant", "content": turn["assistant"]},
                ]
            elif "role" in turn or "from" in turn:
                role = str(turn.get("role", turn.get("from")))
                message = {key: value for key, value in turn.items() if key not in ("from", "value")}
                message.update(role=ROLES.get(role, role), content=turn.get("content", turn.get("value")))
                messages.append(message)
            else:
                return None
        return messages
    if "instruction" in row and "output" in row:
        rounds = [pair for pair in row.get("history") or [] if isinstance(pair, list) and len(pair) == 2]
        question = "\n".join(str(row[key]) for key in ("instruction", "input") if row.get(key))
        messages = [{"role": "system", "content": row["system"]}] if row.get("system") else []
        for asked, answered in [*rounds, (question, row["output"])]:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        return messages
    return None


def role_names(row: Any) -> set[str]:
    """ShareGPT's role names in a row, which trl hands to the template as they are."""
    turns = (row.get("messages") or row.get("conversations")) if isinstance(row, dict) else None
    names = {str(turn.get("role", turn.get("from"))) for turn in turns or [] if isinstance(turn, dict)}
    return names & set(ROLES)


def order_faults(messages: list[Message]) -> list[str]:
    """What is wrong with the roles and their order; empty if all is well."""
    faults = []
    before = "start"
    for number, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            if number:
                faults.append("a system message that is not the first")
            continue
        if role not in MAY_FOLLOW or role == "start":
            faults.append(f"unknown role {role[:20]!r}")
            continue
        if role not in MAY_FOLLOW[before]:
            names = {"start": f"begins with the {role}", role: f"two {role} messages in a row"}
            faults.append(names.get(before, f"{role} after {before}"))
        if role == "assistant" and not (str(content or "").strip() or message.get("tool_calls")):
            faults.append("an empty answer")
        before = role
    if before in ("user", "tool"):
        faults.append(f"ends with the {before}: nothing after the last answer is trained")
    if not any(message["role"] == "assistant" for message in messages):
        faults.append("no assistant message")
    return list(dict.fromkeys(faults))


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a model folder."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        stop(CANNOT_TELL, "tokens need transformers: pip install transformers jinja2; or leave out --tokenizer")
    try:
        if os.path.isfile(os.path.join(path, "tokenizer.json")):
            return PreTrainedTokenizerFast.from_pretrained(path)  # 1 s; AutoTokenizer loads torch: 5 s
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, ImportError) as error:
        stop(USAGE, f"no tokenizer could be loaded from {path}: {error}")


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many tokens the two begin with alike."""
    length = 0
    while length < min(len(left), len(right)) and left[length] == right[length]:
        length += 1
    return length


def label_firefly(messages: list[Message], tokenizer: Any) -> Labelled:
    """Firefly's layout of 2023: <s>input1</s>target1</s>input2</s>target2</s>, trained on each target</s>."""
    if tokenizer.eos_token_id is None:
        stop(CANNOT_TELL, "this tokenizer has no end token, which Firefly's layout is made of")
    ids = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    labels = [IGNORED] * len(ids)
    answers = []
    for message in messages:
        piece = tokenizer(str(message.get("content") or ""), add_special_tokens=False)["input_ids"]
        piece = [*piece, tokenizer.eos_token_id]
        if message["role"] == "assistant":
            answers.append((len(ids), len(ids) + len(piece)))
        labels += piece if message["role"] == "assistant" else [IGNORED] * len(piece)
        ids += piece
    return Labelled(ids, labels, answers)


def label_template(messages: list[Message], tokenizer: Any) -> Labelled:
    """Today's layout: the chat template, trained on its {% generation %} blocks, or else on what each answer adds."""

    def render(turns: list[Message], **options: Any) -> Any:
        return tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **options)

    if GENERATION.search(str(tokenizer.chat_template)):
        marked = render(messages, return_assistant_tokens_mask=True)
        ids, mask = list(marked["input_ids"]), [bool(bit) for bit in marked["assistant_masks"]]
        edges = [n for n in range(len(ids) + 1) if (n < len(ids) and mask[n]) != (n > 0 and mask[n - 1])]
        answers = [(edges[n], edges[n + 1]) for n in range(0, len(edges), 2)]
    else:
        ids, answers = list(render(messages)["input_ids"]), []
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                before = render(messages[:number], add_generation_prompt=True)["input_ids"] if number else []
                until = render(messages[: number + 1])["input_ids"]
                start = common_prefix(before, until)
                answers.append((start, max(start, common_prefix(until, ids))))
    trained = {position for start, end in answers for position in range(start, end)}
    labels = [token if position in trained else IGNORED for position, token in enumerate(ids)]
    return Labelled(ids, labels, answers)


def token_faults(sample: Labelled, messages: list[Message], tokenizer: Any, max_length: int | None) -> list[str]:
    """What is wrong with the trained tokens of one dialogue; empty if all is well."""
    faults = []
    wanted = sum(message["role"] == "assistant" for message in messages)
    ends = set(tokenizer.all_special_ids) | {
        index for index, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special
    }
    empty = sum(end <= start for start, end in sample.answers)
    if empty:
        faults.append("an answer is rendered otherwise once a turn follows (thinking removed?)")
    if len(sample.answers) < wanted:
        faults.append("the template marks fewer answers than there are")
    if any(end > start and not ends & set(sample.labels[start:end]) for start, end in sample.answers):
        faults.append("no end token is trained after an answer")
    if max_length is not None:
        if all(start >= max_length for start, _ in sample.answers):
            faults.append(f"no answer is left within max_length {max_length}")
        elif any(start >= max_length for start, _ in sample.answers):
            faults.append(f"later answers are lost beyond max_length {max_length}")
        elif any(end > max_length for _, end in sample.answers):
            faults.append(f"the last answer is cut at max_length {max_length}, its end token lost")
    return faults


def label(messages: list[Message], tokenizer: Any, layout: str) -> Labelled | str:
    """The dialogue with its labels, or why the template refuses it."""
    if layout == "firefly":
        return label_firefly(messages, tokenizer)
    from jinja2 import TemplateError

    try:
        return label_template(messages, tokenizer)
    except (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        return f"the chat template refuses it ({printable(str(error))[:120]})"


def pieces(ids: list[int], tokenizer: Any) -> list[str]:
    """The text of each token; tokens that are parts of one character stand together."""
    texts: list[str] = []
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if not text.endswith("\ufffd"):
            texts.append(text.replace("\n", "\\n"))
            waiting = []
    return texts + ["\ufffd"] * len(waiting)


def show(sample: Labelled, tokenizer: Any, max_length: int | None) -> None:
    """The dialogue on the screen, one paragraph for each run of tokens with the same fate."""

    def fate(position: int) -> str:
        if max_length is not None and position >= max_length:
            return "CUT OFF"
        return "TRAINED" if sample.labels[position] != IGNORED else ""

    start = 0
    for position in range(1, len(sample.ids) + 1):
        if position == len(sample.ids) or fate(position) != fate(start):
            text = printable("\u00b7".join(pieces(sample.ids[start:position], tokenizer)))
            head = f"  {fate(start):7} | "
            print(textwrap.fill(text, 78, initial_indent=head, subsequent_indent=" " * 10 + "| "))
            start = position


def print_report(path: str, counts: dict[str, int], found: dict[str, list[int]], tokens: bool) -> None:
    """Counts and faults for people, the commonest fault first."""
    print(f"{printable(path)}: {counts['dialogues']:,} dialogues, {counts['answers']:,} answers")
    if tokens:
        print(f"  {counts['tokens']:,} tokens, {counts['trained']:,} trained; longest dialogue {counts['longest']:,}")
    for fault, rows in sorted(found.items(), key=lambda item: -len(item[1])):
        named = ", ".join(map(str, rows[:ROWS_NAMED])) + (", ..." if len(rows) > ROWS_NAMED else "")
        print(f"  {len(rows):,}: {printable(fault)} (rows {named})")


def main() -> int:
    """Read the arguments, examine the dialogues, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python show_trained_tokens.py --data train.jsonl --tokenizer ./model --max-length 2048\n"
        "exit code: 0 healthy, 1 a problem was found, 2 wrong usage or unreadable file, 3 cannot tell (package missing)",
    )
    parser.add_argument("--data", required=True, metavar="FILE", help="dialogues, JSON Lines or a JSON array")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="model or tokenizer folder; without it only roles are checked")
    parser.add_argument("--layout", choices=("template", "firefly"), default="template", help="default: the chat template")
    parser.add_argument("--max-length", type=int, metavar="N", help="the run's max_length; what lies beyond is cut off")
    parser.add_argument("--row", type=int, default=1, metavar="N", help="the dialogue to show, by its row (default 1)")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args()
    if (options.max_length is not None and options.max_length < 1) or options.row < 1:
        parser.error("--max-length and --row must be 1 or more")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    if tokenizer and options.layout == "template" and not tokenizer.chat_template:
        stop(CANNOT_TELL, "the tokenizer has no chat template; set one, or give --layout firefly")

    counts = {"dialogues": 0, "answers": 0, "tokens": 0, "trained": 0, "longest": 0}
    found: dict[str, list[int]] = {}
    foreign: set[str] = set()
    shown: Labelled | None = None
    previous: list[Message] = []
    for number, row in read_rows(options.data):
        messages = to_messages(row)
        if messages is None:
            stop(USAGE, f"{options.data}, row {number}: no dialogue in a known layout; see --help")
        counts["dialogues"] += 1
        counts["answers"] += sum(message["role"] == "assistant" for message in messages)
        foreign |= role_names(row)
        faults = order_faults(messages)
        if previous and len(messages) > len(previous) and messages[: len(previous)] == previous:
            faults.append("repeats the row before it and adds a round: early answers are trained again and again")
        previous = messages
        sample = label(messages, tokenizer, options.layout) if tokenizer else None
        if isinstance(sample, str):
            faults.append(sample)
        elif sample is not None:
            faults += token_faults(sample, messages, tokenizer, options.max_length)
            counts["tokens"] += len(sample.ids)
            counts["trained"] += sum(one != IGNORED for one in sample.labels[: options.max_length])
            counts["longest"] = max(counts["longest"], len(sample.ids))
            shown = sample if number == options.row else shown
        for fault in faults:
            found.setdefault(fault, []).append(number)
    if not counts["dialogues"]:
        stop(USAGE, f"{options.data} holds no dialogue")

    marked = bool(tokenizer) and bool(GENERATION.search(str(tokenizer.chat_template)))
    if options.json:
        faults = [{"fault": fault, "rows": len(rows), "first": rows[:ROWS_NAMED]} for fault, rows in found.items()]
        report = {**counts, "faults": faults, "sharegpt_roles": sorted(foreign), "problem": bool(found)}
        if tokenizer:
            report["generation_markers"] = marked
        if shown:
            tokens = [tokenizer.decode([token]) for token in shown.ids]
            report["row"] = {"number": options.row, "tokens": tokens, "labels": shown.labels}
        print(json.dumps(report))
        return PROBLEM if found else HEALTHY
    print_report(options.data, counts, found, bool(tokenizer))
    if shown:
        print(f"row {options.row}, tokens parted by a dot:")
        show(shown, tokenizer, options.max_length)
    if tokenizer and options.layout == "template" and not marked:
        print("Note: the template has no {% generation %} block; the answers above were found by comparing renderings.")
        print("trl's assistant_only_loss works only if trl knows this template; otherwise add the blocks.")
    if foreign:
        print(
            f"Note: role names {', '.join(sorted(foreign))}: LLaMA-Factory takes them; for trl rename to user, assistant, tool."
        )
    if not tokenizer:
        print("Roles and order were checked; give --tokenizer (and --max-length) to see what is trained.")
    print("Mend the rows above before training." if found else "No fault found.")
    return PROBLEM if found else HEALTHY


if __name__ == "__main__":
    sys.exit(main())
