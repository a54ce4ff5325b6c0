"""Processes that compose answers beside the server: Python lets one thread of a process compute at a time, whatever the cores.

Run as a module it is such a process: it opens the index that standard input names, answers what comes there, a length and then
JSON, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from assistant.conversation import Turn
from assistant.http_answers import Told, told
from assistant.http_guard import Refusal, broken
from assistant.http_requests import Asked
from indexer.embedding import DEFAULT, NONE
from indexer.errors import KbaskError
from indexer.index import Index

LENGTH = 8  # Bytes that say how long the next piece is.
READY, DONE, FAILED = b"r", b"d", b"f"
AGAIN_AFTER = 30.0  # Seconds after which it is tried again where a process could not be started.


class Children:
    """So many processes over one index, started when they are first wanted; without them, `free` gives none."""

    def __init__(self, index: Index, count: int) -> None:
        self._index, self._count = index, count
        self._free: list[_Child] = []
        self._all: set[_Child] = set()
        self._starting: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def want(self) -> None:
        """Start beside what there are too few of. An index that is not on disk has none, and one whose embedder is large:
        each would have its own."""
        embedder = self._index.manifest["embedder"]
        is_small = embedder is None or embedder["name"] == DEFAULT
        is_due = (self._starting is None or self._starting.done()) and time.monotonic() >= self._not_before
        if is_due and len(self._all) < self._count and self._index.folder is not None and is_small:
            self._starting = asyncio.ensure_future(self._start())

    async def _start(self) -> None:
        job = {"folder": str(self._index.folder), "embedder": DEFAULT if self._index.manifest["embedder"] else NONE}
        while len(self._all) < self._count:
            child = None
            try:
                child = _Child(await _spawn())
                self._all.add(child)
                await child.ask(job)
                self._free.append(child)
            except (ChildGoneError, OSError):
                if child is not None:
                    self._end(child)
                self._not_before = time.monotonic() + AGAIN_AFTER
                return

    def _end(self, child: _Child) -> None:
        child.kill()
        self._all.discard(child)

    @contextlib.asynccontextmanager
    async def free(self) -> AsyncIterator[_Child | None]:
        """A process that has nothing to do, None where there is none; instead of one that fails another is started."""
        child = self._free.pop() if self._free else None
        try:
            yield child
        except BaseException as error:
            # Whoever left in the middle of an answer would leave it to the next one.
            if child and not isinstance(error, Refusal):
                self._end(child)
                child = None
                self.want()
            raise
        finally:
            if child:
                self._free.append(child)

    async def close(self) -> None:
        """End them all."""
        self._count = 0
        if self._starting:
            self._starting.cancel()
        for child in self._all:
            child.kill()
        await asyncio.gather(*(child.process.wait() for child in self._all))


class ChildGoneError(Exception):
    """A process has ended in the middle of an answer."""


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def tell(self, kind: str, asked: Asked) -> Told:
        """What `http_answers.told` gives; raises ChildGoneError, and Refusal where kbask could not do it."""
        reply = await self.ask({"kind": kind, "asked": asdict(asked)})
        outcome, _, data = reply[1:].partition(b"\n")
        if reply[:1] == FAILED:
            raise Refusal(500, data.decode())
        return Told(data, outcome.decode())

    async def ask(self, request: dict[str, Any]) -> bytes:
        data = json.dumps(request).encode()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(len(data).to_bytes(LENGTH, "big") + data)
            await self.process.stdin.drain()
            length = int.from_bytes(await self.process.stdout.readexactly(LENGTH), "big")
            return await self.process.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ChildGoneError from error

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        # -P: a module in the folder where somebody stands is not what is meant.
        *(sys.executable, "-P", "-m", "assistant.http_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # One thread each, as the command has it; of settings and keys they need none.
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("KBASK_")},
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        start_new_session=True,  # Ctrl-C is for the server, which ends them.
    )


def main() -> None:
    """Answer until standard input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    job = _read(source)
    if job is None:
        return
    index = Index.open(Path(job["folder"]), job["embedder"])
    index.warm_up(many=True)
    gc.freeze()  # The index is there to stay, and need not be looked through again.
    _write(target, READY)
    while (request := _read(source)) is not None:
        try:
            asked = request["asked"]
            turns = tuple(Turn(**turn) for turn in asked["conversation"])
            done = told(request["kind"], Asked(**{**asked, "conversation": turns}), index)
        except KbaskError as error:
            _write(target, FAILED + b"\n" + str(error).encode())
        except Exception as error:  # The next request has nothing to do with it.
            # Without its message, which may hold what was asked.
            print(*traceback.format_tb(error.__traceback__), type(error).__name__, sep="", file=sys.stderr, flush=True)
            _write(target, FAILED + b"\n" + broken().message.encode())
        else:
            _write(target, DONE + done.outcome.encode() + b"\n" + done.data)


def _read(source: BinaryIO) -> Any:
    """The next piece, None at the end."""
    length = source.read(LENGTH)
    return json.loads(source.read(int.from_bytes(length, "big"))) if len(length) == LENGTH else None


def _write(target: BinaryIO, data: bytes) -> None:
    target.write(len(data).to_bytes(LENGTH, "big") + data)
    target.flush()


if __name__ == "__main__":
    main()
