"""What the server counts, for Prometheus: requests, answers, and the time of both. No label comes from who asks."""

from __future__ import annotations

import logging
import time
from typing import Any

from assistant.http_guard import Application, Message, Receive, Scope, Send

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
GENERATION_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
log = logging.getLogger("kbask.requests")


class Metrics:
    """The figures of one application, apart from those of any other in the process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self.requests = Counter(
            "kbask_requests",
            "Requests by path template, method and status",
            ["path", "method", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "kbask_request_seconds", "Seconds from a request to the end of its reply", ["path"],
            buckets=REQUEST_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self.in_flight = Gauge("kbask_requests_in_flight", "Requests that are being answered", registry=self._registry)
        self.asks = Counter("kbask_asks", "Questions by how they ended", ["outcome"], registry=self._registry)
        self.generation = Histogram(
            "kbask_generation_seconds", "Seconds that a model wrote", buckets=GENERATION_BUCKETS, registry=self._registry
        )

    def to_bytes(self) -> bytes:
        """All of it in Prometheus' text form."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


class Measured:
    """Middleware that counts each request, and logs its path, status and time where that was asked for."""

    def __init__(self, app: Application, metrics: Metrics, log_requests: bool) -> None:
        self._app, self._metrics, self._log_requests = app, metrics, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            took = time.perf_counter() - began
            path = _template(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(path, method, status or "none").inc()
            self._metrics.seconds.labels(path).observe(took)
            if self._log_requests:
                log.info("%s %s %s %.3f", method, path, status or "none", took)


def _template(scope: Scope) -> str:
    """The path of the route that was taken, with its variables' names; what somebody typed is nobody's label."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))
