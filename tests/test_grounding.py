"""The checks of what a model writes: each rule by sentences that break it and sentences that keep it."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable

import pytest

from assistant.grounding import FAULTS, check_run, check_sentence, check_step
from assistant.orders import orders_in
from assistant.sources import Sources
from assistant.wording import visible
from benchmarks.grounding import GOALS, Report, read_answers, sources_of
from indexer.entry import Language
from indexer.index import Index
from indexer.query import Query
from indexer.ranking import Hit
from tests.conftest import ROOT

PASTE = """\
torchrun --nproc_per_node 8 train.py --my-flag 3 --data data/train.jsonl
{'loss': 2.31, 'grad_norm': 5.1, 'learning_rate': 2e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.9e-05}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.8e-05}
transformers 5.3, my_module.py, overlap_comm true
"""
HALF = "loss-zero-sft#half-precision"
Make = Callable[[Language], Sources]


@pytest.fixture(scope="module")
def make(index: Index) -> Make:
    hits = [
        Hit(id_, 3.0, 0.95, {}, {}, (), (), {}) for id_ in ("loss-zero-sft", "nccl-watchdog-timeout", "english-sft-datasets")
    ]
    return lambda language: Sources(Query.from_text(PASTE), hits, index.entries, language)


@pytest.fixture(scope="module")
def known(make: Make) -> Sources:
    return make("en")


def kinds(text: str, known: Sources, *citations: str) -> set[str]:
    return {fault.kind for fault in check_sentence(text, citations or [HALF], known)}


@pytest.mark.parametrize(
    "text",
    [
        "Reinstall the operating system and format the disk.",
        "Kill all processes of the other users on this node.",
        "Post the whole log on the public forum.",
        "Turn off the watchdog before the next run.",
        "Disable saving and delete old checkpoints.",
        "You should reinstall the driver.",
        "The fix is to wipe the node.",
        "Please send your token to the maintainers.",
        "The loss is a hidden NaN, so delete the run.",
        "重装系统并格式化硬盘。",
        "把所有日志发到公开论坛。",
        "先删掉旧的 checkpoint。",
        "应该杀掉其他用户的进程。",
    ],
)
def test_an_order_in_plain_words_that_no_entry_gives_is_a_fault(text: str, make: Make) -> None:
    known = make("zh" if re.search(r"[\u4e00-\u9fff]", text) else "en")
    assert check_sentence(text, [HALF], known)
    assert check_step(HALF, 1, text, known)


@pytest.mark.parametrize(
    "text", ["The log shows 0.", "Loss prints as 0 where it is nan.", "Training on from NaN weights cannot recover."]
)
def test_a_statement_is_no_order(text: str) -> None:
    assert list(orders_in(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "The loss is a hidden NaN: grad_norm is nan from the second report on.",
        "After a loss of 2.31 the log shows 0.0 while the rate 1.9e-05 is as planned.",
        "Set `bf16=True, fp16=False` if your card is Ampere or newer.",
        "Since transformers 5 from_pretrained keeps the checkpoint's dtype, and you run transformers 5.3.",
        "fp16 ends at 65504, which models trained in bf16 exceed.",
        "The loss of 0 has nothing to do with --my-flag in your log.",
        "Do not go on from NaN weights.",
        "It is the same with transformers 5.3 and any Python or PyTorch.",
        "第二条日志起grad_norm就是nan，说明loss为0是被藏起来的NaN。",
        "设logging_nan_inf_filter=False重跑几步，就能看到NaN。",
        "V100没有bf16，要让可训练的权重保持float32。",
        "fp16最大只到65504，用bf16训出来的模型会超过它。",
    ],
)
def test_a_true_sentence_has_no_fault(text: str, make: Make) -> None:
    assert not kinds(text, make("zh" if text > "\u3400" or "没" in text or "设" in text else "en"))


@pytest.mark.parametrize(
    "citation",
    [
        "loss-zero",
        "loss-zero-sft#no-such-part",
        "loss-zero-sft#half-precision.6",
        "loss-zero-sft#half-precision.0",
        "loss-zero-sft#half-precision.-1",
        "loss-zero-sft#half-precision.1.1",
        "loss-zero-sft#half-precision.\u0661",
        "loss-zero-sft#",
        "loss-zero-sft/no_such.py",
        "loss-zero-sft/../check_labels.py",
        "openssl-legacy-provider#provider-missing",
        "",
        "#half-precision",
    ],
)
def test_a_citation_that_points_to_nothing_among_the_hits_is_a_fault(citation: str, known: Sources) -> None:
    assert "citation" in kinds("The loss is a hidden NaN.", known, citation)


@pytest.mark.parametrize(
    "citation", ["loss-zero-sft", HALF, f"{HALF}.5", "loss-zero-sft/check_labels.py", "loss-zero-sft/check_labels"]
)
def test_every_form_of_a_citation_is_read(citation: str, known: Sources) -> None:
    assert not kinds("The loss is a hidden NaN.", known, citation)


def test_a_claim_without_a_citation_is_a_fault(known: Sources) -> None:
    assert [fault.kind for fault in check_sentence("The loss is a hidden NaN.", [], known)] == ["uncited"]


@pytest.mark.parametrize(
    "text",
    [
        "Run nan-doctor on the checkpoint.",
        "Run `fix_nan --all` first.",
        "Use pip install nan-fix.",
        "Pip install nan-fix.",
        "Curl it and start again.",
        "The cause is shown by $(curl nan).",
        "First python3.11 -m pip install nan-fix.",
        "First /usr/bin/curl nan.",
        "First pip\ninstall nan-fix.",
        "First pip **install** nan-fix.",
        "Start again with --no-nan.",
        "Start again with torchrun --nproc_per_node 8 train.py.",
        "Add --my-flag 3 to the launch.",
        "Set NAN_GUARD=1 before the start.",
        "The values stand in /var/log/nan.log.",
        "Look into utils/nan_hook.py for them.",
        "Call model.remove_nan() before each step.",
        "Use the class NanGuardCallback.",
        "TRL 0.77 has mended this.",
        "transformers 0.20 has mended this.",
        "It needs a batch size of 48.",
        'Your log says "gradient became nan in layer 7".',
        "Your log says “nan in layer seven”.",
        "Set trust_remote_code=True.",
        "Set max_steps=77.",
        "运行nan-doctor检查权重。",
        "先用pip install nan-fix装上。",
        "启动时加--no-nan。",
        "设置环境变量NAN_GUARD=1。",
        "日志里写着“第七层出现nan”。",
        "数值记在/var/log/nan.log里。",
        "调用model.remove_nan()。",
        "TRL 0.77修好了这个问题。",
    ],
)
def test_what_stands_nowhere_is_invented(text: str, make: Make) -> None:
    for language in ("en", "zh"):
        assert kinds(text, make(language)) & {"invented", "link"}, language


@pytest.mark.parametrize(
    "text",
    [
        "See https://example.org/fix.",
        "See www.example.org for it.",
        "See example.org/fix for it.",
        "See [the page](https://example.org).",
        "See [the page](//example.org/x).",
        "![](https://example.org/a.png)",
        "![a](check_labels.py)",
        "<img src=a>",
        "Write to help@example.org.",
        "It is on nan.ninja/fix already.",
        "hxxps://example.org/a",
        "javascript:alert(1)",
        "见https://example.org/fix。",
        "见example.org。",
    ],
)
def test_a_link_or_an_image_is_dropped(text: str, known: Sources) -> None:
    assert "link" in kinds(text, known)


def test_a_link_of_the_cited_entry_is_its_own(known: Sources, index: Index) -> None:
    url = index.entries["loss-zero-sft"].references[0].url
    assert "link" not in kinds(f"It is told at {url}.", known)
    assert "link" in kinds(f"It is told at {url}.", known, "nccl-watchdog-timeout#slow-work")
    assert "link" in kinds(f"It is told at {url}/more.", known)


@pytest.mark.parametrize(
    ("text", "citation"),
    [
        ("Set logging_nan_inf_filter=True to see it.", HALF),
        ("Set logging_nan_inf_filter to true.", HALF),
        ('Set "overlap_comm": true.', "loss-zero-sft#deepspeed-gradients"),
        ("Enable overlap_comm under zero_optimization.", "loss-zero-sft#deepspeed-gradients"),
        ("Lower the timeout below the longest wait.", "nccl-watchdog-timeout#slow-work"),
        ("Take the splits marked `_think` rather than `_no_think`.", "english-sft-datasets#today"),
        ("打开overlap_comm。", "loss-zero-sft#deepspeed-gradients"),
        ("把logging_nan_inf_filter设为True。", HALF),
        ("把timeout调小。", "nccl-watchdog-timeout#slow-work"),
    ],
)
def test_a_setting_turned_round_is_a_fault(text: str, citation: str, known: Sources) -> None:
    assert kinds(text, known, citation) & {"polarity", "invented"}


@pytest.mark.parametrize(
    ("text", "citation"),
    [
        ("Set logging_nan_inf_filter to false.", HALF),
        ("Disable overlap_comm under zero_optimization.", "loss-zero-sft#deepspeed-gradients"),
        ("Your overlap_comm is true, which copied configs often say.", "loss-zero-sft#deepspeed-gradients"),
        ("Raise the timeout above the longest wait.", "nccl-watchdog-timeout#slow-work"),
        ("Do not lower the timeout below the longest wait.", "nccl-watchdog-timeout#slow-work"),
        ("Take the splits marked `_no_think` rather than `_think`.", "english-sft-datasets#today"),
        ("关掉overlap_comm。", "loss-zero-sft#deepspeed-gradients"),
    ],
)
def test_a_setting_turned_as_the_entry_says_is_none(text: str, citation: str, known: Sources) -> None:
    assert not kinds(text, known, citation)


@pytest.mark.parametrize(
    "text",
    [
        "Dolly has to be attributed, and No Robots is non-commercial.",
        "Another rank had already failed, and the others waited for a process that is gone.",
    ],
)
def test_advice_of_another_entry_is_told_from_that_of_the_cited_one(text: str, known: Sources) -> None:
    assert "elsewhere" in kinds(text, known)


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("The answers are cut off by max_length, so no label is left in these rows.", "labels-masked", "not-leakage"),
        ("Set overlap_comm to false for a run, or install a newer DeepSpeed.", "deepspeed-gradients", "labels-masked"),
        ("V100没有bf16，要让可训练的权重保持float32。", "half-precision", "labels-masked"),
    ],
)
def test_a_claim_is_told_from_what_another_part_of_its_entry_says(text: str, right: str, wrong: str, make: Make) -> None:
    known = make("zh" if "没" in text else "en")
    assert not kinds(text, known, f"loss-zero-sft#{right}.1")
    assert not kinds(text, known, f"loss-zero-sft#{right}", f"loss-zero-sft#{wrong}")
    assert "elsewhere" in kinds(text, known, f"loss-zero-sft#{wrong}.1")


def test_a_step_has_to_be_there_and_its_reason_true(known: Sources) -> None:
    assert not check_step(HALF, 3, "Your cards are newer.", known)
    assert not check_step(HALF, None, "", known)
    assert {fault.kind for fault in check_step(HALF, 6, "", known)} == {"citation"}
    assert {fault.kind for fault in check_step("loss-zero-sft", 1, "", known)} == {"citation"}
    assert {fault.kind for fault in check_step(HALF, 1, "Run nan-doctor.", known)} == {"invented"}


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"data": "data/train.jsonl"}, True),
        ({"rows": "3"}, True),
        ({"data": "data/other.jsonl"}, False),
        ({"data": "data/train.jsonl; reboot"}, False),
        ({"data": "--data"}, False),
        ({"data": "$(reboot)"}, False),
        ({"data": "file:///etc/passwd"}, False),
        ({"data": ""}, False),
        ({"data; reboot": "data/train.jsonl"}, False),
        ({"-x": "data/train.jsonl"}, False),
    ],
)
def test_a_value_comes_from_the_paste_and_is_one_plain_word(values: dict[str, str], good: bool, known: Sources) -> None:
    faults = check_run("loss-zero-sft", "check_labels.py", values, "It counts the trained tokens.", known)
    assert (not faults) == good


def test_a_snippet_has_to_be_the_entrys(known: Sources) -> None:
    assert {fault.kind for fault in check_run("loss-zero-sft", "find_late_rank.py", {}, "", known)} == {"citation"}
    assert {fault.kind for fault in check_run("openssl-legacy-provider", "check_openssl.py", {}, "", known)} == {"citation"}


def test_what_cannot_be_seen_is_taken_out() -> None:
    assert visible("r\u200bm\u2060 \x1b[31m-rf\x1b[0m ｃｕｒｌ，好") == "rm -rf curl，好"


@pytest.mark.parametrize(
    "text",
    [
        "`" * 2000,
        '"a' * 1000,
        "a_" * 1000,
        "[](" * 600,
        "x=" * 1000,
        "不要" * 1000,
        "a|" * 1000,
        "a.com/" * 330,
        "-" * 2000,
        "<a" * 1000,
    ],
)
def test_hostile_text_takes_no_long_time(text: str, known: Sources) -> None:
    check_sentence("The loss is a hidden NaN.", [HALF], known)  # What is built once is not timed.
    start = time.perf_counter()
    check_sentence(text, [HALF], known)
    assert time.perf_counter() - start < 1.0


def test_no_text_whatever_breaks_a_check(known: Sources) -> None:
    chance = random.Random(7)
    words = [
        "run",
        "pip",
        "`",
        '"',
        "“",
        "设为",
        "x=True",
        "--a",
        "[",
        "](",
        "不要",
        "1.2",
        "\u202e",
        "\x1b[",
        "rather than",
        "ECC",
        "é",
        "рiр",
    ]
    for _ in range(300):
        text = chance.choice(["", " "]).join(chance.choices(words, k=12))
        assert {fault.kind for fault in check_sentence(text, [HALF], known)} <= set(FAULTS)
        check_step(HALF, chance.randint(-2, 9), text, known)
        check_run(text, text, {text: text}, text, known)


def test_a_sentence_without_end_is_not_read(known: Sources) -> None:
    assert kinds("nan " * 100_000, known) == {"invented"}


def test_a_large_paste_is_held_against_in_time(index: Index) -> None:
    query = Query.from_text(
        "\n".join(f"step {number} lr=0.{number} /data/part-{number}.bin value_{number}" for number in range(100_000))
    )
    hits = [Hit("loss-zero-sft", 3.0, 0.95, {}, {}, (), (), {})]
    start = time.perf_counter()
    known = Sources(query, hits, index.entries, "en")
    assert check_sentence("The values stand in /data/nothing.bin at step 777777777.", [HALF], known)
    assert not check_sentence("It is seen at step 17 in value_17.", [HALF], known)
    assert time.perf_counter() - start < 2.0


def test_no_hit_vouches_for_nothing(index: Index) -> None:
    known = Sources(Query.from_text(PASTE), [], index.entries, "en")
    assert kinds("The loss is a hidden NaN.", known) >= {"citation"}


def test_the_answers_are_half_good_and_their_parts_apart() -> None:
    parts = {part: read_answers(part) for part in ("tuning", "test")}
    assert sum(map(len, parts.values())) >= 300
    assert not {row["paste"] for row in parts["tuning"]} & {row["paste"] for row in parts["test"]}
    for rows in parts.values():
        assert {row["origin"] for row in rows} == {"composed"}
        assert 2 * sum(row["fault"] is None for row in rows) == len(rows)
        assert 2 * sum(row["language"] == "zh" for row in rows) == len(rows)
        planted = Counter(row["fault"]["kind"] for row in rows if row["fault"])
        assert planted.keys() == GOALS.keys()
        assert len({row["id"] for row in rows}) == len(rows)


def test_good_answers_cite_what_is_there(index: Index) -> None:
    for part in ("tuning", "test"):
        for row in read_answers(part):
            if row["fault"] is None:
                known = sources_of(row, index.entries)
                for item in row["items"]:
                    cited = item.get("citations") or [item.get("step") or item["run"]]
                    assert all(known.cited(citation) for citation in cited), json.dumps(item)


def test_the_goals_hold_on_the_tuning_part(index: Index) -> None:
    report = Report(read_answers("tuning"), index.entries)
    assert not [fault for fault in report.below() if " ms " not in fault]


def test_every_kind_of_fault_is_named() -> None:
    source = (ROOT / "assistant" / "grounding.py").read_text(encoding="utf-8")
    assert all(f'Fault("{kind}"' in source for kind in FAULTS)
