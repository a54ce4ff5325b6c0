"""The straight path from a query to an answer."""

from __future__ import annotations

from assistant.answer import Answer, abstain, compose
from indexer.entry import Language
from indexer.index import Index
from indexer.query import Query


def answer(query: Query, index: Index, language: Language, top: int = 5, full: bool = False) -> Answer:
    """Search, then compose from the best entry, or abstain where the evidence is too weak."""
    hits = index.search(query, top)
    if not hits or hits[0].confidence < index.constants.threshold:
        return abstain(hits, index, language)
    return compose(query, hits, index, language, full)
