"""check_ecc.py on nvidia-smi -q texts of three generations of drivers, with the figures of a fault put in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = Path(__file__).parents[2] / "kb/entries/cuda/cuda-ecc-uncorrectable"
SCRIPT = ENTRY / "check_ecc.py"

HEAD = """
==============NVSMI LOG==============

Timestamp                                 : Wed Nov 25 01:00:00 2026
Driver Version                            : 580.95.05
Attached GPUs                             : {count}
"""
MIDDLE = """GPU {bus}
    Product Name                          : {name}
    Serial Number                         : 1320000000000
    ECC Mode
        Current                           : Enabled
        Pending                           : Enabled
    GPU Reset Status
        Reset Required                    : {reset}
        Drain and Reset Recommended       : {drain}
    GPU Recovery Action                   : {action}
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            SRAM Uncorrectable Parity     : {parity}
            SRAM Uncorrectable SEC-DED    : 0
            DRAM Correctable              : 3
            DRAM Uncorrectable            : {volatile}
        Aggregate
            SRAM Correctable              : 0
            SRAM Uncorrectable Parity     : 0
            SRAM Uncorrectable SEC-DED    : 0
            DRAM Correctable              : 3
            DRAM Uncorrectable            : {aggregate}
            SRAM Threshold Exceeded       : {threshold}
        Aggregate Uncorrectable SRAM Sources
            SRAM L2                       : 7
        Channel Repair Pending            : {channel}
        TPC Repair Pending                : No
        Unrepairable Memory               : No
    Retired Pages
        Single Bit ECC                    : N/A
        Double Bit ECC                    : N/A
        Pending Page Blacklist            : N/A
    Remapped Rows
        Correctable Error                 : 0
        Uncorrectable Error               : {rows}
        Pending                           : {pending}
        Remapping Failure Occurred        : {failure}
        Bank Remap Availability Histogram
            Max                           : 639 bank(s)
            None                          : {none} bank(s)
    Temperature
        GPU Current Temp                  : 33 C
"""
VOLTA = """GPU {bus}
    Product Name                    : Tesla V100-SXM2-32GB
    ECC Errors
        Volatile
            Single Bit
                Device Memory       : 0
                Total               : 0
            Double Bit
                Device Memory       : {volatile}
                CBU                 : 0
                Total               : {volatile}
        Aggregate
            Double Bit
                Device Memory       : {volatile}
                Total               : {volatile}
    Retired Pages
        Single Bit ECC              : {single}
        Double Bit ECC              : {double}
        Pending Page Blacklist      : {pending}
    Remapped Rows                   : N/A
"""
CALM = {
    "bus": "00000000:3B:00.0", "name": "NVIDIA H100 80GB HBM3", "reset": "No", "drain": "No", "action": "None", "parity": 0,
    "volatile": 0, "aggregate": 0, "threshold": "No", "channel": "No", "rows": 0, "pending": "No", "failure": "No", "none": 0,
}  # fmt: skip
DEPRECATED = dict.fromkeys(("reset", "drain"), "Requested functionality has been deprecated")


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def saved(tmp_path: Path):
    """Write GPUs, or any text, into a file below a folder of its own."""

    def write(*gpus: dict | str, name: str = "gpu.txt") -> Path:
        texts = [gpu if isinstance(gpu, str) else MIDDLE.format(**{**CALM, **gpu}) for gpu in gpus]
        path = tmp_path / name
        path.write_text(HEAD.format(count=len(gpus)) + "".join(texts))
        return path

    return write


def verdict(*paths: Path) -> str:
    return json.loads(run(*paths, "--json").stdout)["verdict"]


def test_gpus_without_a_fault_are_healthy(saved):
    result = run(saved({}, {"bus": "00000000:86:00.0"}))
    assert (result.returncode, result.stdout) == (0, "no memory fault on any GPU\n")


@pytest.mark.parametrize(("fault", "expected"), [
    ({"volatile": 1, "aggregate": 1}, "restart"),
    ({"parity": 2}, "restart"),
    ({"volatile": 1, "rows": 1, "pending": "Yes"}, "restart"),
    ({"name": "NVIDIA RTX A6000", "rows": 1, "pending": "Yes"}, "reset"),
    ({"action": "Reset", **DEPRECATED}, "reset"),
    ({"reset": "Yes", "action": "N/A"}, "reset"),
    ({"channel": "Yes"}, "reset"),
    ({"action": "GPU requires reset"}, "reset"),
    ({"drain": "Yes"}, "drain"),
    ({"action": "Drain P2P"}, "drain"),
    ({"action": "Drain and Reset"}, "drain"),
    ({"action": "Reboot", "volatile": 1}, "reboot"),
    ({"failure": "Yes", "none": 1}, "return"),
    ({"threshold": "Yes", "action": "Reset"}, "return"),
])  # fmt: skip
def test_each_fault_leads_to_its_verdict(saved, fault, expected):
    result = run(saved(fault), "--json")
    assert (json.loads(result.stdout)["verdict"], result.returncode) == (expected, 1)


def test_remapped_rows_alone_are_no_reason_to_act(saved):
    result = run(saved({"rows": 4, "aggregate": 4}))
    assert result.returncode == 0
    assert "dealt with since" in result.stdout
    assert "HEALTHY" in result.stdout


def test_counts_of_srams_parts_are_not_added_to_the_errors(saved):
    found = json.loads(run(saved({}), "--json").stdout)["gpus"][0]
    assert (found["aggregate_uncorrectable"], found["volatile_uncorrectable"]) == (0, 0)


@pytest.mark.parametrize(("counts", "expected"), [
    ({"volatile": 0, "single": 0, "double": 0, "pending": "No"}, "healthy"),
    ({"volatile": 0, "single": 1, "double": 2, "pending": "No"}, "healthy"),
    ({"volatile": 1, "single": 0, "double": 1, "pending": "Yes"}, "reset"),
    ({"volatile": 2, "single": 0, "double": 0, "pending": "No"}, "reset"),
    ({"volatile": 0, "single": 40, "double": 20, "pending": "No"}, "return"),
])  # fmt: skip
def test_the_form_of_volta_and_older_drivers_is_read(saved, counts, expected):
    assert verdict(saved(VOLTA.format(bus="00000000:1A:00.0", **counts))) == expected


def test_the_faulty_gpu_comes_first_and_the_others_are_counted(saved):
    buses = [f"00000000:{number:02X}:00.0" for number in (0x1A, 0x3B, 0x5D)]
    output = run(saved({"bus": buses[0]}, {"bus": buses[1], "failure": "Yes"}, {"bus": buses[2]})).stdout
    assert output.startswith("GPU 00000000:3B:00.0 NVIDIA H100 80GB HBM3: RETURN")
    assert "2 other GPU(s) without a memory fault" in output


def xid(text: str) -> str:
    return f"[Tue Nov 24 23:10:02 2026] NVRM: Xid (PCI:0000:3b:00): {text}\n"


@pytest.mark.parametrize(("line", "expected"), [
    ("94, pid=7062, name=python, Contained: CE User Channel (0x9). RST: No, D-RST: No", "restart"),
    ("95, pid=7062, Uncontained: LTC TAG (0x2,0x1). RST: Yes, D-RST: No", "reset"),
    ("95, pid=7062, Uncontained: FBHUB. RST: No, D-RST: Yes", "drain"),
    ("63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.", "restart"),
    ("64, pid=1896, Row Remapper: Failed to remap row", "reset"),
])  # fmt: skip
def test_a_kernel_log_alone_gives_a_verdict(saved, line, expected):
    assert verdict(saved(xid(line), name="dmesg.txt")) == expected


def test_xids_join_the_gpu_of_the_same_bus_address(saved):
    log = saved(xid("94, pid=7062, Contained: SM (0x1). RST: No, D-RST: No"), name="dmesg.txt")
    found = json.loads(run(saved({}, {"bus": "00000000:86:00.0"}), log, "--json").stdout)["gpus"]
    assert [(gpu["bus"], len(gpu["xids"])) for gpu in found] == [("00000000:3B:00.0", 1), ("00000000:86:00.0", 0)]


def test_what_the_driver_says_now_outweighs_an_old_line_of_the_log(saved):
    log = saved(xid("95, pid=7062, Uncontained: LTC TAG (0x2,0x1). RST: Yes, D-RST: No"), name="dmesg.txt")
    assert verdict(saved({"action": "None", **DEPRECATED}), log) == "restart"


def test_other_xids_are_no_memory_fault(saved):
    log = saved(xid("31, pid=9, name=python, Ch 00000008, intr 00000000. MMU Fault"), name="dmesg.txt")
    assert verdict(saved({}), log) == "healthy"


def test_without_ecc_nothing_can_be_told(saved):
    card = "GPU 00000000:01:00.0\n    Product Name : NVIDIA GeForce RTX 4090\n    ECC Errors\n        Volatile\n" + (
        "            DRAM Uncorrectable : N/A\n    Remapped Rows : N/A\n"
    )
    result = run(saved(card))
    assert result.returncode == 3
    assert "No ECC counts" in result.stdout


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01garbage", b" " * 300_000 + b"x:y", b"GPU 00000000:ZZ:00.0\n"])
def test_a_file_of_something_else_decides_nothing(tmp_path, content):
    (tmp_path / "broken").write_bytes(content)
    result = run(tmp_path / "broken")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_wrong_usage(tmp_path):
    assert run(tmp_path / "none.txt").returncode == 2
    assert run(tmp_path).returncode == 2


def test_a_truncated_report_is_judged_by_what_is_there(saved):
    path = saved({"failure": "Yes"})
    path.write_text(path.read_text().partition("        Bank Remap")[0])
    assert verdict(path) == "return"


def test_control_characters_do_not_reach_the_terminal(saved):
    output = run(saved({"name": "H100 \x1b[31m", "failure": "Yes"})).stdout
    assert "\x1b" not in output


def test_help_shows_an_example():
    result = run("--help")
    assert result.returncode == 0
    assert "example: python check_ecc.py" in result.stdout


@pytest.mark.parametrize(("recovery", "expected"), [
    ("0x1 (GPU Reset Required)", "reset"),
    ("0x2 (Node Reboot Required)", "reboot"),
    ("0x4 (Drain and Reset)", "drain"),
])  # fmt: skip
def test_xid_154_gives_the_recovery_action_where_nvidia_smi_does_not(saved, recovery, expected):
    log = saved(xid(f"154, GPU recovery action changed from 0x0 (None) to {recovery}"), name="dmesg.txt")
    assert verdict(log) == expected


def test_a_report_of_two_sections_without_the_name_is_read(saved):
    text = "GPU 00000000:52:00.0\n    ECC Mode\n        Current : Enabled\n    Remapped Rows\n        Pending : Yes\n"
    assert verdict(saved(text)) == "reset"
    log = saved(xid("94, pid=1, Contained: SM (0x1). RST: No, D-RST: No").replace("3b", "52"), name="dmesg.txt")
    assert verdict(saved(text), log) == "restart"
