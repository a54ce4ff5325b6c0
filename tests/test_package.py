"""The installed tool: a wheel, and a wheel made from the sdist, each asked a question outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from it."""
    out = tmp_path_factory.mktemp("dist")
    # The backend is installed already: an isolated build would fetch it again.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)], check=True, capture_output=True
    )
    return out


def test_the_wheel_holds_the_entries_and_nothing_compiled(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert "indexer/kb/entries/numerics/loss-zero-sft/index.zh.md" in names
    assert "indexer/data/vectors.npz" in names
    assert {"assistant/openapi.yaml", "assistant/page/index.html", "assistant/page/page.js"} <= set(names)
    assert {"assistant/page/kbask.css", "assistant/page/mark.svg", "assistant/page/favicon.svg"} <= set(names)
    assert not any("__pycache__" in name or ".ruff_cache" in name for name in names)
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"indexer", "assistant"}


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "tests/test_package.py",
        "mkdocs.yml",
        "Makefile",
        "LICENSE",
        "kb/entries/catalogue.yaml",
        "deploy/nginx.conf",
    } <= names


def test_the_installed_tool_answers_from_any_folder(built: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, system_site_packages=False)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    # The dependencies are this environment's; the package itself comes from the wheel alone.
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (Path(site) / "dependencies.pth").write_text(str(ours))
    target = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--compile",
        "--target",
        site,
        str(next(built.glob("*.whl"))),
    ]
    subprocess.run(target, check=True, capture_output=True)
    assert list(Path(site).rglob("check_labels.*.pyc")), "pip compiles the snippets; they must do no harm"
    environment = {
        "PATH": os.environ["PATH"],
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
    }
    for question, entry in (("loss is zero during sft", "loss-zero-sft"), ("微调用什么模板", "prompt-template-choice")):
        done = subprocess.run(
            [str(python), "-c", "from assistant.cli import main; main()", question],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"kbask show {entry}" in done.stdout
    linted = subprocess.run(
        [str(python), "-c", "from assistant.cli import main; main()", "lint"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")
    imported = subprocess.run(
        [str(python), "-c", "import indexer; print(indexer.__file__)"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert imported.stdout.startswith(site)
