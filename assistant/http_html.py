"""Markdown of entries, models and pastes -> HTML that can hold nothing but text, code, lists, tables and links to the web."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

# An entry, a part or a step of it, or one of its scripts, as answers cite them.
CITATION = re.compile(r"\[([a-z0-9]+(?:-[a-z0-9]+)*)(?:#([a-z0-9-]+)(?:\.\d{1,2})?|/[\w-]+\.py)?\](?!\()", re.ASCII)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_OWN = re.compile(r"(#[a-z0-9-]+|[A-Za-z0-9_-]+\.py)|[A-Za-z0-9_-]+\.svg", re.ASCII)  # A drawing is only named.
MAX_NESTING = 20
KEPT_BLOCKS = 1024


def to_html(markdown: str, known: Collection[str] = frozenset(), entry: str = "") -> str:
    """The HTML of a block; a citation of a known entry becomes a link to it, whatever else looks like HTML stays text.

    A page's links to its own parts and scripts lead to those of `entry`; without one only their text is left.
    """
    return _to_html(markdown, known if isinstance(known, frozenset) else frozenset(known), entry)


@lru_cache(maxsize=KEPT_BLOCKS)
def _to_html(markdown: str, known: frozenset[str], entry: str) -> str:
    # Entries' own blocks come again and again; one takes a millisecond.
    return str(_parser().render(markdown, {"known": known, "entry": entry}))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from markdown_it.common.utils import escapeHtml

    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "maxNesting": MAX_NESTING})
    # What a picture shows, in words: none is fetched, from wherever.
    parser.add_render_rule("image", lambda self, tokens, place, options, env: escapeHtml(tokens[place].content))
    parser.validateLink = lambda url: bool(_WEB.match(url) or _OWN.fullmatch(url))  # type: ignore[method-assign]
    parser.inline.ruler.before("link", "citation", _citation)
    parser.core.ruler.push("links", _links)
    return parser


def _links(state: StateCore) -> None:
    """Every link of a text safe to follow: a foreign site is not told where it came from, an own one leads to the entry."""
    for block in state.tokens:
        goes_nowhere = False
        for token in block.children or ():
            if token.type == "link_open":
                href, entry = str(token.attrGet("href")), state.env["entry"]
                own = _OWN.fullmatch(href)
                goes_nowhere = own is not None and not (own[1] and entry)
                token.attrs = _link(href, entry)
            if token.type in ("link_open", "link_close") and goes_nowhere:
                token.type, token.tag, token.nesting = "text", "", 0


def _link(href: str, entry: str) -> dict[str, str | int | float]:
    if _WEB.match(href):
        return {"href": href, "rel": "noopener noreferrer"}
    if href.startswith("#"):
        return _citation_link(entry, href[1:])
    return {"href": f"/v1/entries/{entry}/{href}"}


def _citation_link(entry: str, part: str) -> dict[str, str | int | float]:
    to_part = {"data-part": part} if part else {}
    return {"class": "kb-cite", "data-entry": entry, **to_part, "href": f"/?entry={entry}" + (f"#{part}" if part else "")}


def _citation(state: StateInline, silent: bool) -> bool:
    """`[slug]`, `[slug#part]`, `[slug#part.2]` and `[slug/script.py]` of a known entry as a link to it on the page."""
    found = CITATION.match(state.src, state.pos) if state.src[state.pos] == "[" and not state.linkLevel else None
    if found is None or found[1] not in state.env.get("known", ()):
        return False
    if not silent:
        state.push("citation_open", "a", 1).attrs = _citation_link(found[1], found[2] or "")
        state.push("text", "", 0).content = found[0][1:-1]
        state.push("citation_close", "a", -1)
    state.pos = found.end()
    return True
