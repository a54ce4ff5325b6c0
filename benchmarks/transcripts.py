"""Run the commands of the transcripts in README.md and kb/about again, and write what they print now in their place.

    python -m benchmarks.transcripts

What stands at http://localhost:8000/v1 in them is a server that replays a composed reply (benchmarks/answers/replies), in the
language of the command: the checks and all that is printed are real, the reply is no model's. `python ask.py` runs the README's
program of that name against a real `kbask serve`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.replay import replaying

ROOT = Path(__file__).parent.parent
REPLIES = ROOT / "benchmarks" / "answers" / "replies"
ADDRESS = "http://localhost:8000/v1"


def printed(command: str) -> str:
    """What a command prints, in an English locale, with nothing configured."""
    words = shlex.split(command)
    return printed_by_program(words[2:]) if words[:2] == ["python", "ask.py"] else printed_by_kbask(words[1:])


def printed_by_kbask(words: list[str]) -> str:
    stdin = b""
    if "<" in words:
        stdin = (ROOT / words[words.index("<") + 1]).read_bytes()
        words = words[: words.index("<")]
    with contextlib.ExitStack() as stack:
        if ADDRESS in words:
            reply = REPLIES / f"slow-checkpoint.{'zh' if 'zh' in words else 'en'}.txt"
            server = stack.enter_context(replaying(reply.read_text(encoding="utf-8")))
            words[words.index(ADDRESS)] = server.url
        done = subprocess.run(
            [sys.executable, "-m", "assistant.cli", *words],
            input=stdin,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=plain_environment(),
            check=True,
        )
    return done.stdout.decode().rstrip()


def printed_by_program(words: list[str]) -> str:
    """What the README's ask.py prints of a server of its own."""
    program = re.search(r"```python\n(# ask\.py\n.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    serve = [sys.executable, "-m", "assistant.cli", "serve", "--port", str(port)]
    server = subprocess.Popen(serve, cwd=ROOT, env=plain_environment(), stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        code = program[1].replace("localhost:8017", f"127.0.0.1:{port}")
        done = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, cwd=ROOT, env=plain_environment(), check=True
        )
    finally:
        server.terminate()
        server.wait(20)
    return done.stdout.decode().replace(f"127.0.0.1:{port}", "localhost:8017").rstrip()


def plain_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KBASK_", "LC_"))}
    return {**kept, "LANG": "en_US.UTF-8"}


TRANSCRIPT = re.compile(r"^(`{3,})console\n\$ ((?:kbask|python ask\.py) [^\n]+)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)


def main() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "kb" / "about").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        anew = TRANSCRIPT.sub(lambda found: f"{found[1]}console\n$ {found[2]}\n{printed(found[2])}\n{found[1]}", text)
        path.write_text(anew, encoding="utf-8")


if __name__ == "__main__":
    main()
