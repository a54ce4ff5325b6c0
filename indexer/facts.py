"""Raw lines -> what they say together, each put as a line of text, so that signatures can name it.

Metrics that are 0 or not a number: one report seldom tells, for a schedule ends at 0, and a loss of 0 may stand between others
(`metrics: learning_rate 0 in the last 4 of 9 reports, loss 1.2`). Text that repeats itself (`text: 12 times "I am sorry. "`).
Which of the two is 0 in the user's own words, where a sentence names both (`said: loss 0`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import re2

from indexer.denoise import Line
from indexer.reading import RawLine

# In most logs none of these is 0 or nan: then there is nothing to say of any, and no report need be read. Wider than VALUE.
ZERO_OR_NAN = re2.compile(
    r"(?i)(?:loss|rate|lr|norm)['\"]?\s{0,30}[:=│]\s{0,30}['\"\[(]{0,2}[-+]?(?:nan|0+\.?0*(?:e|[^0-9.]|$))"
)
MAY_HAVE = ("loss", "lr", "learning", "norm")
VALUE = re.compile(
    r"(?<![\w-])(?:lm |(?:train[/_]){1,2}(?=[^\n]{0,60}\d$)|train[/_])?(?P<name>loss|learning[ _]rate|lr|grad[ _]norm|gnorm)"
    r"['\"]?\s{0,30}[:=│]\s{0,30}"
    r"['\"\[(]{0,2}(?P<value>[-+]?(?:\d[\d.]{0,30}(?:[eE][-+]?\d{1,3})?|nan|inf))(?![\w./%])",
    re.ASCII | re.IGNORECASE,
)
# The loss of a policy begins at 0 in a healthy run; where accuracy is reported beside it, it is no language model that trains.
POLICY = re2.compile(r"(?i)reward|\bkl\b|advantage|completions|/margins|policy|actor|critic|\bppo\b|\bgrpo\b")
CLASSIFIER = re2.compile(r"(?i)\baccuracy\b|\bacc\b|\bmAP\b|box_loss|logloss|psnr|d_loss|g_loss|discrim")
NAMES = {"lr": "learning_rate", "gnorm": "grad_norm"}
REPORTS = 20_000
SHARE = 0.1  # Fewer zeros than this between other values are small numbers, rounded.


def fact_lines(raw: Sequence[RawLine], sentence: str, is_log: bool) -> Iterator[Line]:
    """What the lines say together; metrics only where a program printed them."""
    if is_log and ZERO_OR_NAN.search("\n".join(text for text, _ in raw)):
        yield from metric_lines(raw)
    yield from loop_lines(raw)
    yield from said_lines(sentence)


@dataclass
class _Series:
    values: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def metric_lines(raw: Sequence[RawLine]) -> Iterator[Line]:
    """A line for each metric that is 0 or not a number somewhere, numbered as the first of its last run."""
    series: dict[str, _Series] = {}
    latest: dict[str, str] = {}
    seen: set[str] = set()
    for text, number in raw:
        lower = text.lower()
        if not any(word in lower for word in MAY_HAVE) or "train_runtime" in text or CLASSIFIER.search(text):
            continue  # (`train_runtime`: the loss beside it is the mean of all.)
        named: dict[str, str] = {}
        for found in VALUE.finditer(text):
            name = found["name"].lower().replace(" ", "_")
            named.setdefault(NAMES.get(name, name), found["value"].lower())
        report = text[text.find("{") :] if "{" in text else text
        if not named or report in seen:  # Each rank prints the same.
            continue
        seen.add(report)
        is_policy = bool(POLICY.search(text))
        for name, value in named.items():
            own = series.setdefault(f"policy_{name}" if is_policy and name == "loss" else name, _Series())
            if len(own.values) < REPORTS:
                own.values.append(_number(value))
                own.numbers.append(number)
        latest.update(named)
    for name, own in series.items():
        for what in ("0", "nan"):
            hits = [value != value if what == "nan" else value == 0 for value in own.values]
            if (sum(hits) < SHARE * len(hits) and not hits[-1]) or not any(hits):
                continue
            run = next((length for length, hit in enumerate(reversed(hits)) if not hit), len(hits))
            others = ", ".join(
                f"{other} {latest[other]}" for other in ("loss", "grad_norm") if other in latest and other != name
            )
            how = f"the last {run}" if run else f"{sum(hits)}"
            where = own.numbers[-run] if run else own.numbers[hits.index(True)]
            text = f"metrics: {name} {what} in {how} of {len(hits)} reports{', ' if others else ''}{others}"
            yield Line(text, where)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:  # `1.2.3` is a version, no value.
        return 1.0


# A model that loops says the same words again and again, in one line or line by line.
LOOP = re.compile(r"([^\d\s=#*_.|+-][^\d=#*_|+]{3,60}?)\1{4,}", re.ASCII)
MAX_LOOKED_AT = 400


def loop_lines(raw: Sequence[RawLine]) -> Iterator[Line]:
    """A line for the first text that repeats itself five times on end within one line; long lines are looked at in part."""
    looked = 0
    for text, number in raw:
        if len(text) < 40 or not text.strip():
            continue
        if len(set(text[:2000])) > min(len(text), 2000) // 3:  # A text that loops has few different characters for its length.
            continue
        looked += 1
        if looked > MAX_LOOKED_AT:
            return
        found = LOOP.search(text[:1000]) if _repeats_itself(text[:1000]) else None
        if found and len(set(found[1])) > 2 and len(found[0]) >= 40:
            yield Line(f'text: {len(found[0]) // len(found[1])} times "{found[1][:40]}"', number)
            return


def _repeats_itself(text: str) -> bool:
    """Whether some 16 characters stand there again within the longest unit of a loop, as they do in any loop of 40 characters:
    to find that takes a tenth of the time that LOOP takes to find none."""
    return any(text.find(text[at : at + 16], at + 4, at + 77) >= 0 for at in range(0, len(text) - 19, 16))


SAID = re.compile(
    r"(?<![a-z_])(?:(?P<loss>loss(?![a-z])|损失)|(?P<learning_rate>learning[ _-]?rate|lr(?![a-z])|学习率))",
    re.ASCII | re.IGNORECASE,
)
ZERO = re.compile(r"(?<![\d.a-z])(?:0(?:\.0+)?(?![\d.%]|e-|到|~)|zeros?(?![a-z-])|零)", re.ASCII | re.IGNORECASE)
CLAUSE = re.compile(
    r"[.!?;,](?:\s|$)|[。！？；，\n]|\b(?:but|while|although|whereas|not|never|no)\b|n't|但|却|而|不是|没有|不为",
    re.ASCII,
)
REACH = 40  # Characters from a name to its zero.


def said_lines(text: str) -> Iterator[Line]:
    """A line for the loss and for the learning rate, where the text says in one clause that it is 0."""
    names = list(SAID.finditer(text))
    for found, following in zip(names, [*names[1:], None], strict=False):
        clause = text[found.end() : min(found.end() + REACH, following.start() if following else len(text))]
        if end := CLAUSE.search(clause):
            clause = clause[: end.start()]
        if ZERO.search(clause):
            yield Line(f"said: {found.lastgroup} 0", 1)
