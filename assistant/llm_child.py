"""The process in which a model is served on this machine: `transformers serve`'s chat with what it lacks, or another's command.

It reads its job from standard input, says how far it is in `server.json` (`llm_server.State`), and ends by itself after a while
without a question. From transformers it takes the chat handler alone: there is no page that loads another model, unloads this
one or fetches an address; a token and the right Host are asked for, what is written is the likeliest, and the hub is off.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, NoReturn

from assistant.llm_server import State, Wanted, write_state
from indexer.errors import GenerationError

# The most that is reserved for prompt and answer; longer contexts cost memory that nobody here fills.
LONGEST_CONTEXT = 16_384
# What CUDA, its libraries and the activations of a prompt take beside weights and cache.
GPU_BYTES_BESIDE = 1_500_000_000
PAGE_TOKENS = 256
# Where several write at once: what each may count on. One of them may have the whole context while the others need less.
TOKENS_PER_STREAM = 4096
BATCH_TOKENS = 2048  # Longer prompts are read in parts of this size.
MAX_BODY_BYTES = 4_000_000
MAX_NEW_TOKENS = 4096
ROLES = ("system", "user", "assistant")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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


def find_checkpoint(model: str) -> Path:
    """The folder of a model; raises GenerationError with the command that fetches it."""
    if (Path(model).expanduser() / "config.json").is_file():
        return Path(model).expanduser()
    if Path(model).expanduser().is_dir():
        raise GenerationError(f"The folder {model} is no model of transformers: it has no config.json.")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise GenerationError(f"A model on this machine needs {error.name}. Install it: pip install 'kbask[llm]'") from error
    try:
        folder = Path(snapshot_download(model, local_files_only=True))
    except HFValidationError as error:
        raise GenerationError(f"{model} is neither a folder nor the id of a model.") from error
    except LocalEntryNotFoundError as error:
        raise GenerationError(f"The model {model} is not on this disk. Fetch it: hf download {model}") from error
    if not (folder / "config.json").is_file() or not weights(folder):
        raise GenerationError(f"The model {model} is on this disk only in part. Fetch the rest: hf download {model}")
    return folder


def weights(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint's weights; none where one that the index names is missing."""
    index = checkpoint / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        found = [checkpoint / name for name in sorted(names)]
        return found if all(path.is_file() for path in found) else []
    return sorted(checkpoint.glob("*.safetensors")) or sorted(checkpoint.glob("pytorch_model*.bin"))


@dataclass(frozen=True)
class Needed:
    """Bytes of a model: of its weights as stored, and of its cache in 16 bits."""

    weights: int
    cache: int
    stored_in_32_bits: bool

    @property
    def on_gpu(self) -> int:
        return self.weights + self.cache + GPU_BYTES_BESIDE

    @property
    def on_cpu(self) -> int:
        """Computed in 32 bits, which is twice as fast as bf16 where the CPU has no instructions for it."""
        return self.weights * (1 if self.stored_in_32_bits else 2) + 2 * self.cache


def bytes_needed(checkpoint: Path, streams: int) -> Needed:
    """From the checkpoint's files and its configuration alone."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    heads = config.get("num_attention_heads", 32)
    per_head = config.get("head_dim") or config.get("hidden_size", 4096) // heads
    per_token = 2 * 2 * config.get("num_hidden_layers", 32) * config.get("num_key_value_heads", heads) * per_head
    length = cached_tokens(min(config.get("max_position_embeddings", LONGEST_CONTEXT), LONGEST_CONTEXT), streams)
    stored = config.get("dtype") or config.get("torch_dtype")
    return Needed(sum(path.stat().st_size for path in weights(checkpoint)), per_token * length, stored == "float32")


def cached_tokens(context: int, streams: int) -> int:
    """How many tokens the cache holds, of all streams together."""
    return context if streams == 1 else max(context, streams * TOKENS_PER_STREAM)


def choose_gpu(needed: Needed) -> None:
    """Show torch the freest GPU alone; asked of the driver, as even a look through CUDA takes half a gigabyte of it."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    best = freest_gpu(said, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if best is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = best[0]
        check_memory("The GPU", best[1], needed.on_gpu)


def freest_gpu(said: str, visible: str | None) -> tuple[str, int] | None:
    """UUID and free bytes out of nvidia-smi's `index, uuid, MiB` lines, among those that CUDA_VISIBLE_DEVICES names."""
    rows = [line.split(", ") for line in said.strip().splitlines()]
    gpus = [
        (index, uuid, int(free) * 2**20) for index, uuid, free in (row for row in rows if len(row) == 3) if free.isdecimal()
    ]
    if visible is not None:
        chosen = [word.strip() for word in visible.split(",") if word.strip()]
        gpus = [gpu for gpu in gpus if any(gpu[0] == word or gpu[1].startswith(word) for word in chosen)]
    best = max(gpus, key=lambda gpu: gpu[2], default=None)
    return (best[1], best[2]) if best else None


def check_memory(where: str, free: int, needed: int) -> None:
    """Raises GenerationError where the model would not fit into what is free now."""
    if free < needed:
        raise GenerationError(
            f"{where} has {free / 1e9:.1f} GB of memory free, the model needs {needed / 1e9:.1f} GB. Choose a smaller one "
            "(--llm-model), or a server elsewhere (--llm-url)."
        )


def available_memory() -> int:
    """Bytes that can be had without swapping; without /proc, all that there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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


class Chat:
    """The ASGI application: one model, its chat, its name, and a count of tokens."""

    def __init__(self, checkpoint: Path, wanted: Wanted, state: State, on_gpu: bool, tell: Callable[[str], None]) -> None:
        from transformers import ContinuousBatchingConfig
        from transformers.cli.serving.chat_completion import ChatCompletionHandler
        from transformers.cli.serving.model_manager import ModelManager
        from transformers.cli.serving.utils import GenerationState

        with told_while_loading(tell):
            manager = ModelManager(
                device="cuda:0" if on_gpu else "cpu", dtype="auto" if on_gpu else "float32", force_model=str(checkpoint)
            )
        loaded = next(iter(manager.loaded_models.values()))
        self.name, self.token, self.port = wanted.model, state.token, 0
        self.processor: Any = loaded.processor
        self.tokenizer: Any = getattr(self.processor, "tokenizer", self.processor)
        config = loaded.model.config.get_text_config()
        self.context = min(getattr(config, "max_position_embeddings", LONGEST_CONTEXT), LONGEST_CONTEXT)
        # A model's own settings are for sampling; what is written here is always the likeliest.
        settings = loaded.model.generation_config
        settings.do_sample, settings.temperature, settings.top_p, settings.top_k, settings.max_new_tokens = (
            False,
            None,
            None,
            None,
            None,
        )
        blocks = -(-cached_tokens(self.context, wanted.streams) // PAGE_TOKENS)
        generation = GenerationState(
            continuous_batching=wanted.streams > 1,
            compile=on_gpu and wanted.streams == 1,
            # Without a bound it takes nine tenths of the memory that is free.
            cb_config=ContinuousBatchingConfig(num_blocks=blocks, max_batch_tokens=BATCH_TOKENS)
            if wanted.streams > 1
            else None,
        )
        self.handler = ChatCompletionHandler(manager, generation, chat_template_kwargs={"enable_thinking": False})
        self.active, self.last = 0, time.time()

    def last_use(self) -> float:
        return time.time() if self.active else self.last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.active += 1
        try:
            response = self.refusal(scope) or await self.answer(scope, receive)
            await response(scope, receive, send)
        finally:
            self.active -= 1
            self.last = time.time()

    def refusal(self, scope: Scope) -> Any:
        """None for who has the token and named this machine; a page of a browser can do neither."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"host", b"") not in (f"127.0.0.1:{self.port}".encode(), f"localhost:{self.port}".encode()):
            return problem(403, "This server answers to 127.0.0.1 alone.")
        if not hmac.compare_digest(headers.get(b"authorization", b""), f"Bearer {self.token}".encode()):
            return problem(401, "The token is not the one in server.json.")
        return None

    async def answer(self, scope: Scope, receive: Receive) -> Any:
        from starlette.responses import JSONResponse

        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/v1/models"):
            model = {"id": self.name, "object": "model", "created": 0, "owned_by": "kbask", "max_model_len": self.context}
            return JSONResponse({"object": "list", "data": [model]})
        if method != "POST" or path not in ("/v1/chat/completions", "/tokenize"):
            return problem(404, "There is /v1/chat/completions, /v1/models and /tokenize.")
        body = await read_body(receive)
        if not isinstance(body, dict):
            return problem(400, "The body is no JSON object, or a too large one.")
        if body.get("model") not in (None, "", self.name):
            return problem(404, f"There is no model {body['model']}; it is {self.name}.")
        return self.count(body) if path == "/tokenize" else await self.chat(body)

    def count(self, body: dict[str, Any]) -> Any:
        from starlette.responses import JSONResponse

        if not isinstance(body.get("prompt"), str):
            return problem(400, "There is no prompt to count.")
        tokens = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        return JSONResponse({"count": len(tokens), "max_model_len": self.context})

    async def chat(self, body: dict[str, Any]) -> Any:
        """Only what kbask needs of a request is handed on: the handler would read files and addresses out of a message."""
        messages = plain_messages(body.get("messages"))
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or MAX_NEW_TOKENS
        stop = body.get("stop") or []
        stop = [stop] if isinstance(stop, str) else stop
        if (
            messages is None
            or not isinstance(limit, int)
            or not isinstance(stop, list)
            or not all(isinstance(w, str) for w in stop)
        ):
            return problem(400, "messages are {role, content} with text, max_tokens is a number, stop a list of texts.")
        try:
            prompt = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # A model's template may raise anything: roles that do not take turns, no system message.
            return problem(400, f"The model's template refuses the messages: {error}")
        room = self.context - len(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        if room <= 0:
            return problem(400, f"The prompt is {-room} tokens longer than the model's context of {self.context}.")
        request = {
            "messages": messages,
            "stream": bool(body.get("stream")),
            "max_tokens": max(1, min(limit, room, MAX_NEW_TOKENS)),
            **({"stop": stop} if stop else {}),
        }
        return await self.handler.handle_request(request, token_urlsafe(12))


def problem(status: int, text: str) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": {"message": text}}, status_code=status)


async def read_body(receive: Receive) -> Any:
    """The JSON of a request, None where it is none or too large."""
    data, more = b"", True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
        if len(data) > MAX_BODY_BYTES:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def plain_messages(messages: Any) -> list[dict[str, str]] | None:
    """Messages of text, None where they are anything else."""
    if not isinstance(messages, list) or not messages:
        return None
    plain = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return None
        content = message.get("content")
        if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            content = "\n".join(str(part.get("text", "")) for part in content)
        if not isinstance(content, str):
            return None
        plain.append({"role": str(message["role"]), "content": content})
    return plain


@contextlib.contextmanager
def told_while_loading(tell: Callable[[str], None]) -> Iterator[None]:
    """transformers' bar of loaded weights as text, every five percent."""
    from transformers.cli.serving.utils import make_progress_tqdm_class
    from transformers.utils import logging

    told = -5

    def hear(event: dict[str, Any]) -> None:
        nonlocal told
        progress = event.get("progress") or {}
        percent = 100 * progress.get("current", 0) // (progress.get("total") or 1)
        if event.get("stage") == "weights" and percent >= told + 5:
            told = percent
            tell(f"loading {percent} %")

    bar = make_progress_tqdm_class(hear, "")
    before = logging.set_tqdm_hook(lambda factory, arguments, options: bar(*arguments, **options))
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


if __name__ == "__main__":
    main()
