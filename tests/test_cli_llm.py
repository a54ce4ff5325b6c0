"""kbask with a model, as a user runs it: a server of the protocol that replays an answer, and the commands of our own server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
def test_a_projects_file_chooses_no_model_and_does_not_switch_kbask_off(kbask: Kbask, tmp_path: Path, line: str) -> None:
    (tmp_path / "kbask.toml").write_text(f"[llm]\n{line}\n")
    done = kbask("loss is zero during sft", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, kbask("loss is zero during sft").stdout)
    assert done.stderr.splitlines() == [
        f"kbask: ignored: llm.{line.split()[0]} in {tmp_path / 'kbask.toml'}; a project's file may set lang and top alone"
    ]


def test_a_projects_address_is_not_asked(kbask: Kbask, server: Replaying, tmp_path: Path) -> None:
    (tmp_path / "kbask.toml").write_text(f'[llm]\non = true\nurl = "{server.url}"\n')
    assert kbask("--llm-model", "replay", "--llm-url", server.url, stdin=LOG, cwd=tmp_path).returncode == 0
    assert len(server.asked) == 1
    assert "Written by" not in kbask(stdin=LOG, cwd=tmp_path).stdout
    assert len(server.asked) == 1


def test_the_prompt_that_is_shown_is_the_one_that_is_sent(kbask: Kbask, server: Replaying) -> None:
    shown = kbask("--llm-url", server.url, "--show-prompt", stdin=LOG)
    assert server.asked == []
    kbask("--llm-url", server.url, stdin=LOG)
    sent = "".join(f"--- {message['role']} ---\n{message['content']}\n\n" for message in server.asked[0]["messages"])
    assert shown.stdout == sent
    context = "this is for a context of 16384 tokens, and with less, fewer excerpts are sent\n"
    assert shown.stderr == f"kbask: {server.url} was not asked; {context}"
    for arguments, why in (
        ([], "no model was chosen"),
        (["--llm"], "no model runs"),
        (["--llm-url", "http://127.0.0.1:9"], "http://127.0.0.1:9/v1 was not asked"),
    ):
        done = kbask(*arguments, "--show-prompt", stdin=LOG)
        assert (done.stdout, done.stderr) == (shown.stdout, f"kbask: {why}; {context}")


def test_the_prompt_for_another_host_is_shown_without_asking_it_and_without_whose_it_is(kbask: Kbask) -> None:
    secret = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
    done = kbask("--llm-url", "http://no-such-host.invalid:8000", "--show-prompt", stdin=f"{LOG}\ntoken {secret} is used\n")
    assert (done.returncode, done.stdout.startswith("--- system ---")) == (0, True)
    assert "http://no-such-host.invalid:8000/v1 was not asked" in done.stderr
    assert secret not in done.stdout


@pytest.mark.parametrize(
    ("language", "reason"),
    [
        ("en", "No model wrote this: No model answers at http://127.0.0.1:9/v1/models"),
        ("zh", "这份回答不是模型写的：http://127.0.0.1:9/v1/models 没有模型应答（连接被拒绝）。"),
    ],
)
def test_a_server_that_is_not_there_is_a_line_of_the_answer(kbask: Kbask, language: Language, reason: str) -> None:
    arguments = ("--llm-url", "http://127.0.0.1:9/v1", "--lang", language)
    done = kbask(*arguments, stdin=LOG)
    assert done.returncode == 0
    assert reason in " ".join(done.stdout.split())
    assert kbask("--lang", language, stdin=LOG).stdout.splitlines()[-1] in done.stdout
    told = kbask(*arguments, "--json", stdin=LOG)
    found = json.loads(told.stdout)
    assert (told.returncode, found["model"], found["left_out"], len(found["notices"])) == (0, None, 0, 1)
    assert found["notices"][0].startswith(reason)


def test_what_did_not_pass_is_counted_and_what_was_noticed_stands_in_the_json(kbask: Kbask, server: Replaying) -> None:
    server.reply = GOOD["en"] + BAD
    found = json.loads(kbask("--llm-url", server.url, "--json", stdin=LOG).stdout)
    assert found["left_out"] > 3
    assert found["notices"] == [f"Left out of what the model wrote, as no entry bears it out: {found['left_out']}"]
    found = json.loads(kbask("--json", stdin=LOG).stdout)
    assert (found["left_out"], found["notices"]) == (0, [])


def test_a_reply_that_breaks_off_keeps_what_passed_and_says_so(kbask: Kbask, server: Replaying) -> None:
    server.whole = False
    for language, said in (("en", "The model broke off: http"), ("zh", "模型没有写完：http")):
        server.reply = GOOD[language]  # type: ignore[index]
        done = kbask("--llm-url", server.url, "--lang", language, "--json", stdin=LOG)
        found = json.loads(done.stdout)
        assert (done.returncode, found["model"]) == (0, "replay")
        assert [notice.startswith(said) for notice in found["notices"]] == [True]
    server.whole = True
    found = json.loads(kbask("--llm-url", server.url, "--json", stdin=LOG).stdout)
    assert found["notices"] == []


def test_ids_are_known_in_any_case_and_shown_as_they_are(kbask: Kbask, server: Replaying) -> None:
    plain = kbask("--llm-url", server.url, stdin=LOG).stdout
    server.reply = server.reply.replace("[loss-zero-sft#half-precision]", "[KB:Loss-Zero-SFT#Half-Precision]")
    server.reply = server.reply.replace("loss-zero-sft#half-precision.1", "LOSS-ZERO-SFT#half-precision.1")
    assert "KB:Loss" in server.reply
    assert kbask("--llm-url", server.url, stdin=LOG).stdout == plain


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


@contextmanager
def writing(
    environment: dict[str, str], server: Replaying, *arguments: str, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """kbask as a process that prints what a model writes."""
    with subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", "--llm-url", server.url, *arguments, LOG],
        # An import that is interrupted leaves its file open, and Python says so where warnings are errors.
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore::ResourceWarning"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        yield child
        child.kill()


@pytest.mark.skipif(os.name == "nt", reason="Signals are sent otherwise there.")
@pytest.mark.parametrize("until", ["Loss is 0.0", "Half precision overflowed"], ids=["at the head", "in the reply"])
def test_ctrl_c_stops_the_writing_and_the_entrys_own_answer_follows(
    kbask: Kbask, environment: dict[str, str], until: str
) -> None:
    with replaying(GOOD["en"] * 50, pause=0.05) as server, writing(environment, server) as child:
        assert child.stdout is not None
        assert any(line.startswith(until) for line in child.stdout)
        child.send_signal(signal.SIGINT)
        rest, said = child.communicate(timeout=20)
        assert (child.returncode, said) == (0, "")
        assert not server.asked or server.hung_up.wait(5)
    _, notice, own = rest.partition("The model was stopped; below is the entry's own answer.\n\n")
    assert notice
    assert "Written by" not in rest
    assert kbask(stdin=LOG).stdout.endswith(own)
    assert own.startswith("Half precision overflowed: grad_norm nan, loss printed as 0\n")


@pytest.mark.skipif(os.name == "nt", reason="Signals are sent otherwise there.")
def test_an_answer_for_a_program_is_whole_after_ctrl_c(environment: dict[str, str]) -> None:
    with replaying(GOOD["en"] * 50, pause=0.05) as server, writing(environment, server, "--json") as child:
        assert server.was_asked.wait(20)
        child.send_signal(signal.SIGINT)
        found = json.loads(child.communicate(timeout=20)[0])
        assert (child.returncode, found["model"], found["snippets"] != []) == (0, None, True)
        assert found["notices"] == ["The model was stopped; below is the entry's own answer."]


@pytest.mark.skipif(os.name == "nt", reason="Signals are sent otherwise there.")
def test_a_second_ctrl_c_ends_kbask(environment: dict[str, str]) -> None:
    """Nobody reads what it prints, so it stands in the middle of the entry's own answer when the second one comes."""
    reader, writer = os.pipe()
    with replaying(GOOD["en"] * 50, pause=0.05) as server, writing(environment, server, stdout=writer) as child:
        with open(reader, encoding="utf-8", errors="replace") as printed:
            assert any(line.startswith("First:") for line in printed)
            assert server.was_asked.wait(20)
            os.set_blocking(writer, False)
            with suppress(BlockingIOError):
                while os.write(writer, b" "):
                    """Until it is full."""
            os.set_blocking(writer, True)
            child.send_signal(signal.SIGINT)
            assert server.hung_up.wait(20)
            child.send_signal(signal.SIGINT)
            os.close(writer)
            assert "All of it" not in printed.read()
        assert (child.wait(20), child.stderr and child.stderr.read()) == (130, "\n")


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
