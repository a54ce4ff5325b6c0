"""kbask with a model, as a user runs it: a server of the protocol that replays an answer, and the commands of our own server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.entry import LANGUAGES, Language, outside_fences
from indexer.index import Index
from tests.conftest import ROOT, Kbask
from tests.replay import Replaying, replaying
from tests.test_written import BAD, GOOD, LOG


@pytest.fixture
def server() -> Iterator[Replaying]:
    with replaying(GOOD["en"]) as state:
        yield state


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_of_a_written_answer_is_an_entrys(
    kbask: Kbask, index: Index, server: Replaying, language: Language
) -> None:
    server.reply = GOOD[language] + BAD
    done = kbask("--llm-url", server.url, "--lang", language, "--json", stdin=LOG)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    entry = index.entries["loss-zero-sft"]
    own = "\n".join(part.text for part in entry.pages[language].parts)
    said = [block for block in found["text"].split("\n\n") if not block.startswith(("#", "**"))]
    code = [line for _, line, is_prose in outside_fences("\n\n".join(said)) if not is_prose]
    code += re.findall(r"`([^`\n]+)`", "\n".join(line for _, line, is_prose in outside_fences("\n\n".join(said)) if is_prose))
    assert found["model"] == "replay"
    assert len(code) > 5
    assert [piece for piece in code if piece not in own] == []
    assert [call["command"] for call in found["snippets"]] == re.findall(r"`(kbask run[^`]+)`", found["text"])
    assert "magic-fix" not in done.stdout
    assert "evil.example" not in done.stdout


def test_an_address_is_asked_by_flag_by_environment_and_by_the_users_own_file(
    kbask: Kbask, server: Replaying, tmp_path: Path
) -> None:
    address = server.url.removeprefix("http://").removesuffix("/v1")
    (tmp_path / "kbask").mkdir()
    (tmp_path / "kbask" / "kbask.toml").write_text(f'[llm]\nurl = "{address}"\nmodel = "replay"\n')
    for arguments, environment in (
        (["--llm-url", server.url], {}),
        ([], {"KBASK_LLM_URL": address}),
        ([], {"XDG_CONFIG_HOME": str(tmp_path)}),
    ):
        done = kbask(*arguments, stdin=LOG, env=environment)
        assert "Written by replay" in done.stdout, done
    assert len(server.asked) == 3
    done = kbask("--no-llm", stdin=LOG, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert "Written by" not in done.stdout
    done = kbask(stdin=LOG, env={"XDG_CONFIG_HOME": str(tmp_path), "KBASK_LLM": "0"})
    assert "Written by" not in done.stdout
    assert len(server.asked) == 3


@pytest.mark.parametrize("line", ['url = "http://evil.example"', 'command = "evil"', 'model = "./evil"', "on = true"])
def test_a_projects_file_chooses_no_model(kbask: Kbask, tmp_path: Path, line: str) -> None:
    (tmp_path / "kbask.toml").write_text(f"[llm]\n{line}\n")
    done = kbask("loss is zero during sft", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"sets llm.{line.split()[0]}; a project's file may not" in done.stderr


def test_the_prompt_that_is_shown_is_the_one_that_is_sent(kbask: Kbask, server: Replaying) -> None:
    shown = kbask("--llm-url", server.url, "--show-prompt", stdin=LOG)
    assert server.asked == []
    kbask("--llm-url", server.url, stdin=LOG)
    sent = "".join(f"--- {message['role']} ---\n{message['content']}\n\n" for message in server.asked[0]["messages"])
    assert shown.stdout == sent
    without = kbask("--show-prompt", stdin=LOG)
    assert without.stdout == shown.stdout
    assert "no model was chosen" in without.stderr


def test_a_server_that_is_not_there_is_a_line_of_the_answer(kbask: Kbask) -> None:
    done = kbask("--llm-url", "http://127.0.0.1:9/v1", stdin=LOG)
    assert done.returncode == 0
    assert "No model wrote this: No model answers at http://127.0.0.1:9/v1" in " ".join(done.stdout.split())
    assert "Show the NaN" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--llm-url", "ftp://x"], "--llm-url: 'ftp://x' is no address like http://localhost:8000/v1"),
        (["--llm-url", "http://["], "is no address of a server"),
        (["--llm-model", " "], "--llm-model: ' ' is no text"),
    ],
)
def test_what_is_no_address_or_name_is_said(kbask: Kbask, arguments: list[str], reason: str) -> None:
    done = kbask(*arguments, "loss is zero during sft")
    assert reason in " ".join((done.stdout + done.stderr).split())


def test_weak_evidence_asks_no_model(kbask: Kbask, server: Replaying) -> None:
    done = kbask("--llm-url", server.url, "how do I bake bread?")
    assert done.returncode == 3
    assert server.asked == []
    assert kbask("--llm-url", server.url, "--show-prompt", "how do I bake bread?").returncode == 3


@pytest.mark.skipif(os.name == "nt", reason="Signals are sent otherwise there.")
def test_the_head_comes_at_once_and_ctrl_c_stops_the_writing(environment: dict[str, str]) -> None:
    with replaying(GOOD["en"] * 50, pause=0.05) as server:
        child = subprocess.Popen(
            [sys.executable, "-m", "assistant.cli", "--llm-url", server.url, LOG],
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Half precision overflowed"):
                break
        assert not server.hung_up.is_set()
        child.send_signal(signal.SIGINT)
        rest, said = child.communicate(timeout=10)
        assert server.hung_up.wait(5)
        assert child.returncode == 1
        assert "Traceback" not in said
        assert "All of it" not in rest


def test_full_and_explain_are_as_without_a_model(kbask: Kbask, server: Replaying) -> None:
    assert kbask("--llm-url", server.url, "--full", stdin=LOG).stdout == kbask("--full", stdin=LOG).stdout
    assert "log-odds" in kbask("--llm-url", server.url, "--explain", stdin=LOG).stdout


def test_words_that_begin_with_a_groups_name_are_a_question(kbask: Kbask) -> None:
    assert "% sure" in kbask("llm", "loss", "is", "zero", "during", "sft").stdout
    assert "Usage: kbask llm" in kbask("llm").stderr + kbask("llm").stdout


def test_status_and_stop_say_that_none_runs(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("llm", "status", "--cache", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "No model's server runs. Start one: kbask llm start\n")
    assert json.loads(kbask("llm", "status", "--json", "--cache", str(tmp_path)).stdout)["status"] == "stopped"
    assert kbask("llm", "stop", "--cache", str(tmp_path)).stdout == "No model's server was running.\n"


def test_a_model_that_is_not_on_this_disk_names_the_command_that_fetches_it(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("llm", "start", "--model", "Qwen/Qwen3-4B-Instruct-2507", "--cache", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("Fetch it: hf download Qwen/Qwen3-4B-Instruct-2507")
