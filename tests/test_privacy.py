"""What goes to another host: nothing that identifies, everything that decides, and the way back."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from assistant.privacy import restore, strip
from indexer.entry import builtin_folder

SAMPLES = sorted(builtin_folder().glob("*/*/samples/*.txt"))

LOG = """\
alice@gpu-node-17:~/llm$ torchrun --nnodes 2 --rdzv_endpoint=gpu-node-17.corp.acme.com:29400 /home/alice/llm/train.py --data /mnt/nfs/acme/secret/train.jsonl
wandb: Currently logged in as: alice (acme-team). Use `wandb login --relogin` to force relogin
wandb: View run at https://wandb.ai/acme-team/secret-llm/runs/abc123
HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz0123 WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567
export OPENAI_API_KEY="sk-proj-abcdef0123456789abcdef"; aws_access_key_id AKIAIOSFODNN7EXAMPLE; ghp_abcdefghijklmnopqrstuvwxyz0123456789
pip install --index-url https://bob:s3cr3tpw@pypi.acme-internal.com/simple torch==2.6.0 nvidia-cublas-cu12==12.4.5.8
Authorization: Bearer abcdef.ghijk-123456
Contact: alice.smith@acme.com
gpu-node-17:3711:3950 [0] NCCL INFO NET/Socket : Using [0]eth0:10.12.3.4<0> [1]fe80::f816:3eff:fe11:2233
gpu-node-17:3711:3950 [0] NCCL INFO Bootstrap : Using eth0:10.12.3.4<43210>
NCCL version 2.21.5+cuda12.4, cuDNN version 9.1.0.70, nvidia-cudnn-cu12      9.1.0.70
[W socket.cpp:697] [c10d] The client socket has failed to connect to [gpu-node-18.corp.acme.com]:29500 (errno: 110 - Connection timed out).
[rank3]: torch.distributed.DistBackendError: NCCL error in: c10d::ProcessGroupNCCL, remote process exited on 127.0.0.1:29500
  host      : gpu-node-18
Jan 12 03:14:15 gpu-node-17 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
srun: error: gpu-b07: task 3: Out Of Memory
slurmstepd: error: *** STEP 381192.0 ON gpu-b07 CANCELLED AT 2025-01-14T03:51:40 ***
File "C:\\Users\\Bob Smith\\llm\\train.py", line 3, /Users/carol/dev/x.py
/scratch/users/alice/run-3/model.safetensors /opt/cache/huggingface/hub/models--Qwen--Qwen3-4B/snapshots/cdbee75f17c01a7cc42f958dc650907174af0554/config.json
eos_token="<|im_end|>" pad_token=<|endoftext|> max_tokens: 2048 token: 151643
checkpoint in s3://acme-bucket/ckpt/step-1000 and tcp://10.12.3.5:29501, alice's run in gpu-node-17_eth0.log
"""
IDENTIFYING = (
    "alice", "gpu-node", "acme", "secret", "hf_abc", "0123456789abcdef", "sk-proj", "AKIA", "ghp_", "s3cr3tpw", "bob", "Bob", "Smith",
    "ghijk", "10.12.", "fe80", "gpu-b07", "carol",
)  # fmt: skip
DECIDING = (
    "--nnodes 2", ":29400", "/llm/train.py", "/train.jsonl", "torch==2.6.0", "nvidia-cublas-cu12==12.4.5.8", "[0] NCCL INFO", "<43210>",
    "NCCL version 2.21.5+cuda12.4", "cuDNN version 9.1.0.70", "nvidia-cudnn-cu12      9.1.0.70", ":29500 (errno: 110",
    "[rank3]: torch.distributed.DistBackendError: NCCL error in: c10d::ProcessGroupNCCL", "127.0.0.1:29500", "NVRM: Xid", "79, pid=1234",
    "task 3: Out Of Memory", "STEP 381192.0", "2025-01-14T03:51:40", "line 3", "/model.safetensors", "models--Qwen--Qwen3-4B",
    "cdbee75f17c01a7cc42f958dc650907174af0554", 'eos_token="<|im_end|>"', "max_tokens: 2048", "token: 151643", "/ckpt/step-1000",
    ":29501", "kernel:", "wandb: Currently logged in as:",
)  # fmt: skip


@pytest.mark.parametrize("word", IDENTIFYING)
def test_what_identifies_is_gone(word: str) -> None:
    assert word in LOG
    assert word not in re.sub(r"<secret\d+>", "", strip(LOG)[0])


@pytest.mark.parametrize("words", DECIDING)
def test_what_decides_stays(words: str) -> None:
    assert words in LOG
    assert words in strip(LOG)[0]


def test_the_way_back_is_exact() -> None:
    stripped, mapping = strip(LOG)
    assert restore(stripped, mapping) == LOG


def test_the_same_thing_has_the_same_placeholder() -> None:
    stripped, mapping = strip("host      : gpu-b07\n/home/alice/a.py and /home/bo/b.py\nalice@gpu-b07:~$ ls\n")
    assert stripped == "host      : <host1>\n/home/<user1>/a.py and /home/<user2>/b.py\n<user1>@<host1>:~$ ls\n"
    assert mapping == {"<host1>": "gpu-b07", "<user1>": "alice", "<user2>": "bo"}


def test_a_placeholder_that_stands_in_a_paste_already_means_itself() -> None:
    stripped, mapping = strip("see <user1> and /home/alice/x.py")
    assert stripped == "see <user1> and /home/<user2>/x.py"
    assert restore(stripped, mapping) == "see <user1> and /home/alice/x.py"


def test_a_placeholder_that_a_model_made_up_stays_as_it_is() -> None:
    _, mapping = strip("/home/alice/x.py")
    assert restore("<user1> and <user9> and <host1>", mapping) == "alice and <user9> and <host1>"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_sample_keeps_its_messages_and_finds_back(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stripped, mapping = strip(text)
    assert restore(stripped, mapping) == text
    assert not re.search(r"/(?:home|Users)/(?!user/)\w", stripped)
    assert not [what for what in mapping.values() if " " in what or "Error" in what]


def test_samples_lose_names_and_hosts_and_nothing_else() -> None:
    found = {what for path in SAMPLES for what in strip(path.read_text(encoding="utf-8"))[1].values()}
    assert {"lea", "zhao", "a100-07", "gpu-node-0", "gpu-node-2", "gpu-b07", "liang-15wh-train-0-m-0"} <= found
    assert len(found) <= len(SAMPLES)


@pytest.mark.parametrize(
    "unit",
    [
        "a.",
        "a@",
        "1.",
        ":",
        "/data/",
        "http://a:b",
        "token=aaaaaa",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaaaaa",
        "中 gpu-x1:1:1 [0] NCCL ",
    ],
)
def test_time_grows_with_the_length_alone(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        start = time.process_time()
        strip(text)
        return time.process_time() - start

    small = min(seconds(50_000) for _ in range(3))
    assert seconds(400_000) < 24 * small + 0.1  # Quadratic would be 64 times.


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: c10d::add at c10::detail, torch.cuda.OutOfMemoryError in transformers.models.llama.modeling_llama",
        "https://huggingface.co/Qwen/Qwen3-4B and https://docs.nvidia.com/deploy and git+https://github.com/huggingface/trl",
        "[rank0]:29500 [default0]:2024 localhost:29500 0.0.0.0 [::]:29500 ::1",
        "12:34:56 2025-01-14 03:51:40 threading.local() sklearn.cluster",
        "packaging==24.1.0.2 torch>=2.6.0.1 v1.2.3.4 1.2.3.4.5",
        "/workspace/train.py /opt/conda/bin/python /opt/x /home/ubuntu/y /home/user/z",
        "bos_token=aaaaaaaa tokenizer: Qwen2TokenizerFast num_tokens=123456789",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert strip(text) == (text, {})
