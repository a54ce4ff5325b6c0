"""A document of questions becomes drafts, and nothing of it is lost in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.entry import parse_body, read_source
from indexer.errors import EntryError
from indexer.importer import import_document, read_document, take_apart
from indexer.lint import lint
from tests.conftest import ROOT, Kbask

# The shapes of a real team's document: a title above the questions, numbers in the headings, fences with empty lines and with
# headings in them, fences in and after quotes, images with escaped names, lists, a fence that only looks like a heading's.
DOCUMENT = """## 模型训练记录QA

### 1 微调阶段学习率为0
先正常预热，后来直接变成 0。
```text
gradient_accumulation_steps设置为1

去除 deepspeed 中的规划器即可
```
![issue1.png](assets%2Fissue1.png)

### 2 模板怎么设计？
```text
### Instruction:
<prompt>

### Response:
```
> https://huggingface.co/wenge-research/yayi-7b-llama2
>
> ```text
> ## not a heading
>
> prompt = "你是谁？"
> ```

- 方式1：<s>input1</s>
  - nested

### 3 CUDA error: uncorrectable ECC error
```text
RuntimeError: CUDA error: uncorrectable ECC error encountered
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
```
![there](assets/there.png)

### 4 空的问题
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "there.png").write_bytes(b"\x89PNG")
    path = tmp_path / "faq.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    return path


def answers() -> list[str]:
    """The answers of the document, cut out by hand."""
    marked = DOCUMENT.replace("\n### Instruction", "\n@@@ Instruction").replace("\n### Response", "\n@@@ Response")
    return [block.partition("\n")[2].strip("\n") for block in marked.split("\n### ")[1:]]


def test_each_question_becomes_a_draft_and_each_line_is_accounted_for(document: Path, tmp_path: Path) -> None:
    found, taken = import_document(document, tmp_path / "out")
    assert [item.slug for item in taken] == ["q01-0", "q02", "q03-cuda-error-uncorrectable-ecc-error", "q04"]
    assert [item.question.number for item in taken] == [1, 2, 3, 4]
    assert [line for line in found.outside if line] == ["## 模型训练记录QA"]
    assert sum(item.question.lines for item in taken) + len(found.outside) == found.lines == DOCUMENT.count("\n") + 1
    assert [item.fences for item in taken] == [1, 2, 1, 0]


@pytest.mark.parametrize("number", range(3))
def test_an_answer_stands_in_its_draft_byte_for_byte(document: Path, tmp_path: Path, number: int) -> None:
    _, taken = import_document(document, tmp_path / "out")
    page = (tmp_path / "out" / "imported" / taken[number].slug / "index.zh.md").read_text(encoding="utf-8")
    answer = answers()[number].replace("@@@", "###")
    assert answer
    assert answer in page
    assert taken[number].question.heading in page


def test_the_seed_document_gives_fifteen_drafts_that_hold_all_of_it(tmp_path: Path) -> None:
    seed = ROOT / "tests" / "data" / "seed_qa.md"
    document, taken = import_document(seed, tmp_path / "out")
    assert [item.question.number for item in taken] == list(range(1, 16))
    pages = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "out").rglob("index.zh.md"))
    for question in document.questions:
        assert question.text.strip("\n") in pages
    assert "".join(document.outside) == "## 模型训练记录QA"
    assert sum(len(item.missing_images) for item in taken) == 7


def test_messages_are_proposed_as_signatures_that_find_their_sample(document: Path, tmp_path: Path) -> None:
    _, taken = import_document(document, tmp_path / "out")
    assert taken[2].patterns[0] == "RuntimeError: CUDA error: uncorrectable ECC error encountered"
    assert "KB010" not in {fault.code for fault in lint(tmp_path / "out")[1]}


def test_an_image_that_is_missing_becomes_a_todo_and_one_that_is_there_is_copied(document: Path, tmp_path: Path) -> None:
    _, taken = import_document(document, tmp_path / "out")
    assert [item.missing_images for item in taken] == [("assets%2Fissue1.png",), (), (), ()]
    folder = tmp_path / "out" / "imported"
    assert "TODO: the image assets%2Fissue1.png did not come" in (folder / "q01-0" / "index.zh.md").read_text(encoding="utf-8")
    assert (folder / taken[2].slug / "assets" / "there.png").read_bytes() == b"\x89PNG"


def test_an_image_outside_the_documents_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "doc").mkdir()
    path = tmp_path / "doc" / "faq.md"
    (tmp_path / "doc" / "p.png").write_bytes(b"png")
    data = "data:image/png;base64," + "A" * 9000
    path.write_text(f"# 1 a\n![x](../secret.png)\n![y](../doc/p.png)\n![z]({data})\n![n](%00)\n# 2 b\n", encoding="utf-8")
    _, taken = import_document(path, tmp_path / "out")
    assert taken[0].missing_images == ("../secret.png", data, "%00")
    assert [image.relative_to(tmp_path / "out") for image in (tmp_path / "out").rglob("*.png")] == [
        Path("imported/q01-a/p.png")
    ]


def test_drafts_lint_clean_but_for_todos_and_missing_images(document: Path, tmp_path: Path) -> None:
    import_document(document, tmp_path / "out")
    # KB021: what the document has of HTML stays as it stands, for the author to see.
    assert {fault.code for fault in lint(tmp_path / "out")[1]} <= {"KB013", "KB016", "KB018", "KB021"}
    source = read_source(tmp_path / "out" / "imported" / "q02")
    assert parse_body(source.body["zh"], "zh")[0] == "模板怎么设计？"


@pytest.mark.parametrize(
    "data",
    [DOCUMENT.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + DOCUMENT.encode(), DOCUMENT.encode("utf-16")],
    ids=["CRLF", "a byte order mark", "UTF-16"],
)
def test_other_line_ends_and_marks_are_read_right(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "faq.md"
    path.write_bytes(data)
    assert read_document(path) == DOCUMENT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("### 1 微调".encode("gb18030"), r"faq\.md:1 is not UTF-8.*iconv"),
        (b"just text\n", "has no headings"),
        (b"", "has no headings"),
        (b"# 1 a\ntext\n```text\nnever closed\n# 2 b\n", r"faq\.md:3 a code fence is opened here and never closed"),
        (b"# 1 a\0b\n", "NUL"),
        (b"# 1 a\n# 1 a\n", "2 questions would become q01-a"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error_and_writes_nothing(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "faq.md"
    path.write_bytes(data)
    with pytest.raises(EntryError, match=reason):
        import_document(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_questions_may_stand_at_any_level_and_without_numbers(tmp_path: Path) -> None:
    document = take_apart(
        "# FAQ\n\nintro\n\n## Loss is zero\na\n#### deeper\nb\n## It hangs\nc\n## No\n# Appendix\nd\n", tmp_path
    )
    assert [(question.number, question.title, question.text) for question in document.questions] == [
        (None, "Loss is zero", "a\n#### deeper\nb"),
        (None, "It hangs", "c"),
        (None, "No", ""),
    ]
    assert document.outside == ("# FAQ", "", "intro", "", "# Appendix", "d", "")


def test_a_second_import_into_the_same_folder_overwrites_nothing(document: Path, tmp_path: Path) -> None:
    import_document(document, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(EntryError, match="exists already; nothing was written"):
        import_document(document, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_the_command_counts_what_was_taken_and_names_what_was_not(document: Path, tmp_path: Path, kbask: Kbask) -> None:
    done = kbask("import", str(document), "--out", str(tmp_path / "out"))
    assert done.returncode == 0
    lines = DOCUMENT.count("\n") + 1
    assert f"4 drafts in {tmp_path / 'out'}. Of {lines} lines, {lines - 2} were taken, 2 were not:" in done.stdout
    assert "  ## 模型训练记录QA" in done.stdout
    data = json.loads(kbask("import", str(document), "--out", str(tmp_path / "again"), "--json").stdout)
    assert [draft["slug"] for draft in data["drafts"]][:2] == ["q01-0", "q02"]
