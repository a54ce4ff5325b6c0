"""Messages in, pieces of text out: any server that speaks the OpenAI protocol, streamed.

`connect` asks a server what it has and gives a `Server`, which is a `Model`. Limits and stop words are applied here too,
whatever the server makes of them, and what a reasoning model thinks is not passed on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from assistant.streaming import (
    before_deadline,
    deltas,
    error_text,
    first_bytes,
    limited,
    one_line,
    parsed,
    shown,
    until_stop,
    without_thinking,
)
from indexer.errors import GenerationError

if TYPE_CHECKING:
    import httpx2

Message = Mapping[str, str]

# What is taken where a server does not say: Ollama's context as it comes, the smallest in use.
UNKNOWN_CONTEXT = 4096
CONNECTION_ATTEMPTS = 3
FIRST_WAIT = 0.2
# What some models refuse; each can be left out, as what it asks for is seen to here.
DISPENSABLE = ("temperature", "seed", "stop", "max_tokens")
MAX_STOPS_SENT = 4  # The protocol's limit; the client stops at all of them.
KEY_VARIABLE = "KBASK_LLM_KEY"


class Model(Protocol):
    """Something that writes."""

    @property
    def name(self) -> str: ...

    @property
    def is_local(self) -> bool:
        """Whether what it reads stays on this machine."""

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        """The reply piece by piece; closing the iterator stops the writing. Raises GenerationError."""

    def count_tokens(self, text: str) -> int:
        """How many tokens a text takes, counted or estimated from above."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, for the next bytes of a reply, and for a whole reply."""

    connect: float = 5.0
    piece: float = 120.0
    whole: float = 600.0


SHORT = Timeouts(piece=5, whole=5)  # For what only helps.
LIST_SECONDS = 15.0  # A server that is silent so long about which models it has will write nothing either.


class _Line:
    """The connection of a reply, which another thread may end, be it still silent."""

    def __init__(self) -> None:
        self._lock, self._is_over = threading.Lock(), False
        self._socket: socket.socket | None = None

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """What httpx2 tells of a request's way: here its connection, before anything is sent or read."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = told["return_value"].get_extra_info("socket")
                self._shut()

    def end(self) -> None:
        """Whoever reads sees the reply broken off at once, and the server its client gone."""
        with self._lock:
            self._is_over = True
            self._shut()

    def _shut(self) -> None:
        if self._is_over and self._socket is not None:
            with contextlib.suppress(OSError):  # It is closed already.
                self._socket.shutdown(socket.SHUT_RDWR)


@dataclass
class Server:
    """A model behind the OpenAI protocol; `url` is what stands before `/chat/completions`."""

    url: str
    name: str
    key: str | None = None
    context: int = UNKNOWN_CONTEXT
    timeouts: Timeouts = Timeouts()
    counts_tokens: bool = True
    _line: _Line = field(default_factory=_Line, init=False, repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the address is this machine's own; where a tunnel behind it leads cannot be seen."""
        return is_this_machine(self.url)

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        """The reply piece by piece: at most `max_tokens`, without thinking, ending before the first of `stop`."""
        body = {
            "model": self.name,
            "messages": [dict(message) for message in messages],
            "stream": True,
            "temperature": 0,
            "seed": 0,
            "max_tokens": max_tokens,
            **({"stop": list(stop[:MAX_STOPS_SENT])} if stop else {}),
        }
        with _faults_told(self.url), _client(self.url, self.key, self.timeouts) as client, self._open(client, body) as reply:
            data = before_deadline(time.monotonic() + self.timeouts.whole, reply.iter_bytes(), self.url)
            texts = deltas(data, reply.headers.get("content-type", ""), self.url)
            yield from until_stop(without_thinking(limited(texts, max_tokens)), stop)

    def hang_up(self) -> None:
        """End what `stream` reads or will read, from another thread; it may raise GenerationError. A copy has its own line."""
        self._line.end()

    def count_tokens(self, text: str) -> int:
        """Counted by the server where it can (llama.cpp, vLLM, SGLang, `kbask llm`), else `estimate_tokens`."""
        if self.counts_tokens:
            body = {"model": self.name, "prompt": text, "content": text}
            with contextlib.suppress(GenerationError, ValueError, TypeError, KeyError):
                found = _ask_json(self.url.removesuffix("/v1") + "/tokenize", self.key, SHORT, body)
                return int(found["count"]) if "count" in found else len(found["tokens"])
            self.counts_tokens = False
        return estimate_tokens(text)

    @contextlib.contextmanager
    def _open(self, client: httpx2.Client, body: dict[str, Any]) -> Iterator[httpx2.Response]:
        """The reply to `body`, asked again without each parameter that the server names as refused."""
        while True:
            with _send(client, f"{self.url}/chat/completions", body, self._line) as reply:
                if reply.status_code == 200:
                    yield reply
                    return
                said = error_text(first_bytes(reply.iter_bytes()))
            refused = next((name for name in DISPENSABLE if name in body and re.search(rf"\b{name}\b", said)), None)
            if reply.status_code not in (400, 422) or refused is None:
                raise GenerationError(self._refusal(reply.status_code, said))
            value = body.pop(refused)
            if refused == "max_tokens":
                body["max_completion_tokens"] = value

    def _refusal(self, status: int, said: str) -> str:
        where = shown(self.url)
        if status in (401, 403):
            return f"{where} refuses the key ({status}: {said}). Set the right one in {KEY_VARIABLE}."
        if status == 404:
            with contextlib.suppress(GenerationError):
                if names := ", ".join(models(self.url, self.key, self.timeouts)):
                    return f"{where} has no model {self.name}; it has {names}. Choose one: --llm-model NAME"
        if status in (429, 503):
            return f"{where} is busy ({status}: {said}). Ask again, or use another with --llm-url."
        return f"{where} answered {status}: {said}"


def key_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The key from the environment: KBASK_LLM_KEY for any server, OPENAI_API_KEY for OpenAI's own alone."""
    host = urlsplit(url).hostname or ""
    openai = url.startswith("https://") and (host == "openai.com" or host.endswith(".openai.com"))
    return environment.get(KEY_VARIABLE) or (environment.get("OPENAI_API_KEY") if openai else None) or None


def connect(url: str, name: str | None = None, key: str | None = None, timeouts: Timeouts | None = None) -> Server:
    """A server and its model, by default the first that it lists; raises GenerationError where nothing answers."""
    url, timeouts = base_url(url), timeouts or Timeouts()
    listed = models(url, key, replace(timeouts, piece=min(timeouts.piece, LIST_SECONDS)))
    if name is None:
        writers = [model for model in listed if not re.search(r"embed|rerank", model, re.IGNORECASE)]
        if not writers:
            raise GenerationError(
                f"{shown(url)} lists no model that writes. Is it the address of an OpenAI-compatible server, like "
                "http://localhost:8000/v1? If so, name the model: --llm-model NAME"
            )
        name = writers[0]
    return Server(url, name, key, listed.get(name) or UNKNOWN_CONTEXT, timeouts)


def models(url: str, key: str | None, timeouts: Timeouts) -> dict[str, int | None]:
    """The models that a server lists, in its order, each with its context where it is told; empty where it has no list."""
    found = _ask_json(f"{url}/models", key, timeouts)
    listed = found.get("data")
    listed = listed if isinstance(listed, list) else []
    return {str(model["id"]): _context(model) for model in listed if isinstance(model, dict) and model.get("id")}


def _context(model: dict[str, Any]) -> int | None:
    """By vLLM's and SGLang's name for it, llama.cpp's, or those of LM Studio and of routers."""
    meta = model["meta"] if isinstance(model.get("meta"), dict) else {}
    for value in (model.get("max_model_len"), meta.get("n_ctx"), model.get("max_context_length"), model.get("context_length")):
        if isinstance(value, int) and value > 0:
            return value
    return None


def base_url(url: str) -> str:
    """An address as people write it -> what stands before `/chat/completions`: `localhost:8000` -> `http://localhost:8000/v1`."""
    url = url.strip()
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment:
        raise GenerationError(f"{shown(url)} is no address of a server. It is like http://localhost:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


_UNITS = re.compile(r"[A-Za-z]+|[ \t]+|[^A-Za-z \t]")


def estimate_tokens(text: str) -> int:
    """Tokens from above: four letters one, a digit or sign one, a letter of another script two.

    Against the tokeniser of SmolLM2, which knows no Chinese: 1.16 to 1.32 times the tokens of the English entries, 1.11 to 1.19
    of the Chinese, and 0.93 to 1.66 of logs.
    """
    count = 0
    for unit in _UNITS.findall(text):
        if unit[0] in " \t":
            count += len(unit) > 1
        elif unit.isascii():
            count += -(-len(unit) // 4)
        else:
            count += 2
    return count


def _client(url: str, key: str | None, timeouts: Timeouts) -> httpx2.Client:
    import httpx2  # 0.2 s that nobody waits for who asked no model.

    limits = httpx2.Timeout(min(timeouts.piece, timeouts.whole), connect=timeouts.connect)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A proxy is for other hosts: it would have what should stay on this machine.
    return httpx2.Client(timeout=limits, headers=headers, trust_env=not is_this_machine(url))


@contextlib.contextmanager
def _send(
    client: httpx2.Client, url: str, body: dict[str, Any] | None = None, line: _Line | None = None
) -> Iterator[httpx2.Response]:
    """The reply, its body unread; tried again only where no connection came about."""
    import httpx2

    traced = {"trace": line.trace} if line else None
    request = client.build_request("GET" if body is None else "POST", url, json=body, extensions=traced)
    for attempt in range(1, CONNECTION_ATTEMPTS + 1):
        try:
            reply = client.send(request, stream=True)
            break
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            if attempt == CONNECTION_ATTEMPTS:
                raise
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
    with contextlib.closing(reply):
        yield reply


def _ask_json(url: str, key: str | None, timeouts: Timeouts, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A short answer, empty where the server has no such page."""
    with _faults_told(url), _client(url, key, timeouts) as client, _send(client, url, body) as reply:
        data = first_bytes(reply.iter_bytes())
        if reply.status_code in (401, 403):
            raise GenerationError(f"{shown(url)} refuses the key ({reply.status_code}). Set the right one in {KEY_VARIABLE}.")
        if reply.status_code in (404, 405, 501):
            return {}
        if reply.status_code != 200:
            raise GenerationError(f"{shown(url)} answered {reply.status_code}: {error_text(data)}")
        return parsed(data, url)


@contextlib.contextmanager
def _faults_told(url: str) -> Iterator[None]:
    """What goes wrong on the way as one line that names the remedy."""
    import httpx2

    where = shown(url)
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        reason = one_line(str(error)) or "no connection in time"
        raise GenerationError(f"No model answers at {where} ({reason}). Start it, or name another: --llm-url URL") from error
    except httpx2.TimeoutException as error:
        raise GenerationError(f"{where} went silent in its reply. Is it overloaded, or out of memory?") from error
    except httpx2.LocalProtocolError as error:  # Its own text would show the key.
        raise GenerationError(
            f"The key for {where} has characters that no key has. Set the right one in {KEY_VARIABLE}."
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise GenerationError(f"The reply of {where} broke off: {one_line(str(error))}") from error
