"""Names of other fields are found in a text as they would be among everything that could be a name."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from indexer.entry import builtin_folder
from indexer.foreign import Names, candidates

NAMES = ["opencv", "stable diffusion", "打印机", "打印", "vue", "ruby on rails", "c++", "node.js"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("my Stable Diffusion run", {"stable diffusion"}),
        ("打印机坏了", {"打印机", "打印"}),
        ("Ruby on Rails on node.js", {"ruby on rails", "node.js"}),
        ("diffusion, stable", set()),
        ("stable 打 diffusion", set()),
        ("c++", {"c++"}),
        ("", set()),
    ],
)
def test_a_name_is_found_whole(text: str, found: set[str]) -> None:
    assert Names(NAMES).in_text(text) == found == candidates(text) & set(NAMES)


def test_looking_for_names_finds_what_making_every_candidate_does() -> None:
    rows = (json.loads(line) for line in (builtin_folder() / "elsewhere_asks.jsonl").read_text("utf-8").splitlines())
    texts = [text for row in islice(rows, 400) for text in row.values() if isinstance(text, str)]
    some = {name for text in texts[::7] for name in sorted(candidates(text))[::3]}
    assert len(some) > 500
    names = Names(some)
    for text in texts:
        assert names.in_text(text) == candidates(text) & some
