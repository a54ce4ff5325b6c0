"""The straight path from a query to an answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from assistant.answer import Answer, abstain, compose
from indexer.entry import Language
from indexer.index import Index
from indexer.query import Query
from indexer.ranking import Hit

if TYPE_CHECKING:
    from assistant.generation import Model
    from assistant.prompt import Turn

MAX_REPLY = 700  # Tokens: a diagnosis of four sentences, and a dozen steps that are pointed to.


def answer(query: Query, index: Index, language: Language, top: int = 5, full: bool = False) -> Answer:
    """Search, then compose from the best entry, or abstain where the evidence is too weak."""
    hits = index.search(query, top)
    if not hits or hits[0].confidence < index.constants.threshold:
        return abstain(hits, index, language)
    return compose(query, hits, index, language, full)


def write(
    query: Query, index: Index, language: Language, model: Model, top: int = 5, conversation: Sequence[Turn] = ()
) -> Generator[str, None, Answer]:
    """The same with a model that explains and chooses: blocks of Markdown, each when it has passed the checks; returns the
    answer whole. Where the evidence is too weak the model is not asked, and where too little of what it wrote passes, the
    entry's own answer is shown. Raises GenerationError."""
    composed = answer(query, index, language, top)
    if not composed.answered:
        yield composed.text
        return composed
    from dataclasses import replace

    from assistant.answer import heading
    from assistant.reply import read_reply
    from assistant.sources import Sources
    from assistant.written import Written, written_blocks

    hits = composed.hits
    blocks = [heading(query, list(hits), index, language)]
    yield blocks[0]
    written = Written()
    items = read_reply(_pieces(query, hits, index, language, model, conversation))
    for block in written_blocks(items, Sources(query, hits, index.entries, language), index.entries, language, written):
        blocks.append(block)
        yield block
    if not written.is_enough:
        yield composed.text
        return composed
    return replace(composed, text="\n\n".join(blocks), citations=tuple(written.citations), snippets=tuple(written.snippets))


def _pieces(
    query: Query, hits: Sequence[Hit], index: Index, language: Language, model: Model, conversation: Sequence[Turn]
) -> Iterator[str]:
    """What the model writes; before anything goes to another host, what tells who it is from is taken out, and put back."""
    from assistant.privacy import restore, strip
    from assistant.prompt import messages

    room = model.context - MAX_REPLY
    sent = messages(query, hits, index.entries, language, room, model.count_tokens, conversation)
    if model.is_local:
        yield from model.stream(sent, MAX_REPLY)
        return
    content, taken = strip(sent[-1]["content"])
    line = ""
    for piece in model.stream([*sent[:-1], {"role": "user", "content": content}], MAX_REPLY):
        line += piece
        whole, end, line = line.rpartition("\n")  # A placeholder may be cut between pieces, and never between lines.
        yield restore(whole + end, taken)
    yield restore(line, taken)
