"""check_openssl.py of the entry openssl-legacy-provider, run as its users run it.

The fault needs a cryptography that is linked to the system's OpenSSL, which PyPI's wheels are not. So a small package of that
name asks the system's own libcrypto for the legacy provider through ctypes, and raises or warns as releases 43 and 49 do.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/loading/openssl-legacy-provider/check_openssl.py"
VARIABLE = "CRYPTOGRAPHY_OPENSSL_NO_LEGACY"
BINDINGS = """
import ctypes, os, warnings
library = ctypes.CDLL({libcrypto!r})
library.OSSL_PROVIDER_load.restype = ctypes.c_void_p
if os.environ.get({variable!r}, "") in ("", "0") and not library.OSSL_PROVIDER_load(None, b"legacy"):
    if {fatal}:
        raise RuntimeError("OpenSSL 3.0's legacy provider failed to load. This is a fatal error by default")
    warnings.warn("OpenSSL 3's legacy provider failed to load. Legacy algorithms will not be available.")
"""
BACKEND = """
class backend:
    openssl_version_text = staticmethod(lambda: "OpenSSL of the system")
"""


def find_libcrypto() -> str | None:
    """The system's libcrypto, if it is OpenSSL 3 and has a legacy provider to load."""
    name = ctypes.util.find_library("crypto")
    probe = f"import ctypes; l = ctypes.CDLL({name!r}); l.OSSL_PROVIDER_load.restype = ctypes.c_void_p; "
    probe += "raise SystemExit(0 if l.OSSL_PROVIDER_load(None, b'legacy') else 1)"
    done = subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True, env=clean_environment())
    return name if name and done.returncode == 0 else None


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without what the script looks at."""
    looked_at = (VARIABLE, "OPENSSL_MODULES", "LD_LIBRARY_PATH", "OPENSSL_CONF", "PYTHONPATH")
    return {**{name: value for name, value in os.environ.items() if name not in looked_at}, **variables}


LIBCRYPTO = find_libcrypto()
needs_openssl = pytest.mark.skipif(
    LIBCRYPTO is None or not Path("/proc/self/maps").exists(), reason="no OpenSSL 3 with a legacy provider on this system"
)


def write_cryptography(folder: Path, version: str, bindings: str, binary: bytes = b"needs libcrypto.so.3") -> Path:
    """A package cryptography whose bindings do what is given; returns the folder for PYTHONPATH."""
    for name in ("hazmat/bindings", "hazmat/backends/openssl"):
        (folder / "cryptography" / name).mkdir(parents=True)
    (folder / "cryptography/__init__.py").write_text("")
    (folder / "cryptography/hazmat/bindings/_rust.py").write_text(bindings)
    (folder / "cryptography/hazmat/bindings/_openssl.abi3.so").write_bytes(binary)
    (folder / "cryptography/hazmat/backends/openssl/__init__.py").write_text(BACKEND)
    info = folder / f"cryptography-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cryptography\nVersion: {version}\n")
    (info / "INSTALLER").write_text("conda\n")
    return folder


def linked(folder: Path, version: str = "43.0.0", fatal: bool = True) -> Path:
    return write_cryptography(folder, version, BINDINGS.format(libcrypto=LIBCRYPTO, variable=VARIABLE, fatal=fatal))


def run(*arguments: str, packages: Path | None = None, isolated: bool = False, **variables: str) -> subprocess.CompletedProcess:
    """Run the script in a clean environment; isolated means a Python that sees no installed package."""
    if packages:
        variables["PYTHONPATH"] = str(packages)
    command = [sys.executable, *(["-S", "-E"] if isolated else []), str(SCRIPT), *arguments]
    environment = clean_environment(**variables)
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=60, env=environment)


@needs_openssl
def test_a_cryptography_that_loads_the_provider_is_healthy(tmp_path: Path) -> None:
    done = run(packages=linked(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cryptography imports here" in done.stdout


@needs_openssl
def test_a_modules_folder_that_points_nowhere_is_found_and_unsetting_it_is_shown_to_work(tmp_path: Path) -> None:
    done = run("--json", packages=linked(tmp_path), OPENSSL_MODULES=str(tmp_path / "empty"))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["cause"] == "wrong-directory"
    assert report["works"][0] == "unset OPENSSL_MODULES"
    assert report["works"][-1] == f"export {VARIABLE}=1"
    assert str(tmp_path / "empty") in report["reason"]
    assert (report["cryptography"], report["installer"], report["own_openssl"]) == ("43.0.0", "conda", False)


@needs_openssl
@pytest.mark.parametrize("value", ["", "0"])
def test_the_variable_set_to_nothing_or_0_counts_as_not_set(tmp_path: Path, value: str) -> None:
    done = run(packages=linked(tmp_path), OPENSSL_MODULES=str(tmp_path), **{VARIABLE: value})
    assert done.returncode == 1
    assert "[variable-not-inherited]" in done.stdout


@needs_openssl
def test_an_import_that_works_only_thanks_to_the_variable_is_told(tmp_path: Path) -> None:
    done = run(packages=linked(tmp_path), OPENSSL_MODULES=str(tmp_path), **{VARIABLE: "1"})
    assert done.returncode == 0
    assert f"only because {VARIABLE} is set" in done.stdout


@needs_openssl
def test_a_warning_of_a_later_release_is_no_fault(tmp_path: Path) -> None:
    done = run(packages=linked(tmp_path, "49.0.0", fatal=False), OPENSSL_MODULES=str(tmp_path))
    assert done.returncode == 0
    assert "only a warning" in done.stdout


@needs_openssl
def test_a_provider_that_exists_but_is_no_library_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "legacy.so").write_bytes(b"not a library")
    done = run("--json", packages=linked(tmp_path / "packages"), OPENSSL_MODULES=str(modules))
    assert done.returncode == 1
    assert "invalid ELF header" in json.loads(done.stdout)["reason"] or "too short" in json.loads(done.stdout)["reason"]


def test_a_provider_that_no_setting_brings_back_is_missing(tmp_path: Path) -> None:
    message = 'raise RuntimeError("OpenSSL 3.0\'s legacy provider failed to load.")'
    done = run("--json", packages=write_cryptography(tmp_path, "42.0.8", message))
    assert done.returncode == 1
    assert json.loads(done.stdout)["cause"] == "provider-missing"
    assert json.loads(done.stdout)["works"] == []


def test_a_wheel_with_its_own_openssl_cannot_have_the_fault(tmp_path: Path) -> None:
    done = run(packages=write_cryptography(tmp_path, "46.0.7", "", b"OpenSSL 3.5.6 inside"), OPENSSL_MODULES="/nonexistent")
    assert done.returncode == 0
    assert "it cannot have this fault" in done.stdout


def test_another_error_at_import_is_not_taken_for_this_one(tmp_path: Path) -> None:
    message = "raise ImportError('libssl.so.1.1: cannot open\\x1b[31m shared object file')"
    done = run(packages=write_cryptography(tmp_path, "41.0.7", message))
    assert done.returncode == 3
    assert "for another reason" in done.stdout
    assert "libssl.so.1.1" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_python_without_cryptography_cannot_tell() -> None:
    done = run(isolated=True)
    assert done.returncode == 3
    assert "not installed in this Python" in done.stdout


def test_another_python_can_be_named(tmp_path: Path) -> None:
    done = run("--json", "--python", sys.executable, packages=write_cryptography(tmp_path, "46.0.7", "", b""))
    assert done.returncode == 0
    assert json.loads(done.stdout)["cryptography"] == "46.0.7"


def test_a_python_that_does_not_exist_is_wrong_usage() -> None:
    done = run("--python", "/no/such/python")
    assert done.returncode == 2
    assert "cannot run /no/such/python" in done.stderr


def test_help_tells_that_nothing_is_changed_and_shows_an_example() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "Nothing is changed" in done.stdout
    assert "kbask run openssl-legacy-provider -- --python" in done.stdout
