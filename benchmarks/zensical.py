"""Build the staged site with MkDocs and with Zensical, the successor of its theme, and say which pages differ.

    python -m benchmarks.zensical

Zensical is installed into build/zensical, for this script alone. Compared are the pages that there are, and in the article of
each the ids of its headings and its visible text. Exits 1 where a page is missing or differs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from difflib import unified_diff
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
ZENSICAL = "zensical==0.0.73"
HOME = ROOT / "build" / "zensical"
SHOWN = 5  # Differing pages whose first differing lines are printed.


@dataclass
class Article(HTMLParser):
    """The headings and the words of a page's article."""

    headings: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _inside: int = 0
    _hidden: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._inside += tag == "article"
        self._hidden += tag in ("script", "style")
        if self._inside and tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append(f"{tag}#{found.get('id')}")

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag == "article"
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._inside and not self._hidden:
            self.words += data.split()


def main() -> None:
    zensical = install()
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, Path] = {}
        for name, command in (
            ("mkdocs", [sys.executable, "-m", "mkdocs", "build", "--quiet"]),
            ("zensical", [zensical, "build"]),
        ):
            out = Path(folder) / name
            subprocess.run(
                [sys.executable, "-m", "assistant.cli", "export-site", "--out", out], cwd=ROOT, check=True, capture_output=True
            )
            start = time.perf_counter()
            for language in ("en", "zh"):
                done = subprocess.run(
                    [*command, "--strict", "-f", out / f"mkdocs.{language}.yml"],
                    env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    print(f"{name}, {language}, exits {done.returncode}:\n{done.stdout}{done.stderr}")
            print(f"{name}: {len(pages(out / 'site'))} pages of both languages in {time.perf_counter() - start:.1f} s")
            made[name] = out / "site"
            lost = [path for path in staged_files(out) if not (out / "site" / path).is_file()]
            print(f"  scripts, pictures and data that it left out: {', '.join(lost) or 'none'}")
        differing = compare(made["mkdocs"], made["zensical"])
    sys.exit(1 if differing else 0)


def install() -> str:
    """The command of Zensical, in a virtual environment of its own that is made where it is missing."""
    command = HOME / "bin" / "zensical"
    if not command.is_file():
        shutil.rmtree(HOME, ignore_errors=True)
        venv.create(HOME, with_pip=True)
        subprocess.run([HOME / "bin" / "pip", "install", "--quiet", ZENSICAL], check=True)
    return str(command)


def staged_files(out: Path) -> list[str]:
    """What is staged and no page, by its path on the site."""
    found = []
    for language, above in (("en", ""), ("zh", "zh/")):
        docs = out / "docs" / language
        found += [above + path.relative_to(docs).as_posix() for path in docs.rglob("*.*") if path.suffix != ".md"]
    return sorted(found)


def pages(site: Path) -> dict[str, Path]:
    return {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}


def compare(ours: Path, theirs: Path) -> int:
    """Print what differs between two built sites; how many pages do."""
    one, other = pages(ours), pages(theirs)
    for name, missing in (("zensical", one.keys() - other.keys()), ("mkdocs", other.keys() - one.keys())):
        print(f"missing from {name}: {', '.join(sorted(missing)) or 'none'}")
    headings, texts, words = [], [], 0
    for path in sorted(one.keys() & other.keys()):
        first, second = read(one[path]), read(other[path])
        words += len(first.words)
        if first.headings != second.headings:
            headings.append(path)
        if first.words != second.words:
            texts.append(path)
            if len(texts) <= SHOWN:
                changed = list(unified_diff(first.words, second.words, lineterm="", n=2))[2:14]
                print(f"  {path}: {' '.join(changed)}")
    both = len(one.keys() & other.keys())
    print(f"in both: {both} pages with {words:,} words; with other headings: {len(headings)}; with other text: {len(texts)}")
    return len(one.keys() ^ other.keys()) + len({*headings, *texts})


def read(path: Path) -> Article:
    article = Article()
    article.feed(path.read_text(encoding="utf-8"))
    return article


if __name__ == "__main__":
    main()
