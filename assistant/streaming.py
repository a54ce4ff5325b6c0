"""The bytes of a streamed reply -> its pieces of text: events, thinking left out, limits and stop words kept.

What a server says of its errors is read here too, in whichever of the usual shapes.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from indexer.errors import GenerationError

# For servers that send many tokens in a piece: no model's tokens are longer than this on average.
MAX_TOKEN_CHARACTERS = 16
MAX_EVENT_BYTES = 1_000_000


def deltas(data: Iterable[bytes], content_type: str, url: str) -> Iterator[str]:
    """The bytes of a reply -> its pieces of text; a piece of thinking that a server tells apart is an empty piece.

    Raises GenerationError where they end before the server has said that this is all.
    """
    if "json" in content_type or "html" in content_type:  # A server that does not stream, or none.
        yield _text(parsed(first_bytes(data), url), url)[0]
        return
    for event in _events(data, url):
        if event == b"[DONE]":
            return
        text, thought, is_last = _text(parsed(event, url), url)
        if text or thought:
            yield text
        if is_last:
            return
    raise GenerationError(f"{shown(url)} closed the connection before its reply was whole. Did it end, or run out of memory?")


def _events(data: Iterable[bytes], url: str) -> Iterator[bytes]:
    """The data of each server-sent event; every server here sends one line each, so a lost empty line joins nothing."""
    rest = b""
    for block in data:
        *lines, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise GenerationError(f"{shown(url)} sent a line of more than {MAX_EVENT_BYTES:,} bytes.")
        yield from (line[5:].strip() for line in lines if line.startswith(b"data:"))
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


def parsed(event: bytes, url: str) -> dict[str, Any]:
    text = event.decode("utf-8", errors="replace")
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        raise GenerationError(
            f"{shown(url)} is no model's server: it answered with a page. "
            "Check the port, the path, and whether a login stands in between."
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenerationError(f"{shown(url)} sent what is no JSON: {one_line(text)}") from error
    if not isinstance(data, dict) or data.get("error"):
        raise GenerationError(f"{shown(url)} reports: {error_text(event)}")
    return data


def _text(data: dict[str, Any], url: str) -> tuple[str, bool, bool]:
    """The text of an event, whether it holds thinking instead, and whether it is the last one."""
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    delta = choice.get("delta") or choice.get("message") or {} if isinstance(choice, dict) else None
    text = delta.get("content") or "" if isinstance(delta, dict) else None
    if not isinstance(text, str) or not isinstance(delta, dict):
        raise GenerationError(f"{shown(url)} sent what is no piece of a chat: {one_line(json.dumps(data))}")
    return text, bool(delta.get("reasoning_content") or delta.get("reasoning")), bool(choice.get("finish_reason"))


def limited(pieces: Iterable[str], max_tokens: int) -> Iterator[str]:
    """No more pieces than tokens, as a piece is a token or more, and no more characters than they can have."""
    room = max_tokens * MAX_TOKEN_CHARACTERS
    for number, piece in enumerate(pieces, 1):
        yield piece[:room]
        room -= len(piece)
        if number >= max_tokens or room <= 0:
            return


def without_thinking(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces without what stands between `<think>` and `</think>`, or after a `<think>` that is never closed."""
    opening, closing = "<think>", "</think>"
    waiting, thinks = "", False
    for piece in pieces:
        waiting += piece
        while (at := waiting.find(closing if thinks else opening)) >= 0:
            if at and not thinks:
                yield waiting[:at]
            waiting = waiting[at + len(closing if thinks else opening) :]
            thinks = not thinks
        kept = _begun(waiting, [closing if thinks else opening])
        done, waiting = waiting[: len(waiting) - kept], waiting[len(waiting) - kept :]
        if done and not thinks:
            yield done
    if waiting and not thinks:
        yield waiting


def after_thinking(pieces: Iterable[str], begins: re.Pattern[str]) -> Iterator[str]:
    """A reply without the thinking that its prompt opened: without what stands before a `</think>` that had no `<think>`.

    What begins as an answer does is passed on piece by piece. Anything else is kept back until that tag, and thrown away there,
    or told when the reply has ended without one.
    """
    rest = iter(pieces)
    waiting = ""
    for piece in rest:
        before, tag, after = (waiting + piece).partition("</think>")
        waiting = after if tag else before
        if tag or begins.match(waiting):
            break
    yield waiting
    yield from rest


def until_stop(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first stop word, however it is cut into pieces."""
    words = [word for word in stop if word]
    waiting = ""
    for piece in pieces:
        waiting += piece
        found = [at for word in words if (at := waiting.find(word)) >= 0]
        if found:
            waiting = waiting[: min(found)]
            break
        kept = _begun(waiting, words)
        done, waiting = waiting[: len(waiting) - kept], waiting[len(waiting) - kept :]
        if done:
            yield done
    if waiting:
        yield waiting


def _begun(text: str, words: Iterable[str]) -> int:
    """How many characters at the end may be the beginning of one of the words."""
    return max((size for word in words for size in range(1, len(word)) if text.endswith(word[:size])), default=0)


def before_deadline(deadline: float, blocks: Iterable[bytes], url: str) -> Iterator[bytes]:
    for block in blocks:
        if time.monotonic() > deadline:
            raise GenerationError(f"{shown(url)} did not end its reply in time. Ask for less, or use a faster model.")
        yield block


def first_bytes(blocks: Iterable[bytes]) -> bytes:
    data = b""
    for block in blocks:
        data += block
        if len(data) > MAX_EVENT_BYTES:
            break
    return data[:MAX_EVENT_BYTES]


def error_text(data: bytes) -> str:
    """What a server says in an error, in whichever of the usual shapes."""
    text = data.decode("utf-8", errors="replace")
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(text)
        for key in ("error", "detail", "message"):
            if isinstance(said, dict) and said.get(key):
                said = said[key]
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return one_line(text)


def one_line(text: str, size: int = 300) -> str:
    """A foreign text as one short line without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * size]).split())
    return line if len(line) <= size else line[: size - 1] + "…"


def shown(url: str) -> str:
    """An address without the password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", one_line(url))
