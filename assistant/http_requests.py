"""The body of a request -> what is asked, every field looked at; a wrong one is refused by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from assistant.conversation import Turn
from assistant.http_guard import Refusal
from indexer.entry import LANGUAGES, Language

MAX_TOP = 50
DEFAULT_TOP = 5
MAX_TURNS = 20
MAX_MESSAGES = 200
MODEL = "kbask"


@dataclass(frozen=True)
class Asked:
    """A question, and how it wants to be answered; `model` is False where no model is to write.

    `language` is the one that is wanted, `preferred` the browser's, which holds where the text has none of its own.
    """

    text: str
    language: Language | None = None
    top: int = DEFAULT_TOP
    conversation: tuple[Turn, ...] = ()
    model: bool = True
    preferred: Language | None = None


@dataclass(frozen=True)
class Chat:
    """A question in OpenAI's form."""

    asked: Asked
    stream: bool
    include_usage: bool


def read_json(data: bytes | bytearray) -> dict[str, Any]:
    """The object that a body holds."""
    try:
        found = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, 'The body is no JSON; it is like {"text": "loss is zero during sft"}.') from error
    if not isinstance(found, dict):
        raise Refusal(400, 'The body is no JSON object; it is like {"text": "loss is zero during sft"}.')
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_search(body: Mapping[str, Any]) -> Asked:
    """The body of /v1/search."""
    _known_fields(body, ("text", "language", "top"))
    return Asked(_text(body), _language(body), _top(body))


def read_ask(body: Mapping[str, Any], accept_language: str = "") -> Asked:
    """The body of /v1/ask, and the languages that its sender reads."""
    _known_fields(body, ("text", "language", "top", "conversation", "model"))
    return Asked(
        _text(body),
        _language(body),
        _top(body),
        _conversation(body),
        _boolean(body, "model", True),
        _preferred(accept_language),
    )


def read_language(given: str | None) -> Language | None:
    """The `language` of an address."""
    return _language({} if given is None else {"language": given})


def read_chat(body: Mapping[str, Any]) -> Chat:
    """The body of /v1/chat/completions: the last message of the user is the question, what comes before it the conversation.

    Instructions are not followed, and what tunes a model (temperature, tools, ...) changes nothing: it is taken as it comes.
    """
    name = body.get("model")
    if not isinstance(name, str):
        raise _wrong("model", f'is "{MODEL}"')
    if name != MODEL:
        raise Refusal(404, f'There is no such model; it is "{MODEL}".', "model_not_found")
    if body.get("n") not in (None, 1):
        raise _wrong("n", "is 1: there is one answer")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", 'is an object like {"include_usage": true}')
    turns, question = _turns(body.get("messages"))
    return Chat(
        Asked(question, conversation=turns),
        _boolean(body, "stream", False),
        _boolean(options or {}, "include_usage", False, "stream_options."),
    )


def _known_fields(body: Mapping[str, Any], known: Collection[str]) -> None:
    for name in body:
        if name not in known:
            raise Refusal(422, f"{name[:40]!a} is no field of this request; there are {', '.join(known)}.")


def _wrong(field: str, wanted: str) -> Refusal:
    return Refusal(422, f"{field} {wanted}.")


def _text(body: Mapping[str, Any]) -> str:
    text = body.get("text")
    if not isinstance(text, str) or not re.search(r"\S", text):
        raise _wrong("text", "is a text: a question or a log")
    return _sendable(text)


def _language(body: Mapping[str, Any]) -> Language | None:
    language = body.get("language")
    if "language" in body and language not in LANGUAGES:
        raise _wrong("language", f"is {' or '.join(LANGUAGES)}, or left out")
    return "zh" if language == "zh" else "en" if language == "en" else None


def _preferred(accept_language: str) -> Language | None:
    """The first of our languages in an Accept-Language header, which browsers give in the order of liking."""
    found = re.search(r"(?:^|,)\s*(en|zh)\b", accept_language, re.IGNORECASE)
    return None if found is None else "zh" if found[1].lower() == "zh" else "en"


def _top(body: Mapping[str, Any]) -> int:
    top = body.get("top", DEFAULT_TOP)
    whole = isinstance(top, (int, float)) and not isinstance(top, bool) and top == top // 1
    if not whole or not 1 <= top <= MAX_TOP:
        raise _wrong("top", f"is a whole number from 1 to {MAX_TOP}")
    return int(top)


def _boolean(body: Mapping[str, Any], field: str, default: bool, within: str = "") -> bool:
    value = body.get(field, default)
    if not isinstance(value, bool):
        raise _wrong(within + field, "is true or false")
    return value


def _conversation(body: Mapping[str, Any]) -> tuple[Turn, ...]:
    given = body.get("conversation", [])
    if not isinstance(given, list) or len(given) > MAX_TURNS:
        raise _wrong("conversation", f'is a list of at most {MAX_TURNS} of {{"question": ..., "answer": ...}}')
    turns = []
    for number, turn in enumerate(given):
        where = f"conversation[{number}]"
        if not isinstance(turn, dict) or turn.keys() != {"question", "answer"}:
            raise _wrong(where, 'is {"question": ..., "answer": ...}')
        texts = {}
        for name, text in turn.items():
            if not isinstance(text, str):
                raise _wrong(f"{where}.{name}", "is a text")
            texts[name] = _sendable(text)
        turns.append(Turn(**texts))
    return tuple(turns)


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
        return text  # Itself: a large paste is not held twice.
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="replace").decode()


def _turns(messages: Any) -> tuple[tuple[Turn, ...], str]:
    """What was said before, in pairs of question and answer, and the last question."""
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise _wrong("messages", f'is a list of 1 to {MAX_MESSAGES} of {{"role": ..., "content": ...}}')
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _wrong(where, 'is {"role": ..., "content": ...}')
        if message["role"] not in ("user", "assistant"):
            continue
        text = _content(message.get("content"), where, message["role"] == "assistant")
        if message["role"] == "assistant" and turns:
            turns[-1] = Turn(turns[-1].question, "\n\n".join(filter(None, (turns[-1].answer, text))))
        elif message["role"] == "user" and re.search(r"\S", text):
            turns.append(Turn(text, ""))
    if not turns:
        raise _wrong("messages", "has a message of the user that holds the question")
    return tuple(turns[-1 - MAX_TURNS : -1]), turns[-1].question


def _content(content: Any, where: str, may_be_missing: bool) -> str:
    """A message's text, be it in parts; what an assistant leaves out is empty."""
    if content is None and may_be_missing:
        return ""
    if isinstance(content, list):
        is_text: Callable[[Any], bool] = lambda part: (  # noqa: E731
            isinstance(part, dict) and part.get("type") in ("text", "refusal") and isinstance(part.get(part["type"]), str)
        )
        if not all(map(is_text, content)):
            raise _wrong(f"{where}.content", 'is a text, or a list of {"type": "text", "text": ...}')
        content = "\n".join(part[part["type"]] for part in content)
    if not isinstance(content, str):
        raise _wrong(f"{where}.content", 'is a text, or a list of {"type": "text", "text": ...}')
    return _sendable(content)
