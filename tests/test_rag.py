"""From a paste to an answer: the root cause first, its consequences named, what is not told apart said, what is unknown refused.

And to a model and back: what it is told, what its errors are in Chinese, and how it may write ids.
"""

from __future__ import annotations

import pytest

from assistant.generation import UNKNOWN_CONTEXT, Server
from assistant.llm_memory import check_memory, find_checkpoint
from assistant.rag import answer, prompt, with_known_ids
from assistant.reasons import reason_in
from indexer.errors import GenerationError
from indexer.index import Index
from indexer.query import Query

TEAR_DOWN = """[rank0]:[E ProcessGroupNCCL.cpp:577] [Rank 0] Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU operations might run on corrupted/incomplete data.
[rank0]:[E ProcessGroupNCCL.cpp:583] [Rank 0] To avoid data inconsistency, we are taking the entire process down.
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""
WATCHDOG = "[rank1]:[E ProcessGroupNCCL.cpp:523] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=902, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600733 milliseconds before timing out.\n"
ECC = "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered\n"
KILLED = "E1125 10:11:12.345000 140 torch/distributed/elastic/multiprocessing/api.py:833] failed (exitcode: -9) local_rank: 3 (pid: 4711) of binary: /usr/bin/python3\n"
MEMORY = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 79.11 GiB of which 1.2 GiB is free.\n"


@pytest.mark.parametrize("follows", [TEAR_DOWN, WATCHDOG, WATCHDOG + TEAR_DOWN], ids=["tear-down", "watchdog", "both"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
def test_a_hardware_fault_is_the_answer_and_what_nccl_says_its_consequence(index: Index, follows: str, is_first: bool) -> None:
    found = answer(Query.from_text(ECC + follows if is_first else follows + ECC), index, "en")
    assert (found.answered, found.hits[0].entry_id) == (True, "cuda-ecc-uncorrectable")
    assert "What follows from it in the same input" in found.text


@pytest.mark.parametrize(
    ("root", "planned"), [(KILLED, "host-oom-killed"), (MEMORY, "cuda-oom-training")], ids=["killed", "memory"]
)
def test_a_root_cause_without_an_entry_is_named_and_its_consequence_is_no_answer(index: Index, root: str, planned: str) -> None:
    found = answer(Query.from_text(root + TEAR_DOWN), index, "en")
    assert (found.answered, found.hits[0].behind) == (False, planned)
    assert index.background[planned].about in found.text
    assert "`nccl-async-failure`" in found.text


def test_the_watchdog_comes_before_the_tear_down(index: Index) -> None:
    found = answer(Query.from_text(TEAR_DOWN + WATCHDOG), index, "en")
    assert found.hits[0].entry_id == "nccl-watchdog-timeout"


def test_an_exception_that_no_entry_knows_is_pointed_at(index: Index) -> None:
    text = "[rank2]: Traceback (most recent call last):\n[rank2]: KeyError: 'response'\n" + TEAR_DOWN
    found = answer(Query.from_text(text), index, "en")
    assert (found.answered, found.hits[0].entry_id) == (True, "nccl-async-failure")
    assert "First failure in your input: `KeyError: 'response'` (line 2)" in found.text


def test_what_is_not_told_apart_is_said_with_the_one_thing_to_look_at(index: Index) -> None:
    found = answer(Query.from_text("small tuned model, every second reply ends with one short phrase said thirty times until it is cut"), index, "en")  # fmt: skip
    assert {hit.entry_id for hit in found.hits[:2]} == {"post-sft-bad-cases", "repetition-after-sft"}
    look = index.told_apart("post-sft-bad-cases", "repetition-after-sft")["en"]
    assert (look in found.text) == (found.hits[1].confidence >= index.constants.undecided * found.hits[0].confidence)


@pytest.mark.parametrize("text", ["hello", "error", "a", "?", "报错了", "1+1", " 37%|###  | 3/8 [00:10<00:17,  1.2it/s]"])
def test_what_says_nothing_is_refused(index: Index, text: str) -> None:
    assert not answer(Query.from_text(text), index, "en").answered


def test_a_message_matters_in_whosever_log_and_a_quotation_of_it_by_what_is_asked(index: Index) -> None:
    log = 'Traceback (most recent call last):\n  File "/srv/kohya_ss/train.py", line 3, in <module>\n' + ECC
    assert answer(Query.from_text(log), index, "en").hits[0].entry_id == "cuda-ecc-uncorrectable"
    node = (
        "webpack 4 on node 20 dies with ERR_OSSL_EVP_UNSUPPORTED, I set NODE_OPTIONS=--openssl-legacy-provider in package.json"
    )
    assert not answer(Query.from_text(node), index, "en").answered


def test_another_host_is_not_told_whose_paste_it_is_in_order_to_count_it(index: Index) -> None:
    secret = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
    query = Query.from_text(f"{ECC}OSError: token {secret} of /home/jdoe42/run.py was refused\n")
    counted: list[str] = []

    class Counting(Server):
        def count_tokens(self, text: str) -> int:
            counted.append(text)
            return len(text) // 4

    found = answer(query, index, "en")
    for url, is_told in (("http://127.0.0.1:8000/v1", True), ("http://gpu-box:8000/v1", False)):
        counted.clear()
        prompt(query, found, index, Counting(url, "any", context=4 * UNKNOWN_CONTEXT))
        told = "\n".join(counted)
        assert (secret in told, "jdoe42" in told) == (is_told, is_told)
        assert "uncorrectable ECC error" in told


def test_a_model_that_does_not_fit_or_is_not_there_is_told_in_chinese_too() -> None:
    with pytest.raises(GenerationError) as caught:
        check_memory("The GPU", 3 * 10**9, 12 * 10**9)
    assert reason_in("zh", str(caught.value)).startswith("显存只剩 3.0 GB 可用，模型需要 12.0 GB。")
    with pytest.raises(GenerationError) as caught:
        find_checkpoint("nobody/no-such-model")
    assert reason_in("zh", str(caught.value)) == (
        "模型 nobody/no-such-model 不在本机磁盘上。下载：hf download nobody/no-such-model"
    )
    assert reason_in("zh", "something else") == "something else"


def test_only_the_ids_of_what_was_found_are_put_right(index: Index) -> None:
    found = answer(Query.from_text(ECC), index, "en")
    lines = ["It is GPU-3. [kb: CUDA-ECC-Uncorrectable#Replace] (DDP-Style) NO-SUCH-Entry Not-cuda-ECC-uncorrectable-x"]
    assert list(with_known_ids(lines, found)) == [
        "It is GPU-3. [cuda-ecc-uncorrectable#replace] (DDP-Style) NO-SUCH-Entry Not-cuda-ECC-uncorrectable-x"
    ]
