"""Run the commands of the transcripts in README.md and kb/about again, and write what they print now in their place.

    python -m benchmarks.transcripts

What stands at http://localhost:8000/v1 in them is a server that replays a composed reply (benchmarks/answers/replies), in the
language of the command: the checks and all that is printed are real, the reply is no model's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.replay import replaying

ROOT = Path(__file__).parent.parent
REPLIES = ROOT / "benchmarks" / "answers" / "replies"
ADDRESS = "http://localhost:8000/v1"


def printed(command: str) -> str:
    """What a kbask command prints, in an English locale, with nothing configured."""
    words = shlex.split(command)[1:]
    stdin = b""
    if "<" in words:
        stdin = (ROOT / words[words.index("<") + 1]).read_bytes()
        words = words[: words.index("<")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KBASK_", "LC_"))}
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
            env={**environment, "LANG": "en_US.UTF-8"},
            check=True,
        )
    return done.stdout.decode().rstrip()


def main() -> None:
    transcript = re.compile(r"```console\n\$ (kbask [^\n]+)\n.*?```", re.DOTALL)
    for path in (ROOT / "README.md", *sorted((ROOT / "kb" / "about").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        anew = transcript.sub(lambda match: f"```console\n$ {match[1]}\n{printed(match[1])}\n```", text)
        path.write_text(anew, encoding="utf-8")


if __name__ == "__main__":
    main()
