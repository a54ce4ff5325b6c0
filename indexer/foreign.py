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
        if _is_chinese(run):
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
        every = list(names)
        self._words = frozenset(name for name in every if name.isascii() and " " not in name)
        self._longer: dict[str, list[list[str]]] = {}  # Those of several words, by the first.
        for name in every:
            if name.isascii() and " " in name:
                self._longer.setdefault(name.partition(" ")[0], []).append(name.split())
        self._chinese = frozenset(filter(_is_chinese, every))
        self._first_characters = frozenset(name[0] for name in self._chinese)

    def in_text(self, text: str) -> set[str]:
        """The names that stand in a text."""
        runs = RUN.findall(text.lower())
        found = set(self._words.intersection(runs))
        for start in [start for start, run in enumerate(runs) if run in self._longer]:
            found.update(" ".join(name) for name in self._longer[runs[start]] if runs[start : start + len(name)] == name)
        if not text.isascii():
            for run in filter(_is_chinese, runs):
                starts = [start for start, character in enumerate(run) if character in self._first_characters]
                sizes = range(2, MAX_CHARACTERS + 1)
                found |= self._chinese.intersection(run[start : start + size] for start in starts for size in sizes)
        return found


def _is_chinese(run: str) -> bool:
    return run[0] >= "\u3400"


def kept_names(names: Iterable[str], documents: Iterable[str]) -> list[str]:
    """The names that at most one document of this field uses, sorted; a name is written as `candidates` would find it."""
    used = Counter(name for document in documents for name in candidates(document))
    written = {" ".join(RUN.findall(name.lower())) for name in names} - {""}
    return sorted(name for name in written if used[name] <= 1)
