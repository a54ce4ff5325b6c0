"""The process in which a model is served on this machine: our application (llm_app), or another server's command.

It reads its job from standard input, says how far it is in `server.json` (`llm_server.State`), and ends by itself after a while
without a question. Access to the hub is off.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from secrets import token_urlsafe
from typing import NoReturn

from assistant.llm_app import Chat
from assistant.llm_memory import available_memory, bytes_needed, check_memory, choose_gpu, find_checkpoint
from assistant.llm_server import State, Wanted, write_state
from indexer.errors import GenerationError


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    folder, lock, python_path = Path(job.pop("folder")), int(job.pop("lock")), job.pop("python_path")
    # As the user has it, for a command that has a Python of its own.
    os.environ.pop("PYTHONPATH", None)
    if python_path is not None:
        os.environ["PYTHONPATH"] = python_path
    wanted = Wanted(**job)
    state = State("loading", pid=os.getpid(), wanted=wanted.name, token=token_urlsafe(32), detail="starting")
    write_state(folder, state)
    try:
        if wanted.command:
            mind_command(folder, wanted, state, lock)
        else:
            serve(folder, wanted, state)
    except GenerationError as error:
        write_state(folder, replace(state, status="failed", detail=str(error)))
        sys.exit(1)


def end(folder: Path) -> NoReturn:
    """At once, and without what libraries want to tidy: the driver frees the memory."""
    (folder / "server.json").unlink(missing_ok=True)
    os._exit(0)


def mind(folder: Path, idle: float, last_use: Callable[[], float], lives: Callable[[], bool]) -> None:
    """Return once nobody has asked for `idle` seconds, or it lives no more; a look at the server's state is a question too."""
    while lives():
        time.sleep(min(1.0, idle / 4))
        try:
            looked_at = (folder / "server.json").stat().st_mtime
        except OSError:
            return  # Nobody could find this server any more.
        if time.time() - max(looked_at, last_use()) > idle:
            return


# ---- another server ----


def mind_command(folder: Path, wanted: Wanted, state: State, lock: int) -> NoReturn:
    """Run the command on a free port until it ends or nobody asks; its key is in the variables of vLLM and llama.cpp."""
    from assistant.generation import Timeouts, models

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in shlex.split(wanted.command)]
    keys = {"VLLM_API_KEY": state.token, "LLAMA_API_KEY": state.token}
    try:
        # It holds the lock too, so that it is found even where this process was killed.
        server = subprocess.Popen(words, env={**os.environ, **keys}, stdin=subprocess.DEVNULL, pass_fds=(lock,))
    except OSError as error:
        raise GenerationError(f"{words[0]} cannot be started: {error.strerror}. Is llm.command right?") from error
    url = f"http://127.0.0.1:{port}/v1"
    names: list[str] = []
    while not names:
        if server.poll() is not None:
            raise GenerationError(f"{words[0]} ended with {server.returncode} before it was ready; see {folder / 'server.log'}")
        time.sleep(0.2)
        try:
            names = list(models(url, state.token, Timeouts(connect=1, piece=5)))
        except GenerationError:
            continue
    write_state(folder, replace(state, status="ready", url=url, model=names[0], detail=""))
    mind(folder, wanted.idle, lambda: 0.0, lambda: server.poll() is None)
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
    end(folder)


# ---- our own ----


def serve(folder: Path, wanted: Wanted, state: State) -> NoReturn:
    """Load the model, answer on a free port, and end when nobody asks."""
    os.environ.update(
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false"
    )
    checkpoint = find_checkpoint(wanted.model)
    needed = bytes_needed(checkpoint, wanted.streams)
    if wanted.device == "auto":
        choose_gpu(needed)
    else:
        check_memory("This machine", available_memory(), needed.on_cpu)
    try:
        import torch
        import transformers.cli.serving  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise GenerationError(f"A model on this machine needs {error.name}. Install it: pip install 'kbask[llm]'") from error
    on_gpu = wanted.device == "auto" and torch.cuda.is_available()
    if on_gpu:
        check_memory("The GPU", torch.cuda.mem_get_info()[0], needed.on_gpu)
    else:
        check_memory("This machine", available_memory(), needed.on_cpu)
        torch.set_num_threads(wanted.threads or free_cores())

    def tell(detail: str) -> None:
        write_state(folder, replace(state, detail=detail))

    app = Chat(checkpoint, wanted, state, on_gpu, tell)
    listener = socket.create_server(("127.0.0.1", 0))
    app.port = listener.getsockname()[1]
    # Not in the main thread, where uvicorn would take the signals.
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_keep_alive=30))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    tell("warming up")
    warm_up(app.port, state.token)
    signal.signal(signal.SIGTERM, lambda number, frame: end(folder))
    url = f"http://127.0.0.1:{app.port}/v1"
    write_state(folder, replace(state, status="ready", url=url, model=wanted.model, detail=""))
    mind(folder, wanted.idle, app.last_use, thread.is_alive)
    end(folder)


def free_cores() -> int:
    """The cores that other work leaves: on two busy cores, two threads wrote half as many tokens as one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(cores - os.getloadavg()[0]))


def warm_up(port: int, token: str) -> None:
    """One short reply through the front door, so that the first question waits for no compiler."""
    from assistant.generation import Server

    messages = [{"role": "user", "content": "Say yes."}]
    for _ in Server(f"http://127.0.0.1:{port}/v1", "", token).stream(messages, 2):
        pass


if __name__ == "__main__":
    main()
