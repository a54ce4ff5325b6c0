"""The straight path from a query to an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assistant.answer import Answer, Block
from assistant.compose import Detail, abstain, compose, footer, heading
from assistant.conversation import Conversation
from assistant.reasons import reason_in
from indexer.entry import Language
from indexer.errors import GenerationError
from indexer.index import Index
from indexer.query import Query

if TYPE_CHECKING:
    from assistant.generation import Message, Model
    from assistant.written import Written

MAX_REPLY = 700  # Tokens: a diagnosis of four sentences, and a dozen steps that are pointed to.
NOTICES: dict[Language, dict[str, str]] = {
    "en": {
        "failed": "No model wrote this: {reason}",
        "broke_off": "The model broke off: {reason}",
        "rejected": "Too little of what {model} wrote holds against the entries; below is the entry's own answer.",
        "doubted": "{model} finds that this entry does not fit your report. Below is the entry's own answer: compare it.",
        "stopped": "The model was stopped; below is the entry's own answer.",
    },
    "zh": {
        "failed": "这份回答不是模型写的：{reason}",
        "broke_off": "模型没有写完：{reason}",
        "rejected": "{model} 写的内容大多在条目里找不到依据，下面是条目自己的答案。",
        "doubted": "{model} 认为这个条目和你的报告对不上。下面是条目自己的答案，请自行比对。",
        "stopped": "模型已经停下，下面是条目自己的答案。",
    },
}
NOTHING_BEFORE = Conversation()


def question_of(conversation: Conversation, index: Index) -> Query:
    """What a conversation asks now: a follow-up about the same report, unless its own words are another entry's."""
    query = conversation.query()
    if not conversation.turns or conversation.is_rejection:
        return query
    alone = Query.from_text(conversation.text)
    hits = index.search(alone, 1)
    if not hits or hits[0].confidence < index.constants.threshold:
        return query
    return alone if hits[0].entry_id != index.search(query, 1)[0].entry_id else query


def answer(
    query: Query,
    index: Index,
    language: Language,
    top: int = 5,
    detail: Detail = "short",
    conversation: Conversation = NOTHING_BEFORE,
) -> Answer:
    """Search, then compose from the best entry what was not turned down, or abstain where the evidence is too weak."""
    hits = index.search(query, top)
    if not hits or hits[0].confidence < index.constants.threshold:
        return abstain(hits, index, language)
    entry = index.entries[hits[0].entry_id]
    return compose(query, hits, index, language, detail, conversation.tried(entry), conversation.asked_about(entry))


def write(
    query: Query,
    index: Index,
    language: Language,
    model: Callable[[], Model] | None,
    top: int = 5,
    detail: Detail = "short",
    conversation: Conversation = NOTHING_BEFORE,
) -> Generator[Block, None, Answer]:
    """The same with a model that explains and chooses: blocks as they pass the checks; returns the answer whole.

    `model` is called when the head is out, as it may have to load first. Where the evidence is too weak, or every cause was
    turned down, it is not asked; where it fails, or too little of what it wrote passes, the entry's own answer follows. Closing
    the generator stops the writing; so does a KeyboardInterrupt, after which the entry's own answer follows too.
    """
    composed = answer(query, index, language, top, detail, conversation)
    if model is None or not any(block.kind == "body" for block in composed.blocks) or not composed.answered:
        yield from composed.blocks
        return composed
    hits = list(composed.hits)
    entry = index.entries[hits[0].entry_id]
    tried = conversation.tried(entry)
    shown = [heading(query, hits, index, language, tried, conversation.asked_about(entry))]
    written: Written | None = None
    name, notice, was_stopped = "", "", False
    try:
        yield shown[0]

        from assistant.reply import BEGINS, read_reply
        from assistant.sources import Sources
        from assistant.streaming import after_thinking
        from assistant.written import Written, written_blocks

        written = Written()
        writer = model()
        name = writer.name
        sources = Sources(query, hits, index.entries, language)
        with closing(_pieces(query, composed, index, writer, conversation)) as pieces:
            items = read_reply(after_thinking(with_known_ids(pieces, composed), BEGINS))
            for block in written_blocks(items, sources, index.entries, language, written, tried):
                shown.append(block)
                yield block
    except GenerationError as error:
        notice = NOTICES[language]["broke_off" if len(shown) > 1 else "failed"].format(reason=reason_in(language, str(error)))
    except KeyboardInterrupt:
        notice, was_stopped = NOTICES[language]["stopped"], True
    left_out = len(written.left_out) if written else 0
    if written and written.is_enough and not was_stopped:
        rest = [*([Block("notice", notice)] if notice else []), footer(hits, index, language, name)]
        parts: dict[str, Any] = {"citations": tuple(written.citations), "snippets": tuple(written.snippets), "model": name}
    else:
        kind = "doubted" if written and written.doubts else "rejected"
        notice = notice or NOTICES[language][kind].format(model=name)
        rest = [Block("notice", notice), *(block for block in composed.blocks if block.kind != "head")]
        parts = {}
    yield from rest
    return replace(composed, blocks=(*shown, *rest), left_out=left_out, **parts)


def prompt(
    query: Query, found: Answer, index: Index, model: Model, conversation: Conversation = NOTHING_BEFORE
) -> tuple[list[Message], dict[str, str]]:
    """Exactly what is sent to a model, and what was taken out of it: before anything goes to another host, what tells whom it
    is from. Raises GenerationError where not even one excerpt fits."""
    from assistant.privacy import strip
    from assistant.prompt import messages

    def count(text: str) -> int:
        """A server may be asked to count, so it is told no more than it is sent."""
        return model.count_tokens(text if model.is_local else strip(text)[0])

    room = model.context - MAX_REPLY
    sent = messages(query, found.hits, index.entries, found.language, room, count, conversation)
    if model.is_local:
        return sent, {}
    content, taken = strip(sent[-1]["content"])
    return [*sent[:-1], {"role": "user", "content": content}], dict(taken)


def _pieces(query: Query, found: Answer, index: Index, model: Model, conversation: Conversation) -> Generator[str]:
    """What the model writes, with what was taken out of the prompt put back."""
    from assistant.privacy import restore

    sent, taken = prompt(query, found, index, model, conversation)
    line = ""
    for piece in model.stream(sent, MAX_REPLY):
        line += piece
        whole, end, line = line.rpartition("\n")  # A placeholder may be cut between pieces, and never between lines.
        yield restore(whole + end, taken)
    yield restore(line, taken)


def with_known_ids(lines: Iterable[str], found: Answer) -> Iterator[str]:
    """The same lines, the ids of the found entries spelt as they are: models write `[KB:Loss-Zero-SFT]` too."""
    ids = "|".join(re.escape(hit.entry_id) for hit in found.hits)
    known = re.compile(rf"(?<![\w-])(?:KB:\s?)?((?:{ids})(?:#[a-z0-9-]+)?)(?![\w-])", re.IGNORECASE)
    for line in lines:
        yield known.sub(lambda match: match[1].lower(), line)
