"""A model's checkpoint -> where it is on this disk, what it needs of memory, and whether that is free."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import GenerationError

# The most that is reserved for prompt and answer; longer contexts cost memory that nobody here fills.
LONGEST_CONTEXT = 16_384
# What CUDA, its libraries and the activations of a prompt take beside weights and cache.
GPU_BYTES_BESIDE = 1_500_000_000
# Where several write at once: what each may count on. One of them may have the whole context while the others need less.
TOKENS_PER_STREAM = 4096


def find_checkpoint(model: str) -> Path:
    """The folder of a model; raises GenerationError with the command that fetches it."""
    if (Path(model).expanduser() / "config.json").is_file():
        return Path(model).expanduser()
    if Path(model).expanduser().is_dir():
        raise GenerationError(f"The folder {model} is no model of transformers: it has no config.json.")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise GenerationError(f"A model on this machine needs {error.name}. Install it: pip install 'kbask[llm]'") from error
    try:
        folder = Path(snapshot_download(model, local_files_only=True))
    except HFValidationError as error:
        raise GenerationError(f"{model} is neither a folder nor the id of a model.") from error
    except LocalEntryNotFoundError as error:
        raise GenerationError(f"The model {model} is not on this disk. Fetch it: hf download {model}") from error
    if not (folder / "config.json").is_file() or not weights(folder):
        raise GenerationError(f"The model {model} is on this disk only in part. Fetch the rest: hf download {model}")
    return folder


def weights(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint's weights; none where one that the index names is missing."""
    index = checkpoint / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        found = [checkpoint / name for name in sorted(names)]
        return found if all(path.is_file() for path in found) else []
    return sorted(checkpoint.glob("*.safetensors")) or sorted(checkpoint.glob("pytorch_model*.bin"))


@dataclass(frozen=True)
class Needed:
    """Bytes of a model: of its weights as stored, and of its cache in 16 bits."""

    weights: int
    cache: int
    stored_in_32_bits: bool

    @property
    def on_gpu(self) -> int:
        return self.weights + self.cache + GPU_BYTES_BESIDE

    @property
    def on_cpu(self) -> int:
        """Computed in 32 bits, which is twice as fast as bf16 where the CPU has no instructions for it."""
        return self.weights * (1 if self.stored_in_32_bits else 2) + 2 * self.cache


def bytes_needed(checkpoint: Path, streams: int) -> Needed:
    """From the checkpoint's files and its configuration alone."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    heads = config.get("num_attention_heads", 32)
    per_head = config.get("head_dim") or config.get("hidden_size", 4096) // heads
    per_token = 2 * 2 * config.get("num_hidden_layers", 32) * config.get("num_key_value_heads", heads) * per_head
    length = cached_tokens(min(config.get("max_position_embeddings", LONGEST_CONTEXT), LONGEST_CONTEXT), streams)
    stored = config.get("dtype") or config.get("torch_dtype")
    return Needed(sum(path.stat().st_size for path in weights(checkpoint)), per_token * length, stored == "float32")


def cached_tokens(context: int, streams: int) -> int:
    """How many tokens the cache holds, of all streams together."""
    return context if streams == 1 else max(context, streams * TOKENS_PER_STREAM)


def choose_gpu(needed: Needed) -> None:
    """Show torch the freest GPU alone; asked of the driver, as even a look through CUDA takes half a gigabyte of it."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    best = freest_gpu(said, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if best is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = best[0]
        check_memory("The GPU", best[1], needed.on_gpu)


def freest_gpu(said: str, visible: str | None) -> tuple[str, int] | None:
    """UUID and free bytes out of nvidia-smi's `index, uuid, MiB` lines, among those that CUDA_VISIBLE_DEVICES names."""
    rows = [line.split(", ") for line in said.strip().splitlines()]
    gpus = [
        (index, uuid, int(free) * 2**20) for index, uuid, free in (row for row in rows if len(row) == 3) if free.isdecimal()
    ]
    if visible is not None:
        chosen = [word.strip() for word in visible.split(",") if word.strip()]
        gpus = [gpu for gpu in gpus if any(gpu[0] == word or gpu[1].startswith(word) for word in chosen)]
    best = max(gpus, key=lambda gpu: gpu[2], default=None)
    return (best[1], best[2]) if best else None


def check_memory(where: str, free: int, needed: int) -> None:
    """Raises GenerationError where the model would not fit into what is free now."""
    if free < needed:
        raise GenerationError(
            f"{where} has {free / 1e9:.1f} GB of memory free, the model needs {needed / 1e9:.1f} GB. Choose a smaller one "
            "(--llm-model), or a server elsewhere (--llm-url)."
        )


def available_memory() -> int:
    """Bytes that can be had without swapping; without /proc, all that there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
