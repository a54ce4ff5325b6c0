"""A draft entry: what is known of it so far -> its files, which lint clean but for what says TODO."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer.entry import FIXED_HEADINGS, LANGUAGES, PAGE_FILES, Language
from indexer.errors import EntryError
from indexer.rules import MIN_ASKS, MIN_SAMPLES

_TODO: dict[Language, dict[str, str]] = {
    "en": {
        "summary": "TODO: the cause and the fix in two sentences that already help.",
        "ask": "TODO ask",
        "about": "TODO: what this source establishes",
        "section": "One line about this section.",
        "title": "TODO: {slug}, the problem in one line",
        "symptom": "TODO: the shortest faithful excerpt of what is printed, or of what is seen.",
        "causes": "### TODO: the likeliest cause {#todo-cause}\n\nTODO: how to tell that it is this one, and why.\n\n"
        "1. TODO: do this first.",
        "check": "TODO: what should be seen now.",
        "short-answer": "TODO",
        "part": "## TODO: a part {#todo-part}\n\nTODO",
    },
    "zh": {
        "summary": "TODO：用两句话说清原因和解决办法。",
        "ask": "TODO 问法",
        "about": "TODO：这个来源说明了什么",
        "section": "这一节的一句话说明。",
        "title": "TODO：{slug}，一句话说清问题",
        "symptom": "TODO：最短的真实报错片段，或者看到的现象。",
        "causes": "### TODO：最可能的原因 {#todo-cause}\n\nTODO：怎么判断就是它，为什么会这样。\n\n1. TODO：先做什么。",
        "check": "TODO：现在应该看到什么。",
        "short-answer": "TODO",
        "part": "## TODO：一个部分 {#todo-part}\n\nTODO",
    },
}


@dataclass(frozen=True)
class Draft:
    """An entry to be: `titles` and `texts` (what stands under its first heading) by language, as far as they are known."""

    section: str
    slug: str
    kind: str
    titles: Mapping[Language, str] = field(default_factory=dict)
    texts: Mapping[Language, str] = field(default_factory=dict)
    patterns: Sequence[str] = ()
    samples: Sequence[str] = ()
    urls: Sequence[str] = ()
    origin: str = ""  # Where it comes from, as a comment in its front matter.

    def files(self) -> dict[str, str]:
        """The draft's files, by their path below the entry's folder."""
        files = {name: self._page(language) for language, name in PAGE_FILES.items()}
        for number, sample in enumerate(self._samples(), 1):
            files[f"samples/todo-{number}.txt"] = sample
        return files

    def _patterns(self) -> Sequence[str]:
        return self.patterns or (f"TODO the fixed part of the message of {self.slug}",)

    def _samples(self) -> list[str]:
        if self.kind == "guide":
            return []
        made = f"TODO the fixed part of the message of {self.slug}"
        samples = list(self.samples) or [f"{made}, in a real log number 1\n"]
        # The other samples are to be found; until then they repeat what is there.
        return samples + [f"TODO: another log\n{samples[0]}"] * max(MIN_SAMPLES - len(samples), 0)

    def _page(self, language: Language) -> str:
        todo = _TODO[language]
        asks = "".join(f"  - {todo['ask']} {number}\n" for number in range(1, MIN_ASKS + 1))
        references = "".join(
            f"  - {{url: {json.dumps(url)}, about: {json.dumps(todo['about'], ensure_ascii=False)}}}\n"
            for url in self.urls or ["https://example.com/TODO"]
        )
        front = f"# imported from {self.origin}\n" if self.origin else ""
        front += f'summary: "{todo["summary"]}"\nasks:  # at least {MIN_ASKS}, none a paraphrase of another\n{asks}'
        if language == "en":
            front += self._english_front()
        front += f"references:\n{references}"
        if language == "en":
            today = datetime.date.today()
            front += f"added: {today}\nreviewed: {today}\n"
        title = self.titles.get(language) or todo["title"].format(slug=self.slug)
        ids = ["short-answer"] if self.kind == "guide" else ["symptom", "causes", "check"]
        body = [f"# {title}"]
        for number, id_ in enumerate(ids):
            text = self.texts.get(language) if number == 0 else None
            body += [f"## {FIXED_HEADINGS[id_][language]}", text or todo[id_]]
        if self.kind == "guide":
            body.append(todo["part"])
        return f"---\n{front}---\n" + "\n\n".join(body) + "\n"

    def _english_front(self) -> str:
        signatures = ""
        if self.kind != "guide":
            # In YAML's single quotes a pattern stands as it is, but for quotes, which are doubled.
            quoted = ["'" + pattern.replace("'", "''") + "'" for pattern in self._patterns()]
            signatures = "signatures:\n" + "".join(f"  - pattern: {pattern}\n" for pattern in quoted)
        return (
            f"kind: {self.kind}  # error | symptom | guide\ncomponents: [pytorch]\nstages: [sft]\nsymptoms: [crash]\n"
            f"severity: blocks  # blocks | degrades | cosmetic\n{signatures}snippets: []\nrelated: []\n"
        )


def write_draft(root: Path, draft: Draft) -> list[Path]:
    """Write a draft below a folder of sections; returns the files made. Raises EntryError where the entry exists."""
    folder = root / draft.section / draft.slug
    if folder.exists():
        raise EntryError(str(folder), 0, "exists already; nothing was written")
    texts = {folder / name: text for name, text in draft.files().items()}
    for language in LANGUAGES:
        section_page = folder.parent / PAGE_FILES[language]
        if not section_page.exists():
            texts[section_page] = f"# {draft.section}\n\n{_TODO[language]['section']}\n"
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)
