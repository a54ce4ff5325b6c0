"""Answers in the form of OpenAI's chat completions: whole or in chunks, with their sources as text and as annotations."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant.generation import estimate_tokens
from assistant.http_answers import Event
from assistant.http_events import event
from assistant.http_requests import MODEL, Chat

WORDS = {"en": "Entries", "zh": "条目"}
COUNTED = 1_000_000  # Characters of a text whose tokens are counted; of a longer one they are taken to go on alike.
LAST = b"data: [DONE]\n\n"
LINED = ("foot", "run")


class Completion:
    """One answer in OpenAI's form; `base` is this server's address, under which its entries are read."""

    def __init__(self, chat: Chat, base: str) -> None:
        self._chat, self._base = chat, base
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self._prompt_tokens = count_tokens(turn_texts(chat))
        self._said = ""

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The completion of an answer's JSON."""
        sources, links = self._sources(answer)
        self._said = "\n\n".join([*map(_lined, answer["blocks"]), *([sources] if sources else [])])
        message = {"role": "assistant", "content": self._said, "refusal": None, "annotations": url_citations(self._said, links)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._frame("chat.completion"), "choices": [choice], "usage": self._usage()}

    def chunks(self, told: Event) -> Iterator[bytes]:
        """What of an event goes onto a stream."""
        if told.name == "understood":
            yield self._chunk({"role": "assistant", "content": ""})
        elif told.name == "block":
            yield self._say(("\n\n" if self._said else "") + _lined(told.data))
        elif told.name == "done":
            sources, links = self._sources(told.data)
            if sources:
                yield self._say(f"\n\n{sources}", links)
            yield self._chunk({}, "stop")
            if self._chat.include_usage:
                yield event({**self._frame("chat.completion.chunk"), "choices": [], "usage": self._usage()})
            yield LAST
        elif told.name == "error":
            yield event(told.data)

    def _say(self, text: str, links: Sequence[tuple[str, str]] = ()) -> bytes:
        self._said += text
        found = url_citations(self._said, links)
        return self._chunk({"content": text, **({"annotations": found} if found else {})})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._chat.include_usage else {}
        return event({**self._frame("chat.completion.chunk"), "choices": [choice], **usage})

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": MODEL, "system_fingerprint": None}

    def _usage(self) -> dict[str, int]:
        said = count_tokens([self._said])
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self._prompt_tokens + said,
        }

    def _sources(self, answer: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
        """What the answer rests on: a list of its entries as text, and every (title, address) that the answer shows."""
        entries: dict[str, str] = {}
        links: list[tuple[str, str]] = []
        for citation in answer["citations"]:
            if citation["url"]:
                links.append((citation["title"], citation["url"]))
                continue
            slug, _, part = citation["id"].partition("#")
            slug, part = slug.partition("/")[0], part.partition(".")[0]
            entries.setdefault(f"{self._base}/?entry={slug}" + (f"#{part}" if part else ""), citation["title"])
        links += [(title, address) for address, title in entries.items()]
        lines = [f"- [{_label(title)}]({address})" for address, title in entries.items()]
        return "\n".join([f"**{WORDS[answer['language']]}**", "", *lines]) if lines else "", links


def _lined(block: Mapping[str, Any]) -> str:
    """A block's text, with the lines of one that has each for itself: CommonMark makes one paragraph of them."""
    text = str(block["text"])
    return text.replace("\n", "  \n") if block["kind"] in LINED else text


def url_citations(text: str, links: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """A citation for each address that stands in the text, with its place there."""
    found = []
    for title, url in links:
        # Whole: the address of an entry begins that of its parts.
        if at := re.search(re.escape(url) + r"(?![\w#&/-])", text):
            place = {"start_index": at.start(), "end_index": at.end(), "title": title, "url": url}
            found.append({"type": "url_citation", "url_citation": place})
    return found


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def turn_texts(chat: Chat) -> list[str]:
    """The texts that were looked at."""
    return [chat.asked.text, *(text for turn in chat.asked.conversation for text in (turn.question, turn.answer))]


def count_tokens(texts: Sequence[str]) -> int:
    """Tokens of texts, from above."""
    return sum(estimate_tokens(text[:COUNTED]) * max(len(text), 1) // max(len(text[:COUNTED]), 1) for text in texts)


def models() -> dict[str, Any]:
    """The list of the one model."""
    return {"object": "list", "data": [model()]}


def model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "kbask"}
