"""Events -> the lines that a browser's stream of server-sent events has."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

from assistant.http_guard import Send

KEEP_ALIVE = b": still at it\n\n"  # A comment: it keeps proxies from hanging up while a model is silent.
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would keep blocks back.
]


def event(data: Any, name: str = "") -> bytes:
    """One event; its data is JSON, which has no line end in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode("utf-8", errors="replace")


async def send_stream(pieces: AsyncGenerator[bytes, None], send: Send) -> None:
    """Send a stream; it begins with its first piece, so that what is refused before that has a status of its own."""
    started = False
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
