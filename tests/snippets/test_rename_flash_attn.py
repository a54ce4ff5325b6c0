"""rename_flash_attn.py of the entry flash-attn-renamed-functions, run as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/kernels/flash-attn-renamed-functions/rename_flash_attn.py"
PATCH = """\
# flash_attn_unpadded_qkvpacked_func, as of 2023
from flash_attn.flash_attn_interface import flash_attn_unpadded_qkvpacked_func
from flash_attn.bert_padding import unpad_input, pad_input


def forward(x, mask):
    "calls flash_attn_unpadded_qkvpacked_func"
    x_unpad, indices, cu_seqlens, max_s = unpad_input(x, mask)
    return flash_attn_unpadded_qkvpacked_func(x_unpad, cu_seqlens, max_s, 0.0, softmax_scale=None, causal=True)
"""
NEW = """\
from flash_attn.flash_attn_interface import flash_attn_varlen_func
from flash_attn.bert_padding import unpad_input


def forward(q, k, v, mask, cu, longest):
    x, indices, cu, longest, used = unpad_input(q, mask)
    return flash_attn_varlen_func(q, k, v, cu, cu, longest, longest, causal=True)
"""


def install_flash_attn(folder: Path, version: str) -> Path:
    """What pip leaves of flash-attn of that version, as far as its version can be read; for PYTHONPATH."""
    info = folder / f"flash_attn-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {version}\n")
    return folder


def run(*arguments: object, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(packages or "")}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=60, env=environment)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return install_flash_attn(tmp_path / "two", "2.8.3")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return install_flash_attn(tmp_path / "one", "1.0.9")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with the patch of 2023 in it."""
    folder = tmp_path / "code"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "patch.py").write_text(PATCH, encoding="utf-8")
    return folder


def test_old_names_are_shown_as_a_diff_and_nothing_is_written(tree: Path, two: Path) -> None:
    done = run(tree, packages=two)
    assert done.returncode == 1
    assert "+from flash_attn.flash_attn_interface import flash_attn_varlen_qkvpacked_func" in done.stdout
    assert "+    x_unpad, indices, cu_seqlens, max_s, *_ = unpad_input(x, mask)" in done.stdout
    assert "write them with --apply" in done.stdout
    assert (tree / "train/patch.py").read_text(encoding="utf-8") == PATCH
    assert [path.name for path in (tree / "train").iterdir()] == ["patch.py"]


def test_apply_writes_after_saving_a_copy_and_leaves_comments_and_strings(tree: Path, two: Path) -> None:
    done = run(tree, "--apply", packages=two)
    written = (tree / "train/patch.py").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert written.count("flash_attn_varlen_qkvpacked_func") == 2
    assert written.count("flash_attn_unpadded_qkvpacked_func") == 2  # the comment and the docstring
    assert (tree / "train/patch.py.bak").read_text(encoding="utf-8") == PATCH
    again = run(tree, packages=two)
    assert again.returncode == 0
    assert "nothing to rename in 1 files" in again.stdout


def test_a_copy_that_exists_is_not_overwritten(tree: Path, two: Path) -> None:
    (tree / "train/patch.py.bak").write_text("precious", encoding="utf-8")
    assert run(tree, "--apply", packages=two).returncode == 0
    assert (tree / "train/patch.py.bak").read_text(encoding="utf-8") == "precious"
    assert (tree / "train/patch.py.bak2").read_text(encoding="utf-8") == PATCH


def test_the_renamed_patch_runs_with_the_new_functions(tree: Path, two: Path) -> None:
    """With unpad_input that returns five values, as since 2.7, and with four."""
    assert run(tree, "--apply", packages=two).returncode == 0
    package = two / "flash_attn"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flash_attn_interface.py").write_text("def flash_attn_varlen_qkvpacked_func(*a, **k): return a[1]\n")
    for values in ("1, 2, 3, 4, 5", "1, 2, 3, 4"):
        (package / "bert_padding.py").write_text(f"pad_input = None\ndef unpad_input(x, mask): return {values}\n")
        environment = {**os.environ, "PYTHONPATH": f"{two}{os.pathsep}{tree / 'train'}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", "import patch; print(patch.forward(None, None))"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.stdout == "3\n", done.stderr


def test_code_of_today_has_nothing_to_rename(tmp_path: Path, two: Path) -> None:
    (tmp_path / "new.py").write_text(NEW, encoding="utf-8")
    done = run(tmp_path / "new.py", packages=two)
    assert done.returncode == 0
    assert "nothing to rename" in done.stdout


def test_new_names_with_an_old_flash_attn_are_the_reverse_case(tmp_path: Path, one: Path) -> None:
    (tmp_path / "new.py").write_text(NEW, encoding="utf-8")
    done = run(tmp_path / "new.py", packages=one)
    assert done.returncode == 1
    assert "flash-attn 1.0.9 is installed" in done.stdout
    assert "reverse case" in done.stdout
    assert "pip install --upgrade flash-attn" in done.stdout


def test_old_names_with_an_old_flash_attn_fit_together(tree: Path, one: Path) -> None:
    assert "has the old names: the code runs with it" in run(tree, packages=one).stdout


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from flash_attn.flash_attn_interface import flash_attn_varlen_func\nexcept ImportError:\n"
        "    from flash_attn.flash_attn_interface import flash_attn_unpadded_func as flash_attn_varlen_func\n",
        "from flash_attn.flash_attn_interface import flash_attn_varlen_func as flash_attn_unpadded_func\n",
    ],
)
def test_a_file_that_copes_with_both_versions_is_left_alone(tmp_path: Path, two: Path, text: str) -> None:
    (tmp_path / "both.py").write_text(text, encoding="utf-8")
    done = run(tmp_path / "both.py", "--apply", packages=two)
    assert done.returncode == 0
    assert "copes with both names" in done.stdout
    assert (tmp_path / "both.py").read_text(encoding="utf-8") == text


def test_what_a_rename_does_not_mend_is_named_with_its_line(tmp_path: Path, two: Path) -> None:
    text = (
        "from flash_attn.flash_attention import FlashAttention\n"
        "from flash_attn.flash_attn_interface import flash_attn_unpadded_qkvpacked_func as attend\n"
        "import flash_attn.flash_attn_interface as interface\n"
        "interface.flash_attn_unpadded_qkvpacked_func(qkv, cu, longest, 0.0, None, True, False, deterministic=True)\n"
    )
    (tmp_path / "old.py").write_text(text, encoding="utf-8")
    done = run("--json", tmp_path / "old.py", packages=two)
    report = json.loads(done.stdout)
    notes = report["by_hand"][str(tmp_path / "old.py")]
    assert done.returncode == 1
    assert [note.split(":")[0] for note in notes] == ["line 1", "line 4", "line 4"]
    assert "interface.flash_attn_varlen_qkvpacked_func(" in report["changes"][0]["diff"]


def test_line_ends_encodings_and_chinese_before_a_name_survive(tmp_path: Path, two: Path) -> None:
    text = (
        "# coding: gbk\r\nfrom flash_attn.flash_attn_interface import flash_attn_unpadded_func\r\n"
        "注意力 = '长'; f = flash_attn_unpadded_func\r\n"
    )
    file = tmp_path / "gbk.py"
    file.write_bytes(text.encode("gbk"))
    assert run(file, "--apply", packages=two).returncode == 0
    assert file.read_bytes().decode("gbk") == text.replace("unpadded", "varlen")


def test_a_file_that_is_not_python_is_left_alone_and_named(tree: Path, two: Path) -> None:
    broken = tree / "broken.py"
    broken.write_text(
        "from flash_attn.flash_attn_interface import flash_attn_unpadded_func\nprint 'python 2'\n", encoding="utf-8"
    )
    done = run(tree, "--apply", packages=two)
    assert "cannot be read as Python" in done.stderr
    assert "broken.py" in done.stderr
    assert "unpadded" in broken.read_text(encoding="utf-8")
    assert "varlen" in (tree / "train/patch.py").read_text(encoding="utf-8")
    alone = run(broken, packages=two)
    assert alone.returncode == 2
    assert "Traceback" not in alone.stderr


def test_installed_packages_and_hidden_folders_are_not_touched(tree: Path, two: Path) -> None:
    for folder in ("venv/lib/site-packages", ".git"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "patch.py").write_text(PATCH, encoding="utf-8")
    assert run(tree, "--apply", packages=two).returncode == 0
    assert (tree / "venv/lib/site-packages/patch.py").read_text(encoding="utf-8") == PATCH
    assert (tree / ".git/patch.py").read_text(encoding="utf-8") == PATCH


def test_a_path_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "there is no" in done.stderr


def test_help_tells_when_it_writes_and_shows_an_example() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "Files are written with --apply only" in done.stdout
    assert "example: python rename_flash_attn.py" in done.stdout
