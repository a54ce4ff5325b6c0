"""Who may ask, and how often: Host, Origin, token, rate and size are looked at before anything else, and the headers that keep
a browser safe go onto every reply."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_CLIENTS = 4096  # Whose rate is remembered; the one that was longest silent is forgotten first.
PREFLIGHT_SECONDS = 600
# Open to who has no token: they hold nothing of anybody, and a balancer has no token.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
UNLIMITED_PATHS = frozenset({"/healthz", "/readyz"})
STATIC = "/static/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFETY = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
EVERY_ADDRESS = ("0.0.0.0", "::")
NOT_KEPT = (b"cache-control", b"no-store")


@dataclass(frozen=True)
class HttpSettings:
    """What the server allows; read at the door and handed on.

    `hosts` and `origins` are exact, like `kb.example.org:8017` and `https://kb.example.org`; a host without a port stands for
    the name alone and with `port`, and the address's own names come with it. `proxies` are the addresses that are believed for
    whom they ask, "*" for any. `token` is None on loopback alone. 0 requests a minute is no limit. `concurrent` answers are
    written at a time by a model, and `waiting` questions may wait; `seconds_to_receive` is for a request's body,
    `seconds_to_answer` for an answer whole, waiting included.
    """

    host: str = "127.0.0.1"
    port: int = 8017
    token: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    max_body_bytes: int = 64 << 20
    requests_a_minute: int = 600
    concurrent: int = 4
    waiting: int = 64
    seconds_to_receive: float = 60.0
    seconds_to_answer: float = 300.0
    log_requests: bool = False

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The `Host` headers that are answered, in lower case: those of the address itself, and those that were named."""
        of_loopback = self.is_loopback or self.host in EVERY_ADDRESS
        names = ["127.0.0.1", "localhost", "[::1]"] if of_loopback else [bracketed(self.host)]
        named = [*self.hosts, *(self._with_port(name) for name in (*self.hosts, *names))]
        # Browsers leave the port out where it is the scheme's own.
        short = {host.removesuffix(":80").removesuffix(":443") for host in named}
        return frozenset(host.lower() for host in (*named, *short))

    @property
    def page(self) -> str:
        """Where a browser finds the page: by the first name that was allowed where the address is every one."""
        host = "localhost" if self.host == "127.0.0.1" else bracketed(self.host)
        if self.host in EVERY_ADDRESS and self.hosts:
            host = self.hosts[0]
        return f"http://{self._with_port(host)}/"

    def _with_port(self, host: str) -> str:
        return host if re.search(r"[^:]:\d+$", host) else f"{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def bracketed(host: str) -> str:
    """An address as it stands before `:port`."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class Refusal(Exception):
    """A request that is not answered: its status, one sentence that says what is wanted, and the protocol's word for it."""

    def __init__(self, status: int, message: str, type_: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers)
        self.type = type_ or TYPES.get(status, "invalid_request")

    def to_json(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type}}


TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
    429: "rate_limit",
    500: "server_error",
    503: "unavailable",
    504: "timeout",
}


def broken() -> Refusal:
    """What nobody expected: the reply says nothing of it, the server's log does."""
    return Refusal(500, "Something broke here; the server's own output says what.")


def stopping() -> Refusal:
    """What is being answered when the server stops is cancelled."""
    return Refusal(503, "The server is stopping; ask again in a minute.")


def refusal_response(refusal: Refusal) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(refusal.to_json(), status_code=refusal.status, headers=refusal.headers)


class Rate:
    """How many requests each client has left: as many as a minute allows at once, and so many a minute afterwards."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute, self._clock = a_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, client: str) -> float:
        """0 where the client may ask now, which is counted; else the seconds until it may."""
        if not self._a_minute:
            return 0.0
        now = self._clock()
        left, since = self._left.pop(client, (float(self._a_minute), now))
        left = min(float(self._a_minute), left + (now - since) * self._a_minute / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._a_minute
        self._left[client] = (left - 1 if not wait else left, now)
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)
        return wait


class Guard:
    """Middleware before everything: what it refuses never reaches the application."""

    def __init__(self, app: Application, settings: HttpSettings) -> None:
        self._app, self._settings = app, settings
        self._hosts = settings.allowed_hosts
        self._rate = Rate(settings.requests_a_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        shared = self._shared_with(headers)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                keeps = [] if any(name == b"cache-control" for name, _ in message["headers"]) else [NOT_KEPT]
                message["headers"] = [*message["headers"], *SAFETY, *shared, *keeps]
            await send(message)

        try:
            self._check(scope, headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(send_safely)
                return
        except Refusal as refusal:
            await refusal_response(refusal)(scope, receive, send_safely)
            return
        scope["kbask.trusted"] = self._settings.token is None or self._has_token(headers)
        await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        """Raises Refusal for who may not ask, or not now."""
        if headers.get("host", "").lower() not in self._hosts:
            raise Refusal(421, f"This server answers to {', '.join(sorted(self._hosts))} alone; the Host header names another.")
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, headers) and origin not in self._settings.origins:
            raise Refusal(403, "Pages of this Origin may not ask here; the server's allowed origins do not name it.")
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return  # A browser asks for leave without the token, which comes with the request itself.
        path = scope["path"]
        if path not in UNLIMITED_PATHS and (wait := self._rate.seconds_to_wait((scope.get("client") or ("",))[0])):
            raise Refusal(
                429,
                f"More than {self._settings.requests_a_minute} requests a minute came from this address; ask again later.",
                headers=[("Retry-After", str(int(wait) + 1))],
            )
        needs_token = path not in OPEN_PATHS and not path.startswith(STATIC)
        if self._settings.token is not None and needs_token and not self._has_token(headers):
            raise Refusal(
                401,
                "A token is wanted, and this is not the right one: send the header Authorization: Bearer TOKEN.",
                headers=[("WWW-Authenticate", 'Bearer realm="kbask"')],
            )
        check_length(headers.get("content-length", ""), self._settings.max_body_bytes)

    def _has_token(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.encode("latin-1"), str(self._settings.token).encode())
        return scheme.lower() == "bearer" and is_right

    def _is_own(self, origin: str, headers: dict[str, str]) -> bool:
        """Whether a page of this very server asks, be it behind a proxy that speaks TLS."""
        host = headers.get("host", "").lower()
        return origin.lower() in (f"http://{host}", f"https://{host}")

    def _shared_with(self, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        """The headers that let a page of a listed origin read the reply."""
        if not self._settings.origins:
            return []
        origin = headers.get("origin")
        vary = (b"vary", b"Origin")
        if origin not in self._settings.origins:
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"Retry-After"),
        ]


async def _preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def check_length(told: str, limit: int) -> None:
    """Raises Refusal where a body is announced that is larger than the limit."""
    if told.isdecimal() and int(told[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Refusal:
    # What still comes of the body is not read: the connection ends here.
    return Refusal(413, f"The body is larger than the {limit:,} bytes that are read here.", headers=[("Connection", "close")])


async def read_body(receive: Receive, limit: int, seconds: float) -> bytearray:
    """A request's body; raises Refusal where it is larger than `limit`, or is not here after so many seconds."""
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "The body broke off.")
                data += message.get("body", b"")
                if len(data) > limit:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return data
    except TimeoutError as error:
        text = f"The body was not here after {seconds:g} seconds; send it faster, or less of it."
        raise Refusal(408, text, headers=[("Connection", "close")]) from error
