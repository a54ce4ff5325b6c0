"""The page and what it is made of, as files with a digest, packed where that helps."""

from __future__ import annotations

import gzip
import hashlib
import html
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from assistant.http_guard import Refusal

HERE = Path(__file__).parent
# In a wheel the site's own assets lie beside the page; in a checkout they are where the site has them.
FOLDERS = (HERE / "page", HERE.parent / "site" / "overrides" / "assets")
SITE_ASSETS = ("kbask.css", "mark.svg", "favicon.svg")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
WORTH_PACKING = 1400  # Bytes: what fits a packet gains nothing.


@dataclass(frozen=True)
class Body:
    """A reply's bytes as they are and packed, None where that is no gain, with what tells them from others."""

    data: bytes
    packed: bytes | None
    tag: str
    type: str

    @classmethod
    def of(cls, data: bytes, type_: str) -> Body:
        packed = gzip.compress(data, 6, mtime=0) if len(data) > WORTH_PACKING else None
        return cls(data, packed, f'"{hashlib.sha256(data).hexdigest()[:20]}"', type_)


def reply(body: Body, request: Any, headers: dict[str, str] | None = None) -> Any:
    """The body, packed for who takes that, or only the word that it is as it was."""
    from starlette.responses import Response

    own = {"ETag": body.tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache", **(headers or {})}
    if body.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=own)
    packs = body.packed is not None and "gzip" in request.headers.get("accept-encoding", "")
    if packs:
        own["Content-Encoding"] = "gzip"
    return Response(body.packed if packs else body.data, headers=own, media_type=body.type)


def page_file(name: str) -> Body:
    """A file of the page by its name; raises Refusal where there is none."""
    path = _files().get(name)
    if path is None:
        raise Refusal(404, "There is no such file of the page.")
    return _read(path, path.stat().st_mtime_ns)


@cache
def _files() -> dict[str, Path]:
    """Every file that is served by its name, as the folders have them when they are first asked for."""
    page, assets = FOLDERS
    found = [*(assets / name for name in SITE_ASSETS), *page.iterdir()]
    return {path.name: path for path in found if path.suffix in TYPES and path.is_file()}


def index_page(origins: tuple[str, ...]) -> Body:
    """The page itself, which is told whose pages may hand it a paste."""
    page = page_file("index.html")
    told = f'name="kbask-origins" content="{html.escape(" ".join(origins))}"'
    data = page.data.replace(b'name="kbask-origins" content=""', told.encode())
    return page if data == page.data else Body.of(data, page.type)


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Body:
    return Body.of(path.read_bytes(), TYPES[path.suffix])
