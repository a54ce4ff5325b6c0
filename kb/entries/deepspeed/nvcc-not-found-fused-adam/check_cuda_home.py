# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Tell which nvcc PyTorch would run to build a DeepSpeed operator here, what is wrong with it, and what to export.

Goes in: the environment this script is started in (CUDA_HOME, CUDA_PATH, PATH), the CUDA toolkits on this machine, the
torch of the Python that runs it (its version file is read, nothing is imported); if given, DeepSpeed's json, to
tell whether anything must be built at all. Comes out: the fault, and the export lines that are right on this machine.
Changes nothing.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Optional

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
SEARCHED = ["/usr/local", "/opt", "/usr/lib"]
HEADERS = ["cuda_runtime.h", "cublas_v2.h", "cusparse.h", "cusolverDn.h"]  # torch's ATen/cuda/CUDAContext.h includes them
MAX_CONFIG = 1 << 20  # bytes


class Toolkit(NamedTuple):
    """A folder with bin/nvcc: the compiler's release ("12.4", "" if it does not run) and the headers it lacks."""

    root: str
    release: str
    missing_headers: list[str]


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_cuda_home: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 300) -> str:
    """The text on one line and without control characters: environments and files are not to be trusted."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:limit]


def inspect(root: str) -> Optional[Toolkit]:
    """The toolkit in a folder; None if there is no bin/nvcc that can be executed."""
    nvcc = Path(root, "bin", "nvcc")
    if not os.access(nvcc, os.X_OK) or not nvcc.is_file():
        return None
    try:
        ran = subprocess.run([str(nvcc), "-V"], capture_output=True, timeout=20, check=False)
        release = re.search(r"release (\d+\.\d+)", ran.stdout.decode("utf-8", "replace"))
    except (OSError, subprocess.SubprocessError):
        release = None
    folders = [Path(root, "include"), *map(Path, glob.glob(os.path.join(glob.escape(root), "targets/*/include")))]
    missing = [name for name in HEADERS if not any((folder / name).is_file() for folder in folders)]
    return Toolkit(root, release[1] if release else "", missing)


def torch_cuda() -> tuple[str, str]:
    """(torch's version, the CUDA it was built with) read from its version file; ("", "") without torch."""
    try:
        found = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        found = None
    if not found or not found.origin:
        return "", ""
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    version = re.search(r"^__version__ = ['\"]([^'\"]+)", text, re.MULTILINE)
    cuda = re.search(r"^cuda\b[^=\n]*= ['\"]([\d.]+)", text, re.MULTILINE)
    return version[1] if version else "unknown", cuda[1] if cuda else ""


def resolve(searched: list[str]) -> tuple[str, str]:
    """(CUDA_HOME as torch.utils.cpp_extension finds it, where it comes from), in torch's order of looking."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            return os.environ[name], name
    nvcc = shutil.which("nvcc")
    if nvcc:
        return os.path.dirname(os.path.dirname(nvcc)), "PATH (two folders above nvcc)"
    default = os.path.join(searched[0], "cuda")
    return (default, "the default folder") if os.path.exists(default) else ("", "nowhere")


def find_toolkits(searched: list[str], also: str) -> list[Toolkit]:
    """The toolkits of this machine: /usr/local/cuda* and the like, conda, pip's nvidia packages, and PATH."""
    roots = [path for folder in searched for path in sorted(glob.glob(os.path.join(folder, "cuda*")), reverse=True)]
    roots += [os.environ.get("CONDA_PREFIX", ""), sys.prefix, also]
    roots += sorted(glob.glob(os.path.join(sys.prefix, "lib/python3*/site-packages/nvidia/*")))
    nvcc = shutil.which("nvcc")
    if nvcc:
        roots += [os.path.dirname(os.path.dirname(nvcc)), os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))]
    found: dict[str, Toolkit] = {}
    for root in filter(None, roots):
        toolkit = inspect(root)
        if toolkit and toolkit.release:
            found.setdefault(os.path.realpath(root), toolkit)
    return list(found.values())


def path_fault(root: str) -> str:
    """What is wrong with a CUDA_HOME that holds no bin/nvcc, as far as its form or the disk tells."""
    parts = [part for part in root.split("/") if part]
    if ":" in root:
        return "it holds a colon: CUDA_HOME is ONE folder, no list (often from export CUDA_HOME=$CUDA_HOME:/usr/local/cuda)"
    if root != root.strip() or root[:1] in "\"'" or root[-1:] in "\"'\r":
        return "it holds quotes, spaces or a carriage return at an end"
    if root.startswith("~") or "$" in root:
        return "~ or $ in it was never expanded (quoted, or set in a file that no shell reads)"
    if parts[-1:] == ["nvcc"] or parts[-1:] == ["bin"]:
        return "it names nvcc or its bin folder; the folder above bin is meant, since /bin/nvcc is appended to it"
    if any(inspect("/" + "/".join(parts[start:])) for start in range(1, len(parts))):
        return f"something is doubled or put before it: {'/' + parts[0]} does not belong there"
    if os.path.islink(root) and not os.path.exists(root):
        return f"it is a link to {os.path.realpath(root)}, which does not exist"
    if not os.path.exists(root):
        return "no such folder"
    if not os.path.isdir(root):
        return "it is not a folder"
    return "there is no bin/nvcc in it: a run-time installation without the compiler"


def major(release: str) -> str:
    return release.split(".")[0]


def same_minor(release: str, torch_release: str) -> bool:
    return release.split(".")[:2] == torch_release.split(".")[:2]


def best(toolkits: list[Toolkit], torch_release: str) -> Optional[Toolkit]:
    """The toolkit to use: complete, and of torch's CUDA version, or at least of its major one."""
    fitting = [kit for kit in toolkits if not kit.missing_headers]
    if torch_release:
        fitting = [kit for kit in fitting if major(kit.release) == major(torch_release)]
        fitting.sort(key=lambda kit: not same_minor(kit.release, torch_release))
    return fitting[0] if fitting else None


def section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A block of the config; empty where it is absent or no object."""
    block = config.get(name)
    return block if isinstance(block, dict) else {}


def needed_build(path: str) -> tuple[str, str]:
    """(operator that DeepSpeed would build for this json, or "", why)."""
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read(MAX_CONFIG + 1)[:MAX_CONFIG].decode("utf-8-sig", "replace"))
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: not JSON ({error})")
    if not isinstance(config, dict):
        stop(USAGE, f"{path}: not a JSON object")
    offload = section(section(config, "zero_optimization"), "offload_optimizer").get("device", "none") != "none"
    kind = str(section(config, "optimizer").get("type", "")).lower()
    if kind in ("adam", "adamw"):
        if section(section(config, "optimizer"), "params").get("torch_adam") is True:
            return "", '"torch_adam": true takes PyTorch\'s AdamW'
        return ("cpu_adam", "Adam with offload_optimizer") if offload else ("fused_adam", "the optimizer block asks for Adam")
    if kind:
        return "?", f"its optimizer is {kind}: this script knows Adam only"
    if offload and config.get("zero_force_ds_cpu_optimizer", True):
        return "cpu_adam", "offload_optimizer makes accelerate take DeepSpeedCPUAdam"
    return "", "no optimizer block and no offload, so the optimizer is the Trainer's or your own"


def examine(torch_release: str, searched: list[str]) -> dict[str, Any]:
    """All findings: the CUDA_HOME in force, its faults, the toolkits here and the one to use."""
    root, origin = resolve(searched)
    used = inspect(root) if root else None
    faults = []
    if not root:
        faults.append("no CUDA_HOME or CUDA_PATH is set, no nvcc is in PATH, and there is no default folder")
    elif not used:
        faults.append(f"no nvcc that runs at {os.path.join(root, 'bin', 'nvcc')}: {path_fault(root)}")
    elif not used.release:
        faults.append(f"{root}/bin/nvcc is there, but {root}/bin/nvcc -V fails")
    else:
        if used.missing_headers:
            faults.append(f"its headers are incomplete: {', '.join(used.missing_headers)} missing, the build will stop there")
        if torch_release and major(used.release) != major(torch_release):
            faults.append(f"nvcc is {used.release}, but torch was built with CUDA {torch_release}: the first number must agree")
    toolkits = find_toolkits(searched, root)
    choice = best(toolkits, torch_release)
    return {
        "cuda_home": root,
        "from": origin,
        "release": used.release if used else "",
        "faults": faults,
        "toolkits": [kit._asdict() for kit in toolkits],
        "use": choice.root if choice else "",
        "pytorch_nvcc": os.environ.get("PYTORCH_NVCC", ""),
    }


def report(found: dict[str, Any], torch_version: str, torch_release: str) -> None:
    """The findings for people."""
    print(f"torch:      {torch_version or 'not found by this Python'}, built with CUDA {torch_release or 'unknown'}")
    print(f"CUDA_HOME:  {printable(found['cuda_home']) or 'none'}  (from {found['from']})")
    if found["pytorch_nvcc"]:
        print(f"PYTORCH_NVCC={printable(found['pytorch_nvcc'])} is set and replaces nvcc in builds at run time")
    for kit in found["toolkits"]:
        lacks = f", lacks {', '.join(kit['missing_headers'])}" if kit["missing_headers"] else ""
        print(f"toolkit:    {printable(kit['root'])}  nvcc {kit['release']}{lacks}")
    print(*[f"fault:      {printable(fault, 600)}" for fault in found["faults"]], sep="\n")
    if not found["faults"]:
        print("fine:       torch would find this nvcc. Not the same in the job? Run this script inside the job.")
    elif found["use"]:
        print("next:       put these lines into the script that starts the training, before python, then start again:")
        print(f"  export CUDA_HOME={printable(shlex.quote(found['use']))}")
        print('  export PATH="$CUDA_HOME/bin:$PATH"')
    else:
        wanted = ".".join(torch_release.split(".")[:2]) or "of the version that torch.version.cuda prints"
        print(f"next:       no complete toolkit here that fits. Install a CUDA toolkit {wanted} (a -devel image, a")
        print("            module, conda's cuda-toolkit), or avoid the build:")
        print('            "torch_adam": true among the params of Adam in DeepSpeed\'s json.')


def main() -> int:
    """Read the arguments, look, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_cuda_home.py --ds-config ds_zero2.json   (with the Python and in the job that trains)\n"
        "exit code: 0 the compiler is fine or none is needed, 1 a fault, 2 wrong usage or unreadable file, 3 cannot tell",
    )
    parser.add_argument("--ds-config", metavar="FILE", help="DeepSpeed's json, to tell whether anything is built at all")
    parser.add_argument("--torch-cuda", metavar="X.Y", help="CUDA version of the training's torch, if it is another torch")
    parser.add_argument("--search", action="append", metavar="FOLDER", help=f"where toolkits lie (default {SEARCHED})")
    parser.add_argument("--json", action="store_true", help="print the findings for programs")
    arguments = parser.parse_args()
    if arguments.torch_cuda and not re.fullmatch(r"\d+\.\d+(\.\d+)?", arguments.torch_cuda):
        parser.error("--torch-cuda is a version such as 12.4")

    version, release = torch_cuda()
    release = arguments.torch_cuda or release
    operator, why = needed_build(arguments.ds_config) if arguments.ds_config else ("?", "")
    found = {**examine(release, arguments.search or SEARCHED), "torch": version, "torch_cuda": release}
    found.update(operator=operator, why=why)
    if not operator:
        found["code"] = HEALTHY
    elif version and not release:
        found["code"] = CANNOT_TELL
    else:
        found["code"] = PROBLEM if found["faults"] else HEALTHY
    if arguments.json:
        print(json.dumps(found, indent=2))
        return int(found["code"])
    if not operator:
        print(f"no build:   {printable(arguments.ds_config)} needs no operator: {why}.")
        print("            If one is built all the same, the run reads another json. What is below matters only then.")
    elif arguments.ds_config:
        print(f"build:      {operator if operator != '?' else 'unknown'}, {why}")
    report(found, version, release)
    if found["code"] == CANNOT_TELL:
        print(
            "cannot tell: this torch has no CUDA and ignores CUDA_HOME. Run it with the training's Python, or --torch-cuda X.Y"
        )
    return int(found["code"])


if __name__ == "__main__":
    sys.exit(main())
