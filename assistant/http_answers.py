"""What is asked -> what is told, in order: what was understood, the entries found, each block as it is released, and the whole.

Plain functions without a server: the same events make the JSON reply, the event stream and OpenAI's form.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from assistant.answer import Answer, Block, hits_to_json, query_to_json
from assistant.conversation import Conversation
from assistant.http_html import to_html
from assistant.http_requests import Asked
from assistant.rag import answer, question_of, write
from indexer.entry import Language
from indexer.index import Index
from indexer.query import MAX_ERROR_LENGTH, Query, language_of

if TYPE_CHECKING:
    from assistant.generation import Model


class Event(NamedTuple):
    """One of `understood`, `hits`, `block`, `done` and `error`, and its data as JSON has it."""

    name: str
    data: dict[str, Any]


def compose(asked: Asked, index: Index) -> dict[str, Any]:
    """The whole answer without a model."""
    conversation = Conversation(asked.conversation, asked.text)
    query = question_of(conversation, index)
    found = answer(query, index, _language(asked, query), asked.top, "cause", conversation)
    return answer_json(found, query, index)


def events_of(whole: dict[str, Any]) -> Iterator[Event]:
    """The events of an answer that is there already."""
    yield Event("understood", {name: whole[name] for name in ("language", "query", "lines")})
    yield Event("hits", {"hits": whole["hits"]})
    for number, block in enumerate(whole["blocks"], 1):
        yield Event("block", {"number": number, **block})
    yield Event("done", whole)


def tell(asked: Asked, index: Index, model: Callable[[], Model]) -> Iterator[Event]:
    """The events of an answer that a model writes, as they come. Closing the iterator stops the writing."""
    conversation = Conversation(asked.conversation, asked.text)
    query = question_of(conversation, index)
    language = _language(asked, query)
    yield Event("understood", {"language": language, "query": query_to_json(query), "lines": lines_that_matter(query)})
    # Searched for here too, so that the entries are there while the model is still silent.
    yield Event("hits", {"hits": hits_to_json(index.search(query, asked.top), index.entries, language)})
    known, number = frozenset(index.entries), 0
    with contextlib.closing(write(query, index, language, model, asked.top, "cause", conversation)) as blocks:
        while True:
            try:
                block = next(blocks)
            except StopIteration as end:
                yield Event("done", answer_json(end.value, query, index))
                return
            number += 1
            yield Event("block", {"number": number, **block_json(block, known)})


def search(asked: Asked, index: Index) -> dict[str, Any]:
    """What was understood, and the entries found."""
    query = Query.from_text(asked.text)
    hits = hits_to_json(index.search(query, asked.top), index.entries, _language(asked, query))
    return {"query": query_to_json(query), "hits": hits}


def answer_json(found: Answer, query: Query, index: Index) -> dict[str, Any]:
    """The JSON of `kbask --json` with each block's HTML and the lines that matter; a script is an address, and no path here."""
    data = found.to_json(query, index.entries)
    for snippet, call in zip(data["snippets"], found.snippets, strict=True):
        del snippet["path"]
        snippet["source"] = source_address(call.entry_id, call.snippet.file)
    known = frozenset(index.entries)
    return {**data, "lines": lines_that_matter(query), "blocks": [block_json(block, known) for block in found.blocks]}


def source_address(entry_id: str, file: str) -> str:
    """Where a script is read."""
    return f"/v1/entries/{entry_id}/{file}"


def block_json(block: Block, known: frozenset[str]) -> dict[str, Any]:
    return {"kind": block.kind, "text": block.text, "html": to_html(block.text, known)}


def lines_that_matter(query: Query) -> list[dict[str, Any]]:
    """The lines of the input that decide, likeliest root first, each with its number and the rank that printed it."""
    wanted = dict.fromkeys(query.error_lines)
    found = {}
    for line in query.lines:
        text = line.text.strip()[:MAX_ERROR_LENGTH]
        if text in wanted and text not in found:
            found[text] = {"number": line.number, "rank": line.rank, "text": text}
    return [found[text] for text in wanted if text in found]


def _language(asked: Asked, query: Query) -> Language:
    """The wanted one, the report's, that of Chinese words that only turn an answer down, the browser's."""
    if asked.language or query.language:
        return asked.language or query.language or "en"
    is_chinese = language_of(asked.text) == "zh" and Conversation(asked.conversation, asked.text).is_rejection
    return "zh" if is_chinese else asked.preferred or "en"


def to_bytes(data: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; what no UTF-8 can spell became a question mark where it was read."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def outcome(whole: Mapping[str, Any]) -> str:
    """How a question ended, for who counts."""
    return "no_entry" if not whole["answered"] else "written" if whole["model"] else "composed"


class Told(NamedTuple):
    """An answer as bytes of JSON, and its outcome."""

    data: bytes
    outcome: str


def told(kind: str, asked: Asked, index: Index) -> Told:
    """The reply to a question without a model, of kind `ask` or `search`."""
    if kind == "search":
        return Told(to_bytes(search(asked, index)), "searched")
    whole = compose(asked, index)
    return Told(to_bytes(whole), outcome(whole))


class Kept:
    """Composed answers by what was asked, in memory alone: the ones asked for last, up to so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._answers: OrderedDict[bytes, Told] = OrderedDict()

    @staticmethod
    def key(asked: Asked) -> bytes:
        turns = [(turn.question, turn.answer) for turn in asked.conversation]
        return hashlib.sha256(json.dumps([asked.text, asked.language, asked.preferred, asked.top, turns]).encode()).digest()

    def get(self, key: bytes) -> Told | None:
        if (found := self._answers.get(key)) is not None:
            self._answers.move_to_end(key)
        return found

    def put(self, key: bytes, told: Told) -> None:
        before = self._answers.pop(key, None)
        self._bytes += len(told.data) - (len(before.data) if before else 0)
        self._answers[key] = told
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._answers.popitem(last=False)[1].data)
