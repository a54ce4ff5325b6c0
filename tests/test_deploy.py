"""Several servers behind nginx, as deploy/ has them: one is killed under load, and only what it was answering is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.test_generation import within

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
DEPLOY = ROOT / "deploy"
CLIENTS = 4
TOKEN = "a token of this test"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def post(port: int, text: str) -> int:
    """The status of a question; 0 where the connection broke."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/ask",
        json.dumps({"text": text}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            reply.read()
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


@contextmanager
def serving(port: int, front: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A `kbask serve` that is asked by the balancer's name; killed at the end."""
    names = ["--allow-host", f"127.0.0.1:{front}", "--proxy", "127.0.0.1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", "serve", "--port", str(port), "--requests", "0", *names],
        env={**environment, "PYTHONPATH": str(ROOT), "KBASK_SERVE_TOKEN": TOKEN},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while post(port, "loss is zero") != 200:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def balancing(front: int, ports: list[int], folder: Path) -> Iterator[None]:
    """nginx with the configuration of deploy/, other addresses, and no limit a client, as all come from one here."""
    assert NGINX is not None
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for number, port in enumerate(ports, 1):
        text = text.replace(f"kbask-{number}:8017", f"127.0.0.1:{port}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{front}").replace("rate=10r/s", "rate=5000r/s")
    (folder / "nginx.conf").write_text(f"daemon off;\npid {folder}/nginx.pid;\nuser root;\n{text}", encoding="utf-8")
    child = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while post(front, "loss is zero") != 200:
            assert child.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        child.send_signal(signal.SIGQUIT)
        child.wait(20)


@dataclass
class Load:
    """Questions of several clients until told to stop: (when it ended, status) each."""

    port: int
    ended: list[tuple[float, int]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            status = post(self.port, f"[rank0]: step {number} loss 1.{number}\nWatchdog caught collective operation timeout: ")
            self.ended.append((time.monotonic(), status))


@pytest.mark.xdist_group("deploy")
def test_a_server_that_dies_under_load_loses_only_what_it_was_answering(environment: dict[str, str], tmp_path: Path) -> None:
    if NGINX is None:
        if os.environ.get("CI"):
            pytest.fail("There is no nginx. Install it: apt-get install nginx-light")
        pytest.skip("There is no nginx; install it to run this test: apt-get install nginx-light")
    front, *ports = (free_port() for _ in range(3))
    with ExitStack() as stack:
        first, _ = (stack.enter_context(serving(port, front, environment)) for port in ports)
        stack.enter_context(balancing(front, ports, tmp_path))
        load = Load(front)
        clients = [threading.Thread(target=load.run) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        assert within(60, lambda: len(load.ended) >= 40)
        first.kill()
        first.wait()
        killed, before = time.monotonic(), len(load.ended)
        try:
            assert within(60, lambda: len(load.ended) >= before + 80)
        finally:
            load.stop.set()
            for client in clients:
                client.join(40)
        assert not any(client.is_alive() for client in clients)
    lost = [(at, status) for at, status in load.ended if status != 200]
    assert len(lost) <= CLIENTS
    assert all(killed - 1 < at < killed + 3 for at, _ in lost)
    assert {status for _, status in lost} <= {0, 502, 504}


def test_the_compose_file_has_the_servers_that_nginx_names_and_no_secret() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    named = set(re.findall(r"server ([\w-]+):8017", (DEPLOY / "nginx.conf").read_text(encoding="utf-8")))
    assert named == {name for name in composed["services"] if name.startswith("kbask-")}
    for name in named:
        service = composed["services"][name]
        assert service["environment"]["KBASK_LLM_URL"] == "http://vllm:8000/v1"
        assert all(value.startswith(("${", "http://")) for value in service["environment"].values())
        assert "--allow-host" in service["command"]
        assert "ports" not in service
        assert ' --proxy "*" ' in service["command"]
    assert "--tensor-parallel-size 4" in composed["services"]["vllm"]["command"]
    assert composed["services"]["nginx"]["ports"] == ["127.0.0.1:8080:8080"]


def test_the_command_of_the_image_says_which_variable_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    command = json.loads(next(line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")))
    (tmp_path / "kbask").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m assistant.cli "$@"\n', encoding="utf-8")
    (tmp_path / "kbask").chmod(0o755)
    base = {**environment, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{environment['PATH']}"}
    for given, said in (
        ({}, "KBASK_HOST: is the name by which it is asked, like kb.example.org"),
        ({"KBASK_HOST": "kb.example.org"}, "export KBASK_SERVE_TOKEN=$(openssl rand -hex 24)"),
    ):
        done = subprocess.run(command, env={**base, **given}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert said in done.stderr
