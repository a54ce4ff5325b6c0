"""Hits -> Answer, composed from the entry's own words without an LLM: always there, instant, invents nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal

from assistant.answer import Answer, Block, Citation, SnippetCall
from indexer.background import Background
from indexer.entry import Entry, Language, Part, Reference, outside_fences
from indexer.index import Index
from indexer.passages import cells, first_sentence, prose
from indexer.query import Query
from indexer.ranking import Hit

# A short answer fits 30 lines of 80 columns: rows of steps and other causes, the most that there is room for.
ROOM = ((7, 4), (6, 4), (6, 3), (5, 3), (4, 3), (4, 2), (3, 1))
SCREEN_ROWS = 30
SHOWN_SOURCES = 2
COLUMNS = 76
MARGIN = 0.12  # How much closer to the query a cause must be before it goes ahead of a likelier one.

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "sure": "{percent} % sure", "message": "your input has", "at_line": "line {line}",
        "likeness": "judged by your words alone",
        "causes": "Other causes", "sections": "Also on this page", "run": "Run", "more": "All of it", "sources": "Sources",
        "near": "Nearest others", "none": "No entry fits.", "none_more": "What you describe is not in the knowledge base, or "
        "too little of it was in your input. Paste the whole traceback, or ask with the library and the step named.",
        "known": "It looks like a known kind of problem that has no entry yet: {about}.",
        "elsewhere": "It reads like a question about something else than training language models.",
        "nearest": "Nearest entries", "yields": "It can follow from another problem in the same input: {ids}",
        "first": "First failure in your input: `{line}` (line {number}). Look there first.",
        "follows": "What follows from it in the same input: {ids}",
        "undecided": "Not told apart from {other}. {look}",
        "more_steps": "{count} more steps in `kbask show {id}`",
        "begin": "First:", "written": "Written by",
        "by_model": "{model}, checked; steps and commands are the entries' own words",
        "all_tried": "Every cause of this entry has been turned down. Paste what the run says now, and ask again.",
    },
    "zh": {
        "sure": "把握 {percent}%", "message": "输入里有", "at_line": "第 {line} 行",
        "likeness": "只依据用词判断",
        "causes": "其他可能原因", "sections": "本页还有", "run": "运行", "more": "全文", "sources": "来源",
        "near": "相近条目", "none": "没有合适的条目。", "none_more": "知识库里没有这个问题，或者输入的信息太少。"
        "请贴出完整的 traceback，或者写明用的库和出错的步骤再问一次。",
        "known": "看起来是已知的一类问题，但还没有写成条目：{about}。",
        "elsewhere": "看起来问的不是训练大语言模型的事。",
        "nearest": "最接近的条目", "yields": "同一份输入里还有可能先发生的问题：{ids}",
        "first": "输入里最先出错的是 `{line}`（第 {number} 行），先看这里。",
        "follows": "同一份输入里由它引起的：{ids}",
        "undecided": "和 {other} 还分不清。{look}",
        "more_steps": "另有 {count} 步，见 `kbask show {id}`",
        "begin": "第一步：", "written": "作者",
        "by_model": "{model} 撰写，逐句核对过；步骤和命令是条目原文",
        "all_tried": "这个条目的原因都排除了。请贴出现在的报错或日志再问一次。",
    },
}  # fmt: skip


Detail = Literal["short", "cause", "entry"]  # What fits a terminal of 80 columns and 30 lines; a cause whole; all of it.


def compose(
    query: Query,
    hits: list[Hit],
    index: Index,
    language: Language,
    detail: Detail = "short",
    tried: Collection[str] = (),
    asked_about: Collection[str] = (),
) -> Answer:
    """The answer of the best hit's entry: of the cause that fits best, among those that were not `tried` (ids of parts); of one
    that is `asked_about`, whatever words that takes."""
    entries = index.entries
    entry = entries[hits[0].entry_id]
    causes = fitting_causes(entry, hits[0], language)
    left = _causes_left(causes, tried, asked_about)
    calls = snippet_calls(entry, entries, language)
    head = Block("head", "\n\n".join(_head(query, hits, index, language)))
    foot = Block("foot", _foot(entry, calls, hits, language, full=detail == "entry"))
    if detail == "entry":
        body = [f"{'#' * part.level} {part.heading}\n\n{part.text}".strip() for part in entry.pages[language].parts]
    elif causes and not left:
        body = []
    elif entry.kind == "guide" and not tried:
        body = _fitting_body(head, foot, lambda steps, others: _short_guide(entry, left, language, steps, others))
    elif detail == "cause":
        body = [f"## {left[0].heading}\n\n{left[0].text}", *_others(left[1:], language, ROOM[0][1])]
    else:
        body = _fitting_body(head, foot, lambda steps, others: _short_causes(entry, left, language, steps, others))
    notices = [Block("notice", WORDS[language]["all_tried"])] if causes and not left and detail != "entry" else []
    shown = entry.pages[language].parts if detail == "entry" else tuple(left[:1])
    sources = entry.references if detail == "entry" else _short_sources(entry)
    return Answer(
        blocks=(head, *notices, *(Block("body", text) for text in body), foot),
        language=language,
        answered=True,
        confidence=hits[0].confidence,
        hits=tuple(hits),
        citations=(
            *(Citation(f"{entry.id}#{part.id}", part.heading) for part in shown),
            *(Citation(entry.id, source.about[language], source.url) for source in sources),
        ),
        snippets=tuple(calls),
    )


def _fitting_body(head: Block, foot: Block, body: Callable[[int, int], list[str]]) -> list[str]:
    """The longest body of steps and other causes that fits a screen with its head and foot, else the shortest."""
    room = SCREEN_ROWS + 1 - _screen_rows([head.text, foot.text])  # The last has no row after it.
    for steps, others in ROOM:
        texts = body(steps, others)
        if _screen_rows(texts) <= room:
            break
    return texts


def _causes_left(causes: list[Part], tried: Collection[str], asked_about: Collection[str]) -> list[Part]:
    """The causes that were not tried, those that are asked about first."""
    return sorted((part for part in causes if part.id not in tried), key=lambda part: part.id not in asked_about)


def heading(
    query: Query,
    hits: list[Hit],
    index: Index,
    language: Language,
    tried: Collection[str] = (),
    asked_about: Collection[str] = (),
) -> Block:
    """The head of an answer, which is there before anything is written: entry, confidence and why, and the first step."""
    entry = index.entries[hits[0].entry_id]
    causes = _causes_left(fitting_causes(entry, hits[0], language), tried, asked_about)
    parts = [entry.part("short-answer", language)] if entry.kind == "guide" and not tried else causes
    first = [f"**{WORDS[language]['begin']}** {_imperative(step)}" for part in parts[:1] for step in part.steps[:1]]
    return Block("head", "\n\n".join([*_head(query, hits, index, language), *first]))


def footer(hits: list[Hit], index: Index, language: Language, model: str) -> Block:
    """The foot of an answer that a model wrote; its scripts stand in it already."""
    words = WORDS[language]
    foot = _foot(index.entries[hits[0].entry_id], [], hits, language, full=False)
    return Block("foot", f"**{words['written']}** {words['by_model'].format(model=model)}\n{foot}")


def _screen_rows(texts: list[str]) -> int:
    """Rows of texts on a screen, each with an empty one before the next."""
    return sum(max(_rows(line), 1) for text in texts for line in f"{text}\n".split("\n"))


def _head(query: Query, hits: list[Hit], index: Index, language: Language) -> list[str]:
    """Title, how sure kbask is and why, what came first, what followed, what it could be instead, and the summary."""
    words = WORDS[language]
    best = hits[0]
    entry = index.entries[best.entry_id]
    sure = words["sure"].format(percent=percent(best.confidence))
    blocks = [f"# {entry.pages[language].title}\n**{sure}** · {_why(best, language)}"]
    if best.yielded_to:
        blocks.append(words["yields"].format(ids=_names(best.yielded_to)))
    elif entry.yields_to and query.root and not any(_says(match.line.text, query.root.text) for match in best.matched):
        line = _cut(query.root.text.strip().replace("`", "'"), COLUMNS - 20)
        blocks.append(words["first"].format(line=line, number=query.root.number))
    following = [hit.entry_id for hit in hits[1:] if best.entry_id in hit.yielded_to]
    if following:
        blocks.append(words["follows"].format(ids=_names(following)))
    blocks += _undecided(hits, index, language)
    return [*blocks, entry.pages[language].summary]


def _says(text: str, other: str) -> bool:
    """Whether two lines have the same words, wrapped or not."""
    return text in other or other in text


def _undecided(hits: list[Hit], index: Index, language: Language) -> list[str]:
    """What the best hit cannot be told apart from, and the one thing to look at that decides; nothing where it is decided."""
    others = [hit.entry_id for hit in hits[1:] if hit.confidence >= index.constants.undecided * hits[0].confidence]
    others += [hits[0].behind] if hits[0].behind else []
    for other in others:
        if look := index.told_apart(hits[0].entry_id, other).get(language):
            return [WORDS[language]["undecided"].format(other=_name(other, index), look=look)]
    return []


def _name(id_: str, index: Index) -> str:
    """An entry's id as code; of a problem without an entry, what it is about."""
    return f"`{id_}`" if id_ in index.entries else index.background[id_].about


def _names(ids: Iterable[str]) -> str:
    return ", ".join(f"`{id_}`" for id_ in ids)


def _foot(entry: Entry, calls: list[SnippetCall], hits: list[Hit], language: Language, full: bool) -> str:
    """What to run and to read next, where it comes from, and the nearest others."""
    words = WORDS[language]
    if full:
        lines = [f"**{words['run']}** `{call.command}` — {call.snippet.about[language]}" for call in calls]
    else:
        lines = [f"**{words['run']}** `{call.command}`\n  {_cut(call.snippet.about[language], COLUMNS)}" for call in calls[:1]]
        lines.append(f"**{words['more']}** `kbask show {entry.id}`")
    sources = entry.references if full else _short_sources(entry)
    if sources:
        lines.append(f"**{words['sources']}** " + "\n  ".join(source.url for source in sources))
    if hits[1:]:
        lines.append(f"**{words['near']}** " + " · ".join(f"`{hit.entry_id}`" for hit in hits[1:3]))
    return "\n".join(lines)


def abstain(hits: list[Hit], index: Index, language: Language) -> Answer:
    """No entry fits: say so, whether the problem is a known one without an entry, and what is nearest."""
    words = WORDS[language]
    known = index.background[hits[0].behind] if hits and hits[0].behind else None
    blocks = [f"**{words['none']}** {_why_not(known, language)}"]
    following = [hit.entry_id for hit in hits if known and known.id in hit.yielded_to]
    if following:
        blocks.append(words["follows"].format(ids=_names(following)))
    if hits:
        blocks += _undecided(hits, index, language) if known and known.about else []
        nearest = [f"- `{hit.entry_id}` {index.entries[hit.entry_id].pages[language].title}" for hit in hits[:3]]
        blocks.append(f"{words['nearest']}\n\n" + "\n".join(nearest))
    confidence = hits[0].confidence if hits else 0.0
    return Answer(
        (Block("head", blocks[0]), *(Block("body", text) for text in blocks[1:])),
        language,
        answered=False,
        confidence=confidence,
        hits=tuple(hits),
    )


def _why_not(known: Background | None, language: Language) -> str:
    """What the input is taken for where no entry fits."""
    words = WORDS[language]
    if known and known.about:
        return words["known"].format(about=known.about)
    return words["none_more"] if known is None or known.is_ours else words["elsewhere"]


def fitting_causes(entry: Entry, hit: Hit, language: Language) -> list[Part]:
    """The causes, those that a matched line names first, then any that is clearly closer to the query, then the likeliest."""
    causes = entry.causes(language)
    named = {match.signature.cause for match in hit.matched}
    likeliest = hit.closeness.get(f"{entry.id}#{causes[0].id}", 0.0) if causes else 0.0

    def place(item: tuple[int, Part]) -> tuple[bool, float, int]:
        number, part = item
        gain = hit.closeness.get(f"{entry.id}#{part.id}", 0.0) - likeliest
        return (part.id not in named, -gain if gain > MARGIN else 0.0, number)

    return [part for _, part in sorted(enumerate(causes), key=place)]


def snippet_calls(entry: Entry, entries: dict[str, Entry], language: Language) -> list[SnippetCall]:
    """The entry's snippets with the command line that its page gives, the bare command where it gives none."""
    text = "\n".join(part.text for part in entry.pages[language].parts)
    calls = []
    for snippet in entry.snippets:
        owner = entries.get(snippet.of or entry.id, entry)
        target = owner.run_name(snippet)
        written = re.search(rf"kbask run {re.escape(target)}(?:\.py)?(?: --)?(?: [^\n`]+)?(?=[\n`]|$)", text)
        command = written[0].strip() if written else f"kbask run {target}"
        calls.append(SnippetCall(entry.id, snippet, command, Path(owner.folder) / snippet.file))
    return calls


def percent(confidence: float) -> int:
    """Whole percent, never 0 or 100: nothing here is certain."""
    return min(max(round(confidence * 100), 1), 99)


def _why(hit: Hit, language: Language) -> str:
    words = WORDS[language]
    shown = [match for match in hit.matched if not match.line.text.startswith("said: ")]  # Those are the user's own words.
    strong = [match for match in shown if not match.signature.weak] or shown
    if not strong:
        return words["likeness"]
    line, start = strong[0].line, strong[0].start
    before = "…" if line.text[:start].strip() else ""
    quoted = _cut(before + line.text[start:].strip().replace("`", "'"), COLUMNS)
    return f"{words['message']} `{quoted}` ({words['at_line'].format(line=line.number)})"


def _cut(text: str, columns: int) -> str:
    text = text[: columns + 1]
    if cells(text) <= columns:
        return text
    while cells(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def _short_sources(entry: Entry) -> tuple[Reference, ...]:
    """The first sources whose address fits a line, the first of all where none does."""
    fitting = [source for source in entry.references if cells(source.url) <= COLUMNS]
    return tuple(fitting[:SHOWN_SOURCES]) or entry.references[:1]


def _rows(text: str) -> int:
    return -(-cells(text) // COLUMNS)


def _imperative(step: str) -> str:
    """The first sentence of a step; where it only leads to code, with the code if that is one short line."""
    sentence = first_sentence(step)
    if not sentence.endswith((":", "：")):
        return sentence
    code = [line.strip() for _, line, prose in outside_fences(step) if not prose][1:-1]
    return f"{sentence} `{code[0]}`" if len(code) == 1 and cells(code[0]) < COLUMNS else f"{sentence[:-1]} …"


def _short_steps(steps: tuple[str, ...], entry: Entry, language: Language, rows: int) -> list[str]:
    """The first sentence of each step, as many as fit into so many rows."""
    shown: list[str] = []
    for number, step in enumerate(steps, 1):
        line = f"{number}. {_imperative(step)}"
        if sum(map(_rows, shown)) + _rows(line) > rows - (number < len(steps)):
            shown.append(WORDS[language]["more_steps"].format(count=len(steps) - number + 1, id=entry.id))
            break
        shown.append(line)
    return shown


def _short_causes(entry: Entry, causes: list[Part], language: Language, rows: int, others: int) -> list[str]:
    first = causes[0]
    steps = "\n".join(_short_steps(first.steps, entry, language, rows))
    return [
        f"## {first.heading}\n{_cut(first_sentence(first.intro), 2 * COLUMNS)}\n{steps}",
        *_others(causes[1:], language, others),
    ]


def _others(causes: list[Part], language: Language, count: int) -> list[str]:
    """The next causes by name; nothing where there are none."""
    return (
        ["\n".join([f"**{WORDS[language]['causes']}**", *(f"- {part.heading}" for part in causes[:count])])] if causes else []
    )


def _short_guide(entry: Entry, parts: list[Part], language: Language, rows: int, others: int) -> list[str]:
    answer = entry.part("short-answer", language)
    short = "\n".join(_short_steps(answer.steps, entry, language, rows)) or _cut(prose(answer.text), rows * COLUMNS)
    return [short, "\n".join([f"**{WORDS[language]['sections']}**", *(f"- {part.heading}" for part in parts[:others])])]
