"""What somebody typed and piped in -> Query."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import BufferedReader
from typing import TextIO

from indexer.errors import InputError
from indexer.query import Query
from indexer.reading import is_binary

PIPE_SECONDS = 0.2
PEEK = 4096


def read_query(words: tuple[str, ...], say: Callable[[str], None]) -> Query:
    """The question's words and, where - stands among them, there are none, or a log is piped in, standard input.

    Raises InputError where there is nothing to look for.
    """
    question = (
        " ".join(word for word in words if word != "-").encode("utf-8", errors="surrogateescape").decode(errors="replace")
    )
    stream = _log(words, say)
    if stream and is_binary(stream.peek(PEEK)[:PEEK]):
        if not question:
            raise InputError("The input is binary, not text. Give a log or a question.")
        say("kbask: the input is binary, not text; only the question is looked at.")
        stream = None
    query = Query.read(stream, question) if stream else Query.from_text(question)
    if query.is_empty:
        raise InputError('There is no question: the input is empty. Try: kbask "loss is zero during sft"')
    return query


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sits at the other end; a stream may be closed (`kbask <&-`)."""
    return stream is not None and not stream.closed and stream.isatty()


def _log(words: tuple[str, ...], say: Callable[[str], None]) -> BufferedReader | None:
    """Standard input, where it was asked for or has something in it."""
    asked_for = not words or "-" in words
    if sys.stdin is None or sys.stdin.closed or not (asked_for or _has_input()):
        return None
    if is_terminal(sys.stdin):
        say("Paste, then press Ctrl-D on a line of its own.")
    return sys.stdin.buffer if isinstance(sys.stdin.buffer, BufferedReader) else None


def _has_input() -> bool:
    """Whether a file, or a pipe with something in it, is standard input; a pipe that was merely left open is not waited for."""
    import select
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISFIFO(mode) and os.name != "nt":
        return bool(select.select([sys.stdin], [], [], PIPE_SECONDS)[0])
    return stat.S_ISREG(mode)
