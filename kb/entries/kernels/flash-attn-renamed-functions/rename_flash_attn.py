# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Rename the three functions of flash-attn 1.x in a source tree to their names in 2.x, and tell the reverse case.

In: .py files or folders. It renames names in code (not in comments or strings), and lets an `unpad_input` that is unpacked
into four values take the fifth of flash-attn 2.7. Files that cope with both versions are left alone.
Out: the changes as a diff; what a rename does not mend; and whether the flash-attn installed in this Python is too old
for the names that the code asks for. Files are written with --apply only, each after a copy beside it (.bak).
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import os
import re
import shutil
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

DONE, CHANGES, USAGE = 0, 1, 2
KINDS = ("", "qkvpacked_", "kvpacked_")
NEW_NAMES = {f"flash_attn_unpadded_{kind}func": f"flash_attn_varlen_{kind}func" for kind in KINDS}
OLD_NAMES = {new: old for old, new in NEW_NAMES.items()}
SPLIT = "flash_attn_unpadded_qkvpacked_split_func"
# Positional arguments up to and with `causal`; what follows has moved between versions.
UP_TO_CAUSAL = {
    "flash_attn_unpadded_qkvpacked_func": 6,
    "flash_attn_unpadded_kvpacked_func": 9,
    "flash_attn_unpadded_func": 10,
}
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "node_modules", "__pycache__"}
LARGEST = 2_000_000  # bytes; no hand-written source is longer


@dataclass
class Source:
    """One file: its text, the text after the change, and what is to be said about it."""

    path: Path
    encoding: str
    text: str
    changed: str
    asks_old: bool = False
    asks_new: bool = False
    notes: list[str] = field(default_factory=list)


def printable(text: str) -> str:
    """The text without control characters but tabs, since files and their names are not to be trusted."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in text)


def python_files(paths: list[str]) -> Iterator[Path]:
    """The .py files named or below the folders named; no links, hidden folders or installed packages."""
    for name in paths:
        if os.path.isfile(name):
            yield Path(name)
        for folder, folders, files in os.walk(name):
            folders[:] = sorted(sub for sub in folders if sub not in SKIPPED_FOLDERS and not sub.startswith("."))
            paths_here = (Path(folder, file) for file in sorted(files) if file.endswith(".py"))
            yield from (path for path in paths_here if not path.is_symlink())


def called(node: ast.expr) -> str:
    """The last name of what is called: `func` of `module.func(...)`."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", None) or getattr(function, "id", None) or ""


def imports(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names imported from flash_attn, and the names that imports give them."""
    names, given = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flash_attn":
            names |= {alias.name for alias in node.names}
            given |= {alias.asname for alias in node.names if alias.asname}
    return names, given


def by_hand(tree: ast.Module) -> Iterator[str]:
    """What a rename does not mend."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "flash_attn.flash_attention":
            yield f"line {node.lineno}: flash_attn.flash_attention is gone since 2.0; see flash_attn.modules.mha"
        if isinstance(node, ast.Call):
            limit = UP_TO_CAUSAL.get(called(node))
            if limit and len(node.args) > limit:
                yield f"line {node.lineno}: pass what follows `causal` by keyword; its position changed in 2.3, 2.4 and 2.6"
            if limit and any(keyword.arg == "deterministic" for keyword in node.keywords):
                yield f"line {node.lineno}: `deterministic` is not in 2.0 to 2.4.0; it needs 2.4.1 or later"


def unpadded_in_four(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Where an unpad_input is unpacked into four values: line and byte offset of the end of the fourth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and called(node.value) == "unpad_input":
            target = node.targets[0]
            if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == 4:
                last = target.elts[3]
                if not any(isinstance(element, ast.Starred) for element in target.elts):
                    yield last.end_lineno or last.lineno, last.end_col_offset or 0


def rename(text: str, fours: list[tuple[int, int]]) -> str:
    """The text with the new names in code, and with the fifth value of unpad_input taken."""
    lines = text.splitlines(keepends=True)
    edits = []  # (line, first column, last column, new text), columns in characters
    for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
        if token.type == tokenize.NAME and token.string in NEW_NAMES:
            edits.append((token.start[0], token.start[1], token.end[1], NEW_NAMES[token.string]))
    for line, offset in fours:
        column = len(lines[line - 1].encode("utf-8")[:offset].decode("utf-8"))
        edits.append((line, column, column, ", *_"))
    for line, start, end, new in sorted(edits, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + new + lines[line - 1][end:]
    return "".join(lines)


def read(path: Path) -> Source:
    """The file as it is and as it is to be; raises OSError, SyntaxError or ValueError for one that is not Python."""
    if path.stat().st_size > LARGEST:
        raise ValueError("too large for a source file")
    raw = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    text = raw.decode(encoding)
    source = Source(path, encoding, text, text)
    if not any(name in text for name in (*NEW_NAMES, *OLD_NAMES, SPLIT, "flash_attn.flash_attention", "unpad_input")):
        return source
    if re.search("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\r(?!\n)", text):
        raise ValueError("has line ends of an unusual kind; edit it by hand")
    tree = ast.parse(raw)
    names, given = imports(tree)
    source.asks_new = bool(names & set(OLD_NAMES))
    source.notes = list(by_hand(tree))
    if SPLIT in names:
        source.notes.append(
            f"{SPLIT} is gone since 2.0 and has no successor; call flash_attn_varlen_qkvpacked_func for each part"
        )
    copes = given & set(NEW_NAMES) or any(old in names and new in names for old, new in NEW_NAMES.items())
    if copes:
        source.notes.append("copes with both names; left as it is")
        source.asks_new = False
        return source
    fours = list(unpadded_in_four(tree)) if "unpad_input" in names else []
    source.changed = rename(text, fours)
    source.asks_old = rename(text, []) != text
    return source


def save(source: Source) -> Path:
    """Write the changed text after saving a copy, whose path is returned; nothing existing is overwritten by the copy."""
    copy = source.path.with_name(source.path.name + ".bak")
    number = 1
    while copy.exists():
        number += 1
        copy = source.path.with_name(f"{source.path.name}.bak{number}")
    shutil.copy2(source.path, copy)
    source.path.write_bytes(source.changed.encode(source.encoding))
    return copy


def installed_version() -> str | None:
    """The version of flash-attn in this Python."""
    try:
        return metadata.version("flash-attn")
    except metadata.PackageNotFoundError:
        return None


def advice(version: str | None, asks_old: bool, asks_new: bool) -> str:
    """What the installed version means for this code; empty if it fits."""
    major = int(match[0]) if version and (match := re.match(r"\d+", version)) else None
    if major is None:
        return "flash-attn is not installed in this Python, so whether it fits the code is not known."
    if major < 2 and asks_new:
        return (
            f"flash-attn {version} is installed and the code asks for names of 2.x: this is the reverse case. Do not "
            "rename; upgrade: pip install --upgrade flash-attn --no-build-isolation"
        )
    if major < 2 and asks_old:
        return (
            f"flash-attn {version} is installed and has the old names: the code runs with it, and after the rename needs 2.x."
        )
    return ""


def diff_of(source: Source) -> str:
    """The change of one file as a unified diff."""
    name = printable(source.path.as_posix()).lstrip("/")
    lines = difflib.unified_diff(source.text.splitlines(), source.changed.splitlines(), f"a/{name}", f"b/{name}", lineterm="")
    return "\n".join(map(printable, lines))


def main() -> int:
    """Read the arguments, find what to change, show or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python rename_flash_attn.py llava/train\n         python rename_flash_attn.py llava/train --apply\n"
        "exit code: 0 nothing to change, or changed with --apply; 1 there is something to change or to mend by hand; "
        "2 wrong usage or unreadable input",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a .py file or a folder of them")
    parser.add_argument("--apply", action="store_true", help="write the changes, after saving a copy of each file")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    arguments = parser.parse_args()
    for name in arguments.paths:
        if not os.path.exists(name):
            parser.error(f"there is no {printable(name)}")

    sources, unread = [], []
    for path in python_files(arguments.paths):
        try:
            sources.append(read(path))
        except (OSError, SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
            unread.append(f"{printable(str(path))}: {printable(str(error))[:120]}")
    for line in unread:
        print(f"rename_flash_attn: left alone, cannot be read as Python: {line}", file=sys.stderr)
    if not sources:
        print("rename_flash_attn: no readable .py file there", file=sys.stderr)
        return USAGE

    changes = [source for source in sources if source.changed != source.text]
    version = installed_version()
    meaning = advice(version, any(s.asks_old for s in sources), any(s.asks_new for s in sources))
    reverse = "reverse case" in meaning
    saved: dict[str, str] = {}
    if arguments.apply:
        for source in changes:
            try:
                saved[str(source.path)] = str(save(source))
            except OSError as error:
                print(f"rename_flash_attn: cannot write {printable(str(source.path))}: {error.strerror}", file=sys.stderr)
                return USAGE
    notes = {str(source.path): source.notes for source in sources if source.notes}
    open_notes = any("left as it is" not in note for lines in notes.values() for note in lines)
    if arguments.json:
        result: dict[str, Any] = {
            "flash_attn": version,
            "files": len(sources),
            "changes": [{"file": str(source.path), "diff": diff_of(source)} for source in changes],
            "copies": saved,
            "by_hand": notes,
            "installed": meaning,
            "unread": unread,
        }
        print(json.dumps(result, indent=2))
    else:
        for source in changes:
            print(f"wrote {printable(str(source.path))}, copy in {saved[str(source.path)]}" if saved else diff_of(source))
        for name, lines in notes.items():
            print("\n".join(f"{printable(name)}: {line}" for line in lines))
        if meaning:
            print(meaning)
        if not changes:
            print(f"nothing to rename in {len(sources)} files")
        elif not saved:
            print(f"{len(changes)} of {len(sources)} files would change; write them with --apply")
    return CHANGES if reverse or open_notes or (changes and not saved) else DONE


if __name__ == "__main__":
    sys.exit(main())
