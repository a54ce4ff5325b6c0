"""A cleaned line -> what it is: a traceback's frame, an exception, an exit code, a report of metrics, a command, chatter."""

from __future__ import annotations

import re2

# Found together in one look. RE2, so that any line takes linear time.
KINDS = {
    "traceback": (
        r"^\s*Traceback \(most recent|^\s*\+ Exception Group Traceback",
        r"|^During handling of the above|^The above exception was the direct cause",
    ),
    "frame": (
        r"^\s*File \"[^\"]+\", line \d+|^\s*File ~?[/\w.<>-]+:\d+, in|^-+> \d+ |^\s*[\w./~+-]+\.py:\d+ in ",
        r"|^\s*frame #\d+: |^\s*#\d+ +0x|^\s*\^+$|^\s*~+\^+",
    ),
    "exception": (
        r"^\s*(?:E +)?(?:[A-Za-z_]\w*\.)*_?[A-Z]\w*",
        r"(?:Error|Exception|Interrupt|Exit|Failure|NotFound|OutOfMemory)(?::|\s*$)",
    ),
    "inner exception": (r"\b[A-Z]\w*(?:Error|Exception): |what\(\): ",),
    "warning": (r"Warning: |\bWARN(?:ING)?\b|^\s*warnings\.warn|[Dd]eprecat",),
    "death": (
        r"\bexit ?code\b|[Ee]xit code|exit status|returned non-zero|\bSignal \d+ \(SIG|退出码",
        r"|\bSIG(?:KILL|SEGV|ABRT|BUS|TERM|HUP)\b|^\s*Killed\b|Bus error|Segmentation fault|core dumped",
        r"|signal: ?(?:killed|aborted)",
    ),
    "kernel": (r"NVRM: |\bXid\b|oom-kill|Out of memory: Kill|Memory cgroup out of memory|EDAC |mce: ",),
    "build": (
        r"^FAILED: |ninja: build stopped|\bfatal error: |: error: |^error: command|^\s*error: subprocess-exited",
        r"|collect2: error",
    ),
    "error": (
        r"(?i)\b(?:error|exception|failed|failure|fatal|killed|abort\w*|timeout|timed out|time-out|cannot|could not|can't",
        r"|not found|no such|mismatch\w*|invalid|unsupported|not supported|unable|undefined|denied|overflow|out of memory",
        r"|watchdog|uncorrectable|refused|unreachable|insufficient|incompatible|missing|nan|inf)\b|Error\b|Exception\b",
    ),
    "level": (r"\b(?:ERROR|FATAL|CRITICAL|INFO|DEBUG)[:\s|\]]|\bNCCL (?:INFO|WARN)\b",),
    "metrics": (r"^metrics: ",),
    "table": (r"^\s*[A-Z][\w ()./-]{0,60} {3,}: |^=+[\w ]+=+$|^\s*[+|][-=+]{10,}",),
    "shell": (r"^\s*(?:\$|>>>|\+|\([\w.-]+\) ?\S*[$#]) \S",),
    "report": (r"^\s*\{['\"]\w+['\"]: |\bstep[ =:]+\d+.{0,40}\bloss\b|\bloss[:=] ?\d|\blr=\[",),
    "place": (r"\.(?:cpp|cu|cc|h|py|js|ts|java|go|rs):\d+|\b0x[0-9a-f]{6,}\b|(?:/[\w.+-]+){3,}|[A-Z]:\\\w+",),
    "code": (
        r"^\s*(?:import|from|def|class|return|if|for|with|try|raise|assert) .*[:.(]|^\s*\w+ ?= ?\w+[(\[.]|\w\([^)]*=[^)]*\)",
        r"|^\s*[\w.-]+: (?:error|fatal error|command not found|No such file)|^\s*--?\w[\w-]+[ =]",
        r"|^\s*[\w.\"-]+: ?[\w\"'\[{./-]{1,60},?$",
    ),
    "follows": (
        r"ChildFailedError|Sending process \d+ closing signal|closing signal|taking the entire process down|^\s*Root Cause",
        r"|[NH]CCL operations have failed|terminate called|Fatal Python error|Job step aborted|Received signal",
        r"|torch[./]distributed[./](?:elastic|run|launch)|remote process exited|ncclRemoteError|DistBackendError",
        r"|Connection (?:closed|reset) by peer|error_file|<N/A>|traceback : |exited with|^\s*Failures:",
    ),
    "chatter": (
        r"(?i)urllib3|retrying|wandb: |^wandb|bitsandbytes|please (?:see|cite|report|open|use)|for more information",
        r"|for debugging consider|compile with `?TORCH_USE_CUDA_DSA|kernel errors might be|CUDA_LAUNCH_BLOCKING",
        r"|warnings\.warn|deprecat|futurewarning|userwarning|set to 1 by default|OMP_NUM_THREADS|Setting ds_accelerator",
        r"|NCCL INFO|\| INFO \||Successfully preprocessed|downloading|loading checkpoint shards",
    ),
    "launch": (
        r"^\s*(?:[$#>%] ?|\([\w.-]+\) ?\S*[$#] ?|[+] )?(?:[A-Z_]{2,}=\S+ +)*(?:CMD \[?|RUN )?(?:torchrun|deepspeed",
        r"|accelerate launch|python3? -m torch|python3?(?:\.\d+)? [\w./-]+\.py|srun |sbatch |mpirun |llamafactory-cli",
        r"|swift sft|xtuner|ray job)",
    ),
    "heading": (
        r"^\s*#{1,4} |^\s*- \[[ xX]\]|^\s*(?:Reminder|System Info|Reproduction|Expected behaviou?r|Others|Environment",
        r"|Describe the bug|To Reproduce|Additional context|Your question",
        r"|提交前必须检查|请按照以下|系统信息|复现|期望|其他)\b.{0,60}$",
    ),
}
PROGRAM = frozenset(KINDS) - {"error", "follows", "chatter", "heading"}  # What programs print, and people may quote,
CERTAIN = frozenset({"traceback", "frame", "exception", "kernel", "build", "level", "report", "table", "shell"})  # or do not.
# How much a line of each kind says about the cause.
WORTH = {
    "metrics": 6.0, "kernel": 6.0, "exception": 5.0, "inner exception": 4.0, "build": 4.0, "death": 3.0, "error": 2.0,
    "level": 0.5, "place": 0.1, "code": -0.2, "warning": -1.0, "frame": -2.0, "follows": -3.0, "chatter": -3.0,
    "launch": -3.0, "traceback": -9.0,
}  # fmt: skip


def kinds_of(text: str) -> frozenset[str]:
    """All kinds that a line is of; none for a sentence of a person's."""
    found: list[int] | None = _SET.Match(text)  # type: ignore[assignment]  # the stubs say bool; it is a list of numbers
    return frozenset(_NAMES[number] for number in found) if found else frozenset()


def _compile() -> re2.Set:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    kinds = re2.Set.SearchSet(options)
    for parts in KINDS.values():
        kinds.Add("".join(parts))
    kinds.Compile()
    return kinds


_NAMES = tuple(KINDS)
_SET = _compile()
