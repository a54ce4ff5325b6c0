"""The model server of this machine, for real: SmolLM2 behind transformers' chat on the CPU, and llama.cpp's server as a command."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from assistant import rag
from assistant.generation import Server, connect
from assistant.llm_app import plain_messages
from assistant.llm_memory import bytes_needed, find_checkpoint, freest_gpu, weights
from assistant.llm_server import Endpoint, Wanted, read_state, running, start, stop
from indexer.entry import outside_fences
from indexer.errors import GenerationError
from indexer.index import Index
from indexer.query import Query
from tests.conftest import Kbask
from tests.test_generation import gguf, within

pytestmark = pytest.mark.xdist_group("llm")

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
SAVE_AS_PLAIN_FOLDER = """
import sys
import torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source, target = Path(sys.argv[1]), sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
model = AutoModelForCausalLM.from_pretrained(
    source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
)
model.to(torch.bfloat16).save_pretrained(target)
tokenizer.save_pretrained(target)
"""
LLAMA = """
import signal, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], int(sys.argv[2]), 512, 1, False
params.model_alias = {"smollm2"}
params.cpuparams.n_threads = 1
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = xllamacpp.Server(params)
signal.pause()
"""


@pytest.fixture(scope="session")
def smollm2(request: pytest.FixtureRequest) -> Path:
    """SmolLM2-135M-Instruct as a plain folder; saved once, which takes most of a minute, and kept in pytest's cache."""
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("smollm2") / "model"
    if not folder.is_dir():
        fresh = folder.with_name(f"{os.getpid()}.tmp")
        subprocess.run([sys.executable, "-c", SAVE_AS_PLAIN_FOLDER, str(gguf()), str(fresh)], check=True, capture_output=True)
        try:
            fresh.rename(folder)
        except OSError:  # Another process of this run was first.
            assert folder.is_dir()
            shutil.rmtree(fresh)
    return folder


@pytest.fixture
def llama_command() -> str:
    return shlex.join([sys.executable, "-c", LLAMA, str(gguf()), "PORT"]).replace("PORT", "{port}")


@dataclass
class Started:
    """A server that two starts at once made, and what each of them was told."""

    folder: Path
    wanted: Wanted
    endpoints: list[Endpoint]
    told: list[str]

    @property
    def model(self) -> Server:
        endpoint = self.endpoints[0]
        return connect(endpoint.url, key=endpoint.token)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        import httpx2

        headers = {"Authorization": f"Bearer {self.endpoints[0].token}", **more.pop("headers", {})}
        return httpx2.request(method, self.endpoints[0].url.removesuffix("/v1") + path, headers=headers, timeout=60, **more)


@pytest.fixture(scope="module")
def started(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("llm")
    server = Started(folder, Wanted(model=str(smollm2), device="cpu", threads=1), [], [])
    starts = [
        threading.Thread(target=lambda: server.endpoints.append(start(folder, server.wanted, server.told.append)))
        for _ in range(2)
    ]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join(180)
    assert server.endpoints, (folder / "server.log").read_text()
    yield server
    assert stop(folder)
    assert running(folder) is None
    assert not (folder / "server.json").exists()


def test_two_starts_at_once_give_one_server(started: Started) -> None:
    assert len(started.endpoints) == 2
    assert started.endpoints[0] == started.endpoints[1] == start(started.folder, started.wanted)


def test_loading_is_told_as_it_goes_on(started: Started) -> None:
    assert "warming up" in started.told
    assert [text for text in started.told if text.startswith("loading ")]


def test_another_model_is_not_started_beside_it(started: Started) -> None:
    with pytest.raises(GenerationError, match=r"runs already; org/other is asked for\. Run: kbask llm stop"):
        start(started.folder, Wanted(model="org/other"))


def test_what_holds_the_token_is_for_this_user_alone(started: Started) -> None:
    assert stat.S_IMODE((started.folder / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((started.folder / "server.log").stat().st_mode) == 0o600
    assert stat.S_IMODE(started.folder.stat().st_mode) == 0o700


def test_a_reply_comes_in_pieces_and_is_always_the_same(started: Started) -> None:
    model = started.model
    first, again = list(model.stream(MESSAGES, 12)), list(model.stream(MESSAGES, 12))
    assert 5 < len(first) <= 12
    assert first == again
    word = "".join(first).split()[3]
    assert "".join(model.stream(MESSAGES, 12, [word])) == "".join(first).partition(word)[0]


def test_a_request_to_sample_is_not_heard(started: Started) -> None:
    body = {
        "messages": MESSAGES,
        "max_tokens": 8,
        "temperature": 2.0,
        "top_p": 1.0,
        "seed": 7,
        "generation_config": '{"do_sample": true}',
    }
    texts = [
        started.ask("POST", "/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"]
        for asked in (body, {"messages": MESSAGES, "max_tokens": 8})
    ]
    assert texts[0] == texts[1] != ""


def test_hanging_up_stops_the_writing(started: Started) -> None:
    model = started.model
    pieces = model.stream(MESSAGES, 3000)
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    start_time = time.monotonic()
    assert next(model.stream(MESSAGES, 2))  # Replies are written one after the other; 3000 tokens take minutes.
    assert time.monotonic() - start_time < 30


def test_tokens_are_counted_and_the_context_is_told(started: Started) -> None:
    model = started.model
    assert model.context == 8192
    assert model.count_tokens("hello world") == 2


def test_a_prompt_that_is_too_long_is_refused_in_one_line(started: Started) -> None:
    with pytest.raises(
        GenerationError, match=r"answered 400: The prompt is \d+ tokens longer than the model's context of 8192\."
    ):
        list(started.model.stream([{"role": "user", "content": "word " * 9000}], 5))


def test_the_openai_client_understands_it(started: Started) -> None:
    import openai

    endpoint = started.endpoints[0]
    with openai.OpenAI(base_url=endpoint.url, api_key=endpoint.token, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [endpoint.model]
        whole = client.chat.completions.create(model=endpoint.model, messages=MESSAGES, max_tokens=6)  # type: ignore[call-overload]
        with client.chat.completions.create(
            model=endpoint.model,
            messages=MESSAGES,
            max_tokens=6,
            stream=True,  # type: ignore[call-overload]
        ) as chunks:
            pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(pieces) == whole.choices[0].message.content != ""
    with (
        openai.OpenAI(base_url=endpoint.url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_a_wrong_token_is_refused(started: Started) -> None:
    for header in ("", "Bearer", "Bearer wrong", started.endpoints[0].token):
        assert started.ask("GET", "/v1/models", headers={"Authorization": header}).status_code == 401
    with pytest.raises(GenerationError, match="refuses the key"):
        connect(started.endpoints[0].url, key="wrong")


def test_a_foreign_host_is_refused(started: Started) -> None:
    for host in ("evil.example.com", "127.0.0.1", "localhost:1", ""):
        assert started.ask("GET", "/v1/models", headers={"Host": host}).status_code == 403
    port = started.endpoints[0].url.removesuffix("/v1").rpartition(":")[2]
    assert started.ask("GET", "/v1/models", headers={"Host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/load_model"),
        ("POST", "/reset"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/completions"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("OPTIONS", "/v1/chat/completions"),
    ],
)
def test_there_is_no_other_page(started: Started, method: str, path: str) -> None:
    assert started.ask(method, path, **({"json": {"model": "x"}} if method == "POST" else {})).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "org/other", "messages": MESSAGES}, 404),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "file:///etc/passwd"}]}]}, 400),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400),
        ({"messages": []}, 400),
        ({"messages": MESSAGES, "stop": [1]}, 400),
        ({"messages": MESSAGES, "max_tokens": "many"}, 400),
        (["no object"], 400),
    ],
)
def test_what_is_no_chat_of_text_is_refused(started: Started, body: Any, status: int) -> None:
    reply = started.ask("POST", "/v1/chat/completions", json=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_several_replies_are_written_at_once_where_several_are_wanted(smollm2: Path, tmp_path: Path) -> None:
    endpoint = start(tmp_path, Wanted(model=str(smollm2), device="cpu", threads=1, streams=2))
    try:
        model = connect(endpoint.url, key=endpoint.token)
        long, short = model.stream(MESSAGES, 3000), model.stream([{"role": "user", "content": "Say yes."}], 3)
        assert next(long)
        assert 0 < len(list(short)) <= 3
        assert next(long)
        long.close()  # type: ignore[attr-defined]
    finally:
        stop(tmp_path)


def test_a_command_is_supervised_and_its_model_answers(llama_command: str, tmp_path: Path) -> None:
    endpoint = start(tmp_path, Wanted(command=llama_command))
    assert "".join(connect(endpoint.url, key=endpoint.token).stream(MESSAGES, 5))
    state = running(tmp_path)
    assert state is not None
    assert state.endpoint == endpoint
    os.killpg(state.pid, signal.SIGKILL)
    assert within(5, lambda: running(tmp_path) is None)
    # What the dead one left is no obstacle.
    assert read_state(tmp_path) is not None
    again = start(tmp_path, Wanted(command=llama_command))
    assert again.token != endpoint.token
    assert stop(tmp_path)
    assert not stop(tmp_path)


@pytest.fixture
def small_context(smollm2: Path, tmp_path: Path) -> Path:
    """The same model with a context that holds little more than one entry."""
    folder = tmp_path / "small"
    folder.mkdir()
    for path in smollm2.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((smollm2 / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2304}))
    return folder


@pytest.mark.parametrize("server", ["transformers", "llama.cpp"])
def test_what_a_small_model_writes_is_held_back_or_the_entrys_own(
    index: Index,
    small_context: Path,
    llama_command: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rag, "MAX_REPLY", 60)
    own_server = Wanted(model=str(small_context), device="cpu", threads=1)
    foreign = Wanted(command=llama_command.replace(", 512, 1,", ", 2304, 1,"))
    endpoint = start(tmp_path, own_server if server == "transformers" else foreign)
    try:
        model = connect(endpoint.url, key=endpoint.token)
        assert model.context == 2304
        query = Query.from_text("loss is zero during sft")
        shown = list(rag.write(query, index, "en", lambda: model, top=1))
    finally:
        stop(tmp_path)
    composed = rag.answer(query, index, "en", top=1)
    own = "\n".join(part.text for part in index.entries["loss-zero-sft"].pages["en"].parts)
    assert shown[0].kind == "head"
    for block in shown[1:]:
        code = [line for _, line, is_prose in outside_fences(block.text) if not is_prose]
        assert block.kind in ("notice", "foot") or block in composed.blocks or all(line in own for line in code)
    assert shown[-1].kind == "foot"


def test_the_command_starts_tells_and_stops_it(kbask: Kbask, smollm2: Path, tmp_path: Path) -> None:
    cache = ("--cache", str(tmp_path))
    started = kbask("llm", "start", "--model", str(smollm2), "--cpu", "--threads", "1", "--idle", "2", *cache)
    assert (started.returncode, started.stderr) == (0, "")
    assert re.fullmatch(
        r"\S+ is ready at http://127\.0\.0\.1:\d+/v1; it ends after 2 minutes without a question\.\n", started.stdout
    )
    try:
        state = json.loads(kbask("llm", "status", "--json", *cache).stdout)
        assert (state["status"], state["model"]) == ("ready", str(smollm2))
        # A question is written by it without being asked for: it is what the prompt is made for.
        shown = kbask("loss is zero during sft", "--show-prompt", *cache)
        assert "no model was chosen" not in shown.stderr
        assert connect(state["url"], key=read_state(tmp_path / "llm").token).count_tokens(shown.stdout) < 8192  # type: ignore[union-attr]
        assert "no model was chosen" in kbask("loss is zero during sft", "--show-prompt", "--no-llm", *cache).stderr
    finally:
        assert kbask("llm", "stop", *cache).stdout == "Stopped.\n"
    assert kbask("llm", "status", *cache).returncode == 1


def test_a_server_that_nobody_asks_ends_by_itself(llama_command: str, tmp_path: Path) -> None:
    start(tmp_path, Wanted(command=llama_command, idle=1.0))
    # A look is a question: it lives as long as somebody looks.
    for _ in range(8):
        assert running(tmp_path) is not None
        time.sleep(0.25)
    time.sleep(2.5)
    assert within(5, lambda: running(tmp_path) is None)
    assert read_state(tmp_path) is None


def test_a_server_that_does_not_stop_is_killed(llama_command: str, tmp_path: Path) -> None:
    start(tmp_path, Wanted(command=llama_command + " --deaf"))
    state = running(tmp_path)
    assert state is not None
    os.kill(state.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert stop(tmp_path)
    assert 4.5 < time.monotonic() - began < 9
    assert running(tmp_path) is None


def test_a_command_has_the_environment_of_the_user_and_the_key(tmp_path: Path) -> None:
    command = shlex.join(
        ["sh", "-c", 'echo "path=$PYTHONPATH name=$NAME key=${#LLAMA_API_KEY} ${#VLLM_API_KEY}"; exit 3', "{port}"]
    )
    for path, said in ((None, "path= name=n key=43 43"), ("/theirs", "path=/theirs name=n key=43 43")):
        environment = {"PATH": os.environ["PATH"], "NAME": "n", **({"PYTHONPATH": path} if path else {})}
        with pytest.raises(GenerationError, match="sh ended with 3 before it was ready"):
            start(tmp_path, Wanted(command=command), environment=environment)
        assert (tmp_path / "server.log").read_text().strip() == said


def test_a_module_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assistant").mkdir()
    (tmp_path / "assistant" / "__init__.py").write_text("print('taken over')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenerationError, match="no-such-server cannot be started"):
        start(tmp_path / "llm", Wanted(command="no-such-server {port}"))
    assert (tmp_path / "llm" / "server.log").read_text() == ""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            Wanted(command="no-such-server --port {port}"),
            "no-such-server cannot be started: No such file or directory. Is llm.command",
        ),
        (Wanted(command="false {port}"), "false ended with 1 before it was ready; see "),
        (Wanted(command="vllm serve x"), "llm.command has no {port}; it is like: llama-server -m model.gguf --port {port}"),
        (Wanted(model="org/not-here"), "The model org/not-here is not on this disk. Fetch it: hf download org/not-here"),
        (Wanted(model="no/such/model/at all"), "no/such/model/at all is neither a folder nor the id of a model."),
    ],
)
def test_what_cannot_start_says_so_in_one_line(wanted: Wanted, said: str, tmp_path: Path) -> None:
    with pytest.raises(GenerationError) as caught:
        start(tmp_path / "llm", wanted)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert running(tmp_path / "llm") is None


@pytest.fixture
def giant(tmp_path: Path) -> Path:
    """A checkpoint of eight terabytes, all of them holes."""
    folder = tmp_path / "giant"
    folder.mkdir()
    config = {
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 262144}))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(8 * 10**12)
    return folder


def test_a_model_that_does_not_fit_is_not_loaded(giant: Path, tmp_path: Path) -> None:
    with pytest.raises(
        GenerationError, match=r"This machine has \d+\.\d GB of memory free, the model needs 160\d\d\.\d GB\. Choose a"
    ):
        start(tmp_path / "llm", Wanted(model=str(giant), device="cpu"))


def test_what_a_model_needs_is_read_from_its_files(giant: Path) -> None:
    needed = bytes_needed(giant, streams=1)
    assert needed.weights == 8 * 10**12
    assert needed.cache == 16384 * 36 * 2 * 8 * 128 * 2
    assert bytes_needed(giant, streams=2).cache == needed.cache
    assert bytes_needed(giant, streams=32).cache == 32 * 4096 * 36 * 2 * 8 * 128 * 2
    assert needed.on_gpu == needed.weights + needed.cache + 1_500_000_000


def test_a_checkpoint_with_a_missing_file_is_none(giant: Path) -> None:
    index = giant / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}))
    assert weights(giant) == []
    (giant / "model-2.safetensors").touch()
    assert [path.name for path in weights(giant)] == ["model-2.safetensors", "model.safetensors"]
    (giant / "config.json").unlink()
    with pytest.raises(GenerationError, match=r"is no model of transformers: it has no config\.json"):
        find_checkpoint(str(giant))


def test_the_gpu_with_most_free_memory_is_chosen_among_those_that_may_be_used() -> None:
    said = "0, GPU-aa, 1000\n1, GPU-bb, 70000\n2, GPU-cc, 80000\n3, GPU-dd, [N/A]\n"
    assert freest_gpu(said, None) == ("GPU-cc", 80000 * 2**20)
    assert freest_gpu(said, "0,1") == ("GPU-bb", 70000 * 2**20)
    assert freest_gpu(said, "GPU-a") == ("GPU-aa", 1000 * 2**20)
    assert freest_gpu(said, "") is None
    assert freest_gpu("", None) is None


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain_messages([{"role": "system", "content": parts}]) == [{"role": "system", "content": "a\nb"}]
    assert plain_messages([{"role": "user", "content": None}]) is None


def test_a_job_is_all_that_is_wanted() -> None:
    wanted = Wanted(model="a/b")
    assert wanted.name == "a/b"
    assert replace(wanted, command="vllm serve --port {port}").name == "vllm serve --port {port}"
