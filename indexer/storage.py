"""An index as a folder of files: written whole or not at all, held against its manifest when read, found by a pointer.

A folder is written beside its final name, fsynced, its manifest last, and renamed: whoever opens it finds the old one or the
new one. A pointer says which folder belongs to entries whose files have such sizes and times: a warm start reads no entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
import uuid
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import IndexDamagedError

MANIFEST = "manifest.json"
KEPT = 4  # Folders kept in a cache, newest first.
STALE_SECONDS = 3600  # No build takes so long: what is unfinished and older was left by a process that was killed.

# Names that were given here; whatever else is in a cache folder is left alone.
_WHOLE = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"[0-9a-f]{32}(\.\d+-[0-9a-f]{8}\.tmp|\.damaged-\d+)?|[0-9a-f]{16}\.json\.\d+\.tmp")

Files = dict[str, bytes]


def read(folder: Path) -> tuple[dict[str, Any], Files]:
    """Manifest and files of a folder, each file held against its digest; raises IndexDamagedError."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = {name: (folder / name).read_bytes() for name in manifest["files"]}
        for name, data in files.items():
            if digest_of(data) != manifest["files"][name]:
                raise IndexDamagedError(f"The index in {folder} is damaged: {name} is not what the manifest says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexDamagedError(f"The index in {folder} is damaged: {error or type(error).__name__}") from error
    return manifest, files


def write(folder: Path, files: Files, manifest: dict[str, Any]) -> None:
    """Write a folder so that it is there whole or not at all. Raises OSError.

    A folder's name is the digest of what it was built from: where one of that name is there, it is as good, and stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(folder)
    try:
        beside.mkdir()
        for name, data in [*files.items(), (MANIFEST, to_json(manifest))]:
            with (beside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _fsync_folder(beside)
        try:
            os.rename(beside, folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        _fsync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(folder: Path) -> Path:
    """A name of this process's own for a folder that is being written or removed."""
    return folder.with_name(f"{folder.name[:32]}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def set_aside(folder: Path) -> Path | None:
    """Rename a damaged folder; returns its new path, None when it cannot be renamed."""
    aside = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
    try:
        os.rename(folder, aside)
    except OSError:
        return None
    return aside


def point(pointer: Path, state: str, folder: Path) -> None:
    """Note which folder belongs to a state of the entries."""
    beside = pointer.with_name(f"{pointer.name}.{os.getpid()}.tmp")
    beside.write_bytes(to_json({"state": state, "folder": folder.name}))
    os.replace(beside, pointer)


def pointed_at(pointer: Path, state: str) -> Path | None:
    """The folder that belongs to a state of the entries, None where none is noted."""
    try:
        noted = json.loads(pointer.read_bytes())
        return pointer.parent / Path(noted["folder"]).name if noted["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state_of(folders: Sequence[Path]) -> str:
    """Changes when any entry's file may have changed; costs a look at each file's size and time, not at its bytes."""
    facts = [f"{item.path} {status.st_size} {status.st_mtime_ns}" for folder in folders for item, status in _files(folder)]
    return digest_of("\0".join(sorted(facts)).encode(errors="surrogateescape"))


def content_of(folders: Sequence[Path]) -> str:
    """Digest of every byte of every entry."""
    parts: list[str] = []
    for folder in folders:
        for path in sorted(item.path for item, _ in _files(folder)):
            with open(path, "rb") as file:
                parts += [os.path.relpath(path, folder), hashlib.file_digest(file, "sha256").hexdigest()]
        parts.append("")
    return digest_of("\0".join(parts).encode(errors="surrogateescape"))


def _files(folder: Path) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Every file below a folder, links followed, but for what tools leave there: pip compiles the snippets of a wheel."""
    stack, seen = [str(folder)], set()
    while stack:
        here = stack.pop()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        with os.scandir(here) as items:
            for item in items:
                if item.name.startswith((".", "__pycache__")):
                    continue
                if item.is_dir():
                    stack.append(item.path)
                elif item.is_file():
                    yield item, item.stat()


def whole_folders(cache: Path) -> list[Path]:
    """The finished folders in a cache, newest first."""
    found = [path for path in cache.glob("*") if _WHOLE.fullmatch(path.name) and (path / MANIFEST).is_file()]
    return sorted(found, key=_age)


def prune(cache: Path) -> None:
    """Drop all but the newest folders, what killed processes left, and all but the newest damaged one."""
    whole = whole_folders(cache)
    others = sorted((path for path in cache.iterdir() if _OURS.fullmatch(path.name) and path not in whole), key=_age)
    damaged = [path for path in others if ".damaged-" in path.name]
    unfinished = [path for path in others if path not in damaged and _age(path) > STALE_SECONDS]
    for path in whole[KEPT:] + damaged[1:] + unfinished:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a folder or a file, as far as the system lets us."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            # A process that is killed in between must not leave a folder that has its manifest, and looks whole.
            doomed = _beside(path)
            os.rename(path, doomed)
            shutil.rmtree(doomed)
        else:
            path.unlink()


def _age(path: Path) -> float:
    """Seconds since a folder was last changed; infinite when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows gives no descriptor of a folder.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def to_json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="surrogatepass")


def to_bytes(values: array[Any]) -> bytes:
    """Numbers as little-endian bytes of 4."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def from_bytes(kind: str, data: bytes) -> array[Any]:
    """What `to_bytes` wrote; `kind` is "i" for integers, "f" for floating-point numbers."""
    values = array(kind, data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
