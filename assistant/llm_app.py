"""The ASGI application of the model server: one model, its chat, its name, and a count of tokens.

From transformers it takes the chat handler alone: there is no page that loads another model, unloads this one or fetches an
address; a token and the right Host are asked for, and what is written is the likeliest.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from assistant.llm_memory import LONGEST_CONTEXT, cached_tokens
from assistant.llm_server import State, Wanted

PAGE_TOKENS = 256
BATCH_TOKENS = 2048  # Longer prompts are read in parts of this size.
MAX_BODY_BYTES = 4_000_000
MAX_NEW_TOKENS = 4096
ROLES = ("system", "user", "assistant")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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
        settings.do_sample = False
        settings.temperature = settings.top_p = settings.top_k = settings.max_new_tokens = None
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
