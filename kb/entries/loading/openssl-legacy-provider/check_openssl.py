# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Tell why `cryptography` cannot load OpenSSL's legacy provider in this Python and this environment.

In: nothing; it looks at the Python that runs it (or that --python names), at the variables of its own process, and
imports cryptography in child processes with and without them. Out: which cause holds here, and changes that were
tried and work. Nothing is changed. Run it where the failing process runs (container, job script, notebook, service).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HEALTHY, PROBLEM, CANNOT_TELL = 0, 1, 3
NO_LEGACY = "CRYPTOGRAPHY_OPENSSL_NO_LEGACY"
MISLEADING = ("OPENSSL_MODULES", "LD_LIBRARY_PATH")
SHOWN = (NO_LEGACY, *MISLEADING, "OPENSSL_CONF", "CONDA_PREFIX")
LIBCRYPTO = (b"libcrypto.so", b"libcrypto.3.dylib", b"libcrypto-3")  # as a library names what it needs
LEGACY_FILES = ("legacy.so", "legacy.dylib", "legacy.dll")
SECONDS = 120

# Runs in a child: imports cryptography, then asks the libcrypto it was given why the provider does not load.
PROBE = r"""
import ctypes, json, warnings
found = {"error": None, "warning": None, "libcrypto": None, "modules": None, "openssl": None, "reason": None}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        from cryptography.hazmat.bindings import _rust
        from cryptography.hazmat.backends.openssl import backend
        found["openssl"] = backend.openssl_version_text()
    except BaseException as error:
        found["error"] = type(error).__name__ + ": " + str(error)
for warning in caught:
    if "legacy provider" in str(warning.message):
        found["warning"] = str(warning.message)
try:
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        mapped = [line.split(None, 5)[5].strip() for line in maps if "/libcrypto" in line]
except OSError:
    mapped = []
if mapped:
    found["libcrypto"] = mapped[0]
    library = ctypes.CDLL(mapped[0])
    try:
        library.OpenSSL_version.restype = library.OPENSSL_info.restype = ctypes.c_char_p
        found["openssl"] = library.OpenSSL_version(0).decode("utf-8", "replace")
        found["modules"] = (library.OPENSSL_info(1003) or b"").decode("utf-8", "replace")  # OPENSSL_INFO_MODULES_DIR
        library.ERR_clear_error()
        library.OSSL_PROVIDER_load.restype = ctypes.c_void_p
        library.ERR_get_error_all.restype = ctypes.c_ulong
        if not library.OSSL_PROVIDER_load(None, b"legacy"):
            data, flags = ctypes.c_char_p(), ctypes.c_int()
            while library.ERR_get_error_all(None, None, None, ctypes.byref(data), ctypes.byref(flags)):
                if found["reason"] is None and data.value:
                    found["reason"] = data.value.decode("utf-8", "replace")
    except AttributeError:
        pass  # OpenSSL 1.1: no providers
print("PROBE " + json.dumps(found))
"""

Probe = dict[str, Any]


def printable(text: str, limit: int = 400) -> str:
    """The text on one line and without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:limit]


def probe(without: tuple[str, ...] = (), **changes: str) -> Probe:
    """What a child process finds that imports cryptography, with variables of this environment taken away or set."""
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment.update(changes)
    command = [sys.executable, "-c", PROBE]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"the import could not be tried ({error})"}
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    answers = [line[len("PROBE ") :] for line in lines if line.startswith("PROBE ")]
    if not answers:
        return {"error": f"the import ended the process with exit code {done.returncode}"}
    return json.loads(answers[-1])


def is_this_fault(found: Probe) -> bool:
    """True for the message of cryptography 39 to 44, and for the one of 36 to 38, which does not name the provider."""
    error = found["error"] or ""
    return "legacy provider failed to load" in error or ("InternalError" in error and "shared library" in error)


def links_libcrypto() -> bool | None:
    """True for a build that uses the system's or conda's libcrypto, False for one that holds its own (PyPI's wheels)."""
    package = find_spec("cryptography")
    folders = [Path(folder, "hazmat", "bindings") for folder in (package.submodule_search_locations or ())] if package else []
    binaries = [file for folder in folders for file in folder.glob("_*") if file.suffix in {".so", ".pyd"}]
    try:
        content = [binary.read_bytes() for binary in binaries]
    except OSError:
        return None
    return any(name in binary for name in LIBCRYPTO for binary in content) if content else None


def switched_off() -> bool:
    """True if the variable is set so that cryptography heeds it: not empty and not 0."""
    return os.environ.get(NO_LEGACY, "") not in {"", "0"}


def provider_file(folder: str | None) -> Path | None:
    """The legacy provider in a folder, if there is one."""
    return next((Path(folder, name) for name in LEGACY_FILES if folder and Path(folder, name).is_file()), None)


def other_providers(found: Probe) -> list[Path]:
    """Legacy providers beside the libcrypto in use and in this environment, where OpenSSL did not look."""
    folders = [Path(sys.prefix, "lib", "ossl-modules"), Path(sys.prefix, "lib64", "ossl-modules")]
    if found.get("libcrypto"):
        folders.insert(0, Path(found["libcrypto"]).parent / "ossl-modules")
    files = [provider_file(str(folder)) for folder in dict.fromkeys(folders)]
    return [file for file in files if file]


def diagnose(found: Probe) -> tuple[str, str, list[str]]:
    """The cause (its id on the entry's page), what was seen, and changes that were tried here and work."""
    folder = os.environ.get("OPENSSL_MODULES") or found.get("modules")
    file = provider_file(folder)
    works = [f"unset {name}" for name in MISLEADING if os.environ.get(name) and not probe(without=(name,))["error"]]
    if not file:
        for other in other_providers(found):
            if not probe(OPENSSL_MODULES=str(other.parent))["error"]:
                works.append(f"export OPENSSL_MODULES={other.parent}")
    if os.environ.get(NO_LEGACY) in {"", "0"}:
        cause, seen = "variable-not-inherited", f"{NO_LEGACY} is set but empty or 0, which counts as not set"
    elif works:
        cause, seen = "wrong-directory", f"OpenSSL looks for the legacy provider in the wrong place: {folder}"
    elif file and not os.access(file, os.R_OK):
        cause, seen = "wrong-directory", f"{file} is there, but this user may not read it"
    elif file:
        cause, seen = "wrong-directory", f"{file} is there, but does not load"
    elif folder:
        cause, seen = "provider-missing", f"there is no legacy provider in {folder}, where OpenSSL looks for it"
    else:
        cause, seen = "provider-missing", "OpenSSL finds no legacy provider"
    if not probe(**{NO_LEGACY: "1"})["error"]:
        works.append(f"export {NO_LEGACY}=1")
    return cause, seen, works


def examine() -> dict[str, Any]:
    """The report: exit code, verdict, what to do next, and the facts it rests on."""
    report: dict[str, Any] = {
        "python": sys.executable,
        "cryptography": None,
        "installer": None,
        "own_openssl": None,
        "environment": {name: os.environ.get(name) for name in SHOWN},
    }
    try:
        package = metadata.distribution("cryptography")
    except metadata.PackageNotFoundError:
        return {
            **report,
            "code": CANNOT_TELL,
            "verdict": "cryptography is not installed in this Python",
            "next": "Run this with the Python that fails; compare the path with the traceback's.",
        }
    found = probe()
    linked = links_libcrypto()
    report |= {
        "cryptography": package.version,
        "installer": (package.read_text("INSTALLER") or "").strip() or None,
        "own_openssl": None if linked is None else not linked,
        **{key: found.get(key) for key in ("openssl", "libcrypto", "modules", "reason", "error")},
    }
    if found["error"] and not is_this_fault(found):
        return {
            **report,
            "code": CANNOT_TELL,
            "verdict": "cryptography fails to import, but for another reason",
            "next": "Look at the error itself; the legacy provider plays no part in it.",
        }
    if found["error"]:
        cause, seen, works = diagnose(found)
        upgrade = "python -m pip install --upgrade --only-binary=cryptography 'cryptography>=45' pyopenssl"
        return {
            **report,
            "code": PROBLEM,
            "cause": cause,
            "verdict": seen,
            "works": works,
            "next": f"{upgrade} ; or a change that was tried below, set where the failing process starts.",
        }
    verdict, advice = "cryptography imports here, with the legacy provider or without needing it", "Nothing to do here."
    if linked is False:
        verdict = "this cryptography holds its own OpenSSL with the legacy provider; it cannot have this fault"
        advice = "If a program still fails, it runs another Python: compare the path above with its traceback."
    elif found.get("warning"):
        verdict, advice = "the legacy provider is missing, which is only a warning in this release", "You may ignore it."
    elif switched_off() and is_this_fault(probe(without=(NO_LEGACY,))):
        verdict = f"cryptography imports here only because {NO_LEGACY} is set in this process"
        advice = "A process that fails does not have it: set it in the job script, service unit, Dockerfile or notebook."
    return {**report, "code": HEALTHY, "verdict": verdict, "next": advice}


def show(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"python: {report['python']}"]
    if report["cryptography"]:
        kind = {True: "holds its own OpenSSL", False: "uses an installed OpenSSL", None: "build not known"}
        by = f", installed by {report['installer']}" if report["installer"] else ""
        lines.append(f"cryptography: {report['cryptography']}{by}, {kind[report['own_openssl']]}")
        library = f" ({report['libcrypto']})" if report["libcrypto"] and not report["own_openssl"] else ""
        lines.append(f"openssl: {report['openssl'] or 'not known'}{library}")
    lines += [f"{name}={value}" for name, value in report["environment"].items() if value is not None]
    lines.append(f"found: {report['verdict']}" + (f" [{report['cause']}]" if report.get("cause") else ""))
    if report["code"] != HEALTHY and (report.get("reason") or report.get("error")):
        lines.append(f"openssl says: {report['reason']}" if report.get("reason") else f"error: {report['error']}")
    lines.append(f"next: {report['next']}")
    lines += [f"tried here, works: {change}" for change in report.get("works", ())]
    return "\n".join(printable(line) for line in lines)


def main() -> int:
    """Read the arguments, examine, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python check_openssl.py\n"
        "          kbask run openssl-legacy-provider -- --python /opt/conda/envs/train/bin/python\n"
        "exit code: 0 healthy, 1 the provider fails to load here, 2 wrong usage, 3 cannot tell (package missing, other error)",
    )
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    parser.add_argument("--python", metavar="FILE", help="examine this Python instead of the one that runs the script")
    arguments = parser.parse_args()
    if arguments.python:
        command = [arguments.python, __file__, *(["--json"] if arguments.json else [])]
        try:
            return subprocess.run(command, check=False).returncode
        except OSError as error:
            parser.error(f"cannot run {printable(arguments.python)} ({error.strerror})")
    report = examine()
    print(json.dumps(report, indent=2) if arguments.json else show(report))
    return int(report["code"])


if __name__ == "__main__":
    sys.exit(main())
