"""The model that writes, fetched beside the answers: nobody waits long for it, and where it failed it is asked for again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.generation import Server
from indexer.errors import GenerationError, KbaskError

if TYPE_CHECKING:
    from assistant.generation import Message, Model

PATIENCE = 5.0  # Seconds that a question waits for a model that is being loaded.
AGAIN_AFTER = 30.0  # Seconds after which one that failed is asked for again,
FRESH = 60.0  # and one that is there looked at again: it may have ended since, or been another one.
Choice = Callable[[], "Model"]


class HungUpError(Exception):
    """Whoever asked is gone, so that nothing more is written."""


class HangUp:
    """Whether whoever asked is gone, and what is ended then, from whichever thread says so."""

    def __init__(self) -> None:
        self._lock, self._is_set = threading.Lock(), False
        self._ends: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        return self._is_set

    def ends(self, end: Callable[[], None]) -> None:
        """Call `end` when they are gone, at once where they are."""
        with self._lock:
            self._ends.append(end)
            if self._is_set:
                end()

    def set(self) -> None:
        with self._lock:
            self._is_set = True
            for end in self._ends:
                end()


class Writer:
    """A model by the choice that gives it, None where none was chosen; `state` is what /readyz says of it."""

    def __init__(self, choice: Choice | None, say: Callable[[str], None] = lambda line: None) -> None:
        self._choice, self._say, self._said = choice, say, ""
        self._changed = threading.Condition()
        self._model: Model | None = None
        self._failure = ""
        self._since = 0.0
        self._loads = False

    @property
    def is_chosen(self) -> bool:
        return self._choice is not None

    @property
    def state(self) -> str:
        """`none`, `ready`, `loading`, or `failed: ` and why."""
        if self._choice is None:
            return "none"
        if self._model is not None:
            return "ready"
        return f"failed: {self._failure}" if self._failure else "loading"

    def load(self) -> None:
        """Ask for the model in a thread of its own, unless that is being done."""
        with self._changed:
            if self._choice is None or self._loads:
                return
            self._loads = True
        threading.Thread(target=self._load, name="kbask-model", daemon=True).start()

    def get(self) -> Model:
        """The model; raises GenerationError where it is not there within PATIENCE, or could not be had."""
        with self._changed:
            if time.monotonic() - self._since > (FRESH if self._model else AGAIN_AFTER if self._failure else 0.0):
                self.load()
            self._changed.wait_for(lambda: not self._loads, PATIENCE)
            if self._model is not None:
                return self._model
            raise GenerationError(self._failure or "The model is still being loaded. Ask again in a minute.")

    def doubt(self) -> None:
        """The model failed just now: the next question looks at it again."""
        with self._changed:
            self._since = float("-inf")

    def _load(self) -> None:
        assert self._choice is not None
        model, failure = None, "it cannot be had; the server's own output says why"
        try:
            model = self._choice()
        except KbaskError as error:
            failure = str(error)
        finally:
            with self._changed:
                self._model, self._failure = model, "" if model else failure
                self._since, self._loads = time.monotonic(), False
                self._changed.notify_all()
            told = f"{model.name} writes the answers" if model else f"no model writes: {failure}"
            if told != self._said:  # A model that is looked at again is no news.
                self._said = told
                self._say(told)


class Watched:
    """A model for one question: it stops as soon as whoever asked is gone, be it still silent, and its time is told."""

    def __init__(self, model: Model, writer: Writer, hang_up: HangUp, took: Callable[[float], None]) -> None:
        self.name, self.is_local, self.context = model.name, model.is_local, model.context
        self.count_tokens = model.count_tokens
        if isinstance(model, Server):
            model = replace(model)  # Other questions have their own replies, which go on.
            hang_up.ends(model.hang_up)
        self._model, self._writer, self._hang_up, self._took = model, writer, hang_up, took

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        began = time.perf_counter()
        pieces = self._model.stream(messages, max_tokens, stop)
        try:
            for piece in pieces:
                if self._hang_up.is_set:
                    raise HungUpError
                yield piece
            if self._hang_up.is_set:  # A reply that is ended here may look whole.
                raise HungUpError
        except GenerationError as error:
            if self._hang_up.is_set:  # It was ended here, and is as good as before.
                raise HungUpError from error
            self._writer.doubt()
            raise
        finally:
            if close := getattr(pieces, "close", None):
                close()
            self._took(time.perf_counter() - began)
