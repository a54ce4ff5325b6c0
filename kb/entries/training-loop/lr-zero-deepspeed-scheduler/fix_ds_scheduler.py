# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Take the hand-written learning-rate values out of a DeepSpeed configuration.

Goes in: a DeepSpeed configuration (JSON).
Comes out: a diff. Without a further option the values that transformers' Trainer knows better (rate, warm-up, total steps,
weight decay, accumulation, batch sizes) become "auto"; --remove-scheduler drops the scheduler block, so that the Trainer's
lr_scheduler_type is used again; --remove-optimizer drops the optimizer block too; --total-num-steps writes a number instead,
for programs that call deepspeed.initialize themselves, where "auto" means nothing.
Changes nothing unless --apply is given; then a copy is saved beside the file first.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import os
import re
import shutil
import sys
from typing import Any, NoReturn

NOTHING_TO_DO, CHANGE_SHOWN, USAGE = 0, 1, 2
MAX_BYTES = 5_000_000
# Schedulers that need a total, and the values that the Trainer fills in where they say "auto".
NEED_TOTAL = ("WarmupDecayLR", "WarmupCosineLR")
SCHEDULER_AUTO = ("total_num_steps", "warmup_num_steps", "warmup_max_lr")
OPTIMIZER_AUTO = ("lr", "betas", "eps", "weight_decay")
BATCH_AUTO = ("gradient_accumulation_steps", "train_micro_batch_size_per_gpu", "train_batch_size")


def stop(code: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    print(f"fix_ds_scheduler: {printable(message)[:300]}", file=sys.stderr)
    sys.exit(code)


def printable(text: str) -> str:
    """The text on one line and without control characters, since the file is not to be trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def read(path: str) -> tuple[str, dict[str, Any]]:
    """The file's text and what it holds."""
    try:
        if os.path.getsize(path) > MAX_BYTES:
            stop(USAGE, f"{path} is too large for a configuration")
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
        config = json.loads(text)
    except OSError as error:
        stop(USAGE, f"{path}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        stop(USAGE, f"{path}: not JSON ({error})")
    if not isinstance(config, dict):
        stop(USAGE, f"{path}: not a DeepSpeed configuration, which is a JSON object")
    return text, config


def block(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The parameters of a block; empty if there is no such block."""
    found = config.get(name)
    params = found.get("params") if isinstance(found, dict) else None
    return params if isinstance(params, dict) else {}


def set_known(values: dict[str, Any], names: tuple[str, ...]) -> None:
    """Turn those of the names that are there into "auto"."""
    for name in names:
        if name in values:
            values[name] = "auto"


def mended(config: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The configuration as it should be."""
    config = copy.deepcopy(config)
    if options.remove_scheduler:
        config.pop("scheduler", None)
    if options.remove_optimizer:
        config.pop("optimizer", None)
    scheduler = config.get("scheduler")
    kind = scheduler.get("type") if isinstance(scheduler, dict) else None
    if options.total_num_steps is not None:
        if kind not in NEED_TOTAL:
            stop(USAGE, f"--total-num-steps is for {' and '.join(NEED_TOTAL)}; the scheduler here is {kind}")
        scheduler.setdefault("params", {})["total_num_steps"] = options.total_num_steps
        return config
    if kind in NEED_TOTAL:
        params = scheduler.setdefault("params", {})
        params.setdefault("total_num_steps", "auto")
        if kind == "WarmupDecayLR":
            params.setdefault("warmup_max_lr", "auto")
    set_known(block(config, "scheduler"), SCHEDULER_AUTO)
    set_known(block(config, "optimizer"), OPTIMIZER_AUTO)
    set_known(config, BATCH_AUTO)
    return config


def written(config: dict[str, Any], text: str) -> str:
    """The configuration as JSON, with the indentation and line ends of the old text."""
    found = re.search(r"\n([ \t]+)\S", text)
    indent = found[1] if found else "  "
    new = json.dumps(config, indent=indent if "\t" in indent else len(indent), ensure_ascii=False)
    if text.endswith("\n"):
        new += "\n"
    return new.replace("\n", "\r\n") if "\r\n" in text else new


def free_name(path: str) -> str:
    """A name for the copy that no file bears."""
    name, counter = f"{path}.bak", 1
    while os.path.exists(name):
        name, counter = f"{path}.bak{counter}", counter + 1
    return name


def main() -> int:
    """Read, mend, show, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python fix_ds_scheduler.py ds_config.json --remove-scheduler --apply\n"
        "exit code: 0 nothing to change, or the change was written; 1 a change is shown; 2 wrong usage or unreadable file",
    )
    parser.add_argument("config", metavar="FILE", help="the DeepSpeed configuration, JSON")
    parser.add_argument("--remove-scheduler", action="store_true", help="drop the scheduler block (lr_scheduler_type rules)")
    parser.add_argument("--remove-optimizer", action="store_true", help="drop the optimizer block; never needed for the rate")
    parser.add_argument("--total-num-steps", type=int, metavar="N", help="optimizer steps, for deepspeed.initialize")
    parser.add_argument("--apply", action="store_true", help="write the change, after saving a copy beside the file")
    parser.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args()
    if options.total_num_steps is not None and (options.total_num_steps < 1 or options.remove_scheduler):
        parser.error("--total-num-steps must be 1 or more, and keeps the scheduler")

    text, config = read(options.config)
    new_config = mended(config, options)
    changed = new_config != config
    new_text = written(new_config, text) if changed else text
    # Both sides are laid out alike, so that the diff shows values and not spaces.
    sides = [written(one, text).splitlines() for one in (config, new_config)]
    diff = [printable(line) for line in difflib.unified_diff(*sides, options.config, options.config, lineterm="")]
    copy_name = None
    if changed and options.apply:
        copy_name = free_name(options.config)
        try:
            shutil.copy2(options.config, copy_name)
            with open(options.config, "w", encoding="utf-8", newline="") as file:
                file.write(new_text)
        except OSError as error:
            stop(USAGE, f"{options.config}: {error.strerror or error}")
    if options.json:
        print(json.dumps({"changed": changed, "applied": copy_name is not None, "copy": copy_name, "diff": diff}))
    elif not changed:
        print("Nothing to change: no hand-written value of the learning rate is left.")
    else:
        print("\n".join(diff))
        print(
            f"Written; the old file is {printable(copy_name)}." if copy_name else "Nothing was written; add --apply for that."
        )
    return CHANGE_SHOWN if changed and copy_name is None else NOTHING_TO_DO


if __name__ == "__main__":
    sys.exit(main())
