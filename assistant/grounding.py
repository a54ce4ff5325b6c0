"""What a model wrote -> its faults: whatever in its own words is not in the entries it cites, or in the paste.

One sentence, step or run at a time, in code and without a model. Held are citations, everything that looks like code, quotes,
links, the direction of settings, and whether the words are those of the entry that is cited. What is not detected: a wrong
reason in plain words that the entry uses too. A paste vouches for what is, never for what to do: commands, links and images
come from entries alone. Texts are checked, and to be shown, as `visible` gives them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import re2

from assistant.invention import PRESCRIBES, invented_commands, invented_words
from assistant.orders import is_known_order, orders_in
from assistant.reply import Item, Sentence, Step
from assistant.sources import CHANCE, Known, Sources
from assistant.wording import (
    DISGUISE,
    OPPOSITE,
    URL,
    Ways,
    address_of,
    asked_in,
    contrasts_in,
    directions_in,
    squeezed,
    urls_in,
    visible,
)
from indexer import lexical
from indexer.entry import FIXED_HEADINGS, Language

FAULTS = ("citation", "uncited", "invented", "polarity", "link", "elsewhere")
MAX_TEXT = 2000  # Of one item: a sentence of a model's has a few hundred characters, and a longer one is no sentence.


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an item; `kind` is of FAULTS, `text` the words that are at fault."""

    kind: str
    text: str


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
    return faults + _check_words(why, [part_id], sources, is_of_step=True)


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
    return faults + _check_words(why, [entry_id], sources, is_of_step=True)


def faults_of(item: Item, sources: Sources) -> list[Fault]:
    """What is wrong with an item of a reply; nothing where it may be shown."""
    if isinstance(item, Sentence):
        return check_sentence(item.text, item.citations, sources)
    if isinstance(item, Step):
        return check_step(item.part_id, item.number, item.why, sources)
    return check_run(item.entry_id, item.file, item.values, item.why, sources)


def _cited_sources(citations: Sequence[str], sources: Sources) -> list[Known]:
    ids = dict.fromkeys(citation.partition("/")[0].partition("#")[0] for citation in citations)
    return [sources.known(id_) for id_ in ids if id_ in sources.entries]


def _check_words(text: str, citations: Sequence[str], sources: Sources, is_of_step: bool = False) -> list[Fault]:
    """The faults of a model's own words against what they cite."""
    if len(text) > MAX_TEXT:
        return [Fault("invented", text[:80])]
    if DISGUISE.search(text):
        return [Fault("invented", visible(text))]
    text = visible(text)
    if not text.strip():
        return []
    cited = _cited_sources(citations, sources)
    faults = list(_links(text, cited))
    faults += _quotes(text, [*cited, sources.paste])
    invented = (*invented_commands(text, cited), *invented_words(text, cited, sources.paste))
    faults += [Fault("invented", words) for words in invented]
    faults += _orders(text, citations, sources)
    faults += _polarity(text, citations, cited, sources)
    faults += _elsewhere(text, citations, sources, is_of_step) if cited else ()
    return list(dict.fromkeys(faults))


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


def _links(text: str, cited: Sequence[Known]) -> Iterator[Fault]:
    """Every image, and every link that is not of a cited entry."""
    own = {url for source in cited for url in source.urls}
    hosts = {url.partition("://")[2].partition("/")[0] for url in own}
    if _IMAGE.search(text) or _TAG.search(text):
        yield Fault("link", text)
    for link in _LINK.finditer(text):
        target = link[1] or link[2] or ""
        if address_of(target) not in own:
            yield Fault("link", target or link[0])
    for url in urls_in(text) - own:
        yield Fault("link", url)
    plain = str(URL.sub(" ", text))
    for match in _MAIL.finditer(plain):
        if not any(source.has(str(match[0])) for source in cited):
            yield Fault("link", str(match[0]))
    for match in _SCHEME.finditer(plain):
        yield Fault("link", str(match[0]))
    for match in _DOMAIN.finditer(plain):
        address = address_of(str(match[1]))
        if address not in hosts and not any(url.endswith(f"://{address}") for url in own):
            yield Fault("link", address)


_QUOTE = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|`+([^`]+)`+|「([^」]+)」|『([^』]+)』|«([^»]+)»|‘([^’]+)’"
    r"|(?:^|(?<=[\s(：:]))'([^']+)'(?=[\s).,;:!?，。]|$)"
)
_QUOTE_EDGES = ".,;:!?…。，；：！？"


def _quotes(text: str, known: Sequence[Known]) -> Iterator[Fault]:
    """Every quote that nobody said: not a cited entry, and not the paste."""
    for match in _QUOTE.finditer(text):
        quote = next(str(group) for group in match.groups() if group is not None)
        for part in re.split(r"\.\.\.|…", quote):
            wanted = squeezed(part).strip(_QUOTE_EDGES)
            if wanted and not any(wanted in source.squeezed for source in known):
                yield Fault("invented", quote)
                break


def _orders(text: str, citations: Sequence[str], sources: Sources) -> Iterator[Fault]:
    """Every order that the cited entries do not give, by its verb the cited parts; where no part is cited, the entry. Which way
    a setting is to be turned, polarity judges."""
    ways = [source.ways for source in _cited_sources(citations, sources)]
    entry: set[str] = set()
    part: set[str] = set()
    for citation in citations:
        own = sources.terms(re.split("[#/]", citation)[0])
        entry |= own
        part |= sources.part_terms.get(re.sub(r"\.\d+$", "", citation), own)
    for clause in orders_in(text):
        turned = [(name, direction) for name, direction in directions_in(clause) if any(way.of(name) for way in ways)]
        if turned and all(any(direction in way.of(name) for way in ways) for name, direction in turned):
            continue
        if not is_known_order(clause, part, entry, sources.paste.terms):
            yield Fault("invented", clause)


def _polarity(text: str, citations: Sequence[str], cited: Sequence[Known], sources: Sources) -> Iterator[Fault]:
    """Every setting that is turned the other way than the cited part, or else the cited entry, always turns it."""
    advises = bool(PRESCRIBES.search(text))
    wanted = [
        (name, direction)
        for name, direction in directions_in(text)
        if advises or direction not in sources.paste.settings.get(name, ())  # What is so may be said, whatever it should be.
    ]
    contrasts = list(contrasts_in(text))
    asked = asked_in(text)
    if not wanted and not contrasts and not asked:
        return
    for scopes in ([Ways(_part_texts(citations, sources))], [source.ways for source in cited]):
        for name, direction in wanted:
            spoken = {way for scope in scopes for way in scope.of(name)}
            if OPPOSITE[direction] in spoken and direction not in spoken:
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
PART_MARGINS: dict[Language, float] = {"en": 4.5, "zh": 3.0}  # The same for parts of entries.
OF_THE_PASTE = 0.3  # What a word that the paste has too weighs: it may be cited for any entry.
OF_A_STEP = 1.8  # How much wider for a step: it prints the entry's own text, so its reason may be short and general.


def lead(text: str, citations: Sequence[str], sources: Sources) -> float:
    """How much more the telling words of a text weigh that another entry has than those that the cited ones have."""
    ids = {citation.partition("/")[0].partition("#")[0] for citation in citations}
    weights = _weights(text, sources.vocabulary.rarity, sources)
    own = sum(weights[term] for term in weights.keys() & frozenset().union(*(sources.terms(id_) for id_ in ids)))
    others = (shares for id_, shares in sources.vocabulary.shares.items() if id_ not in ids)
    best = max((sum(weight * shares.get(term, 0.0) for term, weight in weights.items()) for shares in others), default=0.0)
    return best - own


def part_lead(text: str, citations: Sequence[str], sources: Sources) -> float:
    """The same for another part of an entry among the hits and the cited parts; 0 where a whole entry or a script is cited.

    What the cited entries say of all their causes, in symptom or check, is no other part.
    """
    parts = {re.sub(r"\.\d+$", "", citation) for citation in citations}
    if not parts <= sources.part_terms.keys():
        return 0.0
    weights = _weights(text, sources.vocabulary.part_rarity, sources)
    own = sum(weights[term] for term in weights.keys() & frozenset().union(*(sources.part_terms[part] for part in parts)))
    common = {f"{part.partition('#')[0]}#{id_}" for part in parts for id_ in FIXED_HEADINGS}
    others = (terms for part, terms in sources.part_terms.items() if part not in parts | common)
    if sources.language == "zh":  # Pairs of characters overlap, and what is not Chinese in a sentence is mostly the paste's.
        terms_of_paste = sources.paste.terms
        weights = {
            term: weight * (CHANCE if term >= "\u3400" else 1.0)
            for term, weight in weights.items()
            if term not in terms_of_paste
        }
    return max((sum(weights[term] for term in weights.keys() & terms) for terms in others), default=0.0) - own


def _weights(text: str, rarity: Mapping[str, float], sources: Sources) -> dict[str, float]:
    """What each word of a text tells of where it is from."""
    terms = lexical.tokens(text)
    return {term: rarity[term] * (OF_THE_PASTE if term in sources.paste.terms else 1.0) for term in terms if term in rarity}


def _elsewhere(text: str, citations: Sequence[str], sources: Sources, is_of_step: bool) -> Iterator[Fault]:
    """A text whose telling words are another entry's, or another part's; a step's reason may speak of what comes after it."""
    margin = MARGINS[sources.language] * (OF_A_STEP if is_of_step else 1.0)
    if lead(text, citations, sources) > margin or (
        not is_of_step and part_lead(text, citations, sources) > PART_MARGINS[sources.language]
    ):
        yield Fault("elsewhere", text)
