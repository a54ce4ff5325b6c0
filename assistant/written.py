"""A model's items, held against their sources one by one -> blocks of Markdown; steps and commands are the entry's own.

An item is shown when it has passed, so that streaming and checking agree. What fails is left out and counted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from assistant.answer import Block, Citation, SnippetCall
from assistant.compose import snippet_calls
from assistant.grounding import Fault, faults_of
from assistant.reply import Item, Run, Sentence, Step
from assistant.sources import Sources
from assistant.wording import visible
from indexer.entry import Entry, Language

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {"run": "Run", "left_out": "Left out of what the model wrote, as no entry bears it out: {count}"},
    "zh": {"run": "运行", "left_out": "模型写的内容里有 {count} 处在条目里找不到依据，没有显示"},
}

# Small models loop, or write of their own accord: each line costs them a second, and the reader waits.
MAX_SENTENCES = 5
NO_ENTRY_FITS = re.compile(r"\bNO ENTRY FITS\b|没有(?:合适|匹配)的条目", re.IGNORECASE)
MOST_REPEATED = 3
MOST_LEFT_OUT = 6
LEFT_OUT_FOR_EACH_SHOWN = 2


@dataclass
class Written:
    """What was shown of a reply, and what was not and why."""

    sentences: int = 0
    doubts: bool = False
    steps: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    citations: list[Citation] = field(default_factory=list)
    snippets: list[SnippetCall] = field(default_factory=list)
    left_out: list[tuple[Item, list[Fault]]] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        """Whether it is an answer: a diagnosis, and something to do."""
        return self.sentences > 0 and bool(self.steps or self.snippets)


def written_blocks(
    items: Iterable[Item],
    sources: Sources,
    entries: Mapping[str, Entry],
    language: Language,
    written: Written,
    turned_down: Collection[str] = (),
) -> Iterator[Block]:
    """A block for each item that passes, as it comes; `written` is filled meanwhile. Nothing points to a part that was
    `turned_down`.

    A model that repeats itself, or writes little that passes, is not heard to its end.
    """
    shown: set[str] = set()
    repeated = 0
    for item in items:
        if isinstance(item, Sentence) and NO_ENTRY_FITS.search(item.text):
            written.doubts = True
            break
        faults = faults_of(item, sources)
        if isinstance(item, Step) and item.part_id.partition("#")[2] in turned_down:
            faults = [Fault("citation", item.place)]
        if isinstance(item, Sentence) and written.sentences == MAX_SENTENCES:
            repeated += 1
            continue
        block = None if faults else _block(item, entries, language, written)
        if faults:
            written.left_out.append((item, faults))
        elif block is None or block.text in shown:
            repeated += 1
        else:
            shown.add(block.text)
            yield block
        if repeated > MOST_REPEATED or len(written.left_out) > MOST_LEFT_OUT + LEFT_OUT_FOR_EACH_SHOWN * len(shown):
            break
    if written.left_out:
        yield Block("notice", WORDS[language]["left_out"].format(count=len(written.left_out)))


def _block(item: Item, entries: Mapping[str, Entry], language: Language, written: Written) -> Block | None:
    """An item as it is shown; None where all of it stands there already."""
    if isinstance(item, Sentence):
        written.sentences += 1
        written.citations += [_citation(id_, entries, language) for id_ in item.citations]
        return Block("claim", f"{visible(item.text)} {' '.join(f'[{id_}]' for id_ in item.citations)}")
    if isinstance(item, Step):
        return _step(item, entries, language, written)
    return _run(item, entries, language, written)


def _citation(id_: str, entries: Mapping[str, Entry], language: Language) -> Citation:
    """A citation of `slug`, `slug#part`, `slug#part.N` or `slug/script.py`, which is known to exist."""
    slug, _, part_id = re.sub(r"\.\d+$", "", id_).partition("#")
    entry = entries[slug.partition("/")[0]]
    title = entry.part(part_id, language).heading if part_id else entry.pages[language].title
    return Citation(id_, title)


def _step(step: Step, entries: Mapping[str, Entry], language: Language, written: Written) -> Block | None:
    """The entry's step, word for word, and why the model would take it now; all steps of a part where it names none."""
    slug, _, part_id = step.part_id.partition("#")
    part = entries[slug].part(part_id, language)
    lines = []
    for text in [part.steps[step.number - 1]] if step.number else part.steps:
        if text not in written.steps:
            written.steps.append(text)
            lines.append(f"{len(written.steps)}. {text}")
    if not part.steps and (part.id == "check" or entries[slug].kind == "guide") and part.text not in written.steps:
        written.steps.append(part.text)
        lines.append(f"**{part.heading}**\n\n{part.text}\n")
    if not lines:
        return None
    written.citations.append(Citation(step.part_id, part.heading))
    why = visible(step.why)
    if why in written.reasons:
        why = ""
    written.reasons.add(why)
    return Block("step", "\n".join([*lines, f"   {why} [{step.place}]"]))


def _run(run: Run, entries: Mapping[str, Entry], language: Language, written: Written) -> Block | None:
    """The entry's own command line for a script, with the values that were found in the paste."""
    calls = snippet_calls(entries[run.entry_id], dict(entries), language)
    call = next((call for call in calls if call.snippet.file == run.file), None)
    if call is None:
        return None
    command = with_values(call.command, run.values)
    if command in (made.command for made in written.snippets):
        return None
    written.snippets.append(SnippetCall(call.entry_id, call.snippet, command, call.path))
    why = visible(run.why) or call.snippet.about[language]
    return Block("run", f"**{WORDS[language]['run']}** `{command}`\n{why}")


def with_values(command: str, values: Mapping[str, str]) -> str:
    """A command line whose options have these values, where it has such options; nothing is added to it."""
    for name, value in values.items():
        option = re.compile(rf"(?<=\s)(--{re.escape(name.lstrip('-').replace('_', '-'))})[ =](?!-)(\S+)")
        command = option.sub(lambda found, value=value: f"{found[1]} {shlex.quote(value)}", command, count=1)  # type: ignore[misc]
    return command
