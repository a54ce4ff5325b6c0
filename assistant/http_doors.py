"""The routes that only read: the page, how the server is, its document, the entries, the models."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from assistant import http_entries, http_openai
from assistant.http_answers import to_bytes
from assistant.http_guard import Refusal
from assistant.http_metrics import Metrics
from assistant.http_models import Writer
from assistant.http_page import Body, index_page, page_file, reply
from assistant.http_requests import read_language
from indexer.entry import Language
from indexer.errors import EntryError, UnknownEntryError
from indexer.index import Index

DOCUMENT = Path(__file__).parent / "openapi.yaml"


class Doors:
    """What is read: the page, how the server is, the entries, the models."""

    def __init__(self, index: Index, writer: Writer, figures: Metrics, origins: tuple[str, ...]) -> None:
        self._index, self._writer, self._figures, self._origins = index, writer, figures, origins
        self._packed: dict[tuple[str, Language], Body] = {}

    # ---- the page, and what tells how the server is

    async def page(self, request: Any) -> Any:
        return reply(index_page(self._origins), request)

    async def static(self, request: Any) -> Any:
        return reply(page_file(request.path_params["name"]), request)

    async def healthz(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        state = self._writer.state if request.scope["kbask.trusted"] else self._writer.state.partition(":")[0]
        return JSONResponse({"status": "ready", "entries": len(self._index.entries), "model": state})

    async def metrics(self, request: Any) -> Any:
        from starlette.responses import Response

        return Response(self._figures.to_bytes(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def document(self, request: Any) -> Any:
        return reply(self._document, request)

    @cached_property
    def _document(self) -> Body:
        from importlib.metadata import version

        import yaml

        data = yaml.load(DOCUMENT.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        data["info"]["version"] = version("kbask")
        return Body.of(to_bytes(data), "application/json")

    # ---- entries

    async def entries(self, request: Any) -> Any:
        return reply(self._entries, request)

    @cached_property
    def _entries(self) -> Body:
        return Body.of(to_bytes(http_entries.list_entries(self._index.entries)), "application/json")

    async def entry(self, request: Any) -> Any:
        language = read_language(request.query_params.get("language"))
        return reply(self._entry(self._known(request).id, language or "en"), request)

    def _entry(self, id_: str, language: Language) -> Body:
        entries, found = self._index.entries, self._packed.get((id_, language))
        if found is None:
            found = Body.of(to_bytes(http_entries.entry_json(entries[id_], entries, language)), "application/json")
            self._packed[id_, language] = found
        return found

    async def script(self, request: Any) -> Any:
        from starlette.responses import PlainTextResponse

        try:
            name, text = http_entries.script_source(self._known(request), request.path_params["file"], self._index.entries)
        except (UnknownEntryError, EntryError) as error:
            raise Refusal(404, "This entry has no such script; /v1/entries/ID names those that it has.") from error
        return PlainTextResponse(text, headers={"Content-Disposition": f'attachment; filename="{quote(name)}"'})

    def _known(self, request: Any) -> Any:
        found = self._index.entries.get(request.path_params["entry"])
        if found is None:
            raise Refusal(404, "There is no such entry; /v1/entries lists all.")
        return found

    # ---- OpenAI's list

    async def models(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(http_openai.models())

    async def models_kbask(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(http_openai.model())
