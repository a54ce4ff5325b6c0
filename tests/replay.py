"""A server of the OpenAI protocol that writes what it was given: the accepting path for real, without a large model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Replaying:
    """Where it listens, what it was asked, and how many replies were hung up on; `reply` may be changed between questions.

    A reply that is not `whole` ends without the server's word that it has ended.
    """

    reply: str
    pause: float = 0.0
    whole: bool = True
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def replaying(reply: str, pause: float = 0.0) -> Iterator[Replaying]:
    """A server whose every reply is that text, in pieces of seven characters with `pause` seconds before each."""
    state = Replaying(reply, pause)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer({"object": "list", "data": [{"id": "replay", "object": "model", "max_model_len": 16_384}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/chat/completions"):
                self.send_error(404)
                return
            state.asked.append(body)
            state.was_asked.set()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for start in range(0, len(state.reply), 7):
                    time.sleep(state.pause)
                    self.event({"choices": [{"index": 0, "delta": {"content": state.reply[start : start + 7]}}]})
                if state.whole:
                    self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                state.hung_up.set()

        def event(self, data: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

        def answer(self, data: dict[str, Any]) -> None:
            text = json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
