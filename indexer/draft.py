"""A section and a slug -> the files of a draft entry, which lints clean but for its TODOs."""

from __future__ import annotations

import datetime
from pathlib import Path

from indexer.entry import PAGE_FILES, Language
from indexer.errors import EntryError
from indexer.rules import MIN_ASKS, MIN_SAMPLES

_SHARED: dict[Language, str] = {
    "en": 'summary: "TODO: the cause and the fix in two sentences that already help."',
    "zh": 'summary: "TODO：用两句话说清原因和解决办法。"',
}
_FRONT = """kind: {kind}  # error | symptom | guide
components: [pytorch]
stages: [sft]
symptoms: [crash]
severity: blocks  # blocks | degrades | cosmetic
{signatures}snippets: []
related: []
references:
  - {{url: "https://example.com/TODO", about: "TODO: what this source establishes"}}
added: {today}
reviewed: {today}
"""
_CHINESE_FRONT = """references:
  - {url: "https://example.com/TODO", about: "TODO：这个来源说明了什么"}
"""
_SIGNATURES = """signatures:
  - pattern: 'TODO the fixed part of the message of {slug}'
"""
_BODY: dict[Language, str] = {
    "en": """# TODO: {slug}, the problem in one line

## Symptom

TODO: the shortest faithful excerpt of what is printed, or of what is seen.

## Causes and fixes

### TODO: the likeliest cause {{#todo-cause}}

TODO: how to tell that it is this one, and why it happens.

1. TODO: do this first.

## Check

TODO: what should be seen now.
""",
    "zh": """# TODO：{slug}，一句话说清问题

## 现象

TODO：最短的真实报错片段，或者看到的现象。

## 原因与解决

### TODO：最可能的原因 {{#todo-cause}}

TODO：怎么判断就是它，为什么会这样。

1. TODO：先做什么。

## 验证

TODO：现在应该看到什么。
""",
}
_GUIDE_BODY: dict[Language, str] = {
    "en": "# TODO: {slug}, the question in one line\n\n## Short answer\n\nTODO\n\n## TODO: a part {{#todo-part}}\n\nTODO\n",
    "zh": "# TODO：{slug}，一句话说清问题\n\n## 简短回答\n\nTODO\n\n## TODO：一个部分 {{#todo-part}}\n\nTODO\n",
}


def write_draft(root: Path, section: str, slug: str, kind: str) -> list[Path]:
    """Write a draft below a folder of sections; returns the files made. Raises EntryError where the entry exists."""
    folder = root / section / slug
    if folder.exists():
        raise EntryError(str(folder), 0, "exists already; nothing was written")
    texts: dict[Path, str] = {}
    for language, name in PAGE_FILES.items():
        section_page = folder.parent / name
        if not section_page.exists():
            texts[section_page] = (
                f"# {section}\n\n{'One line about this section.' if language == 'en' else '这一节的一句话说明。'}\n"
            )
        texts[folder / name] = _page(language, slug, kind)
    if kind != "guide":
        for number in range(1, MIN_SAMPLES + 1):
            sample = folder / "samples" / f"todo-{number}.txt"
            texts[sample] = f"TODO the fixed part of the message of {slug}, in a real log number {number}\n"
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _page(language: Language, slug: str, kind: str) -> str:
    asks = "".join(f"  - {'TODO ask' if language == 'en' else 'TODO 问法'} {number}\n" for number in range(1, MIN_ASKS + 1))
    front = f"{_SHARED[language]}\nasks:  # how people put it, at least {MIN_ASKS}, none a paraphrase of another\n{asks}"
    if language == "en":
        signatures = "" if kind == "guide" else _SIGNATURES.format(slug=slug)
        front += _FRONT.format(kind=kind, signatures=signatures, today=datetime.date.today())
    else:
        front += _CHINESE_FRONT
    body = (_GUIDE_BODY if kind == "guide" else _BODY)[language].format(slug=slug)
    return f"---\n{front}---\n{body}"
