"""Names of other fields: in a question, `opencv` or `打印机` tells at once that it is about something else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MAX_WORDS = 3
MAX_CHARACTERS = 6  # Of a Chinese name.
RUN = re.compile(r"[0-9a-z]+(?:[.+#_-]+[0-9a-z]+)*[+#]*|[\u3400-\u9fff]+")


def candidates(text: str) -> set[str]:
    """Everything in a text that could be a name: up to three neighbouring words, up to six Chinese characters."""
    found: set[str] = set()
    words: list[str] = []
    for run in RUN.findall(text.lower()):
        if run[0] >= "\u3400":
            words.clear()
            for size in range(2, MAX_CHARACTERS + 1):
                found.update(run[start : start + size] for start in range(len(run) - size + 1))
            continue
        words.append(run)
        found.update(" ".join(words[-size:]) for size in range(1, min(MAX_WORDS, len(words)) + 1))
    return found


class Names:
    """A set of names, looked for in texts: `in_text` finds what `candidates` would, without making every candidate."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._last_words = frozenset(name.rpartition(" ")[2] for name in self._names)
        self._first_characters = frozenset(name[0] for name in self._names)

    def in_text(self, text: str) -> set[str]:
        """The names that stand in a text."""
        found: set[str] = set()
        words: list[str] = []
        for run in RUN.findall(text.lower()):
            if run[0] >= "\u3400":
                words.clear()
                starts = (start for start, character in enumerate(run) if character in self._first_characters)
                found.update(run[start : start + size] for start in starts for size in range(2, MAX_CHARACTERS + 1))
                continue
            words.append(run)
            if run in self._last_words:
                found.update(" ".join(words[-size:]) for size in range(1, min(MAX_WORDS, len(words)) + 1))
        return found & self._names


def kept_names(names: Iterable[str], documents: Iterable[str]) -> list[str]:
    """The names that at most one document of this field uses, sorted; a name is written as `candidates` would find it."""
    used = Counter(name for document in documents for name in candidates(document))
    written = {" ".join(RUN.findall(name.lower())) for name in names} - {""}
    return sorted(name for name in written if used[name] <= 1)
