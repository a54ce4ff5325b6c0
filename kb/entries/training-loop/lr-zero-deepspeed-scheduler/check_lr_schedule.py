# /// script
# requires-python = ">=3.9"
# dependencies = ["pyyaml"]
# ///
"""Find the step at which the learning rate reaches 0, planned and real, and what makes them differ.

Goes in: a DeepSpeed configuration (JSON), the training arguments (JSON, or YAML with PyYAML), and, if the run exists already,
its trainer_state.json or console log. Values given as options win over those in the files.
Comes out: how many optimizer steps are planned, where the schedule ends, where the logged rate became 0, which count fits the
ratio of the two (processes, accumulation, total_num_steps), and which values of the two files contradict each other; with
--svg a plot of the planned and the real rate. Changes nothing but the file named by --svg.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from typing import Any, NamedTuple, NoReturn, Optional

HEALTHY, PROBLEM, USAGE, CANNOT_TELL = 0, 1, 2, 3
EARLY = 0.97  # a schedule that ends before this part of the run has ended early; logs are a few steps apart
NEAR = 0.12  # how far a ratio may lie from a count to be explained by it: the zero is seen at the next log only
MAX_CONFIG_BYTES = 5_000_000
MAX_STATE_BYTES = 200_000_000

# What ends at which share of the peak rate, by DeepSpeed 0.19 and transformers 5.24.
DEEPSPEED_END = {"WarmupDecayLR": "falls to exactly 0", "WarmupCosineLR": "falls to 0.0001 of the peak, never to 0"}
DEEPSPEED_END["WarmupLR"] = "never falls: after the warm-up the rate stays at its peak"

# The places where both files say the same thing: DeepSpeed's key, the training argument, transformers' default for it.
SHARED = (
    ("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
    ("train_micro_batch_size_per_gpu", "per_device_train_batch_size", 8),
    ("optimizer.params.lr", "learning_rate", 5e-5),
    ("optimizer.params.weight_decay", "weight_decay", 0.0),
    ("scheduler.params.warmup_max_lr", "learning_rate", 5e-5),
)
CONSOLE = re.compile(r"['\"]learning_rate['\"]: ?['\"]?([0-9][0-9.e+-]*)['\"]?[^}]{0,120}?['\"]epoch['\"]: ?['\"]?([0-9.]+)")
DEEPSPEED_LINE = re.compile(r"step=(\d+), skipped=\d+, lr=\[([0-9.e+-]+)")
NOT_STARTED = "tried to get lr value before scheduler/optimizer started stepping"


class Rate(NamedTuple):
    """One logged learning rate; `step` is None where the log tells only the epoch."""

    step: Optional[float]
    epoch: Optional[float]
    rate: float


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"check_lr_schedule: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str, limit: int = 300) -> str:
    """The text on one line and without control characters, since files are not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:limit]


def read_mapping(path: str, limit: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON or YAML file that holds names and values."""
    try:
        if os.path.getsize(path) > limit:
            stop(USAGE, f"{path} is too large")
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            text = file.read()
        if path.lower().endswith((".yaml", ".yml")):
            try:
                import yaml
            except ImportError:
                stop(CANNOT_TELL, "YAML needs PyYAML: pip install pyyaml (JSON needs no package)")
            try:
                content = yaml.safe_load(text)
            except (yaml.YAMLError, RecursionError) as error:
                stop(USAGE, f"{path}: not YAML ({error})")
        else:
            content = json.loads(text)
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: not JSON ({error})")
    if not isinstance(content, dict):
        stop(USAGE, f"{path}: holds no names and values")
    return content


def number(value: Any) -> Optional[float]:
    """The value as a finite number, also where it is written as text (YAML reads 1e-5 as text); None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def at(config: dict[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    value: Any = config
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def count(arguments: dict[str, Any], name: str, default: Optional[int] = None) -> Optional[int]:
    """A positive whole number of the training arguments."""
    value = number(arguments.get(name))
    return int(value) if value is not None and value >= 1 else default


def planned_steps(arguments: dict[str, Any], samples: Optional[int], processes: int, epochs: float) -> Optional[int]:
    """Optimizer steps of the run, counted as transformers' Trainer does; None where the files do not tell."""
    if count(arguments, "max_steps"):
        return count(arguments, "max_steps")
    if not samples:
        return None
    batch = count(arguments, "per_device_train_batch_size", 8) or 8
    accumulation = count(arguments, "gradient_accumulation_steps", 1) or 1
    batches = math.ceil(samples / (batch * processes))
    return math.ceil(epochs * max(1, math.ceil(batches / accumulation)))


def read_rates(path: str) -> tuple[list[Rate], bool, dict[str, Any]]:
    """The logged rates, whether the scheduler had not started at some, and what trainer_state.json tells of the run."""
    if path.lower().endswith(".json"):
        state = read_mapping(path, MAX_STATE_BYTES)
        history = state.get("log_history")
        rates = []
        for item in history if isinstance(history, list) else []:
            rate = number(item.get("learning_rate")) if isinstance(item, dict) else None
            if rate is not None:
                rates.append(Rate(number(item.get("step")), number(item.get("epoch")), rate))
        return rates, False, state
    rates, not_started = [], False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            while line := file.readline(100_000):
                not_started = not_started or NOT_STARTED in line
                for found in CONSOLE.finditer(line):
                    rates.append(Rate(None, number(found[2]), number(found[1]) or 0.0))
                if found := DEEPSPEED_LINE.search(line):
                    rates.append(Rate(float(found[1]), None, number(found[2]) or 0.0))
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    return rates, not_started, {}


def zero_share(rates: list[Rate], planned: Optional[int], epochs: float) -> tuple[Optional[float], float]:
    """The share of the run at which the rate became 0 for good, None if it did not; and the share that was logged."""

    def share(rate: Rate) -> Optional[float]:
        if rate.step is not None and planned:
            return rate.step / planned
        return rate.epoch / epochs if rate.epoch is not None else None

    shares = [share(rate) for rate in rates]
    known = [value for value in shares if value is not None]
    if not known:
        return None, 0.0
    first = len(rates)
    while first > 0 and rates[first - 1].rate == 0:
        first -= 1
    return (shares[first] if first < len(rates) else None), max(known)


def explain(ratio: float, counts: dict[str, float]) -> list[str]:
    """What fits the ratio of planned steps to the step of the zero."""
    fits = [name for name, value in counts.items() if value > 1 and abs(ratio / value - 1) <= NEAR]
    return fits or ["none of the counts: a total written by hand, or one left over from another run"]


def contradictions(config: dict[str, Any], arguments: dict[str, Any], planned: Optional[int]) -> list[str]:
    """Values that the two files give differently; transformers' Trainer refuses to start on each, other loops do not."""
    found = []
    for path, name, default in SHARED:
        here, there = at(config, path), arguments.get(name, default)
        left, right = number(here), number(there)
        if left is not None and right is not None and not math.isclose(left, right, rel_tol=1e-9):
            found.append(f"{path} is {printable(here, 40)} in the DeepSpeed file, {name} is {printable(there, 40)}")
    total = number(at(config, "scheduler.params.total_num_steps"))
    if total is not None and planned is not None and total != planned:
        found.append(f"scheduler.params.total_num_steps is {total:g}, the run has {planned} optimizer steps")
    return found


def remarks(config: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """What to know about the DeepSpeed scheduler block; no faults."""
    block = config.get("scheduler")
    if not isinstance(block, dict):
        return []
    kind, params = printable(block.get("type"), 40), block.get("params")
    params = params if isinstance(params, dict) else {}
    wanted = printable(arguments.get("lr_scheduler_type", "linear"), 40)
    lines = [f"the DeepSpeed scheduler {kind} is used, so lr_scheduler_type ({wanted}) is not"]
    if kind in DEEPSPEED_END:
        lines.append(f"{kind} {DEEPSPEED_END[kind]}")
    if kind == "WarmupDecayLR" and "warmup_max_lr" not in params:
        lines.append("warmup_max_lr is missing: DeepSpeed then takes 0.001, not your learning_rate")
    return lines


def schedule(step: float, total: float, warmup: float) -> float:
    """A linear schedule with warm-up, as a share of its peak."""
    if step < warmup:
        return step / max(1.0, warmup)
    return max(0.0, (total - step) / max(1.0, total - warmup))


def svg(planned: int, total: Optional[float], per_step: float, warmup: float, measured: list[tuple[float, float]]) -> str:
    """A plot: the schedule that was meant, the one that the settings give (if they are known), the logged rates as dots."""
    width, height, left, top = 640, 240, 50, 34

    def points(values: list[tuple[float, float]]) -> str:
        return " ".join(f"{left + x * width:.1f},{top + (1 - y) * height:.1f}" for x, y in values)

    grid = [position / 200 for position in range(201)]
    meant = points([(x, schedule(x * planned, planned, warmup)) for x in grid])
    real = points([(x, schedule(x * planned * per_step, total, warmup)) for x in grid]) if total else ""
    legend = '<tspan fill="#d1372c">with these settings</tspan>, ' if total else ""
    dots = "".join(
        f'<circle cx="{left + x * width:.1f}" cy="{top + (1 - y) * height:.1f}" r="2.5" fill="#1b1b1b"/>' for x, y in measured
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 70} {height + 80}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<path d="M{left},{top} V{top + height} H{left + width}" fill="none" stroke="#888"/>'
        f'<polyline points="{meant}" fill="none" stroke="#2a6fdb" stroke-width="2"/>'
        f'<polyline points="{real}" fill="none" stroke="#d1372c" stroke-width="2" stroke-dasharray="6 3"/>{dots}'
        f'<text x="{left}" y="20">learning rate, share of its peak: <tspan fill="#2a6fdb">meant</tspan>, '
        f"{legend}dots: logged</text>"
        f'<text x="{left}" y="{top + height + 20}">0</text><text x="{left + width}" y="{top + height + 20}" '
        f'text-anchor="end">{planned} optimizer steps</text></svg>\n'
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python check_lr_schedule.py --ds-config ds.json --args train.yaml --samples 74400 --processes 8 "
        "--log output/trainer_state.json\n"
        "exit code: 0 healthy, 1 the rate reaches 0 early or the files contradict each other, 2 wrong usage or unreadable "
        "file, 3 cannot tell",
    )
    parser.add_argument("--ds-config", metavar="FILE", help="the DeepSpeed configuration")
    parser.add_argument("--args", metavar="FILE", help="the training arguments, under transformers' names")
    parser.add_argument("--log", metavar="FILE", help="trainer_state.json, or the console log of the run")
    parser.add_argument("--samples", type=int, metavar="N", help="training samples, after packing")
    parser.add_argument("--processes", type=int, metavar="N", default=1, help="processes, usually GPUs (default 1)")
    parser.add_argument("--epochs", type=float, metavar="N", help="epochs, where no file tells them")
    parser.add_argument("--planned", type=int, metavar="N", help="optimizer steps, if you know them (progress bar)")
    parser.add_argument("--total", type=int, metavar="N", help="steps your own code gives to its scheduler")
    parser.add_argument(
        "--stepped",
        choices=("update", "process", "micro-batch", "twice"),
        default="update",
        help="how often the scheduler moves: once an update (Trainer, DeepSpeed); once a process (prepared by Accelerate); "
        "once a micro-batch (step() outside the accumulation check); twice (engine.step() and your own step())",
    )
    parser.add_argument("--svg", metavar="FILE", help="write a plot there")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    arguments = parser.parse_args()
    for name in ("samples", "processes", "planned", "total", "epochs"):
        value = getattr(arguments, name)
        if value is not None and not (value > 0 if name == "epochs" else value >= 1):
            parser.error(f"--{name} must be above 0")
    if not (arguments.ds_config or arguments.args or arguments.log or arguments.planned):
        parser.error("give at least one of --ds-config, --args, --log, --planned")
    return arguments


def main() -> int:
    """Read the files, compare planned and real, report."""
    options = parse_arguments()
    config = read_mapping(options.ds_config) if options.ds_config else {}
    arguments = read_mapping(options.args) if options.args else {}
    rates, not_started, state = read_rates(options.log) if options.log else ([], False, {})
    if options.log and not rates:
        stop(CANNOT_TELL, f"{options.log} has no learning rates that can be read")
    accumulation = count(arguments, "gradient_accumulation_steps") or count(config, "gradient_accumulation_steps") or 1
    default_epochs = options.epochs or number(arguments.get("num_train_epochs")) or 3.0
    planned = options.planned or planned_steps(arguments, options.samples, options.processes, default_epochs)
    planned = planned or count(state, "max_steps")
    own_total = options.total or number(at(config, "scheduler.params.total_num_steps"))
    total = own_total or planned
    per_step = {"update": 1, "process": options.processes, "micro-batch": accumulation, "twice": 2}[options.stepped]
    kind = at(config, "scheduler.type")
    ends_at_zero = kind in (None, "WarmupDecayLR")
    told_how = bool(config or arguments or options.total) or options.stepped != "update"
    expected = min(1.0, total / per_step / planned) if planned and total and ends_at_zero and told_how else None

    told = options.epochs or number(arguments.get("num_train_epochs")) or number(state.get("num_train_epochs"))
    epochs = told or float(math.ceil(max((rate.epoch or 0.0 for rate in rates), default=1.0)) or 1)
    measured, logged = zero_share(rates, planned, epochs)
    leading = bool(rates) and rates[0].rate == 0 and any(rate.rate for rate in rates)
    if expected is None and measured is None and not rates and not (config and arguments):
        stop(CANNOT_TELL, "the number of optimizer steps is unknown: give --samples, --planned, or max_steps")

    counts = {
        f"{options.processes} processes": options.processes,
        f"gradient_accumulation_steps {accumulation}": accumulation,
        "processes times accumulation": options.processes * accumulation if min(options.processes, accumulation) > 1 else 1,
        "a second step() per update": 2,
    }
    if own_total and planned:
        counts[f"total_num_steps {own_total:g}"] = planned / own_total
    conflicts = contradictions(config, arguments, planned) if config and arguments else []
    early_measured = measured is not None and 0 < measured < EARLY
    early_expected = expected is not None and expected < EARLY
    everything_zero = bool(rates) and all(rate.rate == 0 for rate in rates)
    result = {
        "planned_steps": planned,
        "schedule_steps": total,
        "expected_zero_step": math.ceil(expected * planned) if expected is not None and planned else None,
        "measured_zero_share": measured,
        "fits": explain(1 / measured, counts) if early_measured and measured else [],
        "conflicts": conflicts,
        "remarks": remarks(config, arguments),
        "zero_at_start_only": leading and measured is None,
        "scheduler_not_started": not_started,
        "epochs": epochs,
        "epochs_assumed": bool(rates) and told is None and rates[0].step is None,
        "problem": early_measured or early_expected or bool(conflicts) or everything_zero,
    }
    if options.svg:
        if not planned or not total:
            stop(CANNOT_TELL, "a plot needs the number of optimizer steps: give --samples or --planned")
        peak = max((rate.rate for rate in rates), default=0.0) or 1.0
        dots = [
            (min(1.0, rate.step / planned if rate.step is not None else (rate.epoch or 0.0) / epochs), rate.rate / peak)
            for rate in rates[:: max(1, len(rates) // 300)]
        ]
        warmup = number(arguments.get("warmup_steps")) or 0.0
        warmup = warmup if warmup >= 1 else (warmup or number(arguments.get("warmup_ratio")) or 0.0) * planned
        try:
            with open(options.svg, "w", encoding="utf-8") as file:
                file.write(svg(planned, total if told_how else None, per_step, warmup, dots))
        except OSError as error:
            stop(USAGE, f"{options.svg}: {error.strerror or error}")
    if options.json:
        print(json.dumps(result))
    else:
        report(result, logged)
    return PROBLEM if result["problem"] else HEALTHY


def report(result: dict[str, Any], logged: float) -> None:
    """The result for people."""
    if result["planned_steps"]:
        print(f"planned: {result['planned_steps']:,} optimizer steps")
    if result["expected_zero_step"] is not None:
        print(f"with these settings the rate is 0 from step {result['expected_zero_step']:,}")
    if result["measured_zero_share"] is not None:
        share = result["measured_zero_share"]
        print(f"the log shows 0 from {share:.1%} of the run on (logged so far: {logged:.1%})")
        if result["fits"]:
            print(f"planned / real = {1 / share:.1f}, which fits: {'; '.join(result['fits'])}")
    if result["epochs_assumed"]:
        print(f"note: the log tells epochs only, and {result['epochs']:g} were assumed: give the run's with --epochs")
    for line in result["conflicts"]:
        print(f"contradiction: {line}")
    for line in result["remarks"]:
        print(f"note: {line}")
    if result["zero_at_start_only"]:
        why = "fp16 steps are being skipped" if result["scheduler_not_started"] else "warm-up starts from 0"
        print(f"the rate is 0 in the first logs only: {why}; no early end")
    if result["conflicts"]:
        print("Trainer refuses such values; elsewhere DeepSpeed's win silently. fix_ds_scheduler.py sets them to auto.")
    if not result["problem"]:
        print("No early end was found: a 0 at the very last step is how linear and cosine schedules end.")


if __name__ == "__main__":
    sys.exit(main())
