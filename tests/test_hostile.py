"""What breaks programs: input without end or sense, full disks, closed streams, Ctrl-C, entries made to do harm.

Each gets its right answer, or one clear line and the documented exit code; never a traceback, never a hang.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gzip
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from assistant.config import read_settings
from assistant.snippets import plan
from indexer.entry import Snippet, builtin_folder
from indexer.errors import EntryError, KbaskError
from indexer.importer import import_document
from indexer.index import Index, read_collection
from indexer.passages import cells
from indexer.query import Query
from indexer.reading import is_binary
from indexer.signatures import SignatureSet
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits, capabilities and tmpfs are Linux's")

WATCHDOG = (
    b"[rank1]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=11455, OpType=BROADCAST, NumelIn=1, NumelOut=1, "
    b"Timeout(ms)=1800000) ran for 1806422 milliseconds before timing out.\n"
)
MEGABYTE = 1 << 20
SECONDS = 20  # Whatever takes longer hangs; the slowest takes 3 s on a machine of its own.
# What a terminal obeys: C0 and C1 but for the line's end, and Unicode's Bidi_Control.
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Setup = Callable[[], object]


class Done(NamedTuple):
    """A process that has ended: exit code (minus the signal that ended it), what it wrote, and its peak memory where asked."""

    code: int
    out: str
    err: str
    megabytes: int = 0


# A process forked from pytest counts pytest's memory as its own peak, even after exec: a small one is put between.
WEIGH = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)"""


Hostile = Callable[..., Done]


@pytest.fixture(scope="session")
def hostile(environment: dict[str, str]) -> Hostile:
    """Run kbask: `stdin` is bytes or an iterable of them, `setup` is called in the child, `words` are its command line."""

    def call(
        *words: str,
        stdin: bytes | Iterable[bytes] = b"",
        setup: Setup | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        weigh: bool = False,
        **streams: int,
    ) -> Done:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [*([sys.executable, "-ISc", WEIGH] if weigh else []), sys.executable, "-m", "assistant.cli", *words],
                stdin=subprocess.PIPE,
                stdout=streams.get("stdout", out),
                stderr=streams.get("stderr", err),
                env={**environment, "PYTHONPATH": str(ROOT), **(env or {})},
                cwd=cwd or ROOT,
                preexec_fn=setup,
            )
            assert process.stdin is not None
            guard = threading.Timer(SECONDS, process.kill)
            guard.start()
            try:
                for piece in [stdin] if isinstance(stdin, bytes) else stdin:
                    process.stdin.write(piece)
                process.stdin.close()
            except BrokenPipeError:
                pass  # It has seen enough.
            process.wait()
            guard.cancel()
            out.seek(0)
            err.seek(0)
            written, said = (stream.read().decode(errors="replace") for stream in (out, err))
            megabytes = 0
            if weigh:
                *lines, number = said.splitlines(keepends=True)
                said, megabytes = "".join(lines), int(number)
            return Done(process.returncode, written, said, megabytes)

    return call


class TooLongError(BaseException):
    """No Exception, so that nothing takes it for an error of a file."""


@contextlib.contextmanager
def within(seconds: float = 4) -> Iterator[None]:
    """Work or waiting that is given up after so many seconds."""

    def too_long(*_: object) -> None:
        raise TooLongError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TooLongError as error:
        pytest.fail(str(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def one_line(done: Done, code: int) -> str:
    """The one line that says what is wrong; wrong usage has click's two lines and a blank one before it."""
    assert done.code == code, done.err[-2000:]
    lines = done.err.splitlines()
    if code == 2 and lines[0].startswith("Usage:"):
        assert [line.startswith(start) for line, start in zip(lines, ("Usage: ", "Try ", ""), strict=False)] == [True] * 3
        lines = lines[3:]
    assert len(lines) == 1, done.err[-2000:]
    assert done.out == ""
    return lines[0]


def without_privileges() -> None:
    """Root reads and writes everything; without these two capabilities it is held to permissions like anybody."""
    if os.getuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered, read or written."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0)
    listed = subprocess.run([sys.executable, "-c", f"import os; os.listdir({str(folder)!r})"],
                            preexec_fn=without_privileges, capture_output=True, check=False)  # fmt: skip
    if listed.returncode == 0:
        folder.chmod(0o700)
        pytest.skip("this user's permissions cannot be taken away")
    yield folder
    folder.chmod(0o700)


# ---- input


@pytest.mark.parametrize(
    "data", [b"", b"\n\n\n", b"\t \r\n", "\u3000\u200b\n".encode(), b"\xef\xbb\xbf", b"\x1b[0m\n", b"\0" * 9000]
)
def test_input_without_a_word_is_empty(data: bytes) -> None:
    assert Query.from_bytes(data).is_empty


def test_nothing_at_all_is_one_clear_line(hostile: Hostile) -> None:
    assert "the input is empty" in one_line(hostile(), 2)


PROGRAM = Path(os.path.realpath(sys.executable)).read_bytes()[:200_000]


@pytest.mark.parametrize(
    "data",
    [PROGRAM, gzip.compress(PROGRAM)],
    ids=["a program", "gzip"],
)
def test_a_binary_on_standard_input_is_named(hostile: Hostile, data: bytes) -> None:
    assert "binary" in one_line(hostile(stdin=data), 2)


@pytest.mark.parametrize("data", [b"\0" * 100_000 + b"\n" + WATCHDOG, b"\0" * 300 + WATCHDOG * 3, b"a\0b\n" + WATCHDOG * 9])
def test_a_log_with_nuls_is_no_binary(data: bytes, index: Index) -> None:
    """A log that was cut while it was written to begins with as many NULs as were cut; a node that died leaves some, too."""
    assert not is_binary(data[:4096])
    assert index.search(Query.from_bytes(data))[0].entry_id == "nccl-watchdog-timeout"


@pytest.mark.parametrize("unit", [b"x", "微".encode(), "微".encode("utf-16-le")], ids=["ascii", "chinese", "utf-16"])
def test_a_line_of_50_megabytes_takes_little_memory(hostile: Hostile, unit: bytes) -> None:
    """In UTF-16, the beginning of the line has its mark."""
    block = unit * (MEGABYTE // len(unit))
    mark = b"\xff\xfe" if len(unit) == 2 else b""
    done = hostile("--explain", weigh=True, stdin=(mark, *(block for _ in range(50)), WATCHDOG if not mark else b""))
    assert done.code in (0, 3), done.err[-2000:]
    assert mark or "nccl-watchdog-timeout" in done.out
    assert done.megabytes < 300


def test_one_deciding_line_in_the_middle_of_60_megabytes_is_found_with_its_number(hostile: Hostile) -> None:
    rows = [b"{'loss': %d.%04d, 'grad_norm': 1.5, 'learning_rate': 1.9e-05}\n" % (i % 7 + 1, i) for i in range(9000)]
    block = b"".join(rows)
    half = 30 * MEGABYTE // len(block)
    done = hostile("--explain", weigh=True, stdin=[block] * half + [WATCHDOG] + [block] * half)
    assert done.code == 0, done.err[-2000:]
    assert f"line {half * len(rows) + 1}: Watchdog caught collective operation timeout" in done.out
    assert done.megabytes < 300


@pytest.mark.parametrize("piece", ["x", "`", "[", "(a", "啊", "\\", "?", "-", "1.", "<a"])
def test_a_question_as_long_as_a_command_line_takes_no_longer(piece: str) -> None:
    start = time.process_time()
    Query.from_text(piece * (120_000 // len(piece.encode()))).search_text  # noqa: B018
    assert time.process_time() - start < 2


# ---- streams and signals


@pytest.mark.parametrize("words", [(), ("list",)])
def test_a_reader_that_has_gone_is_no_traceback(hostile: Hostile, words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = hostile(*words, stdin=WATCHDOG, stdout=write)
    os.close(write)
    assert (done.code, done.err) == (1, "")


ASK, RUN = ("loss is zero during sft",), ("run", "loss-zero-sft", "--", "--help")


@pytest.mark.parametrize(
    ("words", "closed"), [(ASK, (1,)), (ASK, (0, 1, 2)), (RUN, (2,))], ids=["ask >&-", "ask <&- >&- 2>&-", "run 2>&-"]
)
def test_closed_streams_are_no_failure(hostile: Hostile, words: tuple[str, ...], closed: tuple[int, ...]) -> None:
    done = hostile(*words, setup=lambda: [os.close(descriptor) for descriptor in closed])
    assert (done.code, done.err) == (0, "")


def test_a_full_disk_behind_standard_output_is_one_line(hostile: Hostile) -> None:
    with open("/dev/full", "wb") as full:
        assert "No space left" in one_line(hostile("list", "--json", stdout=full.fileno()), 1)


def interrupted(
    environment: dict[str, str], words: tuple[str, ...], is_ready: Callable[[int, subprocess.Popen[bytes]], None]
) -> Done:
    """kbask on a pipe for input, interrupted once `is_ready` returns; it takes the pipe's end to write to."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", *words],
        stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(read)
    try:
        is_ready(write, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        os.close(write)
    return Done(process.returncode, out.decode(), err.decode())


def waits_for_input(write: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until a little input is taken: then kbask reads, and nothing more comes."""
    os.write(write, b"a line\n")
    waiting = ctypes.c_int(1)
    while waiting.value:
        time.sleep(0.02)
        fcntl.ioctl(write, termios.FIONREAD, waiting)
        assert process.poll() is None
    time.sleep(0.1)


def reads(write: int, process: subprocess.Popen[bytes]) -> None:
    """Writes until more is taken than a pipe holds: then kbask is at work on it."""
    taken = 0
    os.set_blocking(write, False)
    while taken < 8 * MEGABYTE:
        assert process.poll() is None
        if select.select([], [write], [], 1)[1]:
            taken += os.write(write, b"RuntimeError: a line\n" * 3000)


@pytest.mark.parametrize("is_ready", [waits_for_input, reads])
def test_an_interrupt_ends_it_with_one_line_at_most(
    environment: dict[str, str], is_ready: Callable[[int, subprocess.Popen[bytes]], None]
) -> None:
    done = interrupted(environment, (), is_ready)
    assert done.code in (1, 130, -signal.SIGINT)
    assert len(done.err.strip().splitlines()) <= 1, done.err
    assert done.out == ""


# ---- settings and places


def test_a_file_where_a_folder_of_entries_should_be_is_wrong_usage(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"there is no folder {tmp_path / 'file'}" in one_line(hostile("list", "--kb", str(tmp_path / "file")), 2)


def test_a_folder_of_entries_that_cannot_be_read_is_one_line_that_names_it(hostile: Hostile, locked: Path) -> None:
    done = hostile("list", "--kb", str(locked), setup=without_privileges)
    assert str(locked) in one_line(done, 1)


def small_disk(folder: Path) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode == 0


@pytest.mark.parametrize("trouble", ["a read-only folder", "a full disk"])
def test_a_cache_that_cannot_be_written_is_said_and_done_without(hostile: Hostile, tmp_path: Path, trouble: str) -> None:
    """Where no small disk can be mounted, no file may be larger than one of those that an index has."""
    cache = tmp_path / "cache"
    cache.mkdir()
    setup: Setup = without_privileges
    mounted = trouble == "a full disk" and small_disk(cache)
    if trouble == "a read-only folder":
        cache.chmod(0o500)
    elif not mounted:
        setup = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        done = hostile("--embedder", "none", "--cache", str(cache), stdin=WATCHDOG, setup=setup)
        left = list(cache.iterdir())
    finally:
        if mounted:
            subprocess.run(["umount", cache], check=True)
    assert done.code == 0, done.err[-2000:]
    assert "nccl-watchdog-timeout" in done.out
    assert "stays in memory" in done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert left == []


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


BAD_SETTINGS: dict[str, bytes | Callable[[Path], None]] = {
    "an unknown key": b"tpo = 3",
    "a key of two lines": b'"a\\nb\\u001b[31m" = 1',
    "a forbidden key": b"kb = ['evil']",
    "a wrong type": b"lang = {a = 1}",
    "a number in other digits": '"top" = "\u00b2"'.encode(),
    "no TOML": b"top: 3\n",
    "not UTF-8": b"lang = '\xff\xfe'",
    "nested too deeply": b"top = " + b"[" * 20_000,
    "NULs": b"\0" * 1000,
    "a folder": Path.mkdir,
    "a pipe": a_pipe,
}


@pytest.mark.parametrize("what", BAD_SETTINGS)
def test_a_projects_file_made_to_do_harm_sets_nothing_and_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    made = BAD_SETTINGS[what]
    path = tmp_path / "kbask.toml"
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        made(path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    with within():
        settings = read_settings({}, {})
    assert set(settings.origins.values()) == {"default"}
    (warning,) = settings.warnings
    assert str(path) in warning
    assert "\n" not in warning


def test_a_bad_projects_file_does_not_keep_a_question_from_its_answer(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "kbask.toml").write_bytes(b"tpo = 3")
    done = hostile("loss is zero", cwd=tmp_path)
    assert done.code == 0, done.err
    assert [line for line in done.err.splitlines() if "ignored: tpo in" in line] == done.err.splitlines()[:1]


def test_an_unknown_snippet_to_run_names_the_nearest_entry(hostile: Hostile) -> None:
    assert "loss-zero-sft" in one_line(hostile("run", "loss-zero-stf", "--dry-run"), 1)


def test_an_id_that_a_terminal_would_obey_is_shown_and_not_obeyed(hostile: Hostile) -> None:
    line = one_line(hostile("show", "loss\x1b[2J\u202e\u200f\nzero"), 1)
    assert not OBEYED.search(line)


def test_chinese_is_understood_in_a_locale_without_it(hostile: Hostile) -> None:
    c_in_earnest = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = hostile("微调的时候 loss 一直是 0", env=c_in_earnest)
    assert (done.code, done.err) == (0, "")
    assert "kbask show loss-zero-sft" in done.out


def test_a_narrow_terminal_gets_its_answer(environment: dict[str, str]) -> None:
    """It is written for 40 columns at least; the terminal breaks what is longer."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 20, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", "loss is zero during sft"],
        stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
        env={**environment, "TERM": "xterm", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(slave)
    output = b""
    while select.select([master], [], [], SECONDS)[0]:
        try:
            output += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert process.wait(timeout=SECONDS) == 0
    text = output.decode()
    assert "kbask show loss-zero-sft" in " ".join(text.split())
    prose = [line for line in text.splitlines() if "http" not in line and not line.startswith("  ")]
    assert max(map(cells, prose)) <= 40


# ---- entries made to do harm

Change = Callable[[Path], object]
PATTERN, STEP, CHECK, RELATED, SNIPPETS = "'ERR_QUEUE_FULL 77'", "The do this", "## Check", "related: []", "snippets: []"


def swap(old: str, new: str, *files: str) -> Change:
    """Put other text into the English page, or into these files."""

    def change(folder: Path) -> None:
        for file in files or ("index.md",):
            path = folder / file
            text = path.read_text(encoding="utf-8")
            assert old in text
            path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def pattern(text: str) -> Change:
    return swap(PATTERN, f"'ERR_QUEUE_FULL 77{text}'")


def sized(name: str, size: int) -> Change:
    """A file of that size, which takes no room on the disk."""

    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(size)

    return change


def replaced(name: str, make: Callable[[Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def linked(name: str, target: str) -> Change:
    return replaced(name, lambda path: path.symlink_to(target))


def odd_name(folder: Path) -> None:
    folder.rename(os.fsdecode(bytes(folder.parent) + b"/caf\xe9\x1b[31m\xe2\x80\xae"))


LEVELS = "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9))
OWN = "snippets:\n  - {{file: {0}, does: check, about: b}}"
BORROWED = "snippets:\n  - {{file: {0}, does: check, about: b, of: queue-full}}"

REFUSED: dict[str, Change] = {
    "front matter of 50 MB": sized("index.md", 50 * MEGABYTE),
    "a sample of 100 MB": sized("samples/todo-1.txt", 100 * MEGABYTE),
    "a bomb of aliases": swap(RELATED, f"a: &a [1]\n{LEVELS}"),
    "lists 900 deep": swap(RELATED, f"related: {'[' * 900}{']' * 900}"),
    "lists 100,000 deep": swap(RELATED, "related: " + "[" * 100_000),
    "mappings 900 deep": swap(RELATED, f"related: {'{a: ' * 900}1{'}' * 900}"),
    "a call into Python": swap(RELATED, "related: !!python/object/apply:os.system ['true']"),
    "a truth that is none": swap(RELATED, "related: !!bool 'x'"),
    "a time that is none": swap(RELATED, "related: !!timestamp 'x'"),
    "a day that is none": swap("reviewed: 20", "reviewed: 2026-13-45 #"),
    "a number of 5,000 digits": swap(RELATED, f"related: []\nseed: {'9' * 5000}"),
    "a list for a key": swap(RELATED, "? [a, b]\n: 1"),
    "a page that is a folder": replaced("index.zh.md", Path.mkdir),
    "a page that is a pipe": replaced("index.zh.md", a_pipe),
    "a page linked to what never ends": linked("index.md", "/dev/zero"),
    "a page linked to another file": linked("index.md", "/etc/passwd"),
    "a page linked to itself": linked("index.zh.md", "index.zh.md"),
    "a sample that is a pipe": replaced("samples/todo-3.txt", a_pipe),
    "a sample linked to a secret": linked("samples/todo-1.txt", "/etc/passwd"),
    "a script that is a pipe": replaced("check.py", a_pipe),
    "a script outside": swap(SNIPPETS, OWN.format("../../x.py")),
    "a borrowed script outside": swap(SNIPPETS, BORROWED.format("../../x.py")),
    "a borrowed script that is a folder": swap(SNIPPETS, BORROWED.format('".."')),
    "a script with a NUL in its name": swap(SNIPPETS, BORROWED.format(r'"a\0b"')),
    "an escape code in the title": swap("# The queue-full", "# The \x1b]0;x\x07queue-full"),
    "an escape code in the summary": swap('summary: "', r'summary: "\e[2J'),
    "an escape code in an ask": swap("  - queue ask 1\n", '  - "\\e[2Jqueue ask"\n'),
    "an escape code in a key": swap(RELATED, r'"\e[2J": []'),
    "a turn of direction in an ask": swap("  - queue ask 1\n", '  - "\\u202equeue ask"\n'),
    "a half of a character": swap('summary: "', r'summary: "\ud800'),
    "a name that is no text": odd_name,
    "a million links begun": swap(STEP, "[" * 300_000),
    "a million images begun": swap(STEP, "![" * 150_000),
    "a heading full of ids begun": swap(CHECK, f"## {' {#' * 100_000}x\n\n{CHECK}"),
    "20,000 causes": swap(CHECK, "### a {#a}\n" * 20_000 + CHECK),
    "20,000 equal asks": swap("  - queue ask 1\n", "  - same\n  - like\n" * 10_000),
    "a pattern of nothing but brackets": pattern("[" * 50_000),
    "a pattern of nothing but braces": pattern("{" * 100_000),
    "a pattern that counts beyond numbers": pattern(f"a{{{'9' * 5000}}}"),
    "a pattern that counts counts": pattern("(.{0,90}.{0,90}.{0,90}b)?"),
}  # fmt: skip


def seen(kb: Path, beneath: Path) -> tuple[set[str], tuple[str, ...]]:
    """Entries and notices of an overlay, read over other entries."""
    with within():
        collection = read_collection([beneath, kb])
    return {entry.id for entry in collection.entries}, collection.notices


@pytest.mark.parametrize("what", REFUSED)
def test_an_entry_made_to_do_harm_is_skipped_in_one_line(team_kb: Path, tmp_path: Path, what: str) -> None:
    REFUSED[what](team_kb / "ours" / "queue-full")
    ids, notices = seen(team_kb, beneath=tmp_path / "nothing")
    assert ids == set()
    assert len(notices) == 1
    assert notices[0].startswith("Skipped ")
    assert "\n" not in notices[0]
    assert "root:" not in notices[0]


# Odd, and harmless if they take no longer than others; whether they are entries is for the rules to say.
SLOW: dict[str, Change] = {
    "a page of fences": swap(CHECK, "> ```\n" * 30_000 + CHECK),
    "a step with a number of 5,000 digits": swap(CHECK, f"{'9' * 5000}. x\n\n{CHECK}"),
    "a line of backticks": swap(STEP, "`" * 300_001),
    "a link of 200,000 words": swap(STEP, "[a](b" + " c" * 100_000),
    "addresses without end": swap(STEP, "<https://" * 100_000),
    "a pattern of 20,000 branches": pattern("|" + "aaaaaaa|" * 20_000),
    "a pattern of 20,000 stars": pattern("(" + "|".join(f"x{i}.*" for i in range(20_000)) + ")?"),
    "a pattern 900 deep": pattern("(" * 900 + ")" * 900),
    "999 patterns": swap("signatures:\n", "signatures:\n" + "".join(f"  - pattern: 'ERR_QUEUE {i}x'\n" for i in range(999))),
    "samples of a million": lambda folder: (folder / "samples/todo-1.txt").write_text("ERR_QUEUE_FULL 77 " + "aa " * 300_000),
    "a link in a circle": lambda folder: (folder / "round").symlink_to(".."),
}  # fmt: skip


@pytest.mark.parametrize("what", SLOW)
def test_an_odd_entry_takes_no_longer_than_others(team_kb: Path, what: str) -> None:
    SLOW[what](team_kb / "ours" / "queue-full")
    ids, notices = seen(team_kb, beneath=builtin_folder())
    assert "loss-zero-sft" in ids
    assert ("queue-full" in ids) + len(notices) == 1


@pytest.mark.parametrize(
    "text", ["(.{99,}.{99,}.{99,}b)?", "((([ab]{9}){9}){9}c)?", "(.*.*.*.*.*.*.*a{99}b)?", r"(\w{60}\w{60}c)?", "((a+)+)+b"]
)
def test_a_pattern_that_explodes_elsewhere_takes_linear_time_here(text: str, team_kb: Path) -> None:
    pattern(f"|ERR_QUEUE_FULL 78{text}")(team_kb / "ours" / "queue-full")
    lines = Query.from_text("".join(f"ERR_QUEUE_FULL 78 {'ab' * 150} {number}\n" for number in range(2000))).lines
    entries = [entry for entry in read_collection([builtin_folder(), team_kb]).entries if entry.id == "queue-full"]
    start = time.process_time()
    SignatureSet(entries).match(lines)
    assert time.process_time() - start < 2


def test_a_kb_full_of_harm_still_answers_from_its_good_entry(hostile: Hostile, team_kb: Path, tmp_path: Path) -> None:
    """Of the process as a whole: memory, what reaches the terminal, and one line for each entry that is skipped."""
    good = team_kb / "ours" / "queue-full"
    names = [
        "front matter of 50 MB", "a sample of 100 MB", "a bomb of aliases", "lists 100,000 deep", "a sample linked to a secret",
        "a script outside", "an escape code in the title", "an escape code in the summary", "an escape code in an ask",
        "an escape code in a key", "a turn of direction in an ask", "a name that is no text",
    ]  # fmt: skip
    for number, what in enumerate(names):
        harm = good.with_name(f"harm-{number}")
        shutil.copytree(good, harm)
        for path in harm.rglob("*.*"):
            path.write_text(
                path.read_text(encoding="utf-8").replace("ERR_QUEUE_FULL 77", f"ERR_HARM_DONE 1{number}"), encoding="utf-8"
            )
        REFUSED[what](harm)
    words = ("--kb", str(team_kb), "--cache", str(tmp_path / "cache"), "--embedder", "none")
    done = hostile("--explain", *words, weigh=True, stdin=b"ERR_QUEUE_FULL 77\nsome other line\n")
    assert done.code == 0, done.err[-2000:]
    assert "queue-full" in done.out
    assert len(done.err.splitlines()) == len(names)
    assert all(line.startswith("kbask: Skipped ") for line in done.err.splitlines())
    assert not OBEYED.search(done.out + done.err)
    assert done.megabytes < 150  # 53 without the overlay: no file is read whole to see that it is too large.


def test_a_mark_of_direction_does_not_reach_the_terminal(hostile: Hostile, team_kb: Path, tmp_path: Path) -> None:
    """Those that the rules let pass, for some scripts need them, are of no use to a terminal."""
    swap('summary: "', 'summary: "\\u061c\\u200e\\u200f')(team_kb / "ours" / "queue-full")
    words = ("--kb", str(team_kb), "--cache", str(tmp_path), "--embedder", "none", "--full")
    done = hostile(*words, stdin=b"ERR_QUEUE_FULL 77\nsome other line\n")
    assert not OBEYED.search(done.out + done.err)


SCRIPT = "# /// script\n{0}# ///\nprint('run')\n"


def with_script(team_kb: Path, text: str) -> tuple[str, ...]:
    """A script in the team's entry, and the flags to ask with."""
    folder = team_kb / "ours" / "queue-full"
    (folder / "check.py").write_text(text, encoding="utf-8")
    swap(SNIPPETS, OWN.format("check.py"), "index.md")(folder)
    swap("references:", "snippets:\n  - {file: check.py, about: b}\nreferences:", "index.zh.md")(folder)
    swap(STEP, "[check.py](check.py) The do this", "index.md")(folder)
    page = folder / "index.zh.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[check.py](check.py)\n", encoding="utf-8")
    return ("--kb", str(team_kb), "--cache", str(team_kb.parent / "cache"), "--embedder", "none")


@pytest.mark.parametrize("block", ["# dependencies = [\n", "# dependencies = 5\n", "# dependencies = [1]\n", "# a =\n"])
def test_a_script_with_a_broken_block_is_our_error_or_run_as_it_is(tmp_path: Path, block: str) -> None:
    (tmp_path / "check.py").write_text(SCRIPT.format(block))
    with contextlib.suppress(KbaskError):
        plan(tmp_path / "check.py", Snippet("check.py", "check", {}), ())


def test_a_script_shown_on_a_terminal_is_not_obeyed(environment: dict[str, str], team_kb: Path) -> None:
    words = with_script(team_kb, SCRIPT.format("") + "# \x1b]0;title\x07\x1b[2J\n")
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "assistant.cli", "show", "queue-full/check.py", *words],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE, cwd=ROOT, timeout=SECONDS, check=False,
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(slave)
    text = os.read(master, 65536).decode()
    os.close(master)
    assert done.returncode == 0, done.stderr
    assert "print('run')" in text
    assert not OBEYED.search(text.replace("\r\n", "\n"))


@pytest.mark.parametrize("place", ["ours/queue-full", "ours/queue-full/index.zh.md"])
def test_an_entry_that_may_not_be_read_is_one_line_that_names_it(
    hostile: Hostile, team_kb: Path, locked: Path, place: str
) -> None:
    path = team_kb / place
    path.chmod(0)
    try:
        done = hostile(
            "list",
            "--kb",
            str(team_kb),
            "--embedder",
            "none",
            "--cache",
            str(locked.parent / "cache"),
            setup=without_privileges,
        )
    finally:
        path.chmod(0o700)
    assert done.code in (0, 1)
    assert len(done.err.splitlines()) == 1, done.err[-2000:]
    assert "queue-full" in done.err or place in done.err


@pytest.mark.parametrize(
    "text",
    [
        "", "\0", "# " + "[" * 200_000, "# 1 a\n" + "![" * 100_000, "# 1 a\n" + "[](" * 100_000, "#" * 300_000,
        "# 1 a\n```\n" * 999, "# 1 a\n" + "> ```\n" * 50_000, "# " + "1" * 5000,
        "# 1 " + " {#" * 50_000 + "x", "# 1 a\n![](" + "x" * 5000 + ")",
        "# 1 a\n![](../../../../etc/passwd)", "# 1 a\n" + "RuntimeError: [[[[((((\\\\ " * 2000, "# 1 \x1b[31m\u202e\n# 2 x",
        "# 1 a\n" + "".join(f"# {i} b\n" for i in range(2, 1000)),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_document_made_to_do_harm_is_taken_or_refused_in_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "faq.md").write_text(text, encoding="utf-8")
    with within(), contextlib.suppress(EntryError):
        import_document(tmp_path / "faq.md", tmp_path / "out")
    assert not any("root:" in path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.*"))


def test_json_of_a_hostile_log_is_json(hostile: Hostile) -> None:
    done = hostile("--json", stdin=b"\x1b[31m\xff\xfe\x9b" + WATCHDOG.replace(b"ran", b"\xe2\x80\xaeran\xed\xa0\x80") * 3)
    assert json.loads(done.out)["hits"][0]["entry"] == "nccl-watchdog-timeout"
    assert not OBEYED.search(done.out)
