"""The site's engine in a real browser: it takes the same steps as Python and comes to the same answers."""

from __future__ import annotations

import gzip
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer import packed
from indexer.background import Background
from indexer.entry import Entry, builtin_folder
from indexer.evaluation import read_cases
from indexer.foreign import candidates
from indexer.index import Collection, Index, build_files, make_manifest, read_collection
from indexer.lexical import Bm25, count, tokens
from indexer.query import Query
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("browser")
VECTORS = ROOT / "tests" / "data" / "engine.json"
DOCUMENTS = {
    "texts": [
        "flash_attn_varlen_func was renamed in flash-attn 2; 导入失败",
        "Loss is zero: grad_norm nan. 损失变成零，梯度是 nan",
        "NCCL watchdog: collective operation timeout on rank 3 超时",
    ],
    "ours": ["loss is zero", "损失是零", "nccl timeout on two nodes", "flash_attn import error"],
    "others": ["bread is dry", "面包是干的", "the printer has a timeout"],
}
TEXTS = (
    "", "a", "Loss zero", "hanging hangs hanged", "ERROR: hello", "RuntimeError: CUDA error: device-side assert triggered",
    "flash_attn_varlen_func", "torch::cuda::OutOfMemoryError", "ProcessGroupNCCL.cpp:607", "loss变成0了，怎么办？", "梯度", "零",
    "训练时损失是零，nan 梯度", "lr=1e-05 grad_norm=1.414", "the printer has no bread", "passes classes buses processes",
    "café naïve", "ＧＰＵ 显存", "x" * 70, "a.b.c.d/e_f-g", "CUDA12.4 sm_90a H100", "🙂 loss 🙂 零",
)  # fmt: skip


def expected() -> dict[str, Any]:
    """What Python makes of each text: tokens, names, scores."""
    bm25 = Bm25.build(count(DOCUMENTS["texts"], DOCUMENTS["ours"], DOCUMENTS["others"]))
    cases = []
    for text in TEXTS:
        own = tokens(text)
        cases.append(
            {
                "text": text,
                "tokens": own,
                "candidates": sorted(candidates(text)),
                "scores": [round(score, 5) for score in bm25.scores(own)],
                "field": round(bm25.field(own), 5),
            }
        )
    return {"documents": DOCUMENTS, "cases": cases}


def packed_documents() -> dict[str, Any]:
    return packed.pack(count(DOCUMENTS["texts"], DOCUMENTS["ours"], DOCUMENTS["others"]))


@pytest.fixture(scope="module")
def collection() -> Collection:
    return read_collection([builtin_folder()])


@pytest.fixture(scope="module")
def page(browser_page: Any, served: str) -> Any:
    """A page of the site with the engine's modules at hand."""
    browser_page.goto(served + "diagnose/")
    browser_page.evaluate(
        """async () => {
          const load = (name) => import(new URL(`assets/engine/${name}.js`, location.href.replace("diagnose/", "")));
          globalThis.modules = { ...(await load("words")), ...(await load("engine")) };
          globalThis.start = (data) => { globalThis.engine = new modules.Engine(data); };
        }"""
    )
    return browser_page


def start(page: Any, data: bytes) -> None:
    page.evaluate("text => start(JSON.parse(text))", data.decode())


def test_the_shared_vectors_are_what_python_computes() -> None:
    assert json.loads(VECTORS.read_text(encoding="utf-8")) == expected(), "python -m tests.test_engine writes them anew"


def test_the_browser_computes_the_shared_vectors(page: Any, collection: Collection) -> None:
    data = json.loads(packed.engine_data(collection))
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    found = page.evaluate(
        """([data, counts, texts]) => {
          const words = new modules.Words(data.patterns, data.limits);
          const bm25 = new modules.Bm25(counts);
          return texts.map((text) => {
            const tokens = words.tokens(text);
            return { text, tokens, candidates: [...words.candidates(text)].sort(), scores: [...bm25.scores(tokens)],
                     field: bm25.field(tokens) };
          });
        }""",
        [
            {"patterns": data["patterns"], "limits": data["limits"]},
            packed_documents(),
            [case["text"] for case in vectors["cases"]],
        ],
    )
    for own, wanted in zip(found, vectors["cases"], strict=True):
        assert own["tokens"] == wanted["tokens"]
        assert sorted(own["candidates"]) == wanted["candidates"]
        assert own["scores"] == pytest.approx(wanted["scores"], abs=1e-4)
        assert own["field"] == pytest.approx(wanted["field"], abs=1e-4)


HOSTILE = (
    "\x1b[31mRuntimeError:\x1b[0m CUDA error\ttab\u200b\ufeff", "\x00\x00nul", "a\rb\rc", "[rank0]: x[rank1]: y",
    " 37%|███▋      | 12/32 [00:10<00:17,  1.2it/s, loss=2.1] Error", "│ box error │", "\u00a0\u3000NBSP Error: x",
    "[" * 5000, "x" * 9000 + "Error: late", "\ud83d half", "metrics: loss 0", "said: loss 0", "1.2.3: loss=1.2.3 loss=nan",
)  # fmt: skip


def test_the_browser_understands_every_known_text_as_python_does_and_answers_alike(page: Any, collection: Collection) -> None:
    files = build_files(collection, None)
    index = Index(make_manifest(files, None), files, "none")
    texts = [sample for entry in collection.entries for sample in entry.samples]
    texts += [ask for entry in collection.entries for own in entry.pages.values() for ask in own.asks]
    texts += [case.text for case in read_cases(sorted((ROOT / "benchmarks" / "cases").glob("*.jsonl")))]
    texts += HOSTILE
    start(page, packed.engine_data(collection))
    found = page.evaluate(
        """texts => texts.map((text) => {
          const { hits, answered, behind, query } = engine.diagnose(text);
          return [hits[0].id, answered, behind?.[0] ?? null, query.searchText, query.lines.map((line) => line.text), hits[0].score];
        })""",
        texts,
    )
    alike = {"first entry": 0, "refusal": 0, "understood": 0, "score": 0}
    for text, (first, answered, behind, search_text, lines, score) in zip(texts, found, strict=True):
        query = Query.from_text(text)
        hit = index.search(query, 1)[0]
        alike["first entry"] += first == hit.entry_id
        alike["refusal"] += (answered, behind) == (hit.confidence >= index.constants.threshold, hit.behind)
        alike["understood"] += (search_text, lines) == (query.search_text, [line.text for line in query.lines])
        alike["score"] += score == pytest.approx(hit.score, abs=1e-3)
    shares = {name: number / len(texts) for name, number in alike.items()}
    # Measured: 1.0 of 2,400 in each; the issue asks for 0.98.
    assert min(shares.values()) >= 0.995, shares


def long_log(lines: int) -> str:
    """Ranks that report and warn, each line another, with the message that tells near the end."""
    rows = [
        f"[rank{number % 8}]: 2026-11-25 10:{number // 60 % 60:02}:{number % 60:02},{number % 1000:03} INFO trainer.py:{number} "
        f"step {number} loss={2 + number % 97 / 100:.4f} grad_norm={number % 13 / 7:.3f} file /data/shard-{number * 7919 % 100003}.arrow"
        for number in range(lines)
    ]
    rows[-20] = (
        "[rank3]:[E1125 10:11:12.345 ProcessGroupNCCL.cpp:607] [Rank 3] Watchdog caught collective operation timeout: "
        "WorkNCCL(SeqNum=77, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=1800000) ran for 1800011 milliseconds"
    )
    return "\n".join(rows)


def test_five_thousand_lines_take_less_than_200_milliseconds(page: Any, collection: Collection) -> None:
    start(page, packed.engine_data(collection))
    times, first = page.evaluate(
        """text => {
          let first = "";
          const times = Array.from({ length: 20 }, () => {
            const started = performance.now();
            first = engine.diagnose(text).hits[0].id;
            return performance.now() - started;
          });
          return [times, first];
        }""",
        long_log(5000),
    )
    assert first == "nccl-watchdog-timeout"
    # Other work on the machine makes some of them slower, none faster.
    medians = [statistics.median(times[start : start + 5]) for start in range(0, len(times), 5)]
    assert min(medians) < 200, times


def grown(collection: Collection, size: int) -> Collection:
    """The collection with generated entries up to `size`: each a real entry with some of its words made new, and what is
    planned as it is, so that words, asks and signatures grow as they do with real ones."""
    entries: list[Entry] = list(collection.entries)
    while len(entries) < size:
        number = len(entries)
        model = collection.entries[number % len(collection.entries)]
        pages: dict[str, Any] = {
            language: replace(
                own,
                title=renewed(own.title, number),
                summary=renewed(own.summary, number),
                asks=tuple(renewed(ask, number) for ask in own.asks),
                parts=tuple(replace(part, heading=renewed(part.heading, number)) for part in own.parts),
            )
            for language, own in model.pages.items()
        }
        signatures = tuple(replace(own, pattern=f"{own.pattern}{number:04}") for own in model.signatures)
        entries.append(replace(model, id=f"{model.id}-{number}", pages=pages, signatures=signatures, samples=()))
    planned: list[Background] = [known for known in collection.background if known.id.startswith(("elsewhere-", "training-"))]
    return replace(collection, entries=tuple(entries), background=tuple(planned))


def renewed(text: str, number: int) -> str:
    """A text in which every fifth word, and every fourth Chinese character, is one that no other entry has."""
    words = text.split(" ")
    words = [f"{word}{number}" if place % 5 == number % 5 and word.isascii() else word for place, word in enumerate(words)]
    text = " ".join(words)
    changed = [
        chr(0x4E00 + (ord(character) * 31 + number * 17) % 5000)
        if "\u4e00" <= character < "\u9fff" and place % 4 == number % 4
        else character
        for place, character in enumerate(text)
    ]
    return "".join(changed)


def test_the_data_of_120_entries_is_under_400_kilobytes(collection: Collection) -> None:
    many = grown(collection, 120)
    assert len(many.entries) == 120
    assert len(gzip.compress(packed.engine_data(many), 9)) < 400_000


def test_numbers_travel_as_characters() -> None:
    assert packed.characters([0, 1, 200]) == "#$" + chr(235)


@pytest.mark.parametrize(
    ("python", "javascript"),
    [
        (r"a\s+b", r"a[\t\n\v\f\r ]+b"),
        (r"[\s/]x", r"[\t\n\v\f\r /]x"),
        (r"[^\s]x\S", r"[^\t\n\v\f\r ]x[^\t\n\v\f\r ]"),
        (r"[]a]\\s", r"[\]a]\\s"),
        (r"[[]\]", r"[[]\]"),
    ],
)
def test_a_pattern_means_the_same_in_javascript(python: str, javascript: str) -> None:
    assert packed.in_javascript(python) == javascript


def main(arguments: Sequence[str] = ()) -> None:
    """Write the shared vectors anew."""
    Path(VECTORS).write_text(json.dumps(expected(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
