"""The built site over HTTP, compressed as a host would, and a real Chromium to look at it with."""

from __future__ import annotations

import functools
import gzip
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.entry import LANGUAGES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
COMPRESSED = (".html", ".css", ".js", ".json", ".svg", ".xml", ".md", ".txt")


def run_mkdocs(out: Path) -> str:
    """Build both languages of what is staged, strictly; what MkDocs says, warnings and worse."""
    said = ""
    for language in LANGUAGES:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(out / f"mkdocs.{language}.yml")]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    return said


def build_site(checkout: Path, out: Path, *arguments: str) -> Path:
    """The site, staged and built as `make site` does; the folder that a host would serve."""
    command = [sys.executable, "-m", "assistant.cli", "export-site", "--out", str(out), *arguments]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=300)
    assert run_mkdocs(out) == ""
    shutil.copytree(out / "markdown", out / "site", dirs_exist_ok=True)
    return out / "site"


class _Compressing(http.server.SimpleHTTPRequestHandler):
    """Static files, gzip where a host compresses, and no cache, so that each page is a first visit."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if path.suffix not in COMPRESSED or not path.is_file():
            return super().do_GET()
        data = gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address at which a folder is served."""
    handler = functools.partial(_Compressing, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
