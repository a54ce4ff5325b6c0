"""kbask over HTTP: the index is opened once, and every route is a short way to the functions that the command uses.

`application` gives the ASGI application, `serve` runs it until it is told to stop.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from assistant.http_doors import Doors
from assistant.http_guard import EVERY_ADDRESS, Application, Guard, HttpSettings, Refusal, bracketed, broken, refusal_response
from assistant.http_metrics import Measured, Metrics
from assistant.http_models import Choice, Writer
from assistant.http_questions import Questions
from indexer.errors import ConfigError, KbaskError
from indexer.index import Index

SECONDS_TO_STOP = 10
# Python hands on its lock this often: with 5 ms, its default, others waited 5 ms at every turn while 50 MB were read; so 0.5.
SWITCH_SECONDS = 0.0005


def application(
    opened: Index, model: Choice | None, settings: HttpSettings, say: Callable[[str], None] = lambda line: None
) -> Application:
    """The ASGI application over an open index; `model` gives the model that writes, which may take its time.

    `say` is told in a line when the model is there, and when it cannot be had.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    figures, writer = Metrics(), Writer(model, say)
    doors, questions = Doors(opened, writer, figures, settings.origins), Questions(opened, writer, settings, figures)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await questions.warm()
        yield
        await questions.close()

    routes = [
        Route("/", doors.page),
        Route("/static/{name}", doors.static),
        Route("/healthz", doors.healthz),
        Route("/readyz", doors.readyz),
        Route("/metrics", doors.metrics),
        Route("/openapi.json", doors.document),
        Route("/v1/search", questions.search, methods=["POST"]),
        Route("/v1/ask", questions.ask, methods=["POST"]),
        Route("/v1/chat/completions", questions.chat, methods=["POST"]),
        Route("/v1/models", doors.models),
        Route("/v1/models/kbask", doors.models_kbask),
        Route("/v1/entries", doors.entries),
        Route("/v1/entries/{entry}", doors.entry),
        Route("/v1/entries/{entry}/{file}", doors.script),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={Refusal: _refused, HTTPException: _no_route, KbaskError: _told, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return Measured(Guard(app, settings), figures, settings.log_requests)


def _refused(request: Any, error: Exception) -> Any:
    assert isinstance(error, Refusal)
    return refusal_response(error)


def _no_route(request: Any, error: Any) -> Any:
    message = "There is no such address; /openapi.json names those that there are."
    if error.status_code == 405:
        message = f"This address wants {error.headers['Allow']}."
    return refusal_response(Refusal(error.status_code, message, headers=(error.headers or {}).items()))


def _told(request: Any, error: Exception) -> Any:
    """What kbask itself could not do, such as loading its embedder, in its own words."""
    return refusal_response(Refusal(500, str(error)))


def _broken(request: Any, error: Exception) -> Any:
    return refusal_response(broken())


def listen(settings: HttpSettings) -> socket.socket:
    """A socket that listens where the settings say; raises ConfigError where it may not, KbaskError where it cannot."""
    check_address(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends small pieces at once only where a socket says that it is TCP; each reply took 44 ms without.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host.strip("[]"), settings.port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        where = f"{bracketed(settings.host)}:{settings.port}"
        raise KbaskError(f"kbask cannot listen on {where}: {getattr(error, 'strerror', error)}. Choose: --port N") from error
    return listener


def check_address(settings: HttpSettings) -> None:
    """Raises ConfigError where others than this machine's user could ask without a token, or by a name nobody gave."""
    if settings.is_loopback:
        return
    if not settings.token:
        raise ConfigError(
            f"{settings.host} can be reached by others: kbask serves there with a token alone. Make one, which "
            "`echo $KBASK_SERVE_TOKEN` shows: export KBASK_SERVE_TOKEN=$(openssl rand -hex 24)"
        )
    if settings.host in EVERY_ADDRESS and not settings.hosts:
        raise ConfigError(
            f"{settings.host} is every address of this machine; name those it is asked by: --allow-host kb.example.org"
        )


def serve(app: Application, settings: HttpSettings, listener: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM; what is being answered then has SECONDS_TO_STOP to end."""
    import uvicorn

    check_address(settings)
    if settings.log_requests:
        lines = logging.StreamHandler()
        lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logging.getLogger("kbask.requests").addHandler(lines)
        logging.getLogger("kbask.requests").setLevel(logging.INFO)
    raise_file_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # The index is there to stay, and need not be looked through again.
    gc.enable()  # A command of a second does without.
    listener = listener or listen(settings)
    # uvicorn raises the signal again when it has stopped; being told to stop is no failure.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        uvicorn.Server(uvicorn_config(app, settings.proxies)).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_file_limit() -> None:
    """As many connections as the system allows; the soft limit is often 1,024, and each takes an open file."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Then it stays as it is.
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def uvicorn_config(app: Application, proxies: Sequence[str] = ()) -> Any:
    """How uvicorn runs the application: it logs no request, reads no environment, and believes no proxy but those named."""
    import uvicorn

    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=SECONDS_TO_STOP,
        ws="none",
        lifespan="on",
    )
