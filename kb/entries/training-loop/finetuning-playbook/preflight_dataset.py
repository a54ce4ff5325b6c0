# /// script
# requires-python = ">=3.9"
# dependencies = ["tokenizers"]
# ///
"""Look an SFT dataset over before a run: languages, lengths, duplicates, empty answers, and who the answers say they are.

Goes in: JSON Lines or JSON arrays with messages, conversations (ShareGPT), instruction/input/output, prompt/completion,
query/response or text; with --tokenizer, a model folder, lengths are counted in tokens too (package tokenizers).
Comes out: counts and row numbers, and with --html one self-contained page to keep beside the run. Statements such as
"I am MOSS" or "trained by OpenAI" are found in answers and system prompts only where the speaker means itself; --name gives
the name that your model is to have. Changes nothing but the file named by --html.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import os
import re
import sys
import unicodedata
from collections import Counter
from typing import Any, Iterator, NamedTuple, NoReturn, Optional

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
ROWS_NAMED = 20
EXAMPLE_LENGTH = 160
SEARCHED = 4000  # characters of a text that are searched for statements
SEARCHED_FOR_SCRIPT = 1000
DUPLICATES_ALLOWED = 0.01
SCRIPTS = {
    "latin": re.compile("[A-Za-z\u00c0-\u024f]"),
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "ja": re.compile("[\u3040-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "ru": re.compile("[\u0400-\u052f]"),
    "ar": re.compile("[\u0600-\u06ff]"),
}
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}

NAMES = (
    "(?i:ChatGPT|GPT-?[345](?:[.\\w]*)|OpenAI)|MOSS|Claude|Anthropic|(?<!a )(?:Bard|Gemini|Llama|Alpaca|Vicuna)|"
    "ChatGLM\\w*|Qwen\\w*|Baichuan\\w*|InternLM\\w*|DeepSeek\\w*|Kimi|BELLE|ERNIE ?Bot|Copilot|Open ?Assistant|"
    "通义千问|文心一言|百川|书生|豆包|讯飞星火|星火"
)
MAKERS = "OpenAI|Anthropic|Google|Microsoft|Meta|DeepMind|Alibaba|Baidu|阿里巴巴|阿里云|百度|智谱|复旦大学|谷歌|微软|字节跳动"
# Names keep their capitals, and some stand without an article: "I am a Gemini" and "I am a bard" are no models.
FILLERS = "(?i:(?:an?|the|called|named|just|actually|ai|artificial|intelligence|large|language|model|assistant|chatbot|virtual|"
FILLERS += "helpful|friendly|your|new)[ ,]+){0,8}"
BOILERPLATE = re.compile(
    r"\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)|my (?:knowledge|training) cut-?off|"
    r"作为(?:一个|一名|一款)?\s?(?:AI|人工智能)\s?(?:语言)?\s?(?:大)?(?:模型|助手)|我的知识(?:库)?截止",
    re.IGNORECASE,
)
REFUSAL = re.compile(r"^\W{0,3}(?:(?:i'm|i am) (?:very )?sorry|sorry,|i can(?:no|')t |很?抱歉|对不起)", re.IGNORECASE)


def statements(names: str) -> re.Pattern[str]:
    """What finds a speaker that calls itself one of the names; third-person talk about them is left alone."""
    chinese = "(?:一个|一款|一名|你的|您的|名为|叫做|叫|人工智能|AI|语言|大型|大|模型|助手|聊天|机器人|的|[，, “「\"'])"
    return re.compile(
        rf"\b(?i:i am|i['’]m|my name is|call me)\s+{FILLERS}[\"'“]?(?P<a>{names})(?![\w-])|"
        rf"(?:^|[.!?\n]\s*)[Aa]s {FILLERS}(?P<b>{names})(?![\w-])(?=,)|"
        rf"我(?:是|叫|就是|的名字是|的名字叫){chinese}{{0,10}}(?P<c>{names})(?![A-Za-z])|"
        rf"<\|?(?P<d>{names})\|?>|(?:^|\n)(?P<e>{names})[:：]"
    )


IDENTITY = statements(NAMES)
MAKER = re.compile(
    rf"\bi(?: am|['’]m| was|['’]ve been)\b[^.!?\n]{{0,60}}\b(?:developed|trained|created|made|built) by (?P<a>{MAKERS})\b|"
    rf"我(?:是|由)[^。！？\n]{{0,16}}(?P<b>{MAKERS})[^。！？\n]{{0,12}}(?:开发|训练|研发|创造|推出)",
    re.IGNORECASE,
)


class Sample(NamedTuple):
    """One row: what is asked, what is answered, and the system prompt."""

    asked: str
    answered: str
    system: str


class Report:
    """The counts of one dataset, filled row by row."""

    def __init__(self) -> None:
        self.rows = 0
        self.languages: Counter[str] = Counter()
        self.crossed = 0
        self.lengths: list[int] = []
        self.tokens: list[int] = []
        self.ratio: dict[str, list[int]] = {}
        self.counts: Counter[str] = Counter()
        self.numbers: dict[str, list[int]] = {}
        self.names: Counter[str] = Counter()
        self.examples: list[tuple[int, str, str]] = []

    def found(self, what: str, number: int) -> None:
        """Count a finding, and keep the first rows that have it."""
        self.counts[what] += 1
        rows = self.numbers.setdefault(what, [])
        if len(rows) < ROWS_NAMED:
            rows.append(number)


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"preflight_dataset: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 300) -> str:
    """The text on one line and without control characters, since data files are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:limit]


def read_rows(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file with their numbers, from 1; JSON Lines are read line by line."""
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
                    stop(USAGE, f"{path}, row {number}: not an object with columns such as messages or instruction")
                yield number, row
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: not JSON Lines or a JSON array ({error})")


def text(row: dict[str, Any], *names: str) -> str:
    """The first of the columns that holds text; empty if none does."""
    return next((row[name] for name in names if isinstance(row.get(name), str)), "")


def to_sample(row: dict[str, Any]) -> Optional[Sample]:
    """A row of any known format; None for an unknown one."""
    turns = next((row[name] for name in ("messages", "conversations", "conversation") if isinstance(row.get(name), list)), None)
    if turns is None and isinstance(row.get("prompt"), list):
        turns = row["prompt"] + (row["completion"] if isinstance(row.get("completion"), list) else [])
    if turns is not None:
        said: dict[str, list[str]] = {"user": [], "assistant": [], "system": []}
        for turn in turns:
            if isinstance(turn, dict):
                role = str(turn.get("role", turn.get("from")))
                said.get(ROLES.get(role, role), said["user"]).append(text(turn, "content", "value"))
        return Sample("\n".join(said["user"]), "\n".join(said["assistant"]), text(row, "system") or "\n".join(said["system"]))
    for asked, answered in (("instruction", "output"), ("prompt", "completion"), ("query", "response"), ("input", "target")):
        if asked in row:
            more = text(row, "input") if asked == "instruction" else ""
            answer = text(row, answered, "response", "output", "completion", "answer")
            return Sample("\n".join(filter(None, (text(row, asked), more))), answer, text(row, "system"))
    return Sample("", text(row, "text"), "") if "text" in row else None


def language(sample: str) -> str:
    """The language by its script: zh, ja, ko, ru (Cyrillic), ar, other, latin, or none. Latin is not told apart further."""
    start = sample[:SEARCHED_FOR_SCRIPT]
    counts = {name: len(script.findall(start)) for name, script in SCRIPTS.items()}
    counts["other"] = sum(letter.isalpha() for letter in start) - sum(counts.values()) if not start.isascii() else 0
    for name in ("zh", "ja", "ko"):
        counts[name] *= 3  # one character says about as much as three Latin letters
    if counts["ja"] * 10 > counts["zh"]:
        counts["ja"] += counts.pop("zh")
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > 0 else "none"


def digest(content: str) -> bytes:
    """A short name for texts that differ in width, case, spaces and punctuation only."""
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", content).lower())
    return hashlib.blake2b((plain or content).encode("utf-8", "replace"), digest_size=10).digest()


def load_tokenizer(folder: str) -> Any:
    """The tokenizer of a model folder."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        stop(CANNOT_TELL, "counting tokens needs a package: pip install tokenizers (without --tokenizer none is needed)")
    path = os.path.join(folder, "tokenizer.json") if os.path.isdir(folder) else folder
    if not os.path.isfile(path):
        stop(USAGE, f"{folder} holds no tokenizer.json")
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the package raises bare Exception
        stop(USAGE, f"{path}: not a tokenizer ({error})")


def own_statements(names: Optional[str]) -> Optional[re.Pattern[str]]:
    """What finds the name that the model is to have."""
    parts = [re.escape(name.strip()) for name in (names or "").split(",") if name.strip()]
    return statements(f"(?i:{'|'.join(parts)})") if parts else None


def identities(content: str, own: Optional[re.Pattern[str]]) -> list[tuple[str, str]]:
    """The foreign names by which the speaker calls itself, each with the words around it."""
    found = []
    for pattern in (IDENTITY, MAKER):
        for match in pattern.finditer(content[:SEARCHED]):
            if not (own and own.search(match[0])):
                name = next(group for group in match.groups() if group)
                around = content[max(0, match.start() - 30) : match.end() + 60]
                found.append((name, around))
    return found


def examine(paths: list[str], options: argparse.Namespace) -> Report:
    """The report on the files, read one row at a time."""
    report, own = Report(), own_statements(options.name)
    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    pairs: set[bytes] = set()
    answers: dict[bytes, bytes] = {}
    held_out = set()
    for _, row in read_rows(options.eval_data) if options.eval_data else ():
        sample = to_sample(row)
        if sample:
            held_out.add(digest(sample.asked or sample.answered))
    for path in paths:
        for number, row in read_rows(path):
            sample = to_sample(row)
            if sample is None:
                stop(USAGE, f"{path}, row {number}: unknown columns {sorted(map(str, row))[:8]}; see --help for the formats")
            report.rows += 1
            examine_row(report, report.rows, sample, own)
            question, answer = digest(sample.asked or sample.answered), digest(sample.answered)
            if question + answer in pairs:
                report.found("duplicates", report.rows)
            elif sample.asked and answers.get(question, answer) != answer:
                report.found("same question, other answer", report.rows)
            pairs.add(question + answer)
            answers.setdefault(question, answer)
            if question in held_out:
                report.found("also in the evaluation data", report.rows)
            if tokenizer is not None:
                count_tokens(report, report.rows, sample, tokenizer, options.max_length)
    if not report.rows:
        stop(USAGE, f"{', '.join(paths)}: no rows")
    return report


def examine_row(report: Report, number: int, sample: Sample, own: Optional[re.Pattern[str]]) -> None:
    """Add one row to the report."""
    spoken = language(sample.answered)
    report.languages[spoken] += 1
    if sample.asked and {language(sample.asked), spoken} in ({"zh", "latin"}, {"ja", "zh"}, {"ko", "zh"}):
        report.crossed += 1
    report.lengths.append(len(sample.answered))
    if not sample.answered.strip():
        report.found("empty answers", number)
    named = identities(sample.answered, own) + identities(sample.system, own)
    if named:
        report.found("foreign identity", number)
        report.names.update({name.upper(): 1 for name, _ in named})
        if len(report.examples) < ROWS_NAMED:
            report.examples.append((number, *named[0]))
    if own and own.search(sample.answered[:SEARCHED]):
        report.found("own identity", number)
    if BOILERPLATE.search(sample.answered[:SEARCHED]):
        report.found("as an AI model ...", number)
    if REFUSAL.search(sample.answered):
        report.found("apologies and refusals", number)


def count_tokens(report: Report, number: int, sample: Sample, tokenizer: Any, max_length: Optional[int]) -> None:
    """Add one row's length in tokens, template marks not counted."""
    answered = len(tokenizer.encode(sample.answered, add_special_tokens=False).ids)
    before = len(tokenizer.encode("\n".join((sample.system, sample.asked)), add_special_tokens=False).ids)
    report.tokens.append(before + answered)
    ratio = report.ratio.setdefault(language(sample.answered), [0, 0])
    ratio[0] += len(sample.answered)
    ratio[1] += answered
    if max_length and before + answered > max_length:
        report.found("longer than max_length", number)


def quantiles(values: list[int]) -> dict[str, int]:
    """Median, 95th and 99th percentile, and the largest."""
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))]
        for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


def problems(report: Report) -> list[str]:
    """What to mend before the run, most urgent first; empty if all is well."""
    lines = []
    if report.counts["also in the evaluation data"]:
        lines.append("Take the rows of the evaluation data out of the training data, or the evaluation says nothing.")
    if report.counts["empty answers"]:
        lines.append("Drop the rows with an empty answer.")
    if report.counts["foreign identity"]:
        lines.append("Rewrite or drop the rows in which the assistant bears another name, or it will give that name.")
    if report.counts["longer than max_length"]:
        lines.append("Raise max_length, or drop or split the longer rows: their answers and end marks are cut off.")
    if report.counts["duplicates"] > DUPLICATES_ALLOWED * report.rows:
        lines.append("Drop the duplicates: repeated rows weigh more and are learnt by heart.")
    return lines


def summary(report: Report) -> dict[str, Any]:
    """The result for programs."""
    return {
        "rows": report.rows,
        "languages": dict(report.languages.most_common()),
        "asked in one language, answered in another": report.crossed,
        "answer_characters": quantiles(report.lengths),
        "tokens": quantiles(report.tokens) if report.tokens else None,
        "characters_per_token": {name: round(a / b, 2) for name, (a, b) in report.ratio.items() if b},
        "findings": dict(report.counts.most_common()),
        "rows_named": report.numbers,
        "names": dict(report.names.most_common(20)),
        "problems": problems(report),
    }


def table(rows: list[tuple[str, str]], scale: Optional[list[float]] = None) -> str:
    """An HTML table of names and values, with bars where a scale is given."""
    cells = []
    for position, (name, value) in enumerate(rows):
        bar = f'<i style="width:{scale[position] * 100:.1f}%"></i>' if scale else ""
        cells.append(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td><td class=bar>{bar}</td></tr>")
    return f"<table>{''.join(cells)}</table>"


def page(report: Report, paths: list[str]) -> str:
    """The report as one HTML page that needs nothing else."""
    counts = report.languages.most_common()
    found = [
        (what, f"{many:,} (rows {', '.join(map(str, report.numbers[what][:8]))})") for what, many in report.counts.most_common()
    ]
    lengths = [(f"answer, characters, {name}", f"{value:,}") for name, value in quantiles(report.lengths).items()]
    if report.tokens:
        lengths += [(f"whole row, tokens, {name}", f"{value:,}") for name, value in quantiles(report.tokens).items()]
    examples = [(f"row {number}: {name}", printable(around, EXAMPLE_LENGTH)) for number, name, around in report.examples]
    verdict = "".join(f"<li>{html.escape(line)}</li>" for line in problems(report)) or "<li>Nothing to mend was found.</li>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Dataset report</title><style>body{font:15px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #8884;"
        "font-weight:400;vertical-align:top}.bar{width:40%}.bar i{display:block;height:.8rem;background:#2a6fdb}"
        ":root{color-scheme:light dark}</style>"
        f"<h1>Dataset report</h1><p>{html.escape(', '.join(map(os.path.basename, paths)))}: {report.rows:,} rows</p>"
        f"<h2>To mend</h2><ul>{verdict}</ul><h2>Languages of the answers</h2>"
        + table([(name, f"{many:,}") for name, many in counts], [many / report.rows for _, many in counts])
        + f"<h2>Lengths</h2>{table(lengths)}<h2>Findings</h2>{table(found)}<h2>Statements about itself</h2>{table(examples)}"
        "</html>\n"
    )


def print_report(report: Report) -> None:
    """The report for people."""
    print(f"{report.rows:,} rows")
    print("languages: " + ", ".join(f"{name} {many / report.rows:.1%}" for name, many in report.languages.most_common()))
    if report.crossed:
        print(f"asked in one language and answered in another: {report.crossed:,}")
    print("answers, characters: " + ", ".join(f"{name} {value:,}" for name, value in quantiles(report.lengths).items()))
    if report.tokens:
        print("rows, tokens: " + ", ".join(f"{name} {value:,}" for name, value in quantiles(report.tokens).items()))
        ratios = (f"{name} {a / b:.2f}" for name, (a, b) in report.ratio.items() if b)
        print("characters a token: " + ", ".join(ratios))
    for what, many in report.counts.most_common():
        rows = ", ".join(map(str, report.numbers[what][:5]))
        print(f"{what}: {many:,} (rows {rows}{', ...' if many > 5 else ''})")
    if report.names:
        print("names given: " + ", ".join(f"{printable(name, 30)} {many}" for name, many in report.names.most_common(8)))
    for number, _, around in report.examples[:3]:
        print(f"  row {number}: {printable(around, EXAMPLE_LENGTH)}")
    print("\n".join(problems(report)) or "Nothing to mend was found. Read fifty rows yourself all the same.")


def main() -> int:
    """Read the arguments, examine the files, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python preflight_dataset.py train.jsonl --name GoGPT --tokenizer ./model --max-length 4096 "
        "--html report.html\n"
        "exit code: 0 healthy, 1 something to mend, 2 wrong usage or unreadable file, 3 cannot tell (package missing)",
    )
    parser.add_argument("data", nargs="+", metavar="FILE", help="training data; rows are numbered through all files")
    parser.add_argument("--name", metavar="NAMES", help="the names your model may bear, with commas between")
    parser.add_argument("--eval-data", metavar="FILE", help="evaluation data, to look for its questions in the training data")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="model folder with tokenizer.json, to count tokens")
    parser.add_argument("--max-length", type=int, metavar="N", help="the run's max_length; needs --tokenizer")
    parser.add_argument("--html", metavar="FILE", help="write the report as a page there")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args()
    if options.max_length is not None and (options.max_length < 1 or not options.tokenizer):
        parser.error("--max-length must be 1 or more, and needs --tokenizer")
    report = examine(options.data, options)
    if options.html:
        try:
            with open(options.html, "w", encoding="utf-8", errors="replace") as file:
                file.write(page(report, options.data))
        except OSError as error:
            stop(USAGE, f"{options.html}: {error.strerror or error}")
    if options.json:
        print(json.dumps(summary(report)))
    else:
        print_report(report)
    return PROBLEM if problems(report) else HEALTHY


if __name__ == "__main__":
    sys.exit(main())
