"""Take the pictures of the assistant's page again: kb/about/serve.png and serve.zh.png.

    python -m benchmarks.screenshots

A real `kbask serve` without a model, in a real Chromium: an entry's sample is pasted, and a Chinese question asked.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.browser import CHROMIUM

ROOT = Path(__file__).parent.parent
ABOUT = ROOT / "kb" / "about"
LOG = ROOT / "kb/entries/distributed/nccl-watchdog-timeout/samples/torch-2.8-slow-checkpoint.txt"
QUESTION = "SFT 训练时 loss 一直是 0，怎么回事？"
SIZE = {"width": 1440, "height": 1000}
COLOURS = 96


def take(browser: Any, address: str, locale: str, text: str, cause: str, path: Path) -> None:
    """Ask, open a cause of the answer beside it, and keep what the screen shows."""
    from PIL import Image

    page = browser.new_context(viewport=SIZE, locale=locale).new_page()
    page.goto(address)
    page.locator("#kb-input").fill(text)
    page.locator("#kb-input").press("Control+Enter")
    page.locator(".kb-working").wait_for(state="detached")
    page.get_by_role("link", name=cause).first.click()
    page.locator(".kb-panel").wait_for(state="visible")
    page.wait_for_timeout(800)  # For what moves to come to rest.
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    with tempfile.TemporaryDirectory() as folder:
        page.screenshot(path=f"{folder}/page.png")
        Image.open(f"{folder}/page.png").convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> None:
    from playwright.sync_api import sync_playwright

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "assistant.cli", "serve", "--port", str(port)], cwd=ROOT)
    try:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            address = f"http://localhost:{port}/"
            take(browser, address, "en-US", LOG.read_text("utf-8"), "One rank is doing slow work alone", ABOUT / "serve.png")
            take(browser, address, "zh-CN", QUESTION, "labels 全是 -100", ABOUT / "serve.zh.png")
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
