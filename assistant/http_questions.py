"""A request for an answer, from its body to its reply: JSON, a stream of events, or OpenAI's form."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from assistant import http_answers
from assistant.http_answers import Event, Kept, Told, events_of, outcome, to_bytes, told
from assistant.http_child import ChildGoneError, Children
from assistant.http_events import KEEP_ALIVE, event, send_stream
from assistant.http_guard import Application, HttpSettings, Receive, Refusal, Scope, Send, broken, read_body, stopping
from assistant.http_metrics import Metrics
from assistant.http_models import HangUp, HungUpError, Watched, Writer
from assistant.http_openai import Completion
from assistant.http_requests import Asked, read_ask, read_chat, read_json, read_search
from assistant.http_work import Lane, items_of
from indexer.index import Index

AT_ONCE = 2  # Answers that are composed at a time, and so embeddings: more only wait for one another.
BIG = 1 << 20  # Bytes from which on a body is worked on one at a time.
BIG_WAITING = 3  # Big bodies that may wait before they are read: one is held in memory at a time.
KEPT_BYTES = 8 << 20  # Of answers that may be asked for again; one has 10 kB.
QUIET = 10.0  # Seconds of a silent model after which a stream shows that it is alive.
T = TypeVar("T")


class Question:
    """A request for an answer on its way: what is read of it, and what it holds."""

    def __init__(
        self, request: Any, scope: Scope, receive: Receive, send: Send, held: contextlib.AsyncExitStack, deadline: float
    ) -> None:
        self.request, self.scope, self.receive, self.send, self.held = request, scope, receive, send, held
        self.deadline = deadline  # By the loop's time; waiting for a place counts too.
        self.body: dict[str, Any] = {}
        self.is_big = False

    @property
    def wants_events(self) -> bool:
        return "text/event-stream" in self.request.headers.get("accept", "")

    @property
    def base(self) -> str:
        """The address by which the client reaches this server; the guard has looked at the Host."""
        return f"{self.scope['scheme']}://{self.request.headers['host']}"

    async def reply(self, data: bytes) -> None:
        from starlette.responses import Response

        await Response(data, media_type="application/json")(self.scope, self.receive, self.send)


class Questions:
    """The three doors for questions, and what they share: the index, the model, the lanes, the answers that were kept."""

    def __init__(self, index: Index, writer: Writer, settings: HttpSettings, figures: Metrics) -> None:
        self._index, self._writer, self._settings, self._figures = index, writer, settings, figures
        self._kept = Kept(KEPT_BYTES)
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, "kbask-compose")
        self._children = Children(index, AT_ONCE)
        self._quick = Lane(AT_ONCE, settings.waiting)
        self._big = Lane(1, BIG_WAITING)
        self._writing = Lane(settings.concurrent, settings.waiting)

    async def warm(self) -> None:
        """Load what the first question would wait for, and the model beside."""
        self._writer.load()
        await self._run(self._index.warm_up, self._deadline())

    async def close(self) -> None:
        await self._children.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def search(self, request: Any) -> Any:
        return self._answering(self._search, request)

    async def ask(self, request: Any) -> Any:
        return self._answering(self._ask, request)

    async def chat(self, request: Any) -> Any:
        return self._answering(self._chat, request)

    def _answering(self, door: Callable[[Question], Coroutine[Any, Any, None]], request: Any) -> Application:
        """A reply that reads its request itself: a big body takes its place before it is read, any other afterwards."""

        async def answering(scope: Scope, receive: Receive, send: Send) -> None:
            async with contextlib.AsyncExitStack() as held:
                question = Question(request, scope, receive, send, held, self._deadline())
                try:
                    question.body = await self._read(question)
                    await door(question)
                except HungUpError:
                    self._figures.asks.labels("hung_up").inc()
                except TimeoutError as error:
                    self._figures.asks.labels("timed_out").inc()
                    raise Refusal(504, self._too_late) from error
                except asyncio.CancelledError as error:
                    raise stopping() from error
                finally:
                    question.body = {}  # A large paste is not kept until Python looks for cycles.

        return answering

    @property
    def _too_late(self) -> str:
        return f"The answer was not there after {self._settings.seconds_to_answer:g} seconds; ask again, or without a model."

    async def _read(self, question: Question) -> dict[str, Any]:
        """The JSON of a request; raises Refusal."""
        request, settings = question.request, self._settings
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "The body is JSON: send it with Content-Type: application/json.")
        told = request.headers.get("content-length", "")
        if not told.isdecimal() or int(told) > BIG:
            await question.held.enter_async_context(self._big.place(question.deadline))
            question.is_big = True
        data = await read_body(question.receive, settings.max_body_bytes, settings.seconds_to_receive)
        return await self._run(partial(read_json, data), question.deadline) if question.is_big else read_json(data)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.seconds_to_answer

    async def _run(self, job: Callable[[], T], deadline: float) -> T:
        """A job in a thread, given up at the deadline."""
        async with asyncio.timeout_at(deadline):
            return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    async def _told(self, question: Question, kind: str, asked: Asked) -> Told:
        """The reply to a question without a model, in a process of its own once one has had to wait for another."""
        here = partial(told, kind, asked, self._index)
        if question.is_big:  # It has its place already.
            return await self._run(here, question.deadline)
        if self._quick.inside >= AT_ONCE:
            self._children.want()
        async with self._quick.place(question.deadline, question.receive):
            with contextlib.suppress(ChildGoneError):
                async with self._children.free() as child:
                    if child is not None:
                        async with asyncio.timeout_at(question.deadline):
                            return await child.tell(kind, asked)
            return await self._run(here, question.deadline)

    async def _search(self, question: Question) -> None:
        await question.reply((await self._told(question, "search", read_search(question.body))).data)

    async def _ask(self, question: Question) -> None:
        asked = read_ask(question.body, question.request.headers.get("accept-language", ""))
        if not question.wants_events and not self._writes(asked):
            await question.reply((await self._composed(question, asked)).data)
        elif not question.wants_events:
            await question.reply(to_bytes(await self._last(question, asked)))
        else:
            await send_stream(self._stream(question, asked, lambda item: [event(item.data, item.name)]), question.send)

    async def _chat(self, question: Question) -> None:
        chat = read_chat(question.body)
        completion = await self._run(lambda: Completion(chat, question.base), question.deadline)
        if chat.stream:
            await send_stream(self._stream(question, chat.asked, completion.chunks), question.send)
        else:
            whole = await self._last(question, chat.asked)
            await question.reply(to_bytes(completion.whole(whole)))

    def _writes(self, asked: Asked) -> bool:
        return asked.model and self._writer.is_chosen

    async def _composed(self, question: Question, asked: Asked) -> Told:
        """An answer without a model, kept for who asks the same."""
        key = None if question.is_big else Kept.key(asked)
        found = self._kept.get(key) if key else None
        if found is None:
            found = await self._told(question, "ask", asked)
            if key:
                self._kept.put(key, found)
        self._figures.asks.labels(found.outcome).inc()
        return found

    async def _last(self, question: Question, asked: Asked) -> dict[str, Any]:
        """The whole answer, when it is there."""
        async with contextlib.aclosing(self._events(question, asked)) as events:
            found = [item async for item in events if item is not None and item.name == "done"]
        return found[0].data

    async def _events(self, question: Question, asked: Asked) -> AsyncGenerator[Event | None, None]:
        """The events of an answer as they come, None where a model has been silent for a while."""
        if not self._writes(asked):
            found = await self._composed(question, asked)
            for composed in events_of(json.loads(found.data)):
                yield composed
            return
        async with self._writing.place(question.deadline, question.receive):
            tell = partial(self._tell, asked)
            async with contextlib.aclosing(items_of(tell, question.receive, question.deadline, QUIET)) as items:
                async for item in items:
                    if item is not None and item.name == "understood":
                        await question.held.aclose()  # The paste is read: others may come in.
                    if item is not None and item.name == "done":
                        self._figures.asks.labels(outcome(item.data)).inc()
                    yield item

    def _tell(self, asked: Asked, hang_up: HangUp) -> Any:
        took = self._figures.generation.observe
        return http_answers.tell(asked, self._index, lambda: Watched(self._writer.get(), self._writer, hang_up, took))

    async def _stream(self, question: Question, asked: Asked, form: Callable[[Event], Any]) -> AsyncGenerator[bytes, None]:
        """The bytes of a stream of events in a form; what goes wrong after the first is its last event."""
        began = False
        try:
            async with contextlib.aclosing(self._events(question, asked)) as events:
                async for item in events:
                    began = True
                    yield KEEP_ALIVE if item is None else b"".join(form(item))
        except HungUpError:
            raise
        except TimeoutError:
            if not began:
                raise
            self._figures.asks.labels("timed_out").inc()
            yield b"".join(form(Event("error", Refusal(504, self._too_late).to_json())))
        except asyncio.CancelledError:
            if not began:
                raise
            yield b"".join(form(Event("error", stopping().to_json())))
        except Exception:
            if began:
                yield b"".join(form(Event("error", broken().to_json())))
            raise
