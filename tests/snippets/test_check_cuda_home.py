"""check_cuda_home.py on toolkits laid out in a temporary folder, with a shell script in the place of nvcc."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "kb/entries/deepspeed/nvcc-not-found-fused-adam/check_cuda_home.py"
HEADERS = ("cuda_runtime.h", "cublas_v2.h", "cusparse.h", "cusolverDn.h")


def toolkit(root: Path, release: str = "13.0", headers: tuple = HEADERS, include: str = "include") -> Path:
    (root / "bin").mkdir(parents=True)
    nvcc = root / "bin/nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.88'\n")
    nvcc.chmod(0o755)
    (root / include).mkdir(parents=True)
    for name in headers:
        (root / include / name).touch()
    return root


def run(folder: Path, *arguments: object, **environment: object) -> subprocess.CompletedProcess:
    """The script where toolkits are looked for in `folder` only and nothing of this machine is in PATH."""
    command = [sys.executable, str(SCRIPT), "--search", str(folder), *map(str, arguments)]
    clean = {"PATH": "/nowhere", "HOME": str(folder), **{name: str(value) for name, value in environment.items()}}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=clean)


def test_a_complete_toolkit_of_torchs_version_is_fine(tmp_path):
    home = toolkit(tmp_path / "cuda-13.0")
    result = run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME=home)
    assert result.returncode == 0
    assert f"CUDA_HOME:  {home}  (from CUDA_HOME)" in result.stdout
    assert "export" not in result.stdout


@pytest.mark.parametrize(("wrong", "told"), [
    ("/usr{home}", "/usr does not belong there"),
    (":{home}", "holds a colon"),
    ("/opt/old:{home}", "holds a colon"),
    ("{home}/bin", "the folder above bin is meant"),
    ("{home}/bin/nvcc", "the folder above bin is meant"),
    ("{home}-gone", "no such folder"),
    ("{home} ", "spaces"),
    ("$HOME/cuda", "never expanded"),
])  # fmt: skip
def test_a_wrong_path_is_recognised_and_the_right_lines_are_printed(tmp_path, wrong, told):
    home = toolkit(tmp_path / "cuda-13.0")
    result = run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME=wrong.format(home=home))
    assert result.returncode == 1
    assert told in result.stdout
    assert f"export CUDA_HOME={home}\n" in result.stdout


def test_a_right_nvcc_in_path_does_not_mend_a_wrong_cuda_home(tmp_path):
    home = toolkit(tmp_path / "cuda-13.0")
    result = run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME="/nowhere/cuda", PATH=home / "bin")
    assert result.returncode == 1


def test_an_empty_cuda_home_counts_as_unset_and_path_decides(tmp_path):
    home = toolkit(tmp_path / "cuda-13.0")
    found = json.loads(run(tmp_path, "--torch-cuda", "13.0", "--json", CUDA_HOME="", PATH=home / "bin").stdout)
    assert (found["cuda_home"], found["code"]) == (str(home), 0)
    assert found["from"].startswith("PATH")


def test_the_default_folder_is_found_where_nothing_is_set(tmp_path):
    toolkit(tmp_path / "cuda-12.4", "12.4")
    (tmp_path / "cuda").symlink_to(tmp_path / "cuda-12.4")
    found = json.loads(run(tmp_path, "--torch-cuda", "12.1", "--json").stdout)
    assert (found["from"], found["code"]) == ("the default folder", 0)


def test_a_link_to_a_removed_version_is_told(tmp_path):
    (tmp_path / "cuda").symlink_to(tmp_path / "cuda-11.7")
    result = run(tmp_path, "--torch-cuda", "11.8", CUDA_HOME=tmp_path / "cuda")
    assert result.returncode == 1
    assert "cuda-11.7, which does not exist" in result.stdout


def test_a_runtime_installation_without_nvcc_is_told(tmp_path):
    (tmp_path / "cuda/lib64").mkdir(parents=True)
    result = run(tmp_path, "--torch-cuda", "12.4", CUDA_HOME=tmp_path / "cuda")
    assert "run-time installation without the compiler" in result.stdout
    assert "Install a CUDA toolkit 12.4" in result.stdout


def test_no_toolkit_at_all_is_a_problem(tmp_path):
    result = run(tmp_path, "--torch-cuda", "12.4")
    assert result.returncode == 1
    assert "no nvcc is in PATH" in result.stdout
    assert '"torch_adam": true' in result.stdout


def test_of_two_toolkits_the_one_of_torchs_version_is_chosen(tmp_path):
    toolkit(tmp_path / "cuda-13.0")
    toolkit(tmp_path / "cuda-12.8", "12.8")
    right = toolkit(tmp_path / "cuda-12.1", "12.1")
    found = json.loads(run(tmp_path, "--torch-cuda", "12.1", "--json", CUDA_HOME=tmp_path / "cuda-13.0").stdout)
    assert (found["use"], found["code"]) == (str(right), 1)
    assert "the first number must agree" in found["faults"][0]


def test_missing_headers_are_a_fault_though_nvcc_runs(tmp_path):
    home = toolkit(tmp_path / "cuda", headers=HEADERS[:2])
    result = run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME=home)
    assert result.returncode == 1
    assert "cusparse.h, cusolverDn.h missing" in result.stdout


def test_headers_below_targets_count_as_condas_do(tmp_path):
    home = toolkit(tmp_path / "environment", include="targets/x86_64-linux/include")
    assert run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME=home).returncode == 0


def test_an_nvcc_that_fails_is_a_fault(tmp_path):
    home = toolkit(tmp_path / "cuda")
    (home / "bin/nvcc").write_text("#!/bin/sh\nexit 1\n")
    assert "nvcc -V fails" in run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME=home).stdout


@pytest.mark.parametrize(("config", "operator"), [
    ({"zero_optimization": {"stage": 2}}, ""),
    ({"optimizer": {"type": "AdamW", "params": {"lr": "auto", "torch_adam": True}}}, ""),
    ({"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}, "fused_adam"),
    ({"optimizer": {"type": "Adam"}, "zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "cpu_adam"),
    ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "cpu_adam"),
    ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}, "zero_force_ds_cpu_optimizer": False}, ""),
    ({"optimizer": {"type": "Lion"}}, "?"),
])  # fmt: skip
def test_the_json_tells_whether_anything_is_built(tmp_path, config, operator):
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(config))
    found = json.loads(run(tmp_path, "--torch-cuda", "13.0", "--ds-config", path, "--json").stdout)
    assert (found["operator"], found["code"]) == (operator, 1 if operator else 0)


def test_a_json_that_needs_no_build_says_so_first(tmp_path):
    (tmp_path / "ds.json").write_text("{}")
    result = run(tmp_path, "--torch-cuda", "13.0", "--ds-config", tmp_path / "ds.json")
    assert result.returncode == 0
    assert result.stdout.startswith("no build:")


@pytest.mark.parametrize("content", [b"{broken", b"[1]", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_broken_json_is_one_line_on_stderr(tmp_path, content):
    (tmp_path / "ds.json").write_bytes(content)
    result = run(tmp_path, "--ds-config", tmp_path / "ds.json")
    assert result.returncode == 2
    assert result.stderr.startswith("check_cuda_home: ")
    assert result.stderr.count("\n") == 1


def test_a_missing_json_and_a_version_that_is_none_are_wrong_usage(tmp_path):
    assert run(tmp_path, "--ds-config", tmp_path / "none.json").returncode == 2
    assert run(tmp_path, "--torch-cuda", "cu124").returncode == 2


def test_a_torch_without_cuda_decides_nothing(tmp_path):
    package = tmp_path / "site/torch"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "version.py").write_text("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")
    result = run(tmp_path, PYTHONPATH=tmp_path / "site")
    assert result.returncode == 3
    assert "ignores CUDA_HOME" in result.stdout


def test_torchs_version_file_is_read(tmp_path):
    package = tmp_path / "site/torch"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "version.py").write_text("__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\n")
    home = toolkit(tmp_path / "cuda", "12.8")
    found = json.loads(run(tmp_path, "--json", CUDA_HOME=home, PYTHONPATH=tmp_path / "site").stdout)
    assert (found["torch"], found["torch_cuda"], found["code"]) == ("2.9.1+cu128", "12.8", 0)


def test_control_characters_of_the_environment_do_not_reach_the_terminal(tmp_path):
    result = run(tmp_path, "--torch-cuda", "13.0", CUDA_HOME="/tmp/\x1b[31mred")
    assert "\x1b" not in result.stdout


def test_help_shows_an_example():
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert result.returncode == 0
    assert "example: python check_cuda_home.py" in result.stdout
