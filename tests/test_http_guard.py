"""Who may ask: each refusal over a real connection, and the headers that every reply has."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from assistant.http_guard import POLICY, HttpSettings, Rate, is_loopback
from indexer.index import Index
from tests.replay import replaying
from tests.test_generation import within
from tests.test_http import LOG, QUESTION, REPLY, connect, serving

ORIGIN = "https://kb.example.org"


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[httpx2.Client]:
    with serving(index, origins=(ORIGIN,), max_body_bytes=100_000, seconds_to_receive=0.5) as served:
        yield served


@pytest.fixture(scope="module")
def closed(index: Index) -> Iterator[httpx2.Client]:
    """A server that wants a token; the client sends it."""
    with serving(index, token="the right one") as served:
        yield served


def error(reply: httpx2.Response) -> tuple[int, str]:
    """A refusal's status and type; it has one sentence and nothing else."""
    said = reply.json()
    assert list(said) == ["error"]
    assert list(said["error"]) == ["message", "type"]
    assert re.fullmatch(r"[A-Z/][^\n]+\.?", said["error"]["message"])
    return reply.status_code, said["error"]["type"]


def raw(client: httpx2.Client, text: bytes) -> bytes:
    """What the server says to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(text)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "", "127.0.0.1:{port}."]
)
def test_another_host_is_refused(client: httpx2.Client, host: str) -> None:
    host = host.format(port=client.base_url.port)
    for path in ("/", "/healthz", "/v1/entries"):
        assert error(client.get(path, headers={"Host": host})) == (421, "wrong_host")


def test_the_hosts_of_loopback_are_answered_in_any_case(client: httpx2.Client) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert client.get("/healthz", headers={"Host": f"{host}:{client.base_url.port}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", f"{ORIGIN}.evil.example", f"{ORIGIN}:443", "file://", ""]
)
def test_a_page_of_another_origin_is_refused_and_reads_nothing(client: httpx2.Client, origin: str) -> None:
    for reply in (
        client.post("/v1/ask", json={"text": QUESTION}, headers={"Origin": origin}),
        client.get("/v1/entries", headers={"Origin": origin}),
        client.options("/v1/ask", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert error(reply) == (403, "permission_error")
        assert not any(name.startswith("access-control-allow") for name in reply.headers)


def test_a_listed_origin_may_ask_and_read(client: httpx2.Client) -> None:
    leave = client.options("/v1/ask", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert leave.status_code == 204
    assert leave.headers["access-control-allow-headers"] == "authorization, content-type"
    reply = client.post("/v1/ask", json={"text": QUESTION}, headers={"Origin": ORIGIN})
    assert reply.status_code == 200
    for answer in (leave, reply, client.post("/v1/ask", json={}, headers={"Origin": ORIGIN})):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-origin" not in client.get("/v1/entries").headers


def test_the_own_page_may_ask_also_behind_a_proxy_that_speaks_tls(client: httpx2.Client) -> None:
    for scheme in ("http", "https"):
        origin = f"{scheme}://127.0.0.1:{client.base_url.port}"
        reply = client.post("/v1/ask", json={"text": QUESTION}, headers={"Origin": origin})
        assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (200, False)


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Bearer  the right one", "Token the right one", "Basic dGhl", "Bearer \xff"]
)
def test_without_the_token_nothing_is_told(closed: httpx2.Client, given: str | None) -> None:
    with httpx2.Client(base_url=closed.base_url) as stranger:
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        for method, path in (("POST", "/v1/ask"), ("POST", "/v1/search"), ("POST", "/v1/chat/completions"), ("GET", "/v1/models"),
                             ("GET", "/v1/entries"), ("GET", "/v1/entries/loss-zero-sft"), ("GET", "/metrics"), ("GET", "/nothing")):  # fmt: skip
            reply = stranger.request(method, path, headers=headers)  # type: ignore[arg-type]
            assert error(reply) == (401, "authentication_error")
            assert reply.headers["www-authenticate"] == 'Bearer realm="kbask"'
        assert stranger.get("/v1/entries", headers={"X-Api-Key": "the right one"}).status_code == 401


def test_with_the_token_everything_is_told_and_some_without(closed: httpx2.Client) -> None:
    assert closed.get("/v1/entries").status_code == 200
    assert closed.post("/v1/ask", json={"text": QUESTION}).status_code == 200
    with httpx2.Client(base_url=closed.base_url) as stranger:
        assert stranger.get("/v1/models", headers={"Authorization": "bearer the right one"}).status_code == 200
        for path in ("/", "/static/kbask.css", "/healthz", "/readyz", "/openapi.json"):
            assert stranger.get(path).status_code == 200


def test_why_a_model_failed_is_for_who_has_the_token(index: Index) -> None:
    with serving(index, lambda: connect("http://127.0.0.1:9/v1"), token="t") as client:
        assert within(20, lambda: client.get("/readyz").json()["model"].startswith("failed: No model answers"))
        assert httpx2.get(f"{client.base_url}/readyz").json()["model"] == "failed"


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: httpx2.Client) -> None:
    head = b"POST /v1/ask HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n" % (client.base_url.port or 0)
    for length in (b"100001", b"99999999999", b"9" * 19):
        said = raw(client, head + b"Content-Length: " + length + b"\r\n\r\n")  # Not a byte of it is sent.
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"larger than the 100,000 bytes" in said
        assert b"connection: close" in said.lower()
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    said = raw(client, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4)  # And it does not end.
    assert said.startswith(b"HTTP/1.1 413 ")
    assert error(client.post("/v1/ask", json={"text": "x" * 200_000})) == (413, "too_large")
    assert client.post("/v1/ask", json={"text": "x" * 90_000}).status_code == 200
    in_pieces = iter([b'{"text": ', b'"loss is zero"}'])
    assert client.post("/v1/ask", content=in_pieces, headers={"Content-Type": "application/json"}).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(client: httpx2.Client) -> None:
    head = b"POST /v1/ask HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n" % (client.base_url.port or 0)
    began = time.monotonic()
    said = raw(client, head + b'Content-Length: 20\r\n\r\n{"text": ')
    assert said.startswith(b"HTTP/1.1 408 ")
    assert json.loads(said.rpartition(b"\r\n\r\n")[2])["error"]["type"] == "timeout"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "given", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
)
def test_another_form_than_json_is_refused(client: httpx2.Client, given: str) -> None:
    reply = client.post("/v1/ask", content=b'{"text": "x"}', headers={"Content-Type": given})
    assert error(reply) == (415, "unsupported_media_type")
    assert client.post(
        "/v1/ask", content=b'{"text": "x"}', headers={"Content-Type": "Application/JSON; charset=utf-8"}
    ).is_success


def test_every_reply_has_the_headers_that_keep_a_browser_safe(client: httpx2.Client) -> None:
    replies = [
        client.get(path)
        for path in ("/", "/static/kbask.css", "/v1/entries", "/v1/entries/loss-zero-sft", "/nothing", "/metrics")
    ]
    replies += [client.post("/v1/ask", json={"text": QUESTION}), client.post("/v1/ask", json={}), client.get("/v1/ask")]
    replies += [
        client.get("/", headers={"Host": "evil"}),
        client.post("/v1/ask", json={"text": QUESTION}, headers={"Accept": "text/event-stream"}),
    ]
    for reply in replies:
        assert reply.headers["content-security-policy"] == POLICY
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in reply.headers
    assert all(reply.headers["cache-control"] == "no-store" for reply in replies if reply.request.method == "POST")
    assert "unsafe" not in POLICY


def test_a_client_that_asks_too_often_is_told_when_to_come_again(index: Index) -> None:
    with serving(index, requests_a_minute=3) as client:
        replies = [client.get("/v1/models") for _ in range(4)]
        assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
        assert error(replies[3]) == (429, "rate_limit")
        assert 1 <= int(replies[3].headers["retry-after"]) <= 21
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200  # A balancer looks every second.


def test_whom_a_proxy_asks_for_is_believed_of_those_that_are_named_alone(index: Index) -> None:
    body = {"model": "kbask", "messages": [{"role": "user", "content": QUESTION}]}
    for proxies, statuses, scheme in (
        ((), [200, 200, 429], "http"),
        (("127.0.0.1",), [200] * 3, "https"),
        (("*",), [200] * 3, "https"),
    ):
        with serving(index, requests_a_minute=2, proxies=proxies) as client:
            replies = [
                client.post(
                    "/v1/chat/completions",
                    json=body,
                    headers={"X-Forwarded-For": f"10.0.0.{who}", "X-Forwarded-Proto": "https"},
                )
                for who in range(3)
            ]
            assert [reply.status_code for reply in replies] == statuses
            host = f"127.0.0.1:{client.base_url.port}"
            assert f"({scheme}://{host}/?entry=" in replies[0].json()["choices"][0]["message"]["content"]


def test_a_rate_is_a_minutes_worth_at_once_and_then_so_many_a_minute() -> None:
    now = [0.0]
    rate = Rate(60, lambda: now[0])
    assert [rate.seconds_to_wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.seconds_to_wait("a") == pytest.approx(1.0)
    assert rate.seconds_to_wait("b") == 0.0
    now[0] = 0.5
    assert rate.seconds_to_wait("a") == pytest.approx(0.5)
    now[0] = 1.0
    assert rate.seconds_to_wait("a") == 0.0
    assert rate.seconds_to_wait("a") == pytest.approx(1.0)
    now[0] = 1000.0
    assert [rate.seconds_to_wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.seconds_to_wait("a") > 0
    for number in range(5000):
        rate.seconds_to_wait(str(number))
    assert len(rate._left) == 4096


def test_when_too_many_wait_the_next_is_told_to_come_again(index: Index) -> None:
    with (
        replaying(REPLY * 20, pause=0.05) as replay,
        serving(index, lambda: connect(replay.url), concurrent=1, waiting=1) as client,
    ):
        found: list[httpx2.Response] = []
        waiting = [threading.Thread(target=lambda: found.append(client.post("/v1/ask", json={"text": LOG}))) for _ in range(4)]
        for thread in waiting:
            thread.start()
        assert within(20, lambda: len(found) == 2)
        assert [error(reply) for reply in found] == [(429, "rate_limit")] * 2
        assert found[0].headers["retry-after"] == "2"
        # Whoever wants no model does not wait for it.
        assert client.post("/v1/ask", json={"text": LOG, "model": False}).status_code == 200
        replay.pause = 0.0
        for thread in waiting:
            thread.join()
        assert [reply.status_code for reply in found[2:]] == [200, 200]


@pytest.mark.parametrize(
    "text", [b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
             b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"POST /v1/ask HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
             b"POST /v1/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_harms_nobody(client: httpx2.Client, text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 421")
    assert client.get("/healthz").status_code == 200


def test_the_hosts_are_those_of_the_address_or_those_that_are_named() -> None:
    assert HttpSettings(host="10.0.0.7", port=80, token="t").allowed_hosts == {"10.0.0.7:80", "10.0.0.7"}
    own = {"127.0.0.1:8017", "localhost:8017", "[::1]:8017"}
    for host in ("0.0.0.0", "127.0.0.1"):
        named = HttpSettings(host=host, hosts=("KB.example.org:443",)).allowed_hosts
        assert named == {"kb.example.org:443", "kb.example.org", *own}
    assert HttpSettings(port=8017).allowed_hosts == own
    for host in ("kb.example.org", "[fd00::5]"):  # Without a port: the name alone, and with the one that is listened on.
        assert HttpSettings(port=9000, hosts=(host,)).allowed_hosts >= {host, f"{host}:9000"}
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")] == [True] * 5
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")] == [False] * 5


def test_the_page_is_named_as_it_is_asked_for() -> None:
    assert HttpSettings().page == "http://localhost:8017/"
    assert HttpSettings(host="::1").page == "http://[::1]:8017/"
    assert HttpSettings(host="0.0.0.0", port=9000, hosts=("kb.example.org", "other")).page == "http://kb.example.org:9000/"
    assert HttpSettings(host="0.0.0.0", hosts=("kb.example.org:80",)).page == "http://kb.example.org:80/"
