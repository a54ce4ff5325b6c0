"""Tokens of both languages, and BM25 that only adds up stored numbers."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.lexical import K1, B, Bm25, count, stem, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss is zero", ["loss", "is", "zero"]),
        ("flash_attn_varlen_func", ["flash_attn_varlen_func", "flash", "attn", "varlen", "func"]),
        ("torch.nn.CrossEntropyLoss", ["torch.nn.crossentropyloss", "torch", "nn", "cross", "entropy", "loss"]),
        ("std::bad_alloc", ["std::bad_alloc", "std", "bad", "alloc"]),
        ("学习率为0", ["学习", "习率", "率为", "0"]),
        ("卡", ["卡"]),
        ("loss变为0", ["loss", "变为", "0"]),
        ("A100", ["a100", "a", "100"]),
        ("", []),
        ("！？…", []),
    ],
)
def test_tokens_of_a_text(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    "words", [("hang", "hangs", "hanging", "hanged"), ("template", "templates"), ("stop", "stopping", "stopped")]
)
def test_forms_of_a_word_are_one_token(words: tuple[str, ...]) -> None:
    assert len({stem(word) for word in words}) == 1


@pytest.mark.parametrize("pair", [("loss", "lose"), ("process", "proceed"), ("bus", "bu")])
def test_different_words_stay_apart(pair: tuple[str, str]) -> None:
    assert stem(pair[0]) != stem(pair[1])


def test_scores_are_those_of_the_formula() -> None:
    texts = ["loss zero zero", "watchdog timeout of a rank", "template for loss"]
    bm25 = Bm25.build(count(texts))
    lengths = [len(tokens(text)) for text in texts]
    idf = np.log(1 + (3 - 1 + 0.5) / 1.5)
    expected = idf * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * lengths[0] / np.mean(lengths)))
    assert bm25.scores(["zero"]) == pytest.approx([expected, 0, 0], rel=1e-6)


def test_a_repeated_or_unknown_word_adds_nothing() -> None:
    bm25 = Bm25.build(count(["loss zero", "watchdog timeout"]))
    assert np.array_equal(bm25.scores(["zero", "zero", "unheard"]), bm25.scores(["zero"]))


def test_words_of_this_field_count_for_it_and_those_of_others_against() -> None:
    bm25 = Bm25.build(count(["loss zero", "bake bread"], ours=["loss zero", "the loss"], others=["bake bread", "the oven"]))
    assert bm25.field(["loss"]) > 0 > bm25.field(["bake"])
    assert bm25.field(["the"]) == bm25.field(["unheard"]) == bm25.field([]) == 0


def test_an_empty_collection_and_an_empty_query_have_scores() -> None:
    assert Bm25.build(count([])).scores(["loss"]) == []
    assert Bm25.build(count(["loss"])).scores([]) == [0]
