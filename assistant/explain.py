"""A query and its hits -> what was understood, and why each hit stands where it does, in lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.query import Query
from indexer.ranking import Constants, Hit


def explanation(query: Query, hits: Sequence[Hit], constants: Constants) -> str:
    """What was understood of the input, and why each hit stands where it does: places, evidence and matched lines."""
    rows = [f"{'a log' if query.is_log else 'a question'}, {len(query.lines)} lines looked at"]
    facts = {
        "in the user's words": query.sentence.replace("\n", " / ")[:200],
        "deciding lines": " / ".join(query.error_lines[:3])[:300],
        **query.facts,
    }
    rows += [f"  {name}: {fact[:300]}" for name, fact in facts.items() if fact]
    for hit in hits:
        ranks = ", ".join(f"{signal} {place}" for signal, place in hit.ranks.items())
        rows.append(f"{hit.confidence:6.1%}  {hit.entry_id}  log-odds {hit.score:+.2f}; places: {ranks}")
        weights = constants.both if "dense" in hit.ranks else constants.words
        parts = {name: weights[name] * value for name, value in hit.features.items() if weights[name] * value}
        rows.append(
            "        "
            + ", ".join(f"{name} {part:+.2f}" for name, part in parts.items())
            + f", base {weights['intercept']:+.2f}"
        )
        for match in hit.matched:
            weak = " (weak)" if match.signature.weak else ""
            rows.append(f"        line {match.line.number}{weak}: {match.line.text[match.start :][:100]}")
            rows.append(f"          by the signature {match.signature.pattern}")
        if hit.yielded_to:
            rows.append(f"        yields to {', '.join(hit.yielded_to)}")
    if hits and hits[0].behind:
        rows.append(f"nearer to {hits[0].behind}, which has no entry")
    return "\n".join(rows)
