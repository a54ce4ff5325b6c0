"""Run the commands of the transcripts in README.md and kb/about again, and write what they print now in their place.

python -m benchmarks.transcripts
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def printed(command: str) -> str:
    """What a kbask command prints, in an English locale, with nothing configured."""
    words = shlex.split(command)[1:]
    stdin = b""
    if "<" in words:
        stdin = (ROOT / words[words.index("<") + 1]).read_bytes()
        words = words[: words.index("<")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KBASK_", "LC_"))}
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
