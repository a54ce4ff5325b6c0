"""Where questions are worked on: in threads, so many at a time and so many waiting; whoever hangs up frees their place."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from assistant.http_guard import Receive, Refusal
from assistant.http_models import HungUpError

T = TypeVar("T")


class Lane:
    """So many places, and so many who may wait for one."""

    def __init__(self, places: int, waiting: int) -> None:
        self._free, self._all = asyncio.Semaphore(places), places + waiting
        self.inside = 0

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place, as soon as there is one; raises Refusal where too many wait."""
        if self.inside >= self._all:
            raise Refusal(429, "Too many questions wait already; ask again in a few seconds.", headers=[("Retry-After", "2")])
        self.inside += 1
        try:
            async with self._free:
                yield
        finally:
            self.inside -= 1


@dataclass(frozen=True)
class _Ended:
    """The end of an iterator in a thread, and what it ended with."""

    error: BaseException | None = None


async def items_of(
    make: Callable[[threading.Event], Iterator[T]], receive: Receive, seconds: float, quiet: float
) -> AsyncGenerator[T | None, None]:
    """The items that an iterator gives in a thread of its own, None after each `quiet` seconds without one.

    `make` gets the event that says that nobody listens any more. Raises HungUpError when the client is gone, TimeoutError after
    so many seconds, and what the iterator raises.
    """
    loop, queue, stop = asyncio.get_running_loop(), asyncio.Queue[T | _Ended](), threading.Event()

    def put(item: T | _Ended) -> None:
        with contextlib.suppress(RuntimeError):  # The server has stopped meanwhile.
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        try:
            with contextlib.closing(make(stop)) as items:  # type: ignore[type-var]  # a generator
                for item in items:
                    put(item)
                    if stop.is_set():
                        break
        except BaseException as error:  # Told to who waits for it, who knows what to do.
            put(_Ended(error))
        else:
            put(_Ended())

    gone = asyncio.ensure_future(until_gone(receive))
    # No thread of a pool: those are waited for when Python ends, be the model silent or not.
    threading.Thread(target=work, name="kbask-answer", daemon=True).start()
    deadline = loop.time() + seconds
    following = asyncio.ensure_future(queue.get())
    try:
        while True:
            left = deadline - loop.time()
            done, _ = await asyncio.wait({following, gone}, timeout=max(0.0, min(quiet, left)), return_when="FIRST_COMPLETED")
            if following not in done:
                if gone in done:
                    raise HungUpError
                if left <= quiet:
                    raise TimeoutError
                yield None
                continue
            item = following.result()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            following = asyncio.ensure_future(queue.get())
            yield item
    finally:
        stop.set()
        gone.cancel()
        following.cancel()


async def until_gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
