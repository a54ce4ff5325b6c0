# /// script
# requires-python = ">=3.9"
# dependencies = ["transformers>=4.44", "jinja2"]
# ///
"""Count the tokens of each SFT sample that are trained, and say why some samples have none.

Goes in: a JSON Lines (or JSON array) file with one of
    input_ids, and labels or TRL's completion_mask / assistant_masks   (needs no tokenizer and no package)
    prompt, completion                                                (text, or lists of messages)
    messages, or ShareGPT's conversations
    instruction, input, output                                        (wrapped as Stanford Alpaca does)
Comes out: how many samples have no trained token (loss 0 or NaN) and why, how many answers are cut, which rows
training and evaluation share, and whether fp16 is a risk for this model. Changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
IGNORED = -100
ROWS_NAMED = 5
SHORTEST_LEAK = 20  # characters; shorter answers ("yes", "42") stand in prompts by chance
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"

Row = dict[str, Any]
Messages = list[dict[str, Any]]


class Sample(NamedTuple):
    """One sample as the loss sees it: `mask[n]` tells whether token n may be trained, before truncation."""

    mask: list[bool]
    reason: str  # why nothing is trained, if it is not truncation
    identity: str  # equal for equal samples
    answer_in_prompt: bool


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_labels: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 300) -> str:
    """The text on one line and without control characters, since data files are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:limit]


def read_rows(path: str) -> Iterator[tuple[int, Row]]:
    """The samples of a file with their numbers, from 1; JSON Lines are read line by line."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            lines = enumerate(json.load(file) if first.lstrip().startswith("[") else file, 1)
            for number, line in lines:
                if isinstance(line, str) and not line.strip():
                    continue
                row = json.loads(line) if isinstance(line, str) else line
                if not isinstance(row, dict):
                    stop(USAGE, f"{path}, row {number}: not an object with columns such as prompt and completion")
                yield number, row
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: not JSON Lines or a JSON array ({error}); export other formats first (Dataset.to_json)")


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a model folder."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError:
        stop(CANNOT_TELL, "text needs transformers: pip install transformers jinja2 (tokenized data needs no package)")
    try:
        if os.path.isfile(os.path.join(path, "tokenizer.json")):
            return PreTrainedTokenizerFast.from_pretrained(path)  # 1.5 s where AutoTokenizer, which loads torch, takes 5
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, ImportError) as error:
        stop(USAGE, f"no tokenizer could be loaded from {path}: {error}")


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many tokens the two begin with alike."""
    length = 0
    while length < min(len(left), len(right)) and left[length] == right[length]:
        length += 1
    return length


def digest(content: Any) -> str:
    """A short name for equal content."""
    text = json.dumps(content, ensure_ascii=True, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def tokenized_sample(row: Row) -> Sample:
    """A row that is tokenized already; without labels or masks every token is trained."""
    ids = row["input_ids"]
    masks = [row[name] for name in ("completion_mask", "assistant_masks") if isinstance(row.get(name), list)]
    if isinstance(row.get("labels"), list):
        masks = [[label != IGNORED for label in row["labels"]]]
    if not isinstance(ids, list) or any(len(mask) != len(ids) for mask in masks):
        return Sample([], "labels or mask and input_ids differ in length", digest(ids), False)
    mask = [all(one[position] for one in masks) for position in range(len(ids))]
    return Sample(mask, "every label is -100", digest(ids), False)


def text_sample(prompt: str, answer: str, tokenizer: Any) -> Sample:
    """A prompt and its answer, which ends with the end-of-text token."""
    prompt_ids = tokenizer(prompt)["input_ids"]
    ids = tokenizer(prompt + answer + (tokenizer.eos_token or ""))["input_ids"]
    start = common_prefix(prompt_ids, ids) if answer.strip() else len(ids)
    leaked = len(answer.strip()) >= SHORTEST_LEAK and answer.strip() in prompt
    mask = [position >= start for position in range(len(ids))]
    return Sample(mask, "the answer is empty", digest([prompt, answer]), leaked)


def conversation_sample(messages: Messages, tokenizer: Any) -> Sample:
    """A conversation, of which the assistant's turns are trained."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        stop(CANNOT_TELL, "the tokenizer has no chat template, so messages cannot be laid out")

    def ids_of(turns: Messages, **options: Any) -> Any:
        return tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **options)

    roles = ", ".join(sorted({str(turn.get("role")) for turn in messages}))
    identity = digest([[turn.get("role"), turn.get("content")] for turn in messages])
    try:
        ids = ids_of(messages)["input_ids"]
        if "{% generation" in tokenizer.chat_template or "{%- generation" in tokenizer.chat_template:
            marked = ids_of(messages, return_assistant_tokens_mask=True)["assistant_masks"]
            return Sample([bool(bit) for bit in marked], f"no assistant turn (roles seen: {roles})", identity, False)
        mask = [False] * len(ids)
        for number, turn in enumerate(messages):
            if turn.get("role") != "assistant":
                continue
            before = ids_of(messages[:number], add_generation_prompt=True)["input_ids"] if number else []
            until = ids_of(messages[: number + 1])["input_ids"]
            for position in range(common_prefix(before, until), min(len(until), len(ids))):
                mask[position] = True
    except (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        return Sample([], f"the chat template refuses it ({error})", identity, False)
    return Sample(mask, f"no assistant turn (roles seen: {roles})", identity, False)


def as_messages(turns: Any) -> Messages:
    """Messages from OpenAI's or ShareGPT's names; what is no list of objects gives none."""
    messages = []
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, dict) and "role" not in turn:
            role = str(turn.get("from"))
            turn = {"role": SHAREGPT_ROLES.get(role, role), "content": turn.get("value")}
        if isinstance(turn, dict):
            messages.append(turn)
    return messages


def text(row: Row, column: str) -> str:
    """A column as text, empty where it is missing."""
    value = row.get(column)
    return "" if value is None else str(value)


def to_sample(row: Row, tokenizer: Any) -> Sample | None:
    """The sample of a row of any known format; None for an unknown one."""
    if "input_ids" in row:
        return tokenized_sample(row)
    if isinstance(row.get("prompt"), list) or "messages" in row or "conversations" in row:
        turns = as_messages(row.get("messages") or row.get("conversations"))
        turns = turns or as_messages(row.get("prompt")) + as_messages(row.get("completion"))
        return conversation_sample(turns, tokenizer)
    if "prompt" in row:
        return text_sample(text(row, "prompt"), text(row, "completion"), tokenizer)
    if "instruction" in row:
        given = text(row, "input").strip()
        prompt = ALPACA + f"### Instruction:\n{text(row, 'instruction')}\n\n"
        prompt += f"### Input:\n{given}\n\n### Response:\n" if given else "### Response:\n"
        return text_sample(prompt, text(row, "output"), tokenizer)
    return None


def examine(path: str, tokenizer_path: str | None, max_length: int | None) -> tuple[Row, dict[str, int]]:
    """The report on one file, and the identity of each sample with its row number."""
    tokenizer = None
    counts: list[int] = []
    reasons: Counter[str] = Counter()
    rows_named: dict[str, list[int]] = {}
    identities: dict[str, int] = {}
    cut = repeated = leaked = 0
    for number, row in read_rows(path):
        if "input_ids" not in row and tokenizer is None:
            if tokenizer_path is None:
                stop(USAGE, f"{path} is not tokenized: give the model's folder with --tokenizer")
            tokenizer = load_tokenizer(tokenizer_path)
        sample = to_sample(row, tokenizer)
        if sample is None:
            stop(USAGE, f"{path}, row {number}: unknown columns {sorted(row)[:8]}; see --help for the known formats")
        # The first label is never a target: position n is predicted from the tokens before it.
        trained = sum(sample.mask[1:max_length])
        counts.append(trained)
        whole = sum(sample.mask[1:])
        cut += 0 < trained < whole
        if trained == 0:
            reason = f"the prompt alone fills max_length {max_length}" if whole else sample.reason
            reasons[reason] += 1
            rows_named.setdefault(reason, [])
            if len(rows_named[reason]) < ROWS_NAMED:
                rows_named[reason].append(number)
        leaked += sample.answer_in_prompt
        repeated += sample.identity in identities
        identities.setdefault(sample.identity, number)
    if not counts:
        stop(USAGE, f"{path} holds no sample")
    report = {
        "file": path,
        "tokenized": tokenizer is None,
        "max_length": max_length,
        "samples": len(counts),
        "trained_tokens": {"min": min(counts), "median": statistics.median(counts), "max": max(counts)},
        "untrained": sum(reasons.values()),
        "reasons": [{"reason": why, "samples": many, "rows": rows_named[why]} for why, many in reasons.most_common()],
        "answers_cut": cut,
        "repeated": repeated,
        "answer_in_prompt": leaked,
    }
    return report, identities


def precision_risk(folder: str | None, dtype: str | None) -> str | None:
    """Why half precision is a risk here, from the model's config.json and the run's precision; None where it is none."""
    stored = None
    try:
        with open(os.path.join(folder or "", "config.json"), encoding="utf-8", errors="replace") as file:
            config = json.load(file)
        stored = config.get("dtype") or config.get("torch_dtype")
    except (OSError, ValueError, AttributeError):
        pass  # no model folder, or one without a readable configuration
    if stored == "float16" and dtype != "bf16":
        return "the model is saved in float16 and transformers 5 loads it so; AdamW turns float16 weights into NaN"
    if dtype == "fp16" and stored == "bfloat16":
        return "the model was trained in bfloat16 and may exceed 65504, where fp16 ends; prefer bf16=True"
    if dtype == "fp16":
        return "fp16 ends at 65504; prefer bf16=True (Ampere or newer), else float32 weights with fp16=True"
    return None


def print_report(report: Row) -> None:
    """The report on one file for people."""
    tokens = report["trained_tokens"]
    print(f"{printable(report['file'])}: {report['samples']:,} samples")
    print(f"  trained tokens a sample: min {tokens['min']}, median {tokens['median']:g}, max {tokens['max']}")
    print(f"  without a trained token: {report['untrained']:,} ({report['untrained'] / report['samples']:.1%})")
    for item in report["reasons"]:
        more = ", ..." if item["samples"] > len(item["rows"]) else ""
        rows = ", ".join(map(str, item["rows"]))
        print(f"    {item['samples']:,}: {printable(item['reason'])} (rows {rows}{more})")
    notes = {
        "answers_cut": "answers cut at max_length",
        "repeated": "rows repeated within the file",
        "answer_in_prompt": "answers that stand in their own prompt",
    }
    for key, note in notes.items():
        if report[key]:
            print(f"  {note}: {report[key]:,}")
    if report["max_length"] is None and not report["tokenized"]:
        print("  truncation was not looked at: give the run's --max-length")


def problems(reports: list[Row], shared: int) -> list[str]:
    """What the findings mean and what to do next, most urgent first; empty if all is well."""
    lines = []
    if reports[0]["untrained"] == reports[0]["samples"]:
        lines.append("No sample trains anything: this logs loss 0 (or NaN). Mend the reason above before any setting.")
    elif any(report["untrained"] for report in reports):
        lines.append("Batches of such samples alone log loss 0 or NaN: raise max_length, mend the mask, or drop them.")
    if shared:
        lines.append("Training and evaluation share rows: eval_loss says too little. It is no reason for an exact 0.")
    return lines


def main() -> int:
    """Read the arguments, examine the files, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_labels.py --tokenizer ./model --data train.jsonl --max-length 2048 --dtype fp16\n"
        "exit code: 0 healthy, 1 a problem was found, 2 wrong usage or unreadable file, 3 cannot tell (package missing)",
    )
    parser.add_argument("--data", required=True, metavar="FILE", help="training data, JSON Lines or a JSON array")
    parser.add_argument("--eval-data", metavar="FILE", help="evaluation data, to look for shared rows")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="model or tokenizer folder; not needed for tokenized data")
    parser.add_argument("--max-length", type=int, metavar="N", help="the run's max_length; answers beyond it are cut off")
    parser.add_argument("--dtype", choices=("fp16", "bf16", "fp32"), help="the run's precision, to tell its risk")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    arguments = parser.parse_args()
    if arguments.max_length is not None and arguments.max_length < 1:
        parser.error("--max-length must be 1 or more")

    train, known = examine(arguments.data, arguments.tokenizer, arguments.max_length)
    reports, shared = [train], 0
    if arguments.eval_data:
        evaluation, seen = examine(arguments.eval_data, arguments.tokenizer, arguments.max_length)
        reports.append(evaluation)
        shared = sum(identity in known for identity in seen)
    risk = precision_risk(arguments.tokenizer, arguments.dtype)
    found = problems(reports, shared)
    if arguments.json:
        print(json.dumps({"files": reports, "shared_rows": shared, "precision_risk": risk, "problem": bool(found)}))
        return PROBLEM if found else HEALTHY
    for report in reports:
        print_report(report)
    if arguments.eval_data:
        print(f"distinct rows of the evaluation data that are also in the training data: {shared:,}")
    print("\n".join(found) or "Every sample has trained tokens: labels are not why the loss is 0. Look at grad_norm.")
    if risk:
        print(f"Precision, a risk and no finding: {risk}.")
    return PROBLEM if found else HEALTHY


if __name__ == "__main__":
    sys.exit(main())
