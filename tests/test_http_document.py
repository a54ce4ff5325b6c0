"""The server against its own OpenAPI document: schemathesis asks what the document allows, and what it does not."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import httpx2
import pytest
import yaml

from indexer.index import Index
from tests.conftest import ROOT
from tests.test_http import events, serving

DOCUMENT = yaml.safe_load((ROOT / "assistant" / "openapi.yaml").read_text(encoding="utf-8"))
OPERATIONS = [(method, path) for path, item in DOCUMENT["paths"].items() for method in item]


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[httpx2.Client]:
    with serving(index) as served:
        yield served


def test_the_document_is_served_with_the_version(client: httpx2.Client) -> None:
    from importlib.metadata import version

    served = client.get("/openapi.json").json()
    assert served["info"].pop("version") == version("kbask")
    assert served == {**DOCUMENT, "info": {name: value for name, value in DOCUMENT["info"].items() if name != "version"}}


def test_every_route_is_documented_and_every_document_a_route() -> None:
    source = (ROOT / "assistant" / "http_server.py").read_text(encoding="utf-8")
    routes = {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Route"
        and isinstance(node.args[0], ast.Constant)
    }
    assert routes - {"/", "/static/{name}"} == {path for _, path in OPERATIONS}


def test_the_limits_of_the_document_are_those_of_the_code() -> None:
    from assistant import http_requests
    from assistant.answer import Block

    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Top"] == {**schemas["Top"], "maximum": http_requests.MAX_TOP, "default": http_requests.DEFAULT_TOP}
    assert schemas["AskRequest"]["properties"]["conversation"]["maxItems"] == http_requests.MAX_TURNS
    assert schemas["ChatRequest"]["properties"]["messages"]["maxItems"] == http_requests.MAX_MESSAGES
    assert schemas["Block"]["properties"]["kind"]["enum"] == list(get_args(get_type_hints(Block)["kind"]))


def test_the_server_keeps_to_its_document(client: httpx2.Client, tmp_path: Path) -> None:
    # From a file: the address of a document itself is not tested.
    document = tmp_path / "openapi.json"
    document.write_bytes(client.get("/openapi.json").content)
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", str(client.base_url)]
    options = ["--generation-deterministic", "--max-examples", "4", "--phases", "examples,coverage,fuzzing", "--no-color"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {len(OPERATIONS)}" in done.stdout, done.stdout


def test_a_stream_keeps_to_the_document_too(client: httpx2.Client) -> None:
    content = DOCUMENT["paths"]["/v1/ask"]["post"]["responses"]["200"]["content"]
    names = content["text/event-stream"]["schema"]["properties"]["event"]["enum"]
    for name, told in events(client, {"text": "loss is zero"}):
        assert name in names
        whole = DOCUMENT["components"]["schemas"]["Answer"]["properties"]
        assert set(told) <= set(whole) | {"number", "kind", "html"}, name
