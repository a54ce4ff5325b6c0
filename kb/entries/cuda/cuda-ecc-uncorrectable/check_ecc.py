# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Tell from nvidia-smi -q, and the kernel log, which GPU has memory faults and what to do with it.

Goes in: what `nvidia-smi -q` prints now, or saved copies of it (drivers 4xx to 59x), and saved kernel logs (dmesg) for
their Xid lines, in any order. Comes out, for each GPU: ECC counts, retired pages, remapped rows, the driver's recovery
action, and one verdict: restart the job, reset, drain, reboot, or return the card. Changes nothing and resets nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
MAX_LINE = 4096  # characters of a line that are read
MANY_RETIRED_PAGES = 60  # of the 64 that can be retired on Volta and older
VERDICTS = ["healthy", "unknown", "restart", "reset", "drain", "reboot", "return"]  # from best to worst

GPU_HEADER = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*$")
CONTAINS_ERRORS = re.compile(r"\b(?:A100|A800|A30|H100|H800|H200|H20|GH200|B[123]00|GB[123]00)X?\b")
XID = re.compile(r"NVRM: Xid \(PCI:([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})[^)]{0,20}\): (\d{1,4})\b(.*)")
MEMORY_XIDS = {"48", "63", "64", "92", "94", "95", "160", "161", "171", "172"}
UNCORRECTABLE = re.compile(r"(?:SRAM|DRAM) Uncorrectable.*|Double Bit/Total")


@dataclass
class Gpu:
    """One GPU: its fields by path ("ECC Errors/Volatile/DRAM Uncorrectable"), its Xid lines, and the verdict."""

    bus: str
    fields: dict[str, str] = field(default_factory=dict)
    xids: list[tuple[str, str]] = field(default_factory=list)
    verdict: str = "healthy"
    why: list[str] = field(default_factory=list)

    def number(self, path: str) -> int:
        """The count at a path; 0 for N/A and for what is not there."""
        value = self.fields.get(path, "").replace(" bank(s)", "")
        return int(value) if value.isdecimal() and len(value) < 12 else 0

    def says(self, path: str, word: str = "Yes") -> bool:
        return self.fields.get(path, "").lower().startswith(word.lower())

    def uncorrectable(self, period: str) -> int:
        """Uncorrectable errors since the last reset (Volatile), or of the GPU's life (Aggregate)."""
        start = f"ECC Errors/{period}/"
        paths = [path for path in self.fields if path.startswith(start) and UNCORRECTABLE.fullmatch(path[len(start) :])]
        return sum(self.number(path) for path in paths)

    def counted(self) -> bool:
        """True where this GPU counts ECC errors or remapped rows at all."""
        paths = [path for path in self.fields if path.startswith(("ECC Errors/", "Remapped Rows/", "Retired Pages/"))]
        return any(self.fields[path] not in ("", "N/A") for path in paths)


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_ecc: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 200) -> str:
    """The text on one line and without control characters, since logs are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:limit]


def place(bus: str) -> str:
    """Domain, bus and device in one form: 00000000:3B:00.0 and 0000:3b:00 are the same GPU."""
    domain, number, device = bus.lower().split(".")[0].split(":")
    return f"{int(domain, 16):x}:{number}:{device}"


def lines_of(path: str) -> Iterator[str]:
    """The lines of a file, cut to MAX_LINE characters, whatever their encoding."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            while line := file.readline(MAX_LINE):
                yield line.rstrip("\n")
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")


def nvidia_smi() -> list[str]:
    """The lines that nvidia-smi -q prints on this machine."""
    try:
        ran = subprocess.run(["nvidia-smi", "-q"], capture_output=True, timeout=120, check=False)
    except FileNotFoundError:
        stop(CANNOT_TELL, "no nvidia-smi here; run `nvidia-smi -q > gpu.txt` on the machine with the GPUs and give gpu.txt")
    except (OSError, subprocess.SubprocessError) as error:
        stop(CANNOT_TELL, f"nvidia-smi -q failed: {error}; a hanging nvidia-smi is itself a sign: look at dmesg for Xid")
    lines = ran.stdout.decode("utf-8", "replace").splitlines()
    if not any(GPU_HEADER.match(line) for line in lines):
        stop(CANNOT_TELL, f"nvidia-smi -q names no GPU (exit code {ran.returncode}): {' '.join(lines[-2:]) or 'no output'}")
    return lines


def read(lines: Iterable[str], gpus: dict[str, Gpu]) -> None:
    """Take the fields of each GPU and the Xid lines out of nvidia-smi -q or a kernel log."""
    gpu: Optional[Gpu] = None
    headings: list[tuple[int, str]] = []
    for line in lines:
        line = line[:MAX_LINE].rstrip()
        if "NVRM: Xid" in line and (xid := XID.search(line)):
            gpus.setdefault(place(xid[1]), Gpu(xid[1])).xids.append((xid[2], printable(xid[0].strip())))
        elif header := GPU_HEADER.match(line):
            gpu = gpus.setdefault(place(header[1]), Gpu(header[1]))
            gpu.bus, headings = header[1], []
        elif gpu and line.startswith(" "):
            name, colon, value = line.strip().partition(" : ")
            depth = len(line) - len(line.lstrip(" "))
            headings = [heading for heading in headings if heading[0] < depth]
            if colon:
                gpu.fields["/".join([heading for _, heading in headings] + [name.rstrip()])] = value.strip()
            else:
                headings.append((depth, name))
        elif line and not line.startswith(" "):
            gpu = None


def judge(gpu: Gpu) -> None:
    """Set the verdict, the worst that holds, and all reasons."""
    xids = {number for number, _ in gpu.xids}
    contained = " ".join(text for number, text in gpu.xids if number in ("94", "95"))
    changed = re.findall(r"recovery action changed.{0,60} to 0x\w+ \(([^)]*)", " ".join(text for _, text in gpu.xids))
    action = (gpu.fields.get("GPU Recovery Action") or (changed or [""])[-1]).lower()
    settled = action == "none" or gpu.says("GPU Reset Status/Reset Required", "No")  # outweighs an old line of the log
    contains = bool(CONTAINS_ERRORS.search(gpu.fields.get("Product Name", ""))) or " Contained: " in contained
    unreadable = any(re.search("requires reset|unknown error", value.lower()) for value in gpu.fields.values())
    volatile, aggregate = gpu.uncorrectable("Volatile"), gpu.uncorrectable("Aggregate")
    retired = gpu.number("Retired Pages/Single Bit ECC") + gpu.number("Retired Pages/Double Bit ECC")
    page_waits = gpu.says("Retired Pages/Pending Page Blacklist") or gpu.says("Retired Pages/Pending")
    row_waits = gpu.says("Remapped Rows/Pending")

    rules = [
        ("return", gpu.says("Remapped Rows/Remapping Failure Occurred"), "a row could not be remapped: NVIDIA's RMA criterion"),
        ("return", gpu.says("ECC Errors/Aggregate/SRAM Threshold Exceeded"), "SRAM error threshold exceeded: RMA criterion"),
        ("return", gpu.says("ECC Errors/Unrepairable Memory"), "memory that cannot be repaired"),
        ("return", retired >= MANY_RETIRED_PAGES, f"{retired} retired pages; 64 is the most that can be retired"),
        ("reboot", "reboot" in action, "the driver asks for a reboot (GPU Recovery Action)"),
        ("drain", action.startswith("drain"), f"the driver asks for it (GPU Recovery Action: {action})"),
        ("drain", gpu.says("GPU Reset Status/Drain and Reset Recommended"), "Drain and Reset Recommended: Yes"),
        ("drain", "D-RST: Yes" in contained and not settled, "the Xid line says D-RST: Yes"),
        ("reset", "reset" in action and not action.startswith("drain"), "the driver asks for a reset (GPU Recovery Action)"),
        ("reset", gpu.says("GPU Reset Status/Reset Required"), "Reset Required: Yes"),
        ("reset", unreadable, "nvidia-smi cannot read this GPU (GPU requires reset, or Unknown Error)"),
        ("reset", " RST: Yes" in contained and not settled, "the Xid line says RST: Yes"),
        ("reset", bool({"64", "161"} & xids), "Xid 64 or 161: a remap or repair failed; reset, and tell the vendor"),
        ("reset", page_waits, "a page waits to be retired; until then no new work starts on this GPU"),
        (
            "reset",
            row_waits and not contains,
            "a row waits to be remapped at a reset; only A100, H100 and later avoid it until then",
        ),
        ("reset", gpu.says("ECC Errors/Channel Repair Pending"), "a memory channel waits to be repaired at the next reset"),
        ("reset", gpu.says("ECC Errors/TPC Repair Pending"), "a TPC waits to be repaired at the next reset"),
        ("reset", volatile > 0 and not contains and not settled, "uncorrectable errors, on a GPU that cannot contain them"),
        ("restart", row_waits and contains, "a row is remapped at the next reset; the driver avoids it until then"),
        ("restart", volatile > 0, f"{volatile} uncorrectable error(s) since the last reset or driver load"),
        ("restart", bool({"48", "63", "94", "95", "171", "172"} & xids), "Xid lines of memory errors in the log"),
    ]
    gpu.why = [reason for _, holds, reason in rules if holds]
    if not gpu.why and aggregate + gpu.number("Remapped Rows/Uncorrectable Error"):
        gpu.why = ["past uncorrectable errors, dealt with since: no reason to act, but note the counts"]
    holding = [verdict for verdict, holds, _ in rules if holds]
    default = "healthy" if gpu.counted() else "unknown"
    gpu.verdict = max(holding, key=VERDICTS.index) if holding else default


ADVICE = {
    "healthy": "Nothing to do.",
    "unknown": "No ECC counts (ECC off, not there, or only a kernel log given): Xid lines and dcgmi diag can tell.",
    "restart": "Save this output, then start again from the last checkpoint; watch whether the same GPU fails again.",
    "reset": "End the processes on this GPU, then: sudo nvidia-smi -r -i {bus} (refused? reboot the node).",
    "drain": "Start nothing new on it, let what runs end (peer-to-peer jobs first), query again, then reset.",
    "reboot": "Drain the node and reboot it: a reset of the GPU alone is not enough.",
    "return": "Take the card out of service, run the vendor's field diagnostic (or dcgmi diag -r 3), ask for an RMA.",
}


def summary(gpu: Gpu) -> dict[str, Any]:
    """The finding of one GPU for programs."""
    return {
        "bus": gpu.bus,
        "name": gpu.fields.get("Product Name", ""),
        "serial": gpu.fields.get("Serial Number", ""),
        "uuid": gpu.fields.get("GPU UUID", ""),
        "verdict": gpu.verdict,
        "why": gpu.why,
        "volatile_uncorrectable": gpu.uncorrectable("Volatile"),
        "aggregate_uncorrectable": gpu.uncorrectable("Aggregate"),
        "remapped_rows": gpu.number("Remapped Rows/Uncorrectable Error"),
        "retired_pages": gpu.number("Retired Pages/Single Bit ECC") + gpu.number("Retired Pages/Double Bit ECC"),
        "banks_without_spare_rows": gpu.number("Remapped Rows/Bank Remap Availability Histogram/None"),
        "recovery_action": gpu.fields.get("GPU Recovery Action", ""),
        "xids": [text for number, text in gpu.xids if number in MEMORY_XIDS],
    }


def report(gpus: list[Gpu]) -> None:
    """The findings for people: the GPUs to act on in full, the healthy ones in one line."""
    for gpu in gpus:
        found = summary(gpu)
        if gpu.verdict == "healthy" and not gpu.why:
            continue
        print(f"GPU {' '.join([printable(gpu.bus), printable(found['name'])]).strip()}: {gpu.verdict.upper()}")
        for reason in gpu.why:
            print(f"  {printable(reason)}")
        if gpu.counted():
            print(
                f"  uncorrectable: {found['volatile_uncorrectable']} since the last reset, {found['aggregate_uncorrectable']} "
                f"in its life; rows remapped for them: {found['remapped_rows']}; retired pages: {found['retired_pages']}"
            )
        for text in found["xids"][:4]:
            print(f"  {text}")
        print(f"  next: {ADVICE[gpu.verdict].format(bus=printable(gpu.bus))}")
    quiet = [gpu for gpu in gpus if gpu.verdict == "healthy" and not gpu.why]
    if quiet:
        print(f"{len(quiet)} other GPU(s) without a memory fault" if len(quiet) < len(gpus) else "no memory fault on any GPU")


def main() -> int:
    """Read the arguments and files, judge each GPU, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_ecc.py                       (asks nvidia-smi)\n"
        "         python check_ecc.py gpu.txt dmesg.txt     (saved: nvidia-smi -q > gpu.txt; dmesg -T > dmesg.txt)\n"
        "exit code: 0 no fault, 1 a GPU needs something, 2 wrong usage or unreadable file, 3 cannot tell",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="saved nvidia-smi -q and kernel logs; none: ask nvidia-smi")
    parser.add_argument("--json", action="store_true", help="print the findings for programs")
    arguments = parser.parse_args()
    gpus: dict[str, Gpu] = {}
    for lines in [lines_of(path) for path in arguments.files] or [iter(nvidia_smi())]:
        read(lines, gpus)
    if not gpus:
        stop(CANNOT_TELL, "no GPU of nvidia-smi -q and no NVRM Xid line in these files")
    for gpu in gpus.values():
        judge(gpu)
    ranked = sorted(gpus.values(), key=lambda gpu: -VERDICTS.index(gpu.verdict))
    worst = ranked[0].verdict
    if arguments.json:
        print(json.dumps({"verdict": worst, "gpus": [summary(gpu) for gpu in ranked]}, indent=2))
    else:
        report(ranked)
    if worst == "healthy":
        return HEALTHY
    return CANNOT_TELL if worst == "unknown" else PROBLEM


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = PROBLEM
    sys.exit(status)
