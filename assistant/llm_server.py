"""Start, find and stop the model server of this machine: a child process that outlives the command that started it.

One folder holds all that is known of it: `server.lock`, held by the child as long as it lives, so that a dead one is never
taken for a living one; `server.json`, what it says of itself; `server.log`, what it printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from indexer.errors import GenerationError

DEFAULT_MODEL = "Qwen/Qwen3-4B-Instruct-2507"
IDLE_SECONDS = 15 * 60
# `transformers serve` did not obey SIGTERM for 40 s; nobody waits that long.
SECONDS_TO_STOP = 5.0
LOOK_EVERY = 0.1
ATTEMPTS_TO_LOCK = 5
LAST_BYTES = 4000


@dataclass(frozen=True)
class Wanted:
    """What to start: a model by Hugging Face id or folder, or a `command` of another server, with `{port}` in it.

    `streams` is how many replies are written at once; one, and they are written one after the other. `idle` seconds without a
    question stop it. `threads` is for the CPU; 0 takes what other work leaves.
    """

    model: str = DEFAULT_MODEL
    command: str = ""
    streams: int = 1
    idle: float = IDLE_SECONDS
    threads: int = 0
    device: Literal["auto", "cpu"] = "auto"

    @property
    def name(self) -> str:
        return self.command or self.model


@dataclass(frozen=True)
class Endpoint:
    """Where a running server listens, the key it asks for, and the name of its model."""

    url: str
    token: str
    model: str


@dataclass(frozen=True)
class State:
    """What a server says of itself; `detail` is how far loading has come, or why it failed."""

    status: Literal["starting", "loading", "ready", "failed"]
    pid: int = 0
    wanted: str = ""
    url: str = ""
    token: str = ""
    model: str = ""
    detail: str = ""

    @property
    def endpoint(self) -> Endpoint | None:
        return Endpoint(self.url, self.token, self.model) if self.status == "ready" else None


def running(folder: Path) -> State | None:
    """The server's state, None where none runs; a question, so it is not idle."""
    if not _is_alive(folder):
        return None
    with contextlib.suppress(OSError):
        os.utime(_state_file(folder))
    return read_state(folder)


def start(
    folder: Path,
    wanted: Wanted,
    progress: Callable[[str], None] = lambda text: None,
    environment: Mapping[str, str] | None = None,
) -> Endpoint:
    """The server, once it is ready, started where none runs; `progress` hears of the loading. Raises GenerationError."""
    if sys.platform == "win32":
        raise GenerationError(
            "kbask runs no model server on Windows. Start one (llama-server, LM Studio) and give its --llm-url."
        )
    import fcntl

    if wanted.command and "{port}" not in wanted.command:
        raise GenerationError("llm.command has no {port}; it is like: llama-server -m model.gguf --port {port}")
    _make_private(folder)
    with _lock_file(folder) as lock:
        # More than once, as one that only looks holds it for a moment too.
        for _ in range(ATTEMPTS_TO_LOCK):
            if _takes(lock, fcntl.LOCK_EX):
                write_state(folder, State("starting", wanted=wanted.name))
                _spawn(folder, wanted, lock, os.environ if environment is None else environment)
                break
            time.sleep(LOOK_EVERY / 20)
    return _wait(folder, wanted, progress)


def stop(folder: Path) -> bool:
    """Whether there was a server to stop; after SECONDS_TO_STOP it is killed."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    asked = False
    was_alive = False
    while _is_alive(folder):
        was_alive = True
        state = read_state(folder)
        late = time.monotonic() > deadline
        if state and state.pid and (late or not asked):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(state.pid, signal.SIGKILL if late else signal.SIGTERM)
            asked = True
        if late and time.monotonic() > deadline + SECONDS_TO_STOP:
            raise GenerationError(f"The model server does not stop; its process is {state.pid if state else 'unknown'}.")
        time.sleep(LOOK_EVERY / 2)
    _state_file(folder).unlink(missing_ok=True)
    return was_alive


def read_state(folder: Path) -> State | None:
    """What `server.json` says, None where there is none or it is no state."""
    try:
        data = json.loads(_state_file(folder).read_text(encoding="utf-8"))
        return State(**{field.name: data[field.name] for field in fields(State)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_state(folder: Path, state: State) -> None:
    """Written whole or not at all, and for this user alone: it holds the token."""
    fresh = folder / f"server.{os.getpid()}.tmp"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    fresh.replace(_state_file(folder))


def said_last(folder: Path) -> str:
    """The last line that the server printed."""
    try:
        with (folder / "server.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in lines]
    return next((line[:300] for line in reversed(lines) if line), "nothing")


def _wait(folder: Path, wanted: Wanted, progress: Callable[[str], None]) -> Endpoint:
    told = ""
    while True:
        alive = _is_alive(folder)
        state = read_state(folder)
        if state and alive and state.wanted != wanted.name:
            raise GenerationError(f"A server with {state.wanted} runs already; {wanted.name} is asked for. Run: kbask llm stop")
        if state and alive and state.endpoint:
            return state.endpoint
        if not alive:
            reason = state.detail if state and state.status == "failed" else ""
            raise GenerationError(
                reason or f"The model server ended before it was ready. It said: {said_last(folder)} ({folder / 'server.log'})"
            )
        if state and state.detail and state.detail != told:
            progress(told := state.detail)
        time.sleep(LOOK_EVERY)


def _spawn(folder: Path, wanted: Wanted, lock: int, environment: Mapping[str, str]) -> None:
    """The child gets the lock that is held here, so there is no moment in which nobody holds it."""
    job = {**asdict(wanted), "folder": str(folder), "lock": lock, "python_path": environment.get("PYTHONPATH")}
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(log, "wb") as output:
        child = subprocess.Popen(
            # -P: a module in the folder where somebody stands is not what is meant.
            [sys.executable, "-P", "-m", "assistant.llm_child"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"},
            pass_fds=(lock,),
            start_new_session=True,
        )
    assert child.stdin is not None
    with child.stdin:
        child.stdin.write(json.dumps(job).encode())
    # Left to itself; somebody has to hear of its end where this process lives longer.
    threading.Thread(target=child.wait, daemon=True).start()


def _state_file(folder: Path) -> Path:
    return folder / "server.json"


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


@contextlib.contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _takes(lock: int, kind: int) -> bool:
    import fcntl

    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(folder: Path) -> bool:
    import fcntl

    if not (folder / "server.lock").exists():
        return False
    with _lock_file(folder) as lock:
        return not _takes(lock, fcntl.LOCK_SH)
