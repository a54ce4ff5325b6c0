"""Where questions are worked on: in threads, so many at a time and so many waiting; whoever hangs up frees their place."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from assistant.http_guard import Receive, Refusal
from assistant.http_models import HangUp, HungUpError

T = TypeVar("T")


class Lane:
    """So many places, and so many who may wait for one."""

    def __init__(self, places: int, waiting: int) -> None:
        self._free, self._all = asyncio.Semaphore(places), places + waiting
        self.inside = 0

    @contextlib.asynccontextmanager
    async def place(self, deadline: float, receive: Receive | None = None) -> AsyncIterator[None]:
        """A place, as soon as there is one; raises Refusal where too many wait, TimeoutError at the loop's time `deadline`.

        With `receive`, of a request whose body was read, it raises HungUpError when the client is gone meanwhile.
        """
        if self.inside >= self._all:
            raise Refusal(429, "Too many questions wait already; ask again in a few seconds.", headers=[("Retry-After", "2")])
        self.inside += 1
        try:
            await self._enter(deadline, receive)
            try:
                yield
            finally:
                self._free.release()
        finally:
            self.inside -= 1

    async def _enter(self, deadline: float, receive: Receive | None) -> None:
        if receive is None or not self._free.locked():
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
            return
        gone, entering = asyncio.ensure_future(until_gone(receive)), asyncio.ensure_future(self._free.acquire())
        is_in = False
        try:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait({gone, entering}, timeout=left, return_when="FIRST_COMPLETED")
            is_in = entering in done
            if not is_in:
                raise HungUpError if gone in done else TimeoutError
        finally:
            gone.cancel()
            if not is_in and not entering.cancel():  # It came in at the very end.
                self._free.release()


@dataclass(frozen=True)
class _Ended:
    """The end of an iterator in a thread, and what it ended with."""

    error: BaseException | None = None


async def items_of(
    make: Callable[[HangUp], Iterator[T]], receive: Receive, deadline: float, quiet: float
) -> AsyncGenerator[T | None, None]:
    """The items that an iterator gives in a thread of its own, None after each `quiet` seconds without one.

    `make` gets what says that nobody listens any more. Raises HungUpError when the client is gone, TimeoutError at the
    loop's time `deadline`, and what the iterator raises; in each case once the thread has ended.
    """
    loop, queue, stop, ended = asyncio.get_running_loop(), asyncio.Queue[T | _Ended](), HangUp(), asyncio.Event()

    def put(item: T | _Ended) -> None:
        with contextlib.suppress(RuntimeError):  # The server has stopped meanwhile.
            loop.call_soon_threadsafe(queue.put_nowait, item)
            if isinstance(item, _Ended):
                loop.call_soon_threadsafe(ended.set)

    def work() -> None:
        try:
            with contextlib.closing(make(stop)) as items:  # type: ignore[type-var]  # a generator
                for item in items:
                    put(item)
                    if stop.is_set:
                        break
        except BaseException as error:  # Told to who waits for it, who knows what to do.
            put(_Ended(error))
        else:
            put(_Ended())

    gone = asyncio.ensure_future(until_gone(receive))
    # No thread of a pool: those are waited for when Python ends, be the model silent or not.
    threading.Thread(target=work, name="kbask-answer", daemon=True).start()
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
        await ended.wait()


async def until_gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
