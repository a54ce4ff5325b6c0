"""What a model wrote -> its faults: whatever in its own words is not in the entries it cites, or in the paste.

One sentence, step or run at a time, in code and without a model. Held are citations, everything that looks like code, quotes,
links, the direction of settings, and whether the words are those of the entry that is cited. What is not detected: a wrong
reason in plain words that the entry uses too. A paste vouches for what is, never for what to do: commands, links and images
come from entries alone. Texts are checked, and to be shown, as `visible` gives them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import re2

from indexer import lexical
from indexer.entry import LANGUAGES, Entry, Language, Page, outside_fences, read_text
from indexer.errors import EntryError
from indexer.query import Query
from indexer.ranking import Hit

FAULTS = ("citation", "uncited", "invented", "polarity", "link", "elsewhere")
MAX_TEXT = 2000  # Of one item: a sentence of a model's has a few hundred characters, and a longer one is no sentence.


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an item; `kind` is of FAULTS, `text` the words that are at fault."""

    kind: str
    text: str


_ESCAPE = re2.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_UNSEEN = re2.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\x{00ad}\x{034f}\x{061c}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{200b}-\x{200f}\x{2028}-\x{202e}"
    r"\x{2060}-\x{206f}\x{3164}\x{fe00}-\x{fe0f}\x{feff}\x{ffa0}\x{fff0}-\x{fffb}\x{e0000}-\x{e0fff}]"
)
# A model has no reason to write these: text set against its direction, letters in tags, a terminal's escapes.
_DISGUISE = re2.compile(r"[\x1b\x{202a}-\x{202e}\x{2066}-\x{2069}\x{e0000}-\x{e0fff}]")
_CHINESE_MARKS = re.compile(r"([，：；！？（）～]+)")


def visible(text: str) -> str:
    """A text as it is read: no escapes, no invisible or direction characters, and one form for letters that have several."""
    text = str(_UNSEEN.sub("", str(_ESCAPE.sub("", text))))
    parts = _CHINESE_MARKS.split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Lower-case names of programs that are run by a command line.
_PROGRAMS = _words(
    "pip pip3 pipx uv conda mamba apt apt-get yum dnf brew npm npx yarn curl wget git bash zsh sh sudo su chmod chown"
    " rm mv cp dd mkfs ssh scp rsync docker podman kubectl systemctl service nvidia-smi nvcc python python3 perl ruby"
    " node torchrun srun sbatch mpirun deepspeed accelerate huggingface-cli hf modelscope modprobe insmod rmmod reboot"
    " shutdown poweroff killall pkill kill ldconfig sed awk grep dmesg lsof ldd echo export unset eval exec nohup tmux"
    " kbask apk find tar unzip make cmake ninja gcc dcgmi ds_report powershell cmd crontab nc netcat iptables source"
    " tee xargs vllm llamafactory-cli"
)
_ANY_WORD = frozenset({"sudo", "su", "kbask", "nohup"})  # What follows these is a command, whatever word it is.
_SUBCOMMANDS = _words(
    "install uninstall upgrade update remove purge add download run exec pull push clone fetch checkout start stop"
    " restart enable disable reload create activate show list freeze login config reset init sync apply delete launch"
    " diag reboot"
)
# Programs that are words of English or of this field: a command only with an argument that looks like one.
_WORDS_TOO = _words("accelerate deepspeed echo eval exec export find kill make node service source tee uv")
# Words that may stand behind a program in a sentence, and are no argument of it.
_PROSE = _words(
    "a an and are as at be before but by can does for from had has have here if in into is it its not of on only or"
    " says see shows so still than that the then there this to too under was when where which while with without works"
    " your you again after all both each every everything first itself more once one run same these those through"
    " until twice over also alone because will would should must may might out up against between during since via"
    " within"
)
# Names of this field that say nothing of which entry they are from.
_COMMON = _words(
    "gpu gpus cpu cpus cuda nccl nvidia pytorch torch huggingface hf deepspeed lora qlora llm llms sft rlhf dpo oom"
    " nan inf ai api ok url json jsonl yaml github id ids trl zero fsdp ddp peft fp16 bf16 fp32 eos bos pad tokenizer"
    " token tokens batch loss step steps epoch epochs checkpoint prompt log logs rank ranks node nodes python shell"
    " linux transformers trainer accelerate vllm ram vram os pid faq readme key label labels mask embedding base chat"
    " model template"
)
_PRODUCTS = _words(
    "torch pytorch transformers accelerate deepspeed peft trl datasets bitsandbytes flash-attn vllm cuda"
    " nccl python tokenizers xformers triton numpy cryptography openssl pyopenssl debian driver megatron"
    " unsloth axolotl swift gloo llama-factory sglang gcc ninja nvcc safetensors xid seqnum errno"
)
_CJK = r"\u2e80-\u9fff\uf900-\ufaff"
# A piece of what may be code: what stands between spaces, Chinese, brackets, quotes and signs.
_PIECE = re2.compile(r"(?:--?[A-Za-z])?[A-Za-z0-9_.$~/\\:@%+^-]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_EDGES = ".:+^-"
_NUMBER = re.compile(r"[-+~]?\d+(?:\.\d+)?%?")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(?:x|s|h|m|d|ms|min|[kmgt]i?b?)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2,}[a-z]*|[A-Z]\d")
_JOINED = re.compile(r"[a-z]+\.[A-Z][a-z]+")
_SHORT = frozenset({"e.g", "i.e", "vs", "etc", "a.m", "p.m"})
# A word in another script than Latin and Chinese, or with accents; and one that mixes Latin with look-alikes.
_MIXED = re2.compile(r"[A-Za-z][\p{Cyrillic}\p{Greek}\p{Armenian}]|[\p{Cyrillic}\p{Greek}\p{Armenian}][A-Za-z]")
_FOREIGN = re2.compile(r"[\p{L}\p{M}\p{N}]*[^\x00-\x7f\x{2e80}-\x{9fff}\x{f900}-\x{faff}\P{L}][\p{L}\p{M}\p{N}]*")


def pieces(text: str) -> Iterator[str]:
    """Pieces of a text that may be code, in order, without the marks of a sentence around them."""
    for match in _PIECE.finditer(_THOUSANDS.sub("", text)):
        piece = str(match[0]).rstrip(_EDGES).lstrip(".:+^")
        if piece.strip("-_/\\~$%"):
            yield piece


_MARKUP = re.compile(r"[\s`*\"'“”‘’「」『』«»]+")


def squeezed(text: str) -> str:
    """A text without space, quotes and marks of Markdown, in lower case: how a quote is looked for."""
    return _MARKUP.sub("", text).lower()


_URL = re2.compile(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s<>\"'`，。；、）」”\x{2e80}-\x{9fff}]+")
_SCHEME = re2.compile(
    r"(?i)\b(?:data|javascript|vbscript|mailto|file|blob):[^\s]|\bwww\.[a-z0-9]|//[a-z0-9-]+\.[a-z]{2,}/"
    r"|(?:^|[^a-z0-9_./@-])(?:[a-z0-9-]+\.)+[a-z]{2,12}/[a-z0-9]"
)
_DOMAIN = re2.compile(
    r"(?i)(?:^|[^a-z0-9_./@-])((?:[a-z0-9-]+\.)+(?:com|org|net|io|ai|dev|cn|top|shop|xyz|info|app|site|online|tech|cloud|link"
    r"|live|club|wiki|edu|gov|co|us|uk|ru|de|jp|cc|tv|me|gg|example)(?:[:/][^\s<>\"'`，。；、）」”\x{2e80}-\x{9fff}]*)?)"
    r"(?:[^a-z0-9_]|$)"
)
_MAIL = re2.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_IMAGE = re.compile(r"!\s?\[")
_LINK = re.compile(r"\]\s?\(\s*<?([^)\s>]*)|\]:\s*(\S+)")
_TAG = re2.compile(
    r"(?i)<\s*/?\s*(?:a|img|script|iframe|svg|link|style|form|object|embed|video|audio|base|meta|input|button)\b"
)
_URL_EDGES = ".,;:!?)]}>'\"`*_"


def _urls(text: str) -> set[str]:
    return {_address(str(match[0])) for match in _URL.finditer(text)}


def _address(url: str) -> str:
    return url.rstrip(_URL_EDGES).rstrip("/").lower()


_BOOLEANS = {"true": "on", "false": "off"}
_ASSIGNED = re2.compile(
    r"(?i)([a-z_][a-z0-9_.-]*)[\"'`]*(?:\s*[=:]\s*|\s+(?:to|is|as)\s+|\s*(?:设为|设成|改为|改成|设置为|是|为)\s*)[\"'`]*"
    r"(true|false|on|off|-?\d[\d.e-]*|\"[^\"]{1,40}\"|[a-z_][a-z0-9_]*)"
)
_SWITCHED = re2.compile(r"(?i)([a-z][a-z0-9]*(?:_[a-z0-9]+)+)[\"'`]*\s+[\"'`]*(true|false)\b")


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each setting whose name looks like code; `x=False`, `"x": false` and `x to false` alike."""
    for match in (*_ASSIGNED.finditer(text), *_SWITCHED.finditer(text)):
        name, value = str(match[1]).lower(), str(match[2]).lower().strip("\"'")
        if "_" in name or "=" in str(match[0]):
            yield name.rpartition(".")[2].lstrip("-"), _BOOLEANS.get(value, value)


class _Known:
    """What a source vouches for. Looked for as it is needed: a set of all pieces would take longer to build than an answer."""

    def __init__(self, texts: Iterable[str], urls: Iterable[str] = ()) -> None:
        self.text = visible(_THOUSANDS.sub("", "\n".join(texts)))
        self.urls = {_address(url) for url in urls} | _urls(self.text)

    def has(self, piece: str) -> bool:
        """Whether a piece stands in the text as it is, not as a part of a longer word or number; an option also in its case."""
        exact = piece.startswith("-")
        text, piece = (self.text, piece) if exact else (self.lower, piece.lower())
        start = text.find(piece)
        for _ in range(MAX_TRIES):
            if start < 0:
                return False
            end = start + len(piece)
            before, after = text[start - 1 : start], text[end : end + 1]
            if not (_joins(before, piece[0]) or _joins(after, piece[-1])) and not (exact and after == "-"):
                return True
            start = text.find(piece, start + 1)
        return False

    @cached_property
    def lower(self) -> str:
        return self.text.lower()

    @cached_property
    def squeezed(self) -> str:
        return squeezed(self.text)

    @cached_property
    def commands(self) -> str:
        """Every line of code, fenced or in backticks, as its words with single spaces: prose vouches for no command."""
        code = [line for _, line, prose in outside_fences(self.text.replace("\\\n", " ")) if not prose]
        code += [match[1] for match in _CODE_SPAN.finditer(self.text)]
        return "\n".join(f" {' '.join(_arguments(line))} " for line in code)

    @cached_property
    def settings(self) -> dict[str, set[str]]:
        """The values that each setting is given."""
        found: dict[str, set[str]] = {}
        for name, value in _assignments(self.text):
            found.setdefault(name, set()).add(value)
        return found

    @cached_property
    def versions(self) -> dict[str, set[str]]:
        """For each version or number, the products that stand near it."""
        found: dict[str, set[str]] = {}
        for line in self.text.split("\n"):
            row = list(pieces(line)) if _HAS_NUMBER.search(line) and _HAS_PRODUCT.search(line) else []
            products = [_product(piece) for piece in row]
            for place, piece in enumerate(row):
                if piece[0].isdigit():
                    near = products[max(0, place - 10) : place + 6]
                    found.setdefault(piece.lower(), set()).update(filter(None, near))
        return found

    @cached_property
    def ways(self) -> _Ways:
        return _Ways(self.text)

    @cached_property
    def terms(self) -> set[str]:
        return set(lexical.tokens(self.text))


_CODE_SPAN = re.compile(r"`([^`\n]+)`")
MAX_TRIES = 1000
_HAS_NUMBER = re.compile(r"\d")
_HAS_PRODUCT = re2.compile("(?i)" + "|".join(map(re.escape, sorted({*_PRODUCTS, "flash_attn", "llama_factory"}))))


def _joins(neighbour: str, edge: str) -> bool:
    """Whether a character beside a piece makes it part of a longer word."""
    if not neighbour.isascii():
        return neighbour.isalpha() and not re.match(rf"[{_CJK}]", neighbour)
    return (neighbour.isalnum() and (edge.isalnum() or edge == "_")) or (neighbour == "_" and edge != "/")


def _product(word: str) -> str:
    word = word.lower().partition("==")[0].replace("_", "-").replace("pytorch", "torch")
    return word if word in _PRODUCTS else ""


_ARGUMENT = re.compile(r"[^\s`$(){}|&;<>，。；、！？）（：“”「」]+")


def _arguments(text: str) -> list[str]:
    return [word for match in _ARGUMENT.finditer(text) if (word := match[0].strip("\"'[],"))]


class Sources:
    """What one answer may rest on: the hits' entries, with parts, summaries, signatures and scripts, and the paste."""

    def __init__(self, query: Query, hits: Sequence[Hit], entries: Mapping[str, Entry], language: Language) -> None:
        self.language = language
        self.entries = {hit.entry_id: entries[hit.entry_id] for hit in hits if hit.entry_id in entries}
        self.paste = _Known(_paste_texts(query))
        self._all = entries
        self._known: dict[str, _Known] = {}
        self._terms: dict[str, frozenset[str]] = {}

    def known(self, entry_id: str) -> _Known:
        """What an entry among the hits vouches for."""
        if entry_id not in self._known:
            entry = self.entries[entry_id]
            self._known[entry_id] = _Known(list(_texts(entry, self._all)), (source.url for source in entry.references))
        return self._known[entry_id]

    def cited(self, citation: str) -> str | None:
        """The id of the entry that a citation names; None where it, or what it points to in it, is not among the hits."""
        path, _, script = citation.partition("/")
        entry_id, _, place = path.partition("#")
        entry = self.entries.get(entry_id)
        if entry is None:
            return None
        if script:
            return entry_id if not place and script in _scripts(entry) else None
        if "#" not in citation:
            return entry_id
        part_id, _, number = place.partition(".")
        if number and not (number.isascii() and number.isdigit()):
            return None
        return entry_id if self.has_step(entry, part_id, int(number[:4]) if number else None) else None

    def has_step(self, entry: Entry, part_id: str, number: int | None) -> bool:
        """Whether the entry has that part, and the part that step, in the answer's language."""
        for part in entry.pages[self.language].parts:
            if part.id == part_id and part_id:
                return number is None or 1 <= number <= len(part.steps)
        return False

    def terms(self, entry_id: str) -> frozenset[str]:
        """The tokens of an entry's page and asks, in Chinese with the English page; none of one not among the hits."""
        if entry_id not in self.entries:
            return frozenset()
        if entry_id not in self._terms:
            own = self.vocabulary.terms[entry_id] | self.vocabulary.asked[entry_id]
            if self.language != "en":
                own |= _terms(_page_texts(self.entries[entry_id].pages["en"]))
            self._terms[entry_id] = own
        return self._terms[entry_id]

    @cached_property
    def vocabulary(self) -> _Vocabulary:
        return _vocabulary(self._all, self.language)


class _Vocabulary:
    """The tokens of every entry's page in one language, and of its asks; how telling each is, by how few entries have it.

    With the asks a plain word is not rare merely because few pages use it.
    """

    def __init__(self, entries: Mapping[str, Entry], language: Language) -> None:
        pages = {id_: entry.pages[language] for id_, entry in entries.items()}
        counted = {id_: Counter(lexical.tokens("\n".join(_page_texts(page)))) for id_, page in pages.items()}
        self.terms = {id_: frozenset(terms) for id_, terms in counted.items()}
        self.shares = {
            id_: {term: CHANCE if count == 1 and term >= "\u3400" else 1.0 for term, count in terms.items()}
            for id_, terms in counted.items()
        }
        self.asked = {id_: _terms(page.asks) for id_, page in pages.items()}
        counts = Counter(term for id_ in pages for term in self.terms[id_] | self.asked[id_])
        self.rarity = {term: math.log(1 + (len(pages) - count + 0.5) / (count + 0.5)) for term, count in counts.items()}


def _terms(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(lexical.tokens("\n".join(texts)))


_last: dict[Language, tuple[Mapping[str, Entry], _Vocabulary]] = {}


def _vocabulary(entries: Mapping[str, Entry], language: Language) -> _Vocabulary:
    """The vocabulary of a collection, kept for the next answer: it takes 6 ms an entry."""
    if language not in _last or _last[language][0] is not entries:
        _last[language] = (entries, _Vocabulary(entries, language))
    return _last[language][1]


def _page_texts(page: Page) -> Iterator[str]:
    yield page.title
    yield page.summary
    for part in page.parts:
        yield part.heading
        yield part.text


MAX_PASTE = 200_000  # Characters of a paste that vouch for something; a model is shown far less.


def _paste_texts(query: Query) -> Iterator[str]:
    """What the user said and pasted, what decides first."""
    room = MAX_PASTE
    for text in (query.sentence, *query.error_lines, query.launch, *(line.text for line in query.lines)):
        room -= len(text)
        if room < 0:
            return
        yield text


def _scripts(entry: Entry) -> set[str]:
    return {name for snippet in entry.snippets for name in (snippet.file, snippet.name)}


def _texts(entry: Entry, entries: Mapping[str, Entry]) -> Iterator[str]:
    """All that an entry says, in both languages, and its scripts' sources."""
    yield entry.id
    yield from (f"{entry.id}#{part.id}" for page in entry.pages.values() for part in page.parts)
    for language in LANGUAGES:
        yield from _page_texts(entry.pages[language])
        yield from (snippet.about[language] for snippet in entry.snippets)
        yield from (source.about[language] for source in entry.references)
    yield from (signature.pattern.replace("\\", "") for signature in entry.signatures)
    yield from entry.components
    for snippet in entry.snippets:
        owner = entries.get(snippet.of or entry.id, entry)
        yield snippet.file
        try:
            yield read_text(Path(owner.folder) / snippet.file)
        except EntryError:
            continue  # An entry of another machine: its pages still vouch.


def check_sentence(text: str, citations: Sequence[str], sources: Sources) -> list[Fault]:
    """The faults of a sentence of the diagnosis."""
    faults = [Fault("citation", citation) for citation in citations if sources.cited(citation) is None]
    if not citations:
        faults.append(Fault("uncited", text[:MAX_TEXT]))
    return faults + _check_words(text, citations, sources)


def check_step(part_id: str, number: int | None, why: str, sources: Sources) -> list[Fault]:
    """The faults of a step: what it points to, and the model's own sentence about it."""
    citation = part_id if number is None else f"{part_id}.{number}"
    faults = [Fault("citation", citation)] if "#" not in part_id or sources.cited(citation) is None else []
    return faults + _check_words(why, [part_id], sources, OF_A_STEP)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_VALUE = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./:@%+,=~-]{0,199}")


def check_run(entry_id: str, file: str, values: Mapping[str, str], why: str, sources: Sources) -> list[Fault]:
    """The faults of a snippet to run: it, the values for its placeholders, which the paste or the entry must hold, and why."""
    citation = f"{entry_id}/{file}"
    faults = [] if sources.cited(citation) else [Fault("citation", citation)]
    known = [sources.paste, *_cited_sources([entry_id], sources)]
    for name, value in values.items():
        shown = f"{name}={value}"
        written = _NAME.fullmatch(name) and _VALUE.fullmatch(value) and "://" not in value
        if not written or not any(source.has(value) for source in known):
            faults.append(Fault("invented", shown))
    return faults + _check_words(why, [entry_id], sources, OF_A_STEP)


def _cited_sources(citations: Sequence[str], sources: Sources) -> list[_Known]:
    ids = dict.fromkeys(citation.partition("/")[0].partition("#")[0] for citation in citations)
    return [sources.known(id_) for id_ in ids if id_ in sources.entries]


def _check_words(text: str, citations: Sequence[str], sources: Sources, times: float = 1.0) -> list[Fault]:
    """The faults of a model's own words against what they cite."""
    if len(text) > MAX_TEXT:
        return [Fault("invented", text[:80])]
    if _DISGUISE.search(text):
        return [Fault("invented", visible(text))]
    text = visible(text)
    if not text.strip():
        return []
    cited = _cited_sources(citations, sources)
    faults = list(_links(text, cited))
    faults += _quotes(text, [*cited, sources.paste])
    faults += _commands(text, cited)
    faults += _invented(text, cited, sources.paste)
    faults += _polarity(text, citations, cited, sources)
    faults += _elsewhere(text, citations, sources, times) if cited else ()
    return list(dict.fromkeys(faults))


def _links(text: str, cited: Sequence[_Known]) -> Iterator[Fault]:
    """Every image, and every link that is not of a cited entry."""
    own = {url for source in cited for url in source.urls}
    hosts = {url.partition("://")[2].partition("/")[0] for url in own}
    if _IMAGE.search(text) or _TAG.search(text):
        yield Fault("link", text)
    for link in _LINK.finditer(text):
        target = link[1] or link[2] or ""
        if _address(target) not in own:
            yield Fault("link", target or link[0])
    for url in _urls(text) - own:
        yield Fault("link", url)
    plain = str(_URL.sub(" ", text))
    for match in _MAIL.finditer(plain):
        if not any(source.has(str(match[0])) for source in cited):
            yield Fault("link", str(match[0]))
    for match in _SCHEME.finditer(plain):
        yield Fault("link", str(match[0]))
    for match in _DOMAIN.finditer(plain):
        address = _address(str(match[1]))
        if address not in hosts and not any(url.endswith(f"://{address}") for url in own):
            yield Fault("link", address)


_QUOTE = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|`+([^`]+)`+|「([^」]+)」|『([^』]+)』|«([^»]+)»|‘([^’]+)’"
    r"|(?:^|(?<=[\s(：:]))'([^']+)'(?=[\s).,;:!?，。]|$)"
)
_QUOTE_EDGES = ".,;:!?…。，；：！？"


def _quotes(text: str, known: Sequence[_Known]) -> Iterator[Fault]:
    """Every quote that nobody said: not a cited entry, and not the paste."""
    for match in _QUOTE.finditer(text):
        quote = next(str(group) for group in match.groups() if group is not None)
        for part in re.split(r"\.\.\.|…", quote):
            wanted = squeezed(part).strip(_QUOTE_EDGES)
            if wanted and not any(wanted in source.squeezed for source in known):
                yield Fault("invented", quote)
                break


_CHAIN = re.compile(r"(\S+)\s*(&&|\|\||\|(?![a-z_]+\|)|\$\(|>>)\s*(\S+)")
_ADVISED = (
    r"(?:^|[.;:,!?(*]\s*|\b(?:and|or|then|also|first|just|simply|please|should|must|can|to|by|recommend|suggest|try|now|next|always"
    r"|instead|not|never)\s+)"
)
_RUN = re2.compile(
    rf"(?i)(?:{_ADVISED}(?:run|running|type|launch|use|using|try|call)|\b(?:install|installing|execute|executing|invoke|invoking))\s+"
    r"(?:the |a |an )?[\"'`]?([a-z][a-z0-9_.-]*)"
)
_RUN_IN_CHINESE = re2.compile(
    r"(不|没|别|会)?(?:运行|执行|跑一下|跑一遍|安装|装上|敲|输入|调用|使用|用|跑)\s*[\"'`]?([A-Za-z][A-Za-z0-9_.-]*)"
)
_VERSION = re.compile(r"v?\d+(?:\.[\dx]+)*")
_CODE_SIGN = re.compile(r"[/_.=$~*\d\\]|^-")


def _commands(text: str, cited: Sequence[_Known]) -> Iterator[Fault]:
    """Every command that does not stand in a cited entry as it is: the paste vouches for none."""
    for match in _CHAIN.finditer(text):
        if not any(squeezed(match[0]) in source.squeezed for source in cited):
            yield Fault("invented", match[0])
    for clause in re.split(rf"[{_CJK}，。；：、！？（）]+|[.;:!?](?=\s|$)", text):
        words = _arguments(clause)
        for place, word in enumerate(words):
            if (word := word.lower()) in _PROGRAMS:
                command = _command([word, *words[place + 1 :]])
                if " " in command:
                    stands = any(f" {command} " in source.commands for source in cited)
                else:
                    stands = word in _WORDS_TOO or any(source.has(word) for source in cited)
                if not stands:
                    yield Fault("invented", command)


def _command(words: Sequence[str]) -> str:
    """A program and what looks like its arguments; the program alone where a sentence goes on behind it."""
    program = words[0]
    found = [program]
    for word in words[1:]:
        bare = word.rstrip(".,:")
        if len(found) == 1 and _VERSION.fullmatch(bare):
            break  # A product, not a program: Python 3.11.
        subcommand = bare in _SUBCOMMANDS or (program in _ANY_WORD and bare.lower() not in _PROSE)
        value = found[-1].startswith("-") and bare.lower() not in _PROSE
        if not (_CODE_SIGN.search(bare) or subcommand or value or bare in _PROGRAMS):
            break
        found.append(bare)
        if bare != word:
            break
    return " ".join(found)


_PRESCRIBES = re2.compile(
    rf"(?i){_ADVISED}(?:run|running|load|pull|clone|fetch|send|connect|upload|go|set|setting|add|use|using|install|execute|type|pass"
    r"|append|put|write|edit|copy|download|visit|open|call|apply|export|launch|start|enable|disable|switch|change|try|create|insert"
    r"|paste)\b"
    r"|运行|执行|设为|设成|设置|加上|添加|加入|安装|下载|打开|改成|改为|换成|传入|输入|调用|建议|推荐|写进|写入|写上|复制|启用|关闭"
    r"|修改|启动|发送|上传|贴到|克隆|拉取"
)
# An option, a path or an address: what is told to be done with one has to be an entry's.
_LEADS_OUT = re.compile(r"^--?[A-Za-z]|[/\\@]|^\d+(?:\.\d+){3}|\.(?:sh|exe|bat|ps1|cmd|whl|jar|deb|rpm)$")


def _invented(text: str, cited: Sequence[_Known], paste: _Known) -> Iterator[Fault]:
    """Everything that looks like code, or names a number, and stands in no source."""
    advises = bool(_PRESCRIBES.search(text))
    chinese = bool(re.search(rf"[{_CJK}]", text))
    known = [*cited, paste]
    plain = str(_URL.sub(" ", text))
    found = list(pieces(plain))
    for place, piece in enumerate(found):
        before = found[place - 1] if place else ""
        vouching = cited if advises and _LEADS_OUT.search(piece) else known
        if _looks_like_code(piece, before, chinese) and not _is_known(piece, vouching):
            yield Fault("invented", piece)
        elif (
            before
            and piece[0].isdigit()
            and (product := _product(before))
            and not (
                paste.has(piece)
                or any(product in source.versions.get(near, ()) for source in cited for near in _like(piece, source))
            )
        ):
            yield Fault("invented", f"{before} {piece}")
    for foreign in _FOREIGN.finditer(text):
        word = str(foreign[0])
        if not any(source.has(word) for source in (cited if advises or _MIXED.search(word) else known)):
            yield Fault("invented", word)
    for name, value in _assignments(plain):
        if not any(_vouches_for(source, name, value) for source in (cited if advises else known)):
            yield Fault("invented", f"{name}={value}")
    for word in _run(text):
        if word not in _PROSE and word not in _COMMON and not any(source.has(word) for source in cited):
            yield Fault("invented", word)


def _run(text: str) -> Iterator[str]:
    """The words that a text says to run, install or use."""
    for match in _RUN.finditer(text):
        yield str(match[1]).rstrip(".-_").lower()
    for match in _RUN_IN_CHINESE.finditer(text):
        if not match[1]:
            yield str(match[2]).rstrip(".-_").lower()


def _vouches_for(source: _Known, name: str, value: str) -> bool:
    """Whether a source gives a setting that value; of one that it gives none, or a number, whether it knows both."""
    given = source.settings.get(name, set())
    if value in given or (value in ("on", "off") and given & {"on", "off"}):
        return value in given
    return source.has(name) and (value in ("on", "off") or source.has(value))


def _like(version: str, source: _Known) -> Iterator[str]:
    """The versions of a source that a version stands for: itself, and where it is a major one, those of its line."""
    version = version.rstrip("x.").lower()
    yield version
    if "." not in version:
        yield from (one for one in source.versions if one.startswith(f"{version}."))


def _looks_like_code(piece: str, before: str, chinese: bool) -> bool:
    if _PLAIN.fullmatch(piece):
        if _CAMEL.search(piece):
            return piece.lower().rstrip("s") not in _COMMON and piece.lower() not in _COMMON
        return chinese and len(piece) > 2 and piece.lower() not in _COMMON
    if piece.isdigit():
        return len(piece) > 1 or bool(_product(before))
    return piece.lower() not in _SHORT


def _is_known(piece: str, known: Sequence[_Known]) -> bool:
    forms = {piece}
    if _NUMBER.fullmatch(piece):
        forms |= {piece.lstrip("~+"), piece.lstrip("-"), piece.rstrip("%")}
    if _ORDINAL.fullmatch(piece):
        forms.add(piece[:-2])
    if amount := _AMOUNT.fullmatch(piece):
        forms.add(amount[1])
    if any(source.has(form) for form in forms for source in known):
        return True
    if _JOINED.fullmatch(piece) or (piece.count("/") == 1 and _PLAIN.fullmatch(piece.replace("/", "-"))):
        return all(_is_known(part, known) for part in re.split(r"[./]", piece))
    if "-" in piece.strip("-") and not piece.startswith("-"):
        return all(not part or _is_known(part, known) for part in piece.split("-"))
    return piece.isdigit() and len(piece) == 1


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
_OPPOSITE = {"on": "off", "off": "on", "up": "down", "down": "up"}
_SETTING = re2.compile(
    r"[A-Za-z]+(?:_[A-Za-z0-9]+)+|\b[A-Z][A-Z0-9]{1,7}\b|\b[Tt]imeout\b|learning rate|\b[Tt]emperature\b|batch size|\brate\b"
    r"|超时|学习率|温度"
)
_SAME = {"超时": "timeout", "学习率": "learning rate", "温度": "temperature", "rate": "learning rate"}
_CLAUSE = re.compile(r"[.;!?](?=\s|$)|[。；！？，,\n]|\b(?:but|because|while)\b|而")


def _directions(text: str) -> Iterator[tuple[str, str]]:
    """(setting, direction) of each clause that turns a setting on or off, up or down; a negation turns it round."""
    for name, value in _assignments(text):
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
                yield from ((name, _OPPOSITE[direction] if negated else direction) for name in names)


_CONTRAST = re2.compile(r"(?i)\brather than\b|\binstead of\b|\bin place of\b|而不是|而非|不要选|不要|不取|不选|\bnot\b")


def _contrasts(text: str) -> Iterator[tuple[str, str]]:
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


def _denied(text: str) -> set[tuple[str, str]]:
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


def _asked(text: str) -> set[tuple[str, str]]:
    """(act, thing) of each clause that says to do it."""
    found: set[tuple[str, str]] = set()
    for clause in _CLAUSES.split(text.replace("*", "").replace("`", "")):
        things = {str(thing[0]).lower() for thing in _OBJECT.finditer(clause)}
        if things and not _TELLS.search(clause):
            words = clause.split()
            verb = words[0] if words and words[0].isascii() and not re.search(rf"[{_CJK}]", clause) else clause
            found.update((act, thing) for act in _acts(verb) for thing in things)
    return found


class _Ways:
    """Which way a source turns each setting, what it asks for and denies, and what it takes rather than what."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def directions(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, direction in _directions(self.text):
            found.setdefault(name, set()).add(direction)
        return found

    @cached_property
    def asked(self) -> set[tuple[str, str]]:
        return _asked(self.text)

    @cached_property
    def denied(self) -> set[tuple[str, str]]:
        return _denied(self.text)

    @cached_property
    def contrasts(self) -> set[tuple[str, str]]:
        return set(_contrasts(self.text))

    def of(self, setting: str) -> set[str]:
        """The directions of a setting, `timeout` counting for `ddp_timeout` too."""
        return {
            way for name, ways in self.directions.items() if name == setting or setting.endswith(f"_{name}") for way in ways
        }


def _acts(verb: str) -> set[str]:
    return {act for act, pattern in _ACTS.items() if pattern.search(verb)}


def _polarity(text: str, citations: Sequence[str], cited: Sequence[_Known], sources: Sources) -> Iterator[Fault]:
    """Every setting that is turned the other way than the cited part, or else the cited entry, always turns it."""
    advises = bool(_PRESCRIBES.search(text))
    wanted = [
        (name, direction)
        for name, direction in _directions(text)
        if advises or direction not in sources.paste.settings.get(name, ())  # What is so may be said, whatever it should be.
    ]
    contrasts = list(_contrasts(text))
    asked = _asked(text)
    if not wanted and not contrasts and not asked:
        return
    for scopes in ([_Ways(_part_texts(citations, sources))], [source.ways for source in cited]):
        for name, direction in wanted:
            spoken = {way for scope in scopes for way in scope.of(name)}
            if _OPPOSITE[direction] in spoken and direction not in spoken:
                yield Fault("polarity", f"{name} {direction}")
        denied = {pair for scope in scopes for pair in asked and asked & scope.denied}
        if denied and not any(asked & scope.asked for scope in scopes):
            yield from (Fault("polarity", f"{act} {thing}") for act, thing in sorted(denied))
        for this, that in contrasts:
            if any((that, this) in scope.contrasts and (this, that) not in scope.contrasts for scope in scopes):
                yield Fault("polarity", f"{this}, not {that}")


def _part_texts(citations: Sequence[str], sources: Sources) -> str:
    """The cited parts, in both languages."""
    texts = []
    for citation in citations:
        entry_id, _, place = citation.partition("#")
        entry = sources.entries.get(entry_id)
        if entry and place:
            part_id = place.partition(".")[0]
            texts += [part.text for page in entry.pages.values() for part in page.parts if part.id == part_id]
    return visible("\n".join(texts))


# How much telling words must weigh more in another entry than in the cited one, by language. Set on the tuning answers.
MARGINS: dict[Language, float] = {"en": 1.6, "zh": 1.5}
CHANCE = 0.7  # What a pair of Chinese characters weighs that stands once on a page: most straddle two words.
OF_THE_PASTE = 0.3  # What a word that the paste has too weighs: it may be cited for any entry.
OF_A_STEP = 1.8  # A step prints the entry's own text, so its reason may be short and general.


def lead(text: str, citations: Sequence[str], sources: Sources) -> float:
    """How much more the telling words of a text weigh that another entry has than those that the cited ones have."""
    ids = {citation.partition("/")[0].partition("#")[0] for citation in citations}
    rarity = sources.vocabulary.rarity
    weights = {
        term: rarity[term] * (OF_THE_PASTE if term in sources.paste.terms else 1.0)
        for term in set(lexical.tokens(text))
        if term in rarity
    }
    own = sum(weights[term] for term in weights.keys() & frozenset().union(*(sources.terms(id_) for id_ in ids)))
    others = (shares for id_, shares in sources.vocabulary.shares.items() if id_ not in ids)
    best = max((sum(weight * shares.get(term, 0.0) for term, weight in weights.items()) for shares in others), default=0.0)
    return best - own


def _elsewhere(text: str, citations: Sequence[str], sources: Sources, times: float) -> Iterator[Fault]:
    """A text whose telling words are another entry's."""
    if lead(text, citations, sources) > MARGINS[sources.language] * times:
        yield Fault("elsewhere", text)
