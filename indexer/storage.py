"""An index as a folder of files: written whole or not at all, held against its manifest when read, found by a pointer.

A folder is written beside its final name, fsynced, its manifest last, and renamed: whoever opens it finds the old one or the
new one. A pointer says which folder belongs to entries whose files have such sizes and times: a warm start reads no entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import IndexDamagedError

MANIFEST = "manifest.json"
KEPT = 4  # Folders kept in a cache, newest first.
STALE_SECONDS = 3600  # No build takes so long: what is unfinished and older was left by a process that was killed.

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
    """Write a folder so that it is there whole or not at all; a whole one of that name is replaced. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = f"{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    beside, old = folder.with_name(f"{unique}.tmp"), folder.with_name(f"{unique}.old.tmp")
    try:
        beside.mkdir()
        for name, data in [*files.items(), (MANIFEST, to_json(manifest))]:
            with (beside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _fsync_folder(beside)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, old)
        try:
            os.rename(beside, folder)
        except OSError:
            # Another process was faster between the two renames. Its folder has the same name, so it has the same content.
            if not (folder / MANIFEST).is_file():
                raise
        _fsync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
    facts: list[str] = []
    for folder in folders:
        stack = [str(folder)]
        while stack:
            with os.scandir(stack.pop()) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        # pip compiles the snippets of an installed wheel: what it writes is no content.
                        if item.name != "__pycache__":
                            stack.append(item.path)
                    else:
                        status = item.stat(follow_symlinks=False)
                        facts.append(f"{item.path} {status.st_size} {status.st_mtime_ns}")
    return digest_of("\0".join(sorted(facts)).encode(errors="surrogateescape"))


def content_of(folders: Sequence[Path]) -> str:
    """Digest of every byte of every entry."""
    parts: list[str] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".md", ".txt", ".yaml", ".py") and "__pycache__" not in path.parts and path.is_file():
                parts += [str(path.relative_to(folder)), digest_of(path.read_bytes())]
        parts.append("")
    return digest_of("\0".join(parts).encode(errors="surrogateescape"))


def whole_folders(cache: Path) -> list[Path]:
    """The finished folders in a cache, newest first."""
    found = [path for path in cache.glob("*") if path.suffix == "" and (path / MANIFEST).is_file()]
    return sorted(found, key=_age)


def prune(cache: Path) -> None:
    """Drop all but the newest folders, what killed processes left, and all but the newest damaged one."""
    damaged = sorted(cache.glob("*.damaged-*"), key=_age)
    unfinished = [path for path in cache.glob("*.tmp") if _age(path) > STALE_SECONDS]
    for path in whole_folders(cache)[KEPT:] + damaged[1:] + unfinished:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True) if path.is_file() else None


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


def to_npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes) -> Any:
    """The array of a .npy file; never a pickle."""
    return np.load(io.BytesIO(data), allow_pickle=False)
