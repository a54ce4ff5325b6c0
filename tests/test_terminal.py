"""Markdown on a terminal: wrapped by columns in both languages, coloured if wanted, never a control character."""

from __future__ import annotations

import re

import pytest

from assistant.terminal import render, wrap
from indexer.passages import cells, first_sentence

CHINESE = "loss 变为 0 往往不是收敛，而是 NaN 被 Trainer 过滤掉了：先看 grad_norm，再看一个 batch 里有多少 token 参与训练。"


@pytest.mark.parametrize("text", ["the loss is zero " * 20, CHINESE * 3, "短" * 100])
def test_no_line_is_wider_than_the_terminal(text: str) -> None:
    assert max(cells(line) for line in wrap(text, 40)) <= 40


def test_nothing_is_lost_in_wrapping() -> None:
    assert "".join("".join(wrap(CHINESE, 30)).split()) == "".join(CHINESE.split())


def test_closing_punctuation_never_begins_a_line() -> None:
    for width in range(20, 60):
        assert not any(line[0] in "，。：；！？、" for line in wrap(CHINESE, width))


def test_an_address_is_never_broken() -> None:
    address = "https://example.com/" + "a" * 100
    assert address in wrap(f"See {address} for more.", 40)


MARKDOWN = """
# A title {#id}

Some **strong** `code` and [a link](https://example.com/x).

1. One
2. Two

    ```bash
    run me
    ```
"""
RENDERED = """\
A title

Some strong code and a link (https://example.com/x).

1. One
2. Two

      run me"""


def test_markdown_is_rendered() -> None:
    assert render(MARKDOWN) == RENDERED


def test_items_hang_under_their_first_word() -> None:
    rows = render("1. " + "word " * 40, width=30).split("\n")
    assert rows[0].startswith("1. word")
    assert all(row.startswith("   word") for row in rows[1:])


def test_colours_stand_around_the_marked_words_only() -> None:
    text = render("run `kbask list` **now** please", colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == "run kbask list now please"
    assert "\x1b[36mkbask list\x1b[0m" in text
    assert "\x1b[1mnow\x1b[0m" in text


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u202e", "\x07", "\x7f"])
def test_control_characters_never_reach_the_terminal(hostile: str) -> None:
    text = render(f"# Title {hostile}\n\n- item {hostile}\n\n```\ncode {hostile}\n```\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("Count the labels. Then stop.", "Count the labels."),
        ("Set `a.b. c` and go on", "Set `a.b. c` and go on"),
        ("Run this:\n\n    ```\n    x\n    ```", "Run this:"),
        ("Use torch 2.13 or newer. Not older.", "Use torch 2.13 or newer."),
        ("看 `grad_norm`。再看 loss。", "看 `grad_norm`。"),
        ("**Change nothing. Really.** It costs.", "**Change nothing.**"),
        ("Turn it off (e.g. by a flag. Yes) now. Then", "Turn it off (e.g. by a flag. Yes) now."),
    ],
)
def test_the_first_sentence_of_a_step_stands_alone(step: str, sentence: str) -> None:
    assert first_sentence(step) == sentence
