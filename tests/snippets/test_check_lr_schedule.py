"""check_lr_schedule.py and fix_ds_scheduler.py on configurations, arguments and logs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = Path(__file__).parents[2] / "kb/entries/training-loop/lr-zero-deepspeed-scheduler"
DECAY = {"type": "WarmupDecayLR", "params": {"warmup_max_lr": 1e-4, "warmup_num_steps": 100, "total_num_steps": 1200}}
ARGUMENTS = {"learning_rate": 1e-4, "per_device_train_batch_size": 1, "num_train_epochs": 1, "gradient_accumulation_steps": 8}


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ENTRY / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def check(*arguments: object) -> subprocess.CompletedProcess:
    return run("check_lr_schedule.py", *arguments)


def finding(*arguments: object) -> dict:
    return json.loads(check(*arguments, "--json").stdout)


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: object) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        return path

    return write


def state(zero_from: int, until: int, planned: int = 9300, every: int = 100) -> dict:
    history = [
        {"step": step, "epoch": step / planned, "loss": 1.5, "learning_rate": max(0.0, 1.9e-4 * (1 - step / zero_from))}
        for step in range(every, until + 1, every)
    ]
    return {"max_steps": planned, "num_train_epochs": 1, "log_history": history}


# The check.


def test_the_seeds_curve_ran_out_after_an_eighth_and_eight_processes_fit(write):
    path = write("trainer_state.json", state(1200, 5600))
    found = finding("--log", path, "--processes", 8)
    assert found["problem"]
    assert found["measured_zero_share"] == pytest.approx(1200 / 9300, abs=0.001)
    assert found["fits"][0] == "8 processes"
    assert check("--log", path, "--processes", 8).returncode == 1


def test_accumulation_fits_where_there_is_one_process(write):
    found = finding("--log", write("trainer_state.json", state(1200, 5600)), "--args", write("args.json", ARGUMENTS))
    assert "gradient_accumulation_steps 8" in found["fits"]


def test_a_ratio_that_no_count_fits_is_said_to_be_a_total_written_by_hand(write):
    found = finding("--log", write("trainer_state.json", state(2000, 9300)), "--processes", 3)
    assert found["fits"] == ["none of the counts: a total written by hand, or one left over from another run"]


def test_a_zero_at_the_very_last_log_is_healthy(write):
    result = check("--log", write("trainer_state.json", state(9300, 9300)))
    assert result.returncode == 0
    assert "No early end" in result.stdout


def test_an_unfinished_healthy_run_is_healthy(write):
    assert check("--log", write("trainer_state.json", state(9300, 4000))).returncode == 0


@pytest.mark.parametrize("quote", ["", "'"])
def test_a_console_log_of_either_major_version_is_read(write, quote):
    lines = [
        f"{{'loss': {quote}1.5{quote}, 'grad_norm': {quote}0.9{quote}, 'learning_rate': {quote}{rate}{quote}, "
        f"'epoch': {quote}{epoch}{quote}}}"
        for rate, epoch in (("1e-05", 0.1), ("5e-06", 0.2), ("0.0", 0.3), ("0.0", 0.5), ("0.0", 1.0))
    ]
    text = "\n".join(f" {n}%|█▏  | {n}/99 [00:01<00:09, 1.2it/s]{line}" for n, line in enumerate(lines))
    found = finding("--log", write("train.log", text), "--args", write("args.json", {**ARGUMENTS, "num_train_epochs": 1}))
    assert found["measured_zero_share"] == pytest.approx(0.3)


def test_epochs_that_no_file_tells_are_assumed_and_said_so(write):
    text = "{'loss': 1.5, 'learning_rate': 1e-05, 'epoch': 0.1}\n{'loss': 1.5, 'learning_rate': 0.0, 'epoch': 0.13}\n"
    log = write("train.log", text + text.splitlines()[1].replace("0.13", "0.6"))
    assert "1 were assumed" in check("--log", log).stdout
    assert finding("--log", log, "--epochs", 2)["measured_zero_share"] == pytest.approx(0.065)


def test_deepspeeds_own_log_lines_are_read(write):
    text = "".join(
        f"[2026-11-25 09:00:00,000] [INFO] [logging.py:60:log_dist] [Rank 0] step={step}, skipped=0, "
        f"lr=[{max(0.0, 1e-4 * (1 - step / 250))}], mom=[[0.9, 0.999]]\n"
        for step in range(10, 1000, 10)
    )
    found = finding("--log", write("train.log", text), "--planned", 1000, "--processes", 4)
    assert found["fits"] == ["4 processes"]


def test_zeros_before_the_scheduler_has_started_are_no_early_end(write):
    text = "tried to get lr value before scheduler/optimizer started stepping, returning lr=0\n"
    text += "{'loss': 2.71, 'learning_rate': 0, 'epoch': 0.01}\n{'loss': 2.7, 'learning_rate': 2e-06, 'epoch': 0.02}\n"
    result = check("--log", write("train.log", text))
    assert result.returncode == 0
    assert "fp16 steps are being skipped" in result.stdout


@pytest.mark.parametrize(("stepped", "step"), [("update", 1000), ("process", 250), ("micro-batch", 125), ("twice", 500)])
def test_the_step_of_the_zero_follows_from_how_often_the_scheduler_moves(write, stepped, step):
    arguments = write("args.json", {**ARGUMENTS, "max_steps": 1000})
    assert finding("--args", arguments, "--processes", 4, "--stepped", stepped)["expected_zero_step"] == step


def test_updates_are_counted_as_the_trainer_counts_them(write):
    # 1001 samples, 2 processes, batch 1: 501 batches, accumulation 8: 63 updates an epoch.
    found = finding("--args", write("args.json", {**ARGUMENTS, "num_train_epochs": 2}), "--samples", 1001, "--processes", 2)
    assert found["planned_steps"] == 126
    assert not found["problem"]


def test_a_total_written_by_hand_is_a_contradiction_and_an_early_end(write):
    config, arguments = write("ds.json", {"scheduler": DECAY}), write("args.json", {**ARGUMENTS, "max_steps": 9300})
    result = check("--ds-config", config, "--args", arguments)
    assert result.returncode == 1
    assert "total_num_steps is 1200, the run has 9300 optimizer steps" in result.stdout
    assert "0 from step 1,200" in result.stdout
    assert "lr_scheduler_type (linear) is not" in result.stdout


def test_auto_values_are_no_contradiction(write):
    params = dict.fromkeys(DECAY["params"], "auto")
    config = write("ds.json", {"scheduler": {"type": "WarmupDecayLR", "params": params}, "train_batch_size": "auto"})
    assert check("--ds-config", config, "--args", write("args.json", {**ARGUMENTS, "max_steps": 100})).returncode == 0


def test_yaml_arguments_are_read_with_numbers_that_yaml_takes_for_text(write):
    arguments = write("train.yaml", "learning_rate: 1e-5\nmax_steps: 9300\ngradient_accumulation_steps: 8\n")
    config = write("ds.json", {"optimizer": {"type": "AdamW", "params": {"lr": 1e-5}}, "gradient_accumulation_steps": 1})
    found = finding("--ds-config", config, "--args", arguments)
    assert found["conflicts"] == ["gradient_accumulation_steps is 1 in the DeepSpeed file, gradient_accumulation_steps is 8"]


def test_a_scheduler_that_never_falls_is_noted(write):
    config = write("ds.json", {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto"}}})
    result = check("--ds-config", config, "--args", write("args.json", {**ARGUMENTS, "max_steps": 100}))
    assert result.returncode == 0
    assert "never falls" in result.stdout


def test_the_plot_is_one_svg_file_without_outside_references(write, tmp_path):
    target = tmp_path / "plot.svg"
    check("--log", write("trainer_state.json", state(1200, 5600)), "--processes", 8, "--stepped", "process", "--svg", target)
    text = target.read_text()
    assert text.startswith("<svg")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert text.count("<circle") == 56


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("broken.json", '{"log_history": [', 2),
        ("list.json", "[1, 2]", 2),
        ("empty.log", "", 3),
        ("odd.json", '{"log_history": [{"learning_rate": "x"}, 5, {"learning_rate": null}]}', 3),
        ("deep.json", "[" * 100_000, 2),
    ],
)
def test_a_broken_log_ends_in_one_line(write, name, content, code):
    result = check("--log", write(name, content))
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_and_no_input_are_wrong_usage(tmp_path):
    assert check("--log", tmp_path / "none.json").returncode == 2
    assert check().returncode == 2


def test_binary_noise_and_control_characters_do_no_harm(write, tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(b"\xff\xfe\x00\x1b[31m{'loss': 1.0, 'learning_rate': 1e-05, 'epoch': 0.5}\n")
    assert check("--log", path).returncode == 0
    config = write("ds.json", {"scheduler": {"type": "Warmup\x1b[31m"}})
    assert "\x1b" not in check("--ds-config", config, "--args", write("args.json", {**ARGUMENTS, "max_steps": 9})).stdout


# The fix.


def test_without_apply_only_a_diff_is_shown(write):
    path = write("ds.json", {"scheduler": DECAY, "zero_optimization": {"stage": 2}})
    before = path.read_text()
    result = run("fix_ds_scheduler.py", path)
    assert result.returncode == 1
    assert '+      "total_num_steps": "auto"' in result.stdout
    assert path.read_text() == before


def test_applying_writes_auto_and_saves_a_copy(write, tmp_path):
    content = {"scheduler": DECAY, "optimizer": {"type": "AdamW", "params": {"lr": 3e-4}}, "train_batch_size": 64}
    path = write("ds.json", content)
    assert run("fix_ds_scheduler.py", path, "--apply").returncode == 0
    new = json.loads(path.read_text())
    assert set(new["scheduler"]["params"].values()) == {"auto"}
    assert (new["optimizer"]["params"]["lr"], new["train_batch_size"]) == ("auto", "auto")
    assert json.loads((tmp_path / "ds.json.bak").read_text()) == content
    assert run("fix_ds_scheduler.py", path, "--apply").returncode == 0
    assert not (tmp_path / "ds.json.bak1").exists()


def test_a_second_copy_does_not_overwrite_the_first(write, tmp_path):
    path = write("ds.json", {"scheduler": DECAY})
    run("fix_ds_scheduler.py", path, "--apply")
    run("fix_ds_scheduler.py", path, "--remove-scheduler", "--apply")
    assert (tmp_path / "ds.json.bak1").exists()
    assert json.loads(path.read_text()) == {}


def test_blocks_can_be_removed_and_the_rest_stays(write):
    path = write("ds.json", {"scheduler": DECAY, "optimizer": {"type": "AdamW"}, "zero_optimization": {"stage": 3}})
    run("fix_ds_scheduler.py", path, "--remove-scheduler", "--remove-optimizer", "--apply")
    assert json.loads(path.read_text()) == {"zero_optimization": {"stage": 3}}


def test_a_missing_total_and_peak_are_added(write):
    path = write("ds.json", {"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": 10}}})
    run("fix_ds_scheduler.py", path, "--apply")
    params = json.loads(path.read_text())["scheduler"]["params"]
    assert params == {"warmup_num_steps": "auto", "total_num_steps": "auto", "warmup_max_lr": "auto"}


def test_a_number_can_be_written_for_plain_deepspeed(write):
    path = write("ds.json", {"scheduler": DECAY})
    run("fix_ds_scheduler.py", path, "--total-num-steps", 9300, "--apply")
    assert json.loads(path.read_text())["scheduler"]["params"] == {**DECAY["params"], "total_num_steps": 9300}


def test_line_ends_and_indentation_stay(tmp_path):
    path = tmp_path / "ds.json"
    path.write_bytes(b'{\r\n\t"gradient_accumulation_steps": 4\r\n}\r\n')
    run("fix_ds_scheduler.py", path, "--apply")
    assert path.read_bytes() == b'{\r\n\t"gradient_accumulation_steps": "auto"\r\n}\r\n'


@pytest.mark.parametrize("content", ["{", "[]", "\x00", '{"a": ' * 100_000])
def test_a_broken_configuration_is_refused_in_one_line(write, content):
    result = run("fix_ds_scheduler.py", write("ds.json", content))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_json_output_tells_what_happened(write):
    result = json.loads(run("fix_ds_scheduler.py", write("ds.json", {"scheduler": DECAY}), "--json").stdout)
    assert result["changed"]
    assert not result["applied"]


@pytest.mark.parametrize("script", ["check_lr_schedule.py", "fix_ds_scheduler.py"])
def test_help_shows_an_example(script):
    assert "example:" in run(script, "--help").stdout
