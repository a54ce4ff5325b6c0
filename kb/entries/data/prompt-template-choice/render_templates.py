# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Conversations -> the exact text of a prompt template; a training text -> the template it was rendered with.

A template here is plain strings: the user's part, the cue that the model answers to, the answer and its end.
Everything after the cue is what the model must produce, so that is what `{% generation %}` encloses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 1024 * 1024
MAX_SAMPLE = 1024 * 1024
MAX_TURNS = 200
Messages = list[dict]

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)
SAFE = (
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n\n"
    "{gap}If a question does not make any sense, or is not factually coherent, explain why instead of answering "
    "something not correct. If you don't know the answer to a question, please don't share false information."
)
HELPFUL = "You are a helpful, respectful and honest assistant"
ALWAYS = "Always answer as helpfully as possible, while being safe."
LINKSOUL_SYSTEM = f"{HELPFUL}. {ALWAYS}  " + SAFE.format(gap=" " * 12)
YAYI_SYSTEM = f"{HELPFUL} named YaYi developed by Beijing Wenge Technology Co.,Ltd. {ALWAYS} " + SAFE.format(gap="")
BELUGA_SYSTEM = (
    "You are Stable Beluga, an AI that follows instructions extremely well. Help as much as you can. "
    "Remember, be safe, and don't do anything illegal."
)
GUANACO = (
    "A chat between a curious human and an artificial intelligence assistant."
    "The assistant gives helpful, detailed, and polite answers to the user's questions.\n"
)
SYS = "<<SYS>>\n{system}\n<</SYS>>\n\n"


class CannotRender(ValueError):
    """The template has no form for this conversation."""


@dataclass(frozen=True)
class Template:
    """One published form. In the strings {content}, {input}, {system} and {eos} are filled in."""

    name: str
    models: str
    source: str
    user: str
    cue: str
    answer: str = "{content}{eos}"
    note: str = ""
    stop: str = "the end token; add the next mark as a stop string"
    user_with_input: str = ""
    system: str = ""
    default_system: str = ""
    system_in_user: bool = False
    after_answer: str = ""
    multi_turn: bool = False
    end_once: bool = False  # the end token closes the conversation, not each answer
    strip: bool = False
    bos_every_turn: bool = False


def _hashes(preamble: str, with_input: bool) -> str:
    return preamble + "### Instruction:\n{content}\n\n" + ("### Input:\n{input}\n\n" if with_input else "")


CARD = "https://huggingface.co/"
# fmt: off
TEMPLATES = [
    Template(
        "alpaca", "Stanford Alpaca and its followers", "github.com/tatsu-lab/stanford_alpaca train.py",
        user=_hashes(ALPACA, False), user_with_input=_hashes(ALPACA_INPUT, True), cue="### Response:",
        note="ends at 'Response:' with no newline or space; the answer follows. The 2023 notes' copy is exact.",
    ),
    Template(
        "alpaca-lora", "alpaca-lora and its descendants", "github.com/tloen/alpaca-lora templates/alpaca.json",
        user=_hashes(ALPACA, False), user_with_input=_hashes(ALPACA_INPUT, True), cue="### Response:\n",
        note="one byte longer than alpaca: a newline ends the prompt. Not in the 2023 notes.",
    ),
    Template(
        "llama2", "Llama-2-chat", "github.com/meta-llama/llama llama/generation.py",
        user="[INST] {content} [/INST]", cue="", answer=" {content} {eos}", system=SYS, system_in_user=True,
        multi_turn=True, strip=True, bos_every_turn=True, stop="the end token",
        note="the 2023 notes show LinkSoul's string, not Meta's: see linksoul-llama2. The system text is optional.",
    ),
    Template(
        "linksoul-llama2", "LinkSoul/Chinese-Llama-2-7b", "github.com/LinkSoul-AI/Chinese-Llama-2-7b README.md",
        user="[INST] {content} [/INST]", cue="", answer=" {content} {eos}", system=SYS, system_in_user=True,
        default_system=LINKSOUL_SYSTEM, stop="the end token",
        note="the Llama-2 of the 2023 notes: its stray spaces (2 and 12) are part of the system text.",
    ),
    Template(
        "linly", "Linly-AI/Chinese-LLaMA-2-7B-hf", CARD + "Linly-AI/Chinese-LLaMA-2-7B-hf",
        user="### Instruction:{content}  ", cue="### Response:", strip=True,
        note="two spaces, no newline. The card shows the prompt only. The 2023 notes' copy is exact.",
    ),
    Template(
        "nous-hermes", "Nous-Hermes-Llama2 7b, 13b (Hermes 2: chatml)", CARD + "NousResearch/Nous-Hermes-llama-2-7b",
        user=_hashes("", False), user_with_input=_hashes("", True), cue="### Response:\n",
        note="'<leave a newline blank ...>' on card and in notes is advice to the reader: one newline, not that text.",
    ),
    Template(
        "yayi-llama2", "wenge-research/yayi-7b-llama2", CARD + "wenge-research/yayi-7b-llama2",
        user="<|Human|>:\n{content}\n\n", user_with_input="<|Human|>:\n{content}\n{input}\n\n", cue="<|YaYi|>:\n",
        answer="{content}\n\n<|End|>", system="<|System|>:\n{system}\n\n", default_system=YAYI_SYSTEM, multi_turn=True,
        stop="<|End|>, a trained special token (the card also stops at <|YaYi|>, <|Human|>, </s>)",
        note="prompt as on the card; answer, end and further turns as in github.com/wenge-research/YAYI training/. "
        "The 2023 notes' copy is exact.",
    ),
    Template(
        "stablebeluga2", "stabilityai/StableBeluga2", CARD + "stabilityai/StableBeluga2",
        user="### User: {content}\n\n", cue="### Assistant:\n", system="### System:\n{system}\n\n",
        default_system=BELUGA_SYSTEM,
        note="the card's code: a space after 'User:'. Card and notes show a second form: stablebeluga2-block.",
    ),
    Template(
        "stablebeluga2-block", "stabilityai/StableBeluga2", CARD + "stabilityai/StableBeluga2",
        user="### User:\n{content}\n\n", cue="### Assistant:\n", system="### System:\n{system}\n\n",
        default_system="This is a system prompt, please behave and help the user.",
        note="the card's format block: a newline after 'User:'. Which of the two was trained is not published.",
    ),
    Template(
        "guanaco-data", "what the QLoRA Guanaco models were trained on", "data set timdettmers/openassistant-guanaco",
        user="### Human: {content}", cue="### Assistant:", answer=" {content}{eos}", multi_turn=True, end_once=True,
        stop="stop string '### Human' (the end token closes only the whole conversation)",
        note="nothing stands before '### Assistant:'. Not in the 2023 notes, whose two forms are not what was trained.",
    ),
    Template(
        "guanaco-card", "timdettmers/guanaco-*", CARD + "timdettmers/guanaco-65b",
        user=GUANACO + "### Human: {content} ", cue="### Assistant:", answer=" {content}{eos}",
        stop="stop string '### Human'",
        note="the card's code joins 'assistant.The' without a space, though the output it shows has one. "
        "The 2023 notes' copy is exact.",
    ),
    Template(
        "guanaco-short", "TheBloke's copies, llama-2-70b-Guanaco-QLoRA", CARD + "TheBloke/guanaco-65B-GGML",
        user="### Human: {content}\n", cue="### Assistant:", answer=" {content}{eos}", stop="stop string '### Human'",
        note="the short form of the 2023 notes; whether a newline follows 'Assistant:' differs between cards.",
    ),
    Template(
        "chatml", "a base model without a format of its own; Qwen, Hermes 2", "transformers documentation",
        user="<|im_start|>user\n{content}<|im_end|>\n", cue="<|im_start|>assistant\n", answer="{content}<|im_end|>",
        after_answer="\n", system="<|im_start|>system\n{system}<|im_end|>\n", multi_turn=True, stop="<|im_end|>",
        note="not in the 2023 notes. Both marks must be special tokens; Qwen2.5's own template adds a system text.",
    ),
]
# fmt: on
BY_NAME = {template.name: template for template in TEMPLATES}


def split_system(template: Template, messages: Messages) -> tuple[str, Messages]:
    """The system text and the turns; raises CannotRender where the template has no form for them."""
    system = template.default_system
    if messages and messages[0].get("role") == "system":
        if not template.system:
            raise CannotRender(f"{template.name} has no form for a system message")
        system, messages = messages[0].get("content"), messages[1:]
        if not isinstance(system, str):
            raise CannotRender("the content of the system message is no text")
    if not messages:
        raise CannotRender("the conversation has no user message")
    for number, message in enumerate(messages):
        wanted = ("user", "assistant")[number % 2]
        if message.get("role") != wanted:
            raise CannotRender(f"message {number + 1} after the system is {message.get('role')!r}; {wanted} is wanted")
        if not (isinstance(message.get("content"), str) and isinstance(message.get("input") or "", str)):
            raise CannotRender(f"the content of message {number + 1} is no text")
        if message.get("input") and not (wanted == "user" and template.user_with_input):
            raise CannotRender(f"{template.name} has no form for an input")
    if len(messages) > 2 and not template.multi_turn:
        raise CannotRender(f"{template.name} has no published form for more than one question and answer")
    return system, messages


def render(template: Template, messages: Messages, bos: str, eos: str, cue_last: bool = True) -> str:
    """The text of a conversation, BOS included; after a last user message comes the cue unless `cue_last` is false."""
    system, turns = split_system(template, messages)
    for text in [system] + [message["content"] for message in turns]:
        if template.system_in_user and re.search(r"\[/?INST\]|<</?SYS>>", text):
            raise CannotRender(f"{template.name}: the content holds [INST] or <<SYS>>; Meta's code refuses it too")
    block = template.system.format(system=system) if system else ""
    parts = [bos, "" if template.system_in_user else block]
    for number, message in enumerate(turns):
        content = message["content"]
        if message["role"] == "user":
            if number == 0 and template.system_in_user:
                content = block + content
            content = content.strip() if template.strip else content
            form = template.user_with_input if message.get("input") else template.user
            parts.append(bos if number and template.bos_every_turn else "")
            parts.append(form.format(content=content, input=message.get("input") or ""))
            parts.append(template.cue if cue_last or number + 1 < len(turns) else "")
        else:
            end = "" if template.end_once and number + 1 < len(turns) else eos
            content = content.strip() if template.strip else content
            parts.append(template.answer.format(content=content, eos=end) + template.after_answer)
    return "".join(parts)


def _expression(form: str, **names: str) -> str:
    """A Jinja expression for a string with fields: 'a{x}' becomes "a" + x."""
    pieces = [piece for piece in re.split(r"(\{\w+\})", form) if piece]
    return " + ".join(names[piece[1:-1]] if piece[0] == "{" else json.dumps(piece) for piece in pieces)


def jinja(template: Template) -> str:
    """The same template as a Hugging Face chat_template; the mask of `{% generation %}` is the answer with its end."""

    def stop_at(condition: str, reason: str) -> str:
        return "{% if " + condition + " %}{{ raise_exception(" + json.dumps(reason) + ") }}{% endif %}"

    trim = " | trim" if template.strip else ""
    block = _expression(template.system, system="system") or '""'
    block = f"(({block}) if system else '')"
    content = f"({block} + message['content'] if loop.first else message['content'])"
    content = f"({content if template.system_in_user else 'message[' + repr('content') + ']'}{trim})"
    user = "{{ " + _expression(template.user, content=content) + " }}"
    if template.user_with_input:
        form = _expression(template.user_with_input, content=content, input="message['input']")
        user = "{% if message.get('input') %}{{ " + form + " }}{% else %}" + user + "{% endif %}"
    else:
        user = stop_at("message.get('input')", f"{template.name} has no form for an input") + user
    if template.bos_every_turn:
        user = "{% if not loop.first %}{{ bos_token }}{% endif %}" + user
    cue = "{{ " + json.dumps(template.cue) + " }}" if template.cue else ""
    head, _, tail = template.answer.partition("{eos}")
    answer = "{{ " + _expression(head, content=f"(message['content']{trim})") + " }}"
    if template.answer.endswith("{eos}"):
        answer += "{% if loop.last %}{{ eos_token }}{% endif %}" if template.end_once else "{{ eos_token }}"
    answer = "{% generation %}" + answer + tail + "{% endgeneration %}"
    answer += "{{ " + json.dumps(template.after_answer) + " }}" if template.after_answer else ""
    one = f"{template.name} has no published form for more than one question and answer"
    no_system = stop_at("messages[0]['role'] == 'system'", f"{template.name} has no form for a system message")
    return (
        "{{ bos_token }}{% set system = "
        + json.dumps(template.default_system)
        + " %}{% set turns = messages %}"
        + (
            "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
            "{% set turns = messages[1:] %}{% endif %}"
            if template.system
            else no_system
        )
        + ("" if template.multi_turn else stop_at("turns | length > 2", one))
        + ("" if template.system_in_user or not template.system else "{{ " + block + " }}")
        + "{% for message in turns %}"
        + stop_at(
            "message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant')",
            "Conversation roles must alternate user/assistant/user/assistant/...",
        )
        + "{% if message['role'] == 'user' %}"
        + user
        + ("{% if not loop.last or add_generation_prompt %}" + cue + "{% endif %}" if cue else "")
        + "{% else %}"
        + answer
        + "{% endif %}{% endfor %}"
    )


@dataclass(frozen=True)
class Fit:
    """How a text fits a template: the places that differ as (published, found), and which tokens it leaves out."""

    template: str
    differs: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    fixed: int  # characters of the text that the template accounts for

    @property
    def distance(self) -> tuple[int, int, int]:
        """Characters that differ, then tokens left out; of exact fits, the one that accounts for more is nearer."""
        characters = sum(apart(wanted, found) for wanted, found in self.differs)
        return characters, len(self.missing), 0 if self.differs else -self.fixed


def apart(wanted: str, found: str) -> int:
    """Characters between the parts in which both strings begin and end alike; 1 at least."""
    longest, shortest = max(len(wanted), len(found)), min(len(wanted), len(found))
    start = end = 0
    while start < shortest and wanted[start] == found[start]:
        start += 1
    while end < shortest - start and wanted[-1 - end] == found[-1 - end]:
        end += 1
    return max(1, longest - start - end)


HOLE = "\x00"  # stands for each piece of content while a template is laid beside a text
MARKS = re.compile(r"###\s?\w+\s?[:：]|<\|\w+\|>|\[/?INST\]|<</?SYS>>")


def forgiving(literal: str) -> str:
    """A pattern for fixed text that overlooks white space, case and full-width colons."""
    return r"\s*".join(re.escape(word).replace(":", "[:：]") for word in literal.split())


def align(literals: list[str], text: str, bos: str) -> tuple[list[str], list[str]] | None:
    """What stands in place of each piece of fixed text, and the contents between; None for a text of another form."""
    spans, position = [], 0
    for literal in literals:
        match = re.compile(forgiving(literal), re.IGNORECASE).search(text, position) if literal.strip() else None
        if literal.strip() and match is None:
            return None
        spans.append(match.span() if match else (len(text), len(text)))
        position = spans[-1][1]
    if text[spans[-1][1] :].strip() or text[: spans[0][0]].replace(bos or HOLE, "").strip():
        return None
    found, contents, edge = [], [], 0
    for index in range(len(literals) - 1):
        start, end = spans[index][1], spans[index + 1][0]
        content = text[start:end].strip()
        start += text[start:end].index(content)
        found.append(text[edge:start])
        contents.append(content)
        edge = start + len(content)
    return [*found, text[edge:]], contents


def fits(template: Template, text: str, bos: str, eos: str) -> Iterator[Fit]:
    """Every way in which the text can be read as this template."""
    forms = template.user_with_input + template.user + template.cue + template.system
    marks = re.compile("|".join(forgiving(mark) for mark in MARKS.findall(forms)), re.IGNORECASE)
    question = {"role": "user", "content": HOLE}
    before_answer = forgiving(render(template, [question], "", "").split(HOLE)[-1])
    rounds = len(re.findall(before_answer, text, re.IGNORECASE))
    if not 1 <= rounds <= (MAX_TURNS if template.multi_turn else 1):
        return
    for system, with_input, answered, write_bos, write_eos in itertools.product((False, True), repeat=5):
        if (system and not template.system) or (with_input and not template.user_with_input):
            continue
        between = rounds > 1 and not template.end_once  # answers that are followed by another turn have an end too
        has_end = bool(eos) and "{eos}" in template.answer and (answered or between)
        if (write_bos and not bos) or (write_eos and not has_end):
            continue
        first = dict(question, input=HOLE) if with_input else question
        messages = [{"role": "system", "content": HOLE}] if system else []
        for number in range(rounds):
            messages += [question if number else first, {"role": "assistant", "content": HOLE}]
        messages = messages if answered else messages[:-1]
        literals = render(template, messages, bos if write_bos else "", eos if write_eos else "").split(HOLE)
        aligned = align(literals, text, bos)
        if aligned is None or any(marks.search(content) for content in aligned[1]):
            continue
        differs = [(one, aligned[0][at]) for at, one in enumerate(literals) if one != aligned[0][at]]
        if any((eos and eos in content) or (bos and bos in content) for content in aligned[1]):
            differs.append(("no BOS or EOS inside the content", "one stands there"))
        if not all(aligned[1]):
            differs.append(("text in every part", "an empty part"))
        if template.bos_every_turn and rounds > 1 and not write_bos:
            differs.append((f"{bos} before every turn", "none"))
        if has_end and between and not write_eos:
            differs.append((f"{eos} after every answer", "none"))
        missing = ("EOS",) * (has_end and not write_eos) + ("BOS",) * (not write_bos)
        yield Fit(template.name, tuple(differs), missing, sum(map(len, literals)))


def best_fit(text: str, bos: str, eos: str) -> Fit | None:
    """The template that the text is nearest to, or None."""
    found = [fit for template in TEMPLATES for fit in fits(template, text, bos, eos)]
    return min(found, key=lambda fit: fit.distance, default=None)


def printable(text: str) -> str:
    """Text for a terminal: control characters are shown, not sent."""
    return "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def read_samples(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text: of each line of a .jsonl (a string or {"text": ...}), else the whole file."""
    if path.suffix != ".jsonl":
        if path.stat().st_size > MAX_SAMPLE:
            raise ValueError(f"{path} is larger than 1 MiB; give one sample, or a .jsonl with one a line")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield 1, file.read()
        return
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                record = parse_json(line, f"{path}:{number}")
                text = record.get("text") if isinstance(record, dict) else record
                if not isinstance(text, str) or len(text) > MAX_SAMPLE:
                    raise ValueError(f'{path}:{number}: wanted is a string, or an object with "text", of at most 1 MiB')
                yield number, text


def parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON: {error}") from error


def read_conversations(path: Path) -> Iterator[Messages]:
    """Conversations of a .json (one, or a list) or of each line of a .jsonl."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            records = (parse_json(line, f"{path}:{number}") for number, line in enumerate(file, 1) if line.strip())
            yield from (as_messages(record) for record in records)
        return
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; give it as .jsonl, one conversation a line")
    data = parse_json(path.read_text(encoding="utf-8-sig", errors="replace"), str(path))
    yield from (as_messages(record) for record in (data if isinstance(data, list) else [data]))


def as_messages(record: Any) -> Messages:
    """{"messages": [...]} or {"instruction", "input", "output"} -> messages; raises ValueError for anything else."""
    if isinstance(record, dict) and isinstance(record.get("messages"), list):
        if record["messages"] and all(isinstance(message, dict) for message in record["messages"]):
            return record["messages"]
    elif isinstance(record, dict) and isinstance(record.get("instruction"), str):
        question = {"role": "user", "content": record["instruction"], "input": record.get("input") or ""}
        answer = record.get("output")
        return [question] + ([{"role": "assistant", "content": answer}] if answer else [])
    raise ValueError('a conversation is {"messages": [{"role", "content"}, ...]} or {"instruction", "input", "output"}')


def check(path: Path, options: argparse.Namespace) -> int:
    exact: dict = {}
    near: dict = {}
    strange: list = []
    total = 0
    for number, text in read_samples(path):
        total += 1
        fit = best_fit(text, options.bos, options.eos)
        if (fit is None or fit.differs) and text.endswith("\n") and path.suffix != ".jsonl":
            bare = best_fit(text[:-1], options.bos, options.eos)  # an editor ends a file with a newline
            fit = bare if bare and (fit is None or not bare.differs) else fit
        if fit is None:
            strange.append((number, sorted(set(MARKS.findall(text)))[:8]))
        else:
            (near if fit.differs else exact).setdefault(fit.template, []).append((number, fit))
    if not total:
        raise ValueError(f"{path} holds no sample")
    if options.json:
        report = {
            "samples": total,
            "exact": {name: len(found) for name, found in exact.items()},
            "near": {
                name: {
                    "samples": len(found),
                    "line": found[0][0],
                    "differs": [{"published": wanted, "found": there} for wanted, there in found[0][1].differs],
                }
                for name, found in near.items()
            },
            "none": [number for number, _ in strange][:100],
            "missing": sorted({token for found in exact.values() for _, fit in found for token in fit.missing}),
        }
        print(json.dumps(report))
    else:
        for name, found in exact.items():
            print(f"{len(found)} of {total} exactly {name}")
            if any("EOS" in fit.missing for _, fit in found):
                print(f"  no {printable(options.eos)} after the answer: make sure that training adds the end token")
            if any("BOS" not in fit.missing for _, fit in found):
                print("  BOS is in the text: tokenize with add_special_tokens=False, or it is doubled")
        for name, found in near.items():
            print(f"{len(found)} of {total} nearly {name}, first in line {found[0][0]}:")
            for wanted, there in found[0][1].differs:
                print(f"  published {wanted!r}\n  found     {there!r}")
        for number, marks in strange[:5]:
            print(f"line {number}: fits no template here; marks seen: {printable(', '.join(marks)) or 'none'}")
        if near or len(exact) > 1:
            print("Render training and inference with one template, byte for byte.")
    if not exact and not near:
        return 3
    return 1 if near or strange or len(exact) > 1 else 0


def show_list(as_json: bool) -> int:
    keys = ("name", "models", "source", "stop", "note")
    rows = [{key: getattr(template, key) for key in keys} for template in TEMPLATES]
    if as_json:
        print(json.dumps(rows))
    for row in [] if as_json else rows:
        print(f"{row['name']}: {row['models']}\n  source: {row['source']}")
        print(f"  stop:   {row['stop']}\n  note:   {row['note']}")
    return 0


def show(conversations: Iterator[Messages], options: argparse.Namespace) -> int:
    """Each conversation in each template; a template without a form for it says so."""
    names = options.template or list(BY_NAME)
    done = failed = 0
    for messages in conversations:
        for name in names:
            template = BY_NAME[name]
            bos = options.bos if options.with_bos or template.bos_every_turn else ""
            try:
                text = render(template, messages, bos, options.eos, not options.no_cue)
            except CannotRender as reason:
                failed += 1
                print(f"{name}: {printable(str(reason))}", file=sys.stderr)
                continue
            done += 1
            if options.json:
                print(json.dumps({"template": name, "text": text, "stop": template.stop}))
            elif options.repr:
                print(f"{name}: {text!r}")
            elif len(names) == 1:
                sys.stdout.write(printable(text))
            else:
                print(f"== {name}; stop: {template.stop}\n{printable(text)}")
    return 2 if failed and (options.template or not done) else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Renders a conversation in the prompt templates of ten model families, exact to the byte, or as a "
        "chat_template; or tells which template a training text was rendered with. Reads FILE, changes nothing.",
        epilog='example: python render_templates.py --template alpaca --prompt "Name a colour." --repr. Exit status of '
        "--check: 0 exact, 1 a template is met only nearly, or several are mixed, 2 wrong usage, 3 no template fits.",
    )
    parser.add_argument("file", nargs="?", type=Path, help="conversations: .json, or .jsonl with one a line")
    parser.add_argument("--prompt", help="a question, in place of FILE")
    parser.add_argument("--system", help="with --prompt: the system message")
    parser.add_argument("--input", help="with --prompt: the input section of Alpaca-like templates")
    parser.add_argument("--answer", help="with --prompt: the answer; without it the text ends where the model begins")
    parser.add_argument(
        "--template",
        action="append",
        choices=list(BY_NAME),
        metavar="NAME",
        help=f"may be repeated; all without it: {', '.join(BY_NAME)}",
    )
    parser.add_argument("--bos", default="<s>", help="the tokenizer's BOS (default %(default)s)")
    parser.add_argument("--eos", default="</s>", help="the tokenizer's EOS (default %(default)s)")
    parser.add_argument("--with-bos", action="store_true", help="write BOS also where the tokenizer would add it")
    parser.add_argument("--no-cue", action="store_true", help="leave out the cue after a last user message")
    parser.add_argument("--repr", action="store_true", help="show newlines and spaces as escapes")
    parser.add_argument("--jinja", action="store_true", help="print the template as a chat_template (needs --template)")
    parser.add_argument("--list", action="store_true", help="names, models, sources, stops; where the notes deviate")
    parser.add_argument("--check", type=Path, metavar="FILE", help='a training text, or .jsonl of {"text": ...}')
    parser.add_argument("--json", action="store_true", help="output for programs")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    if options.prompt is None and (options.system or options.input or options.answer):
        parser.error("--system, --input and --answer go with --prompt")
    tasks = [options.list, options.jinja, options.check, options.prompt is not None, options.file]
    if sum(map(bool, tasks)) != 1:
        parser.error("give one of FILE, --prompt, --check, --jinja, --list")
    if options.jinja and len(options.template or []) != 1:
        parser.error("--jinja needs one --template")
    try:
        if options.list:
            return show_list(options.json)
        if options.jinja:
            text = jinja(BY_NAME[options.template[0]])
            print(json.dumps({"template": options.template[0], "chat_template": text}) if options.json else text)
            return 0
        if options.check:
            return check(options.check, options)
        if options.file:
            return show(read_conversations(options.file), options)
        question = {"role": "user", "content": options.prompt, "input": options.input or ""}
        messages = [{"role": "system", "content": options.system}] if options.system else []
        messages += [question] + ([{"role": "assistant", "content": options.answer}] if options.answer else [])
        return show(iter([messages]), options)
    except (OSError, ValueError) as error:
        print(printable(f"render_templates: {error}"), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
