"""A text -> what looks like code in it, its links and settings, and which way it turns each setting.

A model's sentences and the sources are read alike, so that one can be held against the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property

import re2

_ESCAPE = re2.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_UNSEEN = re2.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\x{00ad}\x{034f}\x{061c}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{200b}-\x{200f}\x{2028}-\x{202e}"
    r"\x{2060}-\x{206f}\x{3164}\x{fe00}-\x{fe0f}\x{feff}\x{ffa0}\x{fff0}-\x{fffb}\x{e0000}-\x{e0fff}]"
)
# A model has no reason to write these: text set against its direction, letters in tags, a terminal's escapes.
DISGUISE = re2.compile(r"[\x1b\x{202a}-\x{202e}\x{2066}-\x{2069}\x{e0000}-\x{e0fff}]")
_CHINESE_MARKS = re.compile(r"([，：；！？（）～]+)")


def visible(text: str) -> str:
    """A text as it is read: no escapes, no invisible or direction characters, and one form for letters that have several."""
    text = str(_UNSEEN.sub("", str(_ESCAPE.sub("", text))))
    parts = _CHINESE_MARKS.split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts)


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRODUCTS = word_set(
    "torch pytorch transformers accelerate deepspeed peft trl datasets bitsandbytes flash-attn vllm cuda"
    " nccl python tokenizers xformers triton numpy cryptography openssl pyopenssl debian driver megatron"
    " unsloth axolotl swift gloo llama-factory sglang gcc ninja nvcc safetensors xid seqnum errno"
)
CJK = r"\u2e80-\u9fff\uf900-\ufaff"
# A piece of what may be code: what stands between spaces, Chinese, brackets, quotes and signs.
_PIECE = re2.compile(r"(?:--?[A-Za-z])?[A-Za-z0-9_.$~/\\:@%+^-]+")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_EDGES = ".:+^-"


def pieces(text: str) -> Iterator[str]:
    """Pieces of a text that may be code, in order, without the marks of a sentence around them."""
    for match in _PIECE.finditer(THOUSANDS.sub("", text)):
        piece = str(match[0]).rstrip(_EDGES).lstrip(".:+^")
        if piece.strip("-_/\\~$%"):
            yield piece


_MARKUP = re.compile(r"[\s`*\"'“”‘’「」『』«»]+")


def squeezed(text: str) -> str:
    """A text without space, quotes and marks of Markdown, in lower case: how a quote is looked for."""
    return _MARKUP.sub("", text).lower()


URL = re2.compile(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s<>\"'`，。；、）」”\x{2e80}-\x{9fff}]+")


_URL_EDGES = ".,;:!?)]}>'\"`*_"


def urls_in(text: str) -> set[str]:
    return {address_of(str(match[0])) for match in URL.finditer(text)}


def address_of(url: str) -> str:
    return url.rstrip(_URL_EDGES).rstrip("/").lower()


_BOOLEANS = {"true": "on", "false": "off"}
_ASSIGNED = re2.compile(
    r"(?i)([a-z_][a-z0-9_.-]*)[\"'`]*(?:\s*[=:]\s*|\s+(?:to|is|as)\s+|\s*(?:设为|设成|改为|改成|设置为|是|为)\s*)[\"'`]*"
    r"(true|false|on|off|-?\d[\d.e-]*|\"[^\"]{1,40}\"|[a-z_][a-z0-9_]*)"
)
_SWITCHED = re2.compile(r"(?i)([a-z][a-z0-9]*(?:_[a-z0-9]+)+)[\"'`]*\s+[\"'`]*(true|false)\b")


def assignments_in(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each setting whose name looks like code; `x=False`, `"x": false` and `x to false` alike."""
    for match in (*_ASSIGNED.finditer(text), *_SWITCHED.finditer(text)):
        name, value = str(match[1]).lower(), str(match[2]).lower().strip("\"'")
        if "_" in name or "=" in str(match[0]):
            yield name.rpartition(".")[2].lstrip("-"), _BOOLEANS.get(value, value)


def product_of(word: str) -> str:
    word = word.lower().partition("==")[0].replace("_", "-").replace("pytorch", "torch")
    return word if word in PRODUCTS else ""


_ARGUMENT = re.compile(r"[^\s`$(){}|&;<>，。；、！？）（：“”「」]+")


def arguments_of(text: str) -> list[str]:
    return [word for match in _ARGUMENT.finditer(text) if (word := match[0].strip("\"'[],"))]


_NEGATION = re2.compile(
    r"(?i)\b(?:not|never|don't|dont|no need to|cannot|without)\b|不要|别|不用|不必|不能|不支持|无需|不该|不"
)
_TURN = {
    "on": re2.compile(r"(?i)\b(?:enable|enabled|enabling|turn(?:ed|ing)? on|switch(?:ed|ing)? on|on)\b|打开|开启|启用|开着"),
    "off": re2.compile(r"(?i)\b(?:disable|disabled|disabling|off)\b|关闭|关掉|禁用|关上|关"),
    "up": re2.compile(r"(?i)\b(?:raise|raising|increase|increasing|enlarge|lengthen)\b|增大|调大|提高|加大|调高|增加"),
    "down": re2.compile(
        r"(?i)\b(?:lower|lowering|decrease|reduce|reducing|shrink|shorten)\b|减小|调小|降低|调低|缩小|降到|缩短"
    ),
}
OPPOSITE = {"on": "off", "off": "on", "up": "down", "down": "up"}
_SETTING = re2.compile(
    r"[A-Za-z]+(?:_[A-Za-z0-9]+)+|\b[A-Z][A-Z0-9]{1,7}\b|\b[Tt]imeout\b|learning rate|\b[Tt]emperature\b|batch size|\brate\b"
    r"|超时|学习率|温度"
)
_SAME = {"超时": "timeout", "学习率": "learning rate", "温度": "temperature", "rate": "learning rate"}
_CLAUSE = re.compile(r"[.;!?](?=\s|$)|[。；！？，,\n]|\b(?:but|because|while)\b|而")


def directions_in(text: str) -> Iterator[tuple[str, str]]:
    """(setting, direction) of each clause that turns a setting on or off, up or down; a negation turns it round."""
    for name, value in assignments_in(text):
        if value in ("on", "off"):
            yield name, value
    for clause in _CLAUSE.split(text):
        names = {_SAME.get(str(match[0]).lower(), str(match[0]).lower()) for match in _SETTING.finditer(clause)}
        if not names:
            continue
        for direction, pattern in _TURN.items():
            match = pattern.search(clause)
            if match:
                negated = _NEGATION.search(clause[: match.start()])
                yield from ((name, OPPOSITE[direction] if negated else direction) for name in names)


_CONTRAST = re2.compile(r"(?i)\brather than\b|\binstead of\b|\bin place of\b|而不是|而非|不要选|不要|不取|不选|\bnot\b")


def contrasts_in(text: str) -> Iterator[tuple[str, str]]:
    """(this, not that) of each clause that sets two pieces of code against each other."""
    for sentence in re.split(r"[.;!?](?=\s|$)|[。；！？\n]", text):
        match = _CONTRAST.search(sentence)
        if match:
            before = [piece for piece in pieces(sentence[: match.start()]) if "_" in piece or "-" in piece]
            after = [piece for piece in pieces(sentence[match.end() :]) if "_" in piece or "-" in piece]
            if before and after:
                yield before[-1].lower(), after[0].lower()


# What somebody may do to a thing; each is one kind of act in both languages, "change" is any of them.
_ACTS = {
    "set": re2.compile(r"(?i)^set$|设|改成|改为"),
    "stop": re2.compile(r"(?i)^(?:stop|kill|end)$|停|结束"),
    "off": re2.compile(r"(?i)^(?:turn|disable|switch)$|关"),
    "downgrade": re2.compile(r"(?i)^(?:downgrade|lower)$|降级|降到|降回"),
    "upgrade": re2.compile(r"(?i)^(?:upgrade|raise|enlarge)$|升级|升到|调大"),
    "rename": re2.compile(r"(?i)^(?:rename|alias)$|改名|别名|改回"),
    "remove": re2.compile(r"(?i)^(?:remove|delete|drop|unset)$|删|去掉|移除"),
    "change": re2.compile(r"(?i)^(?:edit|change|activate|enable|move|rewrite|replace)$|修改|打开|替换|换|改|动"),
    "call": re2.compile(r"(?i)^(?:call|use|take|start|add|split|reinstall)$|调用|重装|加上"),
}
_DENIES = re2.compile(
    r"(?i)\b(?:do not|don't|never|no need to|need not)(?: also)? ([a-z]+)|\b(leave) (?:.{1,80} )?(?:as it is|as they are|alone"
    r"|running|where it is)|(不要|不用|不必|别再|无需|不该|切勿)"
)
_UNLESS = re2.compile(r"(?i)\b(?:unless|except|if|when|only)\b|除非|如果|的话|才")
# A clause with one of these tells what follows from an act, and does not ask for it.
_TELLS = re2.compile(
    r"(?i)\b(?:not|never|don't|no|without|hides?|only|would|leave|keep)\b|不要|不用|不必|别再|无需|没有?用|没必要|不能|只会|只是|掩盖|更糟|会"
)
_OBJECT = re2.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)+|[A-Z]{2,}[0-9]*|[A-Z][a-z]+[A-Z][A-Za-z]*")
_CLAUSES = re.compile(r"[.;!?:](?=\s|$)|[。；！？，：\n]|,\s")


def denied_in(text: str) -> set[tuple[str, str]]:
    """(act, thing) of each clause that says not to do it, without a condition."""
    found: set[tuple[str, str]] = set()
    for clause in _CLAUSES.split(text.replace("*", "").replace("`", "")):
        match = _DENIES.search(clause)
        if match and not _UNLESS.search(clause):
            verb = str(match[1] or ("change" if match[2] else clause.replace(str(match[3]), "", 1)))
            things = {str(thing[0]).lower() for thing in _OBJECT.finditer(clause)}
            acts = set(_ACTS) if match[2] else _acts(verb)
            found.update((act, thing) for act in (set(_ACTS) if "change" in acts else acts) for thing in things)
    return found


def asked_in(text: str) -> set[tuple[str, str]]:
    """(act, thing) of each clause that says to do it."""
    found: set[tuple[str, str]] = set()
    for clause in _CLAUSES.split(text.replace("*", "").replace("`", "")):
        things = {str(thing[0]).lower() for thing in _OBJECT.finditer(clause)}
        if things and not _TELLS.search(clause):
            words = clause.split()
            verb = words[0] if words and words[0].isascii() and not re.search(rf"[{CJK}]", clause) else clause
            found.update((act, thing) for act in _acts(verb) for thing in things)
    return found


class Ways:
    """Which way a source turns each setting, what it asks for and denies, and what it takes rather than what."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def directions(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, direction in directions_in(self.text):
            found.setdefault(name, set()).add(direction)
        return found

    @cached_property
    def asked(self) -> set[tuple[str, str]]:
        return asked_in(self.text)

    @cached_property
    def denied(self) -> set[tuple[str, str]]:
        return denied_in(self.text)

    @cached_property
    def contrasts(self) -> set[tuple[str, str]]:
        return set(contrasts_in(self.text))

    def of(self, setting: str) -> set[str]:
        """The directions of a setting, `timeout` counting for `ddp_timeout` too."""
        return {
            way for name, ways in self.directions.items() if name == setting or setting.endswith(f"_{name}") for way in ways
        }


def _acts(verb: str) -> set[str]:
    return {act for act, pattern in _ACTS.items() if pattern.search(verb)}
