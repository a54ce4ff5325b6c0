"""The page at / as its users have it: in a real Chromium, before a real server with the real index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from assistant.generation import connect
from indexer.entry import LANGUAGES, Language, builtin_folder, entry_folders
from indexer.index import Index
from tests.conftest import ROOT
from tests.replay import Replaying, replaying
from tests.test_http import serving
from tests.test_site import DESKTOP, PHONE, serious
from tests.test_written import GOOD, LOG

pytestmark = pytest.mark.xdist_group("browser")
PAGE = ROOT / "assistant" / "page"
SAMPLES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "kb/entries").glob("*/*/samples/*.txt"))}
NCCL = SAMPLES[ROOT / "kb/entries/distributed/nccl-watchdog-timeout/samples/torch-2.8-uneven-shards.txt"]
QUESTION = {"en": "loss is zero during sft", "zh": "SFT 时 loss 一直是 0，怎么回事？"}
LOCALE = {"en": "en-US", "zh": "zh-CN"}
COMMAND = "kbask run nccl-watchdog-timeout -- logs/"
BREAD = {"en": "How do I bake bread?", "zh": "怎么做面包？"}
OWN = ("blob:", "data:")


@pytest.fixture(scope="module")
def composed(index: Index) -> Iterator[str]:
    """The address of a server without a model."""
    with serving(index) as client:
        yield str(client.base_url)


@pytest.fixture(scope="module")
def model() -> Iterator[Replaying]:
    with replaying(GOOD["en"]) as state:
        yield state


@pytest.fixture(scope="module")
def written(index: Index, model: Replaying) -> Iterator[str]:
    """The address of a server whose model explains a loss of zero."""
    with serving(index, lambda: connect(model.url, None, None)) as client:
        yield str(client.base_url)


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Open the page; what the console complains about, a broken policy among it, and what is asked of other hosts, fails."""
    contexts = []
    complaints: list[str] = []

    def opened(address: str, *, expected: str = "", **options: Any) -> Any:
        """`expected` is a pattern of what the console says of a refusal that the test brings about."""
        context = chromium.new_context(**{**DESKTOP, "locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()

        def told(message: Any) -> None:
            if message.type in ("error", "warning") and not (expected and re.search(expected, message.text)):
                complaints.append(message.text)

        home = "{0.scheme}://{0.netloc}/".format(urlparse(address))
        page.on("console", told)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((home, *OWN)) else complaints.append(request.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def ask(page: Any, text: str) -> Any:
    """Put a text into the box and send it; the turn, when it is answered."""
    page.locator("#kb-input").fill(text)
    page.locator("#kb-input").press("Control+Enter")
    return answered(page)


def answered(page: Any) -> Any:
    page.locator(".kb-working").wait_for(state="detached")
    return page.locator(".kb-turn").last


# ---- what is asked and answered


def test_the_log_of_all_ranks_is_understood_and_answered(visit: Any, composed: str) -> None:
    turn = ask(visit(composed), NCCL)
    assert turn.locator(".kb-head h3").inner_text() == "NCCL watchdog: a collective operation timed out"
    assert "0–3 (4)" in turn.locator('[data-fact="ranks"]').inner_text()
    assert "torchrun --nproc-per-node 4" in turn.locator('[data-fact="launch"]').inner_text()
    marked = turn.locator(".kb-line--tells", has_text="Watchdog caught collective operation timeout").first
    number = int(marked.locator(".kb-line__number").inner_text())
    assert "Watchdog caught collective operation timeout" in NCCL.split("\n")[number - 1]
    assert marked.locator("mark.kb-mark--matched").count() == 1
    found = turn.locator(".kb-found li").first
    assert "99 % sure" in found.inner_text()
    assert found.locator(".kb-bar").evaluate("bar => Number(bar.style.getPropertyValue('--share'))") > 0.9
    assert "Watchdog caught" in found.locator(".kb-found__line").inner_text()
    assert turn.locator(".kb-line").count() == 3
    turn.get_by_role("button", name="Show all 12 lines").click()
    assert turn.locator(".kb-line--tells").count() == 12
    assert turn.evaluate("() => document.activeElement.className") == "kb-lines"
    assert all(int(share[:-7]) >= 5 for share in turn.locator(".kb-found li + li .kb-confidence").all_inner_texts())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_chosen_cause_has_all_its_steps_with_their_code_and_the_first_is_on_the_first_screen(
    visit: Any, composed: str, index: Index, language: Language
) -> None:
    page = visit(composed, locale=LOCALE[language])
    turn = ask(page, "\n".join(NCCL.split("\n")[:18]))
    steps = turn.locator(".kb-body ol > li")
    [cause] = [
        part
        for part in index.entries["nccl-watchdog-timeout"].causes(language)
        if part.heading == turn.locator(".kb-body h4").first.inner_text()
    ]
    assert steps.count() == len(cause.steps) > 2
    box = page.locator(".kb-box__form").bounding_box()
    assert steps.first.locator(".kb-code").bounding_box()["y"] < box["y"], "the code below the first step's words"
    for code in turn.locator(".kb-body .kb-code").all():
        text, button = code.locator("code").bounding_box(), code.locator(".kb-copy").bounding_box()
        assert text["x"] + text["width"] <= button["x"], "nothing is under the button"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_speaks_the_browsers_language_and_answers_in_that_of_the_question(
    visit: Any, composed: str, language: str
) -> None:
    page = visit(composed, locale=LOCALE[language])
    assert page.locator("html").get_attribute("lang") == language
    for asked in LANGUAGES:
        turn = ask(page, QUESTION[asked])
        assert turn.get_attribute("lang") == asked
        assert (
            turn.locator(".kb-head h3").inner_text()
            == {"en": "Loss is 0.0 during SFT", "zh": "SFT 训练时 loss 变为 0.0"}[asked]
        )


def test_a_log_which_has_no_language_is_answered_in_that_of_the_page(visit: Any, composed: str) -> None:
    turn = ask(visit(composed, locale="zh-CN"), NCCL)
    assert turn.get_attribute("lang") == "zh"


def test_a_language_that_was_chosen_is_remembered_and_holds_for_every_answer(visit: Any, composed: str) -> None:
    page = visit(composed)
    page.get_by_role("button", name="中文").click()
    page.reload()
    assert page.locator("h1").inner_text() == "贴上报错，得到原因和解决办法"
    assert ask(page, QUESTION["en"]).locator(".kb-head h3").inner_text() == "SFT 训练时 loss 变为 0.0"


def test_this_was_not_it_moves_to_the_next_cause_and_the_report_stays(visit: Any, composed: str) -> None:
    page = visit(composed)
    causes = [ask(page, NCCL).locator(".kb-body h4").first.inner_text()]
    for _ in range(2):
        page.get_by_role("button", name="This was not it").click()
        turn = answered(page)
        assert "NCCL watchdog" in turn.locator(".kb-head h3").inner_text()
        causes.append(turn.locator(".kb-body h4").first.inner_text())
        assert 0 <= turn.bounding_box()["y"] < 150, "the new answer begins at the top of the screen"
    assert len(set(causes)) == 3
    assert page.locator(".kb-not-it").count() == 1
    assert page.locator(".kb-read").count() == 1, "what was read is shown once"


def test_a_second_answer_of_the_same_entry_says_only_what_is_new(visit: Any, composed: str, index: Index) -> None:
    page = visit(composed)
    first = ask(page, NCCL).inner_text()
    page.get_by_role("button", name="This was not it").click()
    second = answered(page).inner_text()
    for words in (index.entries["nccl-watchdog-timeout"].pages["en"].summary, "Sources", "99 % sure", COMMAND):
        assert words in first
        assert words not in second


def test_where_every_cause_was_tried_nothing_is_left_to_turn_down(visit: Any, composed: str, index: Index) -> None:
    page = visit(composed)
    ask(page, NCCL)
    for _ in index.entries["nccl-watchdog-timeout"].causes("en"):
        page.get_by_role("button", name="This was not it").click()
        turn = answered(page)
    assert turn.locator(".kb-head + .kb-notice").count() == 1
    assert turn.locator(".kb-body").count() == 0
    assert page.locator(".kb-not-it").count() == 0


def test_a_reload_keeps_the_conversation_and_a_new_report_forgets_it(visit: Any, composed: str) -> None:
    page = visit(composed)
    ask(page, NCCL)
    page.get_by_role("button", name="This was not it").click()
    before = [answered(page).inner_text(), page.locator(".kb-turn").first.inner_text()]
    page.reload()
    assert [page.locator(".kb-turn").last.inner_text(), page.locator(".kb-turn").first.inner_text()] == before
    with page.expect_request("**/v1/ask") as sent:
        page.get_by_role("button", name="This was not it").click()
    assert [turn["question"] for turn in sent.value.post_data_json["conversation"]] == [NCCL, "This was not it."]
    answered(page)
    page.get_by_role("button", name="New report").click()
    page.reload()
    assert page.locator(".kb-turn").count() == 0
    assert page.evaluate("sessionStorage.length") == 0


def test_a_new_report_begins_from_nothing(visit: Any, composed: str) -> None:
    page = visit(composed)
    ask(page, NCCL)
    page.get_by_role("button", name="New report").click()
    assert page.locator(".kb-turn").count() == 0
    assert page.locator("h1").is_visible()
    with page.expect_request("**/v1/ask") as sent:
        ask(page, QUESTION["en"])
    assert sent.value.post_data_json["conversation"] == []


def test_what_no_entry_answers_names_the_nearest_which_open_beside(visit: Any, composed: str) -> None:
    page = visit(composed)
    turn = ask(page, "the model outputs garbage after fine-tuning")
    assert "No entry fits." in turn.locator(".kb-refused").inner_text()
    assert page.locator(".kb-not-it").count() == 0
    turn.locator("a[data-entry]").first.click()
    page.locator(".kb-panel__title").wait_for()


@pytest.mark.parametrize("kind", ["log", "traceback", "question"])
def test_an_example_is_answered_at_a_click(visit: Any, composed: str, kind: str) -> None:
    page = visit(composed)
    page.locator(".kb-example", has_text=re.compile(kind, re.IGNORECASE)).click()
    assert answered(page).locator(".kb-head").count() == 1
    assert page.evaluate("document.activeElement.className") == "kb-question"


def test_examples_are_samples_of_entries_as_they_stand_there(visit: Any, composed: str) -> None:
    examples = visit(composed).evaluate("import('/static/examples.js').then((module) => module.EXAMPLES)")
    assert [example["text"] in SAMPLES.values() for example in examples] == [True, True, False]


# ---- a model


def test_what_a_model_wrote_is_told_from_the_entrys_own_words(visit: Any, written: str) -> None:
    page = visit(written)
    turn = ask(page, LOG)
    claims = turn.locator(".kb-group-claims")
    assert claims.locator(".kb-label").inner_text() == "Written by replay, checked against the entries"
    assert "Half precision overflowed" in claims.inner_text()
    steps = turn.locator(".kb-group-steps")
    assert steps.locator(".kb-label").inner_text() == "Steps, in the entries' own words"
    assert steps.locator(".kb-why").first.inner_text().startswith("It shows whether the zeros are NaN.")
    assert turn.locator(".kb-command code").inner_text().endswith("--tokenizer ./model --data train.jsonl --max-length 2048")
    assert turn.locator(".kb-snippet__about").inner_text() == "It counts the trained tokens of each sample."


def test_a_citation_opens_its_part_of_the_entry_and_back_closes_it(visit: Any, written: str) -> None:
    page = visit(written)
    turn = ask(page, LOG)
    cite = turn.locator("a.kb-cite--chip").first
    assert cite.inner_text() == "loss-zero-sft#half-precision"
    cite.click()
    part = page.locator('.kb-panel section[data-part="half-precision"]')
    part.wait_for()
    assert page.url.endswith("/?entry=loss-zero-sft#half-precision")
    assert "kb-target" in part.get_attribute("class")
    top, panel_top = part.bounding_box()["y"], page.locator(".kb-panel__body").bounding_box()["y"]
    assert 0 <= top - panel_top < 40
    assert turn.is_visible()
    page.go_back()
    page.locator(".kb-panel").wait_for(state="hidden")
    assert turn.is_visible()
    assert "entry" not in page.url


def test_stop_ends_the_writing_and_the_question_can_be_followed_up(visit: Any, written: str, model: Replaying) -> None:
    model.pause = 0.05
    try:
        page = visit(written)
        page.locator("#kb-input").fill(LOG)
        page.locator(".kb-ask-button").click()
        page.locator(".kb-claim").wait_for()
        writing = page.locator(".kb-answer + .kb-working", has_text="Writing …")
        assert writing.bounding_box()["y"] < page.locator(".kb-box__form").bounding_box()["y"]
        writing.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped.").wait_for()
        assert model.hung_up.wait(10), "the model's server is hung up on"
    finally:
        model.pause = 0.0
    assert page.locator(".kb-group-run").count() == 0
    with page.expect_request("**/v1/ask") as sent:
        ask(page, "what else?")
    [turn] = sent.value.post_data_json["conversation"]
    assert turn["question"] == LOG
    assert "Half precision overflowed" in turn["answer"]


def test_an_older_question_that_is_asked_again_stops_the_one_that_runs(visit: Any, written: str, model: Replaying) -> None:
    page = visit(written, expected="ERR_CONNECTION_REFUSED|ERR_FAILED")
    page.route("**/v1/ask", lambda route: route.abort("connectionrefused"))
    ask(page, QUESTION["en"])
    page.unroute("**/v1/ask")
    model.hung_up.clear()
    model.pause = 0.05
    try:
        page.locator("#kb-input").fill(LOG)
        page.locator(".kb-ask-button").click()
        page.locator(".kb-turn").last.locator(".kb-claim").wait_for()
        page.get_by_role("button", name="Try again").click()
        page.locator(".kb-turn").last.get_by_text("Stopped.").wait_for()
        assert model.hung_up.wait(10)
    finally:
        model.pause = 0.0
    page.locator(".kb-working").wait_for(state="detached")
    assert page.locator(".kb-turn").first.locator(".kb-claim").count() > 0


def test_a_model_that_fails_is_told_and_the_entrys_own_answer_follows(visit: Any, index: Index) -> None:
    with replaying("") as gone:
        address = gone.url
    with serving(index, lambda: connect(address, None, None)) as client:
        turn = ask(visit(str(client.base_url)), LOG)
        assert "No model wrote this" in turn.locator(".kb-notice").inner_text()
        assert turn.locator(".kb-body h4").count() == 1


# ---- entries, scripts, copying


def test_an_address_of_an_entry_opens_it(visit: Any, composed: str) -> None:
    page = visit(f"{composed}/?entry=loss-zero-sft#half-precision")
    page.locator('.kb-panel section[data-part="half-precision"].kb-target').wait_for()
    page.keyboard.press("Escape")
    page.locator(".kb-panel").wait_for(state="hidden")
    page = visit(f"{composed}/?entry=never-heard-of", expected="404")
    page.get_by_text("There is no such entry.").wait_for()


def test_an_address_that_is_spelled_wrong_leaves_the_page_whole(visit: Any, composed: str) -> None:
    assert ask(visit(f"{composed}/#%"), QUESTION["en"]).locator(".kb-head").count() == 1
    visit(f"{composed}/?entry=loss-zero-sft#%").locator(".kb-panel__title", has_text="Loss is 0.0 during SFT").wait_for()


def test_an_entry_opens_in_the_language_of_the_answer_that_names_it(visit: Any, composed: str) -> None:
    page = visit(composed)
    ask(page, QUESTION["zh"]).locator(".kb-head h3 a").click()
    page.locator(".kb-panel__title", has_text="SFT 训练时 loss 变为 0.0").wait_for()


def test_the_panel_speaks_the_language_that_is_chosen(visit: Any, composed: str) -> None:
    page = visit(f"{composed}/?entry=loss-zero-sft")
    page.locator(".kb-panel__title", has_text="Loss is 0.0 during SFT").wait_for()
    page.get_by_role("button", name="中文").click()
    page.locator(".kb-panel__title", has_text="SFT 训练时 loss 变为 0.0").wait_for()


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_copy_gives_the_exact_command(visit: Any, composed: str, has_clipboard: bool) -> None:
    page = visit(composed, permissions=["clipboard-read", "clipboard-write"])
    turn = ask(page, NCCL)
    page.evaluate("() => { globalThis.read = () => navigator.clipboard.readText(); }")
    if not has_clipboard:  # As over plain http from another machine.
        page.evaluate("() => { const own = navigator.clipboard; globalThis.read = () => own.readText(); "
                      "Object.defineProperty(navigator, 'clipboard', { value: undefined }); }")  # fmt: skip
    turn.locator(".kb-command .kb-copy").click()
    page.wait_for_function("command => globalThis.read().then((text) => text === command)", arg=COMMAND)


def test_a_script_is_read_beside_and_downloaded(visit: Any, composed: str) -> None:
    page = visit(composed)
    turn = ask(page, NCCL)
    source = (ROOT / "kb/entries/distributed/nccl-watchdog-timeout/find_late_rank.py").read_text(encoding="utf-8")
    turn.get_by_role("button", name="Read the script").click()
    shown = page.locator(".kb-source pre code")
    shown.wait_for()
    assert shown.text_content() == source
    with page.expect_download() as download:
        turn.get_by_role("button", name="Download find_late_rank.py").click()
    assert download.value.suggested_filename == "find_late_rank.py"
    assert Path(download.value.path()).read_text(encoding="utf-8") == source


def test_headings_of_an_answer_lead_to_their_part(visit: Any, composed: str) -> None:
    page = visit(composed)
    turn = ask(page, NCCL)
    turn.locator(".kb-body li a", has_text="Ranks called different collectives").click()
    page.locator(".kb-panel .kb-target", has_text="Ranks called different collectives").wait_for()


# ---- the box


def test_enter_sends_one_line_but_not_what_an_input_method_composes_nor_a_paste(visit: Any, composed: str) -> None:
    page = visit(composed)
    box = page.locator("#kb-input")
    box.fill("loss 一直是 0")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        box.dispatch_event("keydown", {"key": "Enter", "bubbles": True, "cancelable": True, **composing})
    box.fill("line one\nline two")
    box.press("Enter")
    assert box.input_value() == "line one\nline two\n"
    assert page.locator(".kb-turn").count() == 0
    box.fill("loss 一直是 0")
    box.press("Enter")
    assert answered(page).locator(".kb-question").inner_text() == "loss 一直是 0"


def test_a_file_that_is_dropped_is_sent_with_what_is_said_about_it(visit: Any, composed: str) -> None:
    page = visit(composed)
    drop = """(text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "train.log"));
        document.querySelector("h1").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
    }"""
    page.evaluate(drop, NCCL)
    page.locator(".kb-attached", has_text="train.log").wait_for()
    page.locator("#kb-input").fill("why does rank 3 not join?")
    with page.expect_request("**/v1/ask") as sent:
        page.locator("#kb-input").press("Enter")
    assert sent.value.post_data_json["text"] == f"{NCCL}\n\nwhy does rank 3 not join?"
    assert answered(page).locator(".kb-question").inner_text() == "train.log · 27 lines"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_a_file_may_be_in_any_encoding(visit: Any, composed: str, tmp_path: Path, encoding: str) -> None:
    page = visit(composed)
    path = tmp_path / "train.log"
    path.write_bytes(f"训练日志，请看看\n{NCCL}".encode(encoding))
    page.locator('input[type="file"]').set_input_files(path)
    page.locator(".kb-attached").wait_for()
    with page.expect_request("**/v1/ask") as sent:
        page.locator(".kb-ask-button").click()
    assert sent.value.post_data_json["text"].startswith("训练日志，请看看\n$ TORCH_NCCL")
    answered(page)


def test_what_is_no_text_or_too_large_is_refused_before_it_is_sent(visit: Any, composed: str, tmp_path: Path) -> None:
    page = visit(composed)
    picture, large = tmp_path / "picture.png", tmp_path / "large.log"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    with large.open("wb") as file:
        file.truncate((50 << 20) + 1)
    for path, said in ((picture, "picture.png is no text."), (large, "large.log is larger than 50 MB.")):
        page.locator('input[type="file"]').set_input_files(path)
        page.get_by_text(said).wait_for()
    page.locator(".kb-ask-button").click()
    page.get_by_text("Paste or type something first.").wait_for()
    assert page.locator(".kb-turn").count() == 0


def test_a_long_paste_does_not_freeze_the_page(visit: Any, composed: str) -> None:
    page = visit(composed)
    text = "".join(f"step {number} loss=2.1 grad_norm=0.4 lr=1e-5\n" for number in range(5000)) + NCCL
    page.evaluate("""() => {
        globalThis.longest = 0;
        new PerformanceObserver((list) => { for (const task of list.getEntries()) longest = Math.max(longest, task.duration); })
            .observe({ entryTypes: ["longtask"] });
    }""")
    page.evaluate(
        "(text) => { const data = new DataTransfer(); data.setData('text', text); document.querySelector('#kb-input')"
        ".dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })); }",
        text,
    )
    page.locator(".kb-attached", has_text="5,027 lines").wait_for()
    page.locator(".kb-ask-button").click()
    turn = answered(page)
    assert turn.locator(".kb-line--tells .kb-line__number").first.inner_text() == "5004"
    assert page.evaluate("longest") < 1000


# ---- what others wrote stays text


def test_markup_of_a_paste_stays_text_and_nothing_leaves_the_origin(visit: Any, composed: str) -> None:
    page = visit(composed)
    hostile = '<img src=x onerror="alert(1)"> ![](https://evil.example/x.png) [click](javascript:alert(1)) <b>bold</b>'
    turn = ask(page, NCCL.replace("Watchdog caught", f"{hostile} Watchdog caught", 1))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert page.locator("main img, main b, main script, main iframe").count() == 0
    assert page.locator('a[href^="javascript"]').count() == 0
    assert "<img src=x" in turn.inner_text()
    asked = ask(page, hostile)
    assert asked.locator(".kb-question").inner_text() == hostile


# ---- who may ask, and when


def test_a_server_with_a_token_asks_for_it_once_a_tab(visit: Any, index: Index) -> None:
    with serving(index, token="open sesame") as client:
        page = visit(str(client.base_url), expected="401")
        page.locator("#kb-input").fill(QUESTION["en"])
        page.locator("#kb-input").press("Enter")
        field = page.get_by_label("Enter the access token")
        field.wait_for()
        page.wait_for_function("() => document.activeElement.matches('.kb-token__field')")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That token is not the right one.").wait_for()
        page.get_by_label("Enter the access token").fill("open sesame")
        page.keyboard.press("Enter")
        page.locator(".kb-head").wait_for()
        page.locator(".kb-head h3 a").click()
        page.locator(".kb-panel__title").wait_for()
        page.goto(str(client.base_url))
        assert ask(page, QUESTION["zh"]).locator(".kb-head").count() == 1
        assert page.evaluate("localStorage.length") == 0
        page = visit(f"{client.base_url}/?entry=loss-zero-sft", expected="401")
        page.get_by_label("Enter the access token").fill("open sesame")
        page.keyboard.press("Enter")
        page.locator(".kb-panel__title", has_text="Loss is 0.0 during SFT").wait_for()


def test_too_many_questions_are_told_with_the_time_to_wait(visit: Any, index: Index) -> None:
    with serving(index, requests_a_minute=40) as client:
        page = visit(str(client.base_url), expected="429")
        for _ in range(45):
            client.get("/v1/entries")
        page.locator("#kb-input").fill(QUESTION["en"])
        page.locator("#kb-input").press("Enter")
        page.get_by_text(re.compile(r"It can be asked again in \d+ s\.")).wait_for()
        retry = page.get_by_role("button", name="Try again")
        assert retry.is_disabled()
        page.wait_for_function("() => !document.querySelector('.kb-notice button').disabled", timeout=10_000)
        retry.click()
        page.locator(".kb-head").wait_for()


def test_what_is_too_large_for_the_server_is_told(visit: Any, index: Index) -> None:
    with serving(index, max_body_bytes=1000) as client:
        page = visit(str(client.base_url), expected="413")
        page.locator("#kb-input").fill(NCCL)
        page.locator(".kb-ask-button").click()
        page.get_by_text("The body is larger than the 1,000 bytes").wait_for()
        assert page.get_by_role("button", name="Try again").count() == 0


def test_a_server_that_is_away_is_told_and_asked_again(visit: Any, composed: str) -> None:
    page = visit(composed, expected="ERR_CONNECTION_REFUSED|ERR_FAILED")
    page.route("**/v1/ask", lambda route: route.abort("connectionrefused"))
    page.locator("#kb-input").fill(QUESTION["en"])
    page.locator("#kb-input").press("Enter")
    page.get_by_text("The server does not answer.").wait_for()
    page.unroute("**/v1/ask")
    page.get_by_role("button", name="Try again").click()
    page.locator(".kb-head").wait_for()
    assert page.locator(".kb-turn").count() == 1


def test_an_answer_that_breaks_off_is_told(visit: Any, composed: str) -> None:
    page = visit(composed)
    block = 'event: block\ndata: {"number": 1, "kind": "head", "text": "# One", "html": "<h1>One</h1>"}\n\n'
    page.route("**/v1/ask", lambda route: route.fulfill(body=block, content_type="text/event-stream"))
    page.locator("#kb-input").fill(QUESTION["en"])
    page.locator("#kb-input").press("Enter")
    page.get_by_text("The connection broke off before the answer was whole.").wait_for()
    assert page.locator(".kb-head h3").inner_text() == "One"


OPENER = """<body><script>
addEventListener("message", (event) => {
  document.body.dataset.said = event.data;
  event.source.postMessage({ kind: "kbask-paste", text: "loss is zero <b>", language: "zh" }, event.origin);
});
</script><button onclick="window.open('ADDRESS', '_blank')">go</button>"""


@pytest.mark.parametrize("allowed", [True, False])
def test_a_paste_is_taken_from_the_page_that_opened_this_one_if_the_server_names_it(
    chromium: Any, index: Index, allowed: bool
) -> None:
    with serving(index, origins=("http://docs.test",) if allowed else ()) as client:
        context = chromium.new_context(**DESKTOP, locale="en-US")
        page_of_docs = OPENER.replace("ADDRESS", str(client.base_url))
        context.route("http://docs.test/**", lambda route: route.fulfill(body=page_of_docs, content_type="text/html"))
        docs = context.new_page()
        docs.goto("http://docs.test/")
        with context.expect_page() as opened:
            docs.locator("button").click()
        page = opened.value
        docs.locator("body[data-said='kbask-ready']").wait_for()
        if allowed:
            page.wait_for_function("() => document.querySelector('#kb-input').value === 'loss is zero <b>'")
            assert page.locator("html").get_attribute("lang") == "zh"
        else:
            assert (
                page.evaluate("new Promise((go) => setTimeout(() => go(document.querySelector('#kb-input').value), 200))") == ""
            )
        assert page.locator(".kb-turn").count() == 0, "nothing is sent by itself"
        context.close()


# ---- for everybody


def test_all_is_done_by_keys_alone(visit: Any, written: str) -> None:
    page = visit(written)

    def tab_to(selector: str, most: int = 40) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"{selector} is not reached")

    tab_to("#kb-input")
    page.keyboard.type("loss is zero during sft")
    page.keyboard.press("Enter")
    answered(page)
    assert page.evaluate("document.activeElement.id") == "kb-input"
    page.locator(".kb-question").focus()
    tab_to("a.kb-cite--chip")
    page.keyboard.press("Enter")
    page.locator(".kb-panel .kb-target").wait_for()
    assert page.evaluate("document.activeElement.closest('.kb-panel') !== null"), "the focus goes along"
    page.keyboard.press("Escape")
    page.locator(".kb-panel").wait_for(state="hidden")
    page.wait_for_function("() => document.activeElement.matches('a.kb-cite--chip')")


def test_a_sheet_on_a_phone_keeps_the_focus_and_gives_it_back(visit: Any, composed: str) -> None:
    page = visit(composed, **PHONE)
    turn = ask(page, NCCL)
    link = turn.locator(".kb-head h3 a")
    link.tap()
    page.locator(".kb-panel__title").wait_for()
    assert page.evaluate("document.querySelector('.kb-panel').matches(':modal')")
    page.get_by_role("button", name="Close").tap()
    page.locator(".kb-panel").wait_for(state="hidden")
    link.tap()
    page.locator(".kb-panel__title").wait_for()
    page.keyboard.press("Escape")
    page.locator(".kb-panel").wait_for(state="hidden")
    assert turn.is_visible()
    assert "entry" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_no_serious_fault(visit: Any, composed: str, written: str, language: str, scheme: str) -> None:
    page = visit(written, color_scheme=scheme, locale=LOCALE[language])
    found = {"empty": serious(page)}
    ask(page, LOG)
    found["written"] = serious(page)
    page.locator("a.kb-cite--chip").first.click()
    page.locator(".kb-panel .kb-target").wait_for()
    found["panel"] = serious(page)
    if scheme == "dark":
        assert not any(found.values()), found
        return
    page = visit(composed, locale=LOCALE[language], **PHONE)
    ask(page, NCCL)
    found["phone"] = serious(page)
    page.locator(".kb-head h3 a").tap()
    page.locator(".kb-panel__title").wait_for()
    found["sheet"] = serious(page)
    page = visit(composed, locale=LOCALE[language])
    ask(page, BREAD[language])
    found["refused"] = serious(page)
    assert not any(found.values()), found


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_wider_than_a_phone(visit: Any, composed: str, written: str, language: str, width: int) -> None:
    options = {**PHONE, "viewport": {"width": width, "height": 800}, "locale": LOCALE[language]}

    def wide(page: Any) -> bool:
        return bool(page.evaluate("Math.max(document.scrollingElement.scrollWidth, document.body.scrollWidth)") > width)

    page = visit(written, **options)
    assert not wide(page), "empty"
    ask(page, LOG)
    assert not wide(page), "written"
    page = visit(composed, **options)
    ask(page, NCCL)
    page.locator(".kb-excerpt .kb-link").tap()
    assert not wide(page), "composed"
    page.locator(".kb-head h3 a").tap()
    body = page.locator(".kb-panel__body")
    body.locator("section").last.wait_for()
    assert body.evaluate("body => body.scrollWidth <= body.clientWidth"), "sheet"


def test_the_colours_are_chosen_and_remembered(visit: Any, composed: str) -> None:
    page = visit(composed, color_scheme="light")
    shown = []
    for _ in range(3):
        page.locator("#kb-scheme").click()
        page.reload()
        shown.append(
            (page.locator("#kb-scheme").get_attribute("aria-label"), page.locator("html").get_attribute("data-md-color-scheme"))
        )
    assert shown == [("Colours: light", "default"), ("Colours: dark", "slate"), ("Colours: as the system", "default")]


# ---- the files


def test_both_languages_have_the_same_words_and_each_is_used(visit: Any, composed: str) -> None:
    words = visit(composed).evaluate("import('/static/words.js').then((module) => module.WORDS)")
    assert words["en"].keys() == words["zh"].keys()
    code = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.name != "words.js")
    unused = [key for key in words["en"] if not re.search(rf"""["']{key}["']|data-word="{key}"|\b{key}:""", code)]
    assert unused == []


def test_no_file_of_the_page_names_another_host() -> None:
    for path in PAGE.iterdir():
        named = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))) - {"http://www.w3.org/2000/svg"}
        assert path.name == "examples.js" or not named, path


def test_every_entry_opens_in_both_languages_without_a_complaint(visit: Any, composed: str) -> None:
    page = visit(composed)
    for language in LANGUAGES:
        if language == "zh":
            page.get_by_role("button", name="中文").click()
        for folder in entry_folders(builtin_folder()):
            page.evaluate("id => import('/static/panel.js').then((panel) => panel.open({ id }))", folder.name)
            page.locator(
                f'.kb-panel[aria-label]:not([aria-label="Entry"]):has(.kb-panel__id:text-is("{folder.name}")) h2'
            ).wait_for()
            assert page.locator(".kb-panel img, .kb-panel [style]").count() == 0
