"""Show what the transformers Trainer logs when the loss is 0.0, NaN or merely small (evidence of loss-zero-sft).

Runs a tiny random Llama on the CPU through the real Trainer, one case after the other, with `logging_nan_inf_filter`
on (the default) and off, and prints for each what was logged, whether the weights are finite and whether they moved.
Two further cases go through TRL's SFTTrainer where it is installed. Takes about twenty seconds on two cores, needs no
network and no GPU. What only a GPU shows (a GradScaler's skipped steps, fp16 kernels of CUDA) is not shown here.

    python benchmarks/reproduce_loss_zero.py
    python benchmarks/reproduce_loss_zero.py --case all-masked --case fp16-weights
    python benchmarks/reproduce_loss_zero.py --json > loss_zero.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

VOCABULARY = 64
LENGTH = 16
IGNORED = -100

Sample = dict[str, list[int]]


@dataclass
class Result:
    """What one run logged: `logs` holds loss, grad_norm and eval_loss in the order in which they were logged."""

    case: str
    nan_inf_filter: bool
    logs: list[dict[str, float]]
    weights_finite: bool
    weights_moved: bool
    note: str


def tiny_model(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A random Llama of one layer, the same for every case."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).to(dtype)


def samples(count: int, masked: Callable[[int], bool] = lambda number: False) -> list[Sample]:
    """Random token sequences; the sample numbers for which `masked` holds have every label -100."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for number in range(count):
        input_ids = torch.randint(3, VOCABULARY, (LENGTH,), generator=generator).tolist()
        labels = [IGNORED] * LENGTH if masked(number) else list(input_ids)
        rows.append({"input_ids": input_ids, "attention_mask": [1] * LENGTH, "labels": labels})
    return rows


class InOrderTrainer(Trainer):
    """A Trainer that does not shuffle, so that the masked sample arrives at a known step."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class PoisonWeights(TrainerCallback):
    """Sets one weight to NaN once a given optimizer step is over, as an update that overflowed would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step:
            with torch.no_grad():
                model.lm_head.weight[5, 5] = float("nan")


def kept(entry: dict[str, float]) -> dict[str, float]:
    """The columns of one log entry that matter here."""
    return {name: entry[name] for name in ("step", "loss", "grad_norm", "eval_loss") if name in entry}


def train(
    case: str,
    nan_inf_filter: bool,
    note: str,
    *,
    rows: list[Sample] | None = None,
    evaluation: list[Sample] | None = None,
    model: LlamaForCausalLM | None = None,
    callback: TrainerCallback | None = None,
    mean_loss: bool = False,
    steps: int = 6,
    logging_steps: int = 1,
    **arguments: Any,
) -> Result:
    """Run one case in a Trainer and return what it logged."""
    model = model or tiny_model()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        **arguments,
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = InOrderTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                logging_steps=logging_steps,
                logging_nan_inf_filter=nan_inf_filter,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                seed=0,
                **settings,
            ),
            train_dataset=rows or samples(12),
            eval_dataset=evaluation,
            callbacks=[callback] if callback else None,
        )
        trainer.remove_callback(PrinterCallback)
        if mean_loss:
            # What a loss of one's own, or transformers before 4.46, does: each micro-batch is averaged by itself.
            trainer.model_accepts_loss_kwargs = False
        trainer.train()
        if evaluation is not None:
            trainer.evaluate()
    after = dict(model.named_parameters())
    return Result(
        case=case,
        nan_inf_filter=nan_inf_filter,
        logs=[kept(entry) for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry],
        weights_finite=all(bool(torch.isfinite(weight).all()) for weight in after.values()),
        weights_moved=any(not torch.equal(before[name], weight) for name, weight in after.items()),
        note=note,
    )


def healthy() -> Iterator[Result]:
    """Ordinary labels."""
    yield train("healthy", True, "the ordinary run, for comparison")


def all_masked() -> Iterator[Result]:
    """Every label -100."""
    rows = samples(12, masked=lambda number: True)
    for nan_inf_filter in (True, False):
        yield train("all-masked", nan_inf_filter, "every label -100", rows=rows, evaluation=rows[:2], weight_decay=0.0)


def masked_step() -> Iterator[Result]:
    """Sample 3 of 12 wholly masked, no accumulation: one optimizer step has nothing to learn from."""
    rows = samples(12, masked=lambda number: number == 2)
    for nan_inf_filter in (True, False):
        yield train("masked-step", nan_inf_filter, "step 3 wholly masked, logged every step", rows=rows)
        note = "step 3 wholly masked, logged every 2"
        yield train("masked-step-window", nan_inf_filter, note, rows=rows, logging_steps=2)


def masked_micro_batch() -> Iterator[Result]:
    """One of the two micro-batches of step 2 wholly masked."""
    rows = samples(12, masked=lambda number: number == 2)
    for nan_inf_filter in (True, False):
        yield train(
            "masked-micro-batch",
            nan_inf_filter,
            "accumulation 2, one of the micro-batches of step 2 masked, loss over the window's tokens (default)",
            rows=rows,
            gradient_accumulation_steps=2,
        )
        yield train(
            "masked-micro-batch-mean",
            nan_inf_filter,
            "the same, each micro-batch averaged by itself (own loss; transformers before 4.46)",
            rows=rows,
            gradient_accumulation_steps=2,
            mean_loss=True,
        )


def poisoned_weights() -> Iterator[Result]:
    """Weights become NaN after step 3."""
    for nan_inf_filter in (True, False):
        yield train(
            "weights-nan",
            nan_inf_filter,
            "one weight NaN after step 3, logged every 2",
            callback=PoisonWeights(3),
            steps=8,
            logging_steps=2,
            evaluation=samples(2),
        )


def half_precision_weights() -> Iterator[Result]:
    """The weights themselves in half precision, with both of torch's AdamW (fused is the default today)."""
    for dtype, optimizer, epsilon in (
        (torch.float16, "adamw_torch", 1e-8),
        (torch.float16, "adamw_torch_fused", 1e-8),
        (torch.float16, "adamw_torch", 1e-4),
        (torch.bfloat16, "adamw_torch", 1e-8),
        (torch.float32, "adamw_torch", 1e-8),
    ):
        name = str(dtype).removeprefix("torch.")
        yield train(
            "fp16-weights",
            True,
            f"{name} weights, {optimizer}, adam_epsilon {epsilon:g}, lr 1e-3, logged every 10",
            model=tiny_model(dtype),
            optim=optimizer,
            adam_epsilon=epsilon,
            steps=80,
            logging_steps=10,
        )


def overflowing_logits() -> Iterator[Result]:
    """An activation above 65504 becomes inf in fp16 and the loss NaN; bf16 holds the same value."""
    for dtype in (torch.float16, torch.bfloat16):
        for nan_inf_filter in (True, False):
            model = tiny_model(dtype)
            with torch.no_grad():
                model.model.norm.weight.mul_(3e4)
                model.lm_head.weight.mul_(10)
            name = str(dtype).removeprefix("torch.")
            note = f"{name}, logits beyond 65504"
            yield train("fp16-overflow", nan_inf_filter, note, model=model, steps=3, learning_rate=1e-5)


def memorised() -> Iterator[Result]:
    """Evaluation rows are the training rows, few enough to be learnt by heart."""
    rows = samples(4)
    yield train(
        "leakage",
        True,
        "4 rows, eval = train, 400 steps: memorised",
        rows=rows * 3,
        evaluation=rows,
        steps=400,
        logging_steps=40,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
    )


def trl_all_masked() -> Iterator[Result]:
    """SFTTrainer on prompts that fill max_length, and on wholly masked data that it is told not to prepare."""
    try:
        from datasets import Dataset, disable_progress_bars
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
        from trl import SFTConfig, SFTTrainer
    except ImportError:
        return
    disable_progress_bars()
    words = ["<pad>", "<eos>", *(f"w{number}" for number in range(VOCABULARY - 2))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    processing_class = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    masked = samples(6, masked=lambda number: True)
    long_prompts = [{"prompt": "w3 w4 " * LENGTH, "completion": "w5 w6"} for _ in range(6)]
    for nan_inf_filter in (True, False):
        for rows, loss_type, prepared, note in (
            (long_prompts, "chunked_nll", False, "SFTTrainer, prompt fills max_length"),
            (masked, "chunked_nll", True, "SFTTrainer, every label -100, skip_prepare_dataset, its default loss"),
            (masked, "nll", True, "SFTTrainer, every label -100, skip_prepare_dataset, loss_type nll"),
        ):
            model = tiny_model()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    trainer = SFTTrainer(
                        model=model,
                        args=SFTConfig(
                            output_dir=folder,
                            max_steps=3,
                            logging_steps=1,
                            logging_nan_inf_filter=nan_inf_filter,
                            max_length=LENGTH,
                            loss_type=loss_type,
                            dataset_kwargs={"skip_prepare_dataset": prepared},
                            per_device_train_batch_size=1,
                            use_cpu=True,
                            bf16=False,
                            gradient_checkpointing=False,
                            report_to="none",
                            save_strategy="no",
                            disable_tqdm=True,
                        ),
                        train_dataset=Dataset.from_list(rows),
                        processing_class=processing_class,
                    )
                    trainer.remove_callback(PrinterCallback)
                    trainer.train()
                    logs = [kept(entry) for entry in trainer.state.log_history if "loss" in entry]
                except ValueError as error:
                    note += f": stops with ValueError: {error}"
                    logs = []
            finite = all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
            yield Result("trl-all-masked", nan_inf_filter, logs, finite, False, note)


CASES: dict[str, Callable[[], Iterator[Result]]] = {
    "healthy": healthy,
    "all-masked": all_masked,
    "masked-step": masked_step,
    "masked-micro-batch": masked_micro_batch,
    "weights-nan": poisoned_weights,
    "fp16-weights": half_precision_weights,
    "fp16-overflow": overflowing_logits,
    "leakage": memorised,
    "trl-all-masked": trl_all_masked,
}


def versions() -> dict[str, str]:
    """The versions that the figures belong to."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}
    for name in ("accelerate", "trl"):
        with contextlib.suppress(ImportError):
            found[name] = __import__(name).__version__
    return found


def column(result: Result, name: str) -> str:
    """One logged column as today's Trainer prints it, four significant digits."""
    return " ".join(f"{entry[name]:.4g}" for entry in result.logs if name in entry)


def print_table(results: list[Result]) -> None:
    """The results for people, three lines a run."""
    for result in results:
        filter_state = "on" if result.nan_inf_filter else "off"
        print(f"\n{result.case}  [filter {filter_state}]  {result.note}")
        print(f"    loss       {column(result, 'loss') or '-'}")
        print(f"    grad_norm  {column(result, 'grad_norm') or '-'}")
        if column(result, "eval_loss"):
            print(f"    eval_loss  {column(result, 'eval_loss')}")
        finite = "finite" if result.weights_finite else "NaN or Inf"
        moved = "" if result.case.startswith("trl") else ", moved" if result.weights_moved else ", unchanged"
        print(f"    weights    {finite}{moved}")


def main() -> int:
    """Run the chosen cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="run only this case (may be repeated)")
    parser.add_argument("--json", action="store_true", help="print the results for programs")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    results: list[Result] = []
    for name in arguments.case or CASES:
        with contextlib.redirect_stdout(io.StringIO()):
            results.extend(CASES[name]())
    if arguments.json:
        json.dump({"versions": versions(), "results": [asdict(result) for result in results]}, sys.stdout, indent=1)
        print()
    else:
        print("  ".join(f"{name} {version}" for name, version in versions().items()))
        print_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
