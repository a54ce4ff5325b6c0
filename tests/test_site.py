"""The built site as its readers use it: in a real Chromium, by typing, pasting and tapping, in both languages."""

from __future__ import annotations

import gzip
import html.parser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe

from indexer.entry import LANGUAGES, builtin_folder, entry_folders
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("browser")
BASES = {"en": "", "zh": "zh/"}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
ENTRIES = [folder.name for folder in entry_folders(builtin_folder())]
RANKS = (ROOT / "kb/entries/distributed/nccl-watchdog-timeout/samples/torch-2.8-uneven-shards.txt").read_text(encoding="utf-8")
PAGES = ("", "diagnose/", "entries/", "entries/loss-zero-sft/", "sections/distributed/", "components/", "symptoms/", "guides/", "about/coverage/", "about/command-line/")  # fmt: skip


@pytest.fixture
def visit(chromium: Any, served: str) -> Iterator[Any]:
    """Open a page of the site; what the console complains about, and what is asked of other hosts, fails the test."""
    contexts = []
    complaints: list[str] = []

    def opened(path: str = "", **options: Any) -> Any:
        context = chromium.new_context(**{**DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # The network is cut but for the site itself; what is missed then is complained of in the console.
        context.route(lambda url: not url.startswith((served, "blob:", "data:")), lambda route: route.abort())
        page.on("request", lambda request: _foreign(request.url, served, complaints))
        page.goto(served + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _foreign(url: str, served: str, complaints: list[str]) -> None:
    if not url.startswith((served, "blob:", "data:")):
        complaints.append(f"asked for {url}")


def paste(page: Any, text: str) -> None:
    """Put a text into the box, as a paste does, and wait for the answer to it."""
    page.locator("#kb-input").fill(text)
    page.locator(".kb-hit--first, .kb-refused").first.wait_for()


# ---- the paste box


def test_a_newcomer_pastes_the_log_of_all_ranks_on_a_phone_and_reads_the_answer_in_chinese(visit: Any) -> None:
    page = visit("", **PHONE)
    page.locator('[data-kbask="language"]').tap()
    page.wait_for_url("**/zh/")
    page.locator("#kb-input").tap()
    paste(page, RANKS)
    first = page.locator(".kb-hit--first")
    assert "NCCL" in first.locator("h3").inner_text()
    assert "Watchdog caught collective operation timeout" in first.locator(".kb-lines mark").first.inner_text()
    assert re.search(r"把握 9\d%", first.inner_text())
    page.locator(".kb-hit--first .kb-button").tap()
    page.wait_for_url("**/zh/entries/nccl-watchdog-timeout/**")
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.locator("h2#causes").inner_text().startswith("原因与解决")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("place", ["", "diagnose/"])
def test_what_nothing_answers_is_refused_and_the_nearest_are_named(visit: Any, language: str, place: str) -> None:
    page = visit(BASES[language] + place)
    paste(page, "the model outputs garbage after fine-tuning")
    assert page.locator(".kb-refused strong").inner_text() == {"en": "No entry fits.", "zh": "没有合适的条目。"}[language]
    assert "/entries/" in page.locator(".kb-refused li a").first.get_attribute("href")
    paste(page, "asdf qwer zxcv")
    page.locator(".kb-refused li").first.wait_for(state="detached")


def test_the_answer_follows_what_is_typed(visit: Any) -> None:
    page = visit("")
    page.locator("#kb-input").press_sequentially("loss is zero during sft", delay=5)
    first = page.locator(".kb-hit--first h3 a")
    first.wait_for()
    assert "/entries/loss-zero-sft/" in first.get_attribute("href")
    page.locator("#kb-input").fill("")
    page.locator(".kb-hits").wait_for(state="detached")


def test_a_message_that_names_its_cause_leads_to_that_cause(visit: Any) -> None:
    page = visit("")
    paste(page, (ROOT / "kb/entries/numerics/loss-zero-sft/samples/response-template-trl-0.19.txt").read_text(encoding="utf-8"))
    assert page.locator(".kb-hit__causes a").first.get_attribute("href").endswith("/entries/loss-zero-sft/#labels-masked")


def test_nothing_of_a_paste_leaves_the_page(visit: Any, served: str) -> None:
    page = visit("")
    sent: list[tuple[str, str, str | None]] = []
    page.on("request", lambda request: sent.append((request.method, request.url, request.post_data)))
    secret = "secret-host-4711 Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)"
    paste(page, secret)
    page.locator('[type="submit"]').click()
    page.locator(".kb-hit--first .kb-button").click()
    page.wait_for_url("**/entries/**")
    assert {method for method, _, _ in sent} == {"GET"}
    assert not any("4711" in url or (body or "") for _, url, body in sent)
    before = [url for _, url, _ in sent if not url.startswith(f"{served}entries/")]
    assert {urlparse(url).path for url in before if "/engine/" in url or "/data/" in url} <= {
        *(f"/assets/engine/{name}.js" for name in ("worker", "engine", "words", "understand")),
        "/data/engine.json",
    }


def test_the_engine_is_loaded_when_the_box_is_entered_and_the_words_of_the_pages_when_the_search_is(visit: Any) -> None:
    page = visit("")
    page.wait_for_load_state("networkidle")

    def loaded() -> set[str]:
        return set(page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"))

    assert not [path for path in loaded() if "/engine/" in path or "/data/" in path]
    with page.expect_response("**/data/engine.json"):
        page.locator("#kb-input").focus()
    with page.expect_response("**/data/search.json"):
        page.locator('[data-kbask="search"]').click()


def test_the_paste_is_there_again_after_a_look_at_an_entry_and_gone_when_cleared(visit: Any) -> None:
    page = visit("")
    paste(page, "loss is zero during sft")
    page.locator(".kb-hit--first h3 a").click()
    page.wait_for_url("**/entries/loss-zero-sft/**")
    page.go_back()
    page.locator(".kb-hit--first").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.reload()
    page.locator("#kb-input").wait_for()
    assert page.locator("#kb-input").input_value() == ""


def test_a_file_may_be_opened_whatever_its_encoding(visit: Any, tmp_path: Path) -> None:
    page = visit("zh/diagnose/")
    for encoding in ("utf-8", "utf-16", "gb18030"):
        path = tmp_path / f"{encoding}.log"
        path.write_bytes(f"训练日志\n{RANKS}".encode(encoding))
        page.locator("#kb-file").set_input_files(path)
        page.locator(".kb-hit--first").wait_for()
        assert page.locator("#kb-input").input_value().startswith("训练日志")
        page.locator("#kb-input").fill("")
        page.locator(".kb-hits").wait_for(state="detached")


@pytest.mark.parametrize(
    "text", ["[" * 300_000, "a " * 2_000_000, "\n".join(["Error: x" * 500] * 2000)], ids=["brackets", "words", "errors"]
)
def test_a_hostile_paste_gets_an_answer_in_time_and_the_page_stays_usable(visit: Any, text: str) -> None:
    page = visit("diagnose/")
    page.locator("#kb-input").evaluate(
        "(input, text) => { input.value = text; input.dispatchEvent(new Event('input')); }", text
    )
    page.locator(".kb-hit--first, .kb-refused").first.wait_for(timeout=10_000)
    paste(page, "loss is zero during sft")
    assert "loss-zero-sft" in page.locator(".kb-hit--first h3 a").get_attribute("href")


def test_a_question_after_one_that_took_too_long_is_answered(visit: Any) -> None:
    page = visit("")
    paste(page, "loss is zero during sft")
    # A worker that hangs, as a paste that is made for it might do.
    page.evaluate(
        "() => { const post = Worker.prototype.postMessage; globalThis.hang = true; "
        "Worker.prototype.postMessage = function (data) { if (!globalThis.hang || data.task === 'load') post.call(this, data); }; }"
    )
    page.locator("#kb-input").fill("the first question, to which nothing answers")
    page.wait_for_timeout(1500)
    page.evaluate("globalThis.hang = false")
    page.locator("#kb-input").fill("nvcc was not found, fused_adam cannot be built")
    page.locator('.kb-hit--first a[href*="nvcc-not-found-fused-adam"]').first.wait_for(timeout=12_000)


def test_the_box_works_where_nothing_may_be_stored(visit: Any, served: str) -> None:
    page = visit("about/coverage/")
    page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page.goto(served)
    paste(page, "loss is zero during sft")
    assert page.locator(".kb-hit--first").is_visible()


def test_the_end_of_a_large_file_is_looked_at_and_what_was_left_out_is_said(visit: Any, tmp_path: Path) -> None:
    page = visit("diagnose/")
    path = tmp_path / "large.log"
    step = "step {} loss=2.1 grad_norm=0.4 lr=1e-5 tokens=1048576\n"
    path.write_text("".join(step.format(number) for number in range(400_000)) + RANKS, encoding="utf-8")
    page.locator("#kb-file").set_input_files(path)
    page.locator(".kb-hit--first").wait_for(timeout=15_000)
    assert "nccl-watchdog-timeout" in page.locator(".kb-hit--first h3 a").get_attribute("href")
    assert "first and last 4 MB" in page.locator(".kb-status").inner_text()
    assert len(page.locator("#kb-input").input_value()) < 10_000
    page.get_by_role("button", name="Clear").click(timeout=2000)


def test_a_file_that_is_no_text_is_refused(visit: Any, tmp_path: Path) -> None:
    page = visit("diagnose/")
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    page.locator("#kb-file").set_input_files(path)
    page.get_by_text("This file is no text.").wait_for()
    assert page.locator("#kb-input").input_value() == ""


def test_what_came_before_is_named_also_where_it_has_no_entry(visit: Any) -> None:
    page = visit("")
    text = "torch.OutOfMemoryError: x\nERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm)."
    paste(page, f"{text}\n{RANKS}")
    notes = page.locator(".kb-hit--first .kb-hit__why, .kb-refused").all_inner_texts()
    assert not any(note.rstrip().endswith(":") and "same input" in note for note in notes), notes


def test_enter_that_chooses_chinese_characters_opens_nothing(visit: Any) -> None:
    page = visit("zh/")
    page.locator('[data-kbask="search"]').click()
    page.keyboard.type("nvcc")
    page.locator(".kb-search__results a").first.wait_for()
    page.locator(".kb-search__field").dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    page.wait_for_timeout(300)
    assert page.locator(".kb-search__field").is_visible()


@pytest.mark.parametrize("text", ["hi", "你"])
def test_what_is_too_short_is_said_to_be_so(visit: Any, text: str) -> None:
    page = visit("")
    page.locator("#kb-input").fill(text)
    page.locator('[type="submit"]').click()
    page.get_by_text("That is too short").wait_for()


def test_markup_in_a_paste_is_text(visit: Any) -> None:
    page = visit("")
    paste(
        page,
        "<img src=x onerror=alert(1)> Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)<b>",
    )
    assert page.locator(".kb-box img, .kb-box b").count() == 0
    assert "<img src=x" in page.locator(".kb-lines").inner_text()


def test_an_assistant_gets_the_paste_only_after_it_was_asked_for(chromium: Any, served: str) -> None:
    """The assistant is played by a page of another origin that says it is ready and shows what it gets."""
    context = chromium.new_context(**DESKTOP)
    receiver = """<body><script>addEventListener("message", (event) => { document.body.textContent = JSON.stringify(event.data); });
        opener.postMessage("kbask-ready", "*");</script>"""
    context.route("http://assistant.test/**", lambda route: route.fulfill(body=receiver, content_type="text/html"))

    def with_assistant(route: Any) -> None:
        response = route.fetch()
        route.fulfill(
            response=response, body=response.text().replace('"assistant": ""', '"assistant": "http://assistant.test/"')
        )

    context.route(served, with_assistant)
    page = context.new_page()
    page.goto(served)
    paste(page, "loss is zero during sft")
    page.get_by_role("button", name="Ask the assistant").click()
    assert "assistant.test" in page.locator("dialog.kb-ask").inner_text()
    page.get_by_role("button", name="Cancel").click()
    assert len(context.pages) == 1
    page.get_by_role("button", name="Ask the assistant").click()
    with context.expect_page() as opened:
        page.get_by_role("button", name="Hand it over").click()
    opened.value.wait_for_function("document.body.textContent.includes('loss is zero')")
    assert opened.value.url == "http://assistant.test/"
    context.close()


# ---- search


@pytest.mark.parametrize(
    ("language", "typed", "entry"),
    [
        ("en", "RuntimeError: CUDA error:", "cuda-ecc-uncorrectable"),
        ("en", "flash_attn_varlen_func", "flash-attn-renamed-functions"),
        ("en", "varlen", "flash-attn-renamed-functions"),
        ("en", "flash_attn_var", "flash-attn-renamed-functions"),
        ("en", "watchd", "nccl-watchdog-timeout"),
        ("en", "logging_nan_inf_filter", "loss-zero-sft"),
        ("en", "学习率", "lr-zero-deepspeed-scheduler"),
        ("zh", "学习率", "lr-zero-deepspeed-scheduler"),
        ("zh", "溢出", "loss-zero-sft"),
        ("zh", "复读", "repetition-after-sft"),
        ("zh", "为什么 SFT 之后模型一直复读", "repetition-after-sft"),
        ("zh", "nvcc", "nvcc-not-found-fused-adam"),
        ("zh", "模板", "prompt-template-choice"),
    ],
)
def test_search_finds_what_people_type(visit: Any, language: str, typed: str, entry: str) -> None:
    page = visit(BASES[language] + "about/coverage/")
    page.keyboard.press("/")
    page.keyboard.type(typed)
    result = page.locator(f'.kb-search__results a[href*="/entries/{entry}/"]')
    result.wait_for()
    links = [link.get_attribute("href") for link in page.locator(".kb-search__results a").all()]
    assert any(f"/entries/{entry}/" in link for link in links[:3]), links


@pytest.mark.parametrize("typed", ["ERROR: hello", "+-&&||!(){}[]^~*?:\\", "a AND NOT b", "'; --", "\u0000"])
def test_search_takes_any_sign_as_text(visit: Any, typed: str) -> None:
    page = visit("")
    page.locator('[data-kbask="search"]').click()
    page.locator(".kb-search__field").fill(typed)
    page.locator(".kb-search__hint [role=status]:not(:empty)").wait_for()
    assert "work" not in page.locator(".kb-search__hint").inner_text()


def test_search_is_worked_by_keys_alone(visit: Any) -> None:
    page = visit("")
    field = page.locator(".kb-search__field")
    page.locator("#kb-input").press_sequentially("a/b")
    assert not field.is_visible(), "a slash that is typed into the box opens nothing"
    page.locator("h1").click()
    page.keyboard.press("/")
    assert field.evaluate("field => field === document.activeElement && field.value === ''")
    page.keyboard.type("loss zero")
    page.locator(".kb-search__results a").first.wait_for()
    page.keyboard.press("Escape")
    assert not field.is_visible()
    page.keyboard.press("Control+k")
    assert field.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.kb-search__results a')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert field.evaluate("field => field === document.activeElement")
    page.keyboard.press("Enter")
    page.wait_for_url("**/entries/loss-zero-sft/**")


def test_search_works_on_a_phone(visit: Any) -> None:
    page = visit("zh/", **PHONE)
    page.locator('[data-kbask="search"]').tap()
    page.keyboard.type("varlen")
    page.locator(".kb-search__results a").first.tap()
    page.wait_for_url("**/zh/entries/flash-attn-renamed-functions/**")


# ---- pages


@pytest.mark.parametrize("entry", ["loss-zero-sft", "nccl-watchdog-timeout"])
def test_the_language_switch_stays_on_the_same_entry_and_heading(visit: Any, entry: str) -> None:
    page = visit(f"entries/{entry}/")
    page.evaluate("document.getElementById('check').scrollIntoView()")
    page.locator('[data-kbask="language"]').click()
    page.wait_for_url(f"**/zh/entries/{entry}/#check")
    page.locator('[data-kbask="language"]').click()
    page.wait_for_url(lambda url: "/zh/" not in url and url.endswith(f"entries/{entry}/#check"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_no_serious_fault(visit: Any, language: str, scheme: str) -> None:
    base = BASES[language]
    page = visit(base, color_scheme=scheme)
    found = {"home": serious(page)}
    paste(page, RANKS)
    found["answer"] = serious(page)
    paste(page, "How do I bake bread?")
    page.locator(".kb-refused").wait_for()
    found["refusal"] = serious(page)
    for path in ("diagnose/", "entries/loss-zero-sft/", "sections/data/", "about/coverage/", "about/machines/"):
        page = visit(base + path, color_scheme=scheme)
        found[path] = serious(page)
    page.keyboard.press("/")
    page.keyboard.type("loss")
    page.locator(".kb-search__results a").first.wait_for()
    found["search"] = serious(page)
    assert not any(found.values()), found


def serious(page: Any) -> list[str]:
    """What axe calls serious or critical, with where it is."""
    page.wait_for_timeout(200)
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_wider_than_a_phone(visit: Any, language: str, width: int) -> None:
    for path in PAGES:
        page = visit(BASES[language] + path, **{**PHONE, "viewport": {"width": width, "height": 800}})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, path


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_entry_page_weighs_less_than_150_kilobytes(visit: Any, site: Path, served: str, language: str) -> None:
    def weight(entry: str) -> int:
        return len(gzip.compress((site / BASES[language] / "entries" / entry / "index.html").read_bytes()))

    page = visit("")
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: int(response.headers.get("content-length", 0))}))
    page.goto(f"{served}{BASES[language]}entries/{max(ENTRIES, key=weight)}/", wait_until="networkidle")
    assert len(sizes) > 4
    assert sum(sizes.values()) < 150_000, sizes


def test_links_work_from_a_file_too(chromium: Any, site: Path) -> None:
    page = chromium.new_context(**DESKTOP).new_page()
    page.goto((site / "index.html").as_uri())
    page.locator(".kb-card a").first.click()
    page.wait_for_url("**/sections/**/index.html")
    assert page.locator("h1").is_visible()
    page.context.close()


def test_pages_read_from_a_file_and_the_box_says_why_it_cannot_run(chromium: Any, site: Path) -> None:
    page = chromium.new_context(**DESKTOP).new_page()
    page.goto((site / "index.html").as_uri())
    assert "opened as a file" in page.locator(".kb-status").inner_text()
    assert page.locator("#kb-input").is_disabled()
    page.goto((site / "zh/entries/loss-zero-sft/index.html").as_uri())
    assert page.locator("h2#causes").is_visible()
    page.context.close()


def test_without_scripts_the_page_says_what_to_do(visit: Any) -> None:
    page = visit("", java_script_enabled=False)
    assert "kbask < train.log" in page.locator("noscript").inner_text()


def test_code_is_copied_by_its_button(visit: Any) -> None:
    page = visit("entries/loss-zero-sft/", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".highlight", has_text="kbask run loss-zero-sft").first
    block.hover()
    block.locator("button").first.click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('kbask run loss-zero-sft'))")


def test_print_shows_the_entry_and_all_scripts_without_the_frame(visit: Any) -> None:
    page = visit("entries/nccl-watchdog-timeout/")
    page.emulate_media(media="print")
    assert not page.locator("header").is_visible()
    assert all(block.is_visible() for block in page.locator(".tabbed-block").all())


def test_code_that_scrolls_takes_the_focus(visit: Any) -> None:
    page = visit("entries/loss-zero-sft/", **PHONE)
    page.locator(".md-typeset__scrollwrap[tabindex='0']").first.wait_for(state="attached")
    stuck = page.evaluate(
        """() => [...document.querySelectorAll(".md-typeset pre, .md-typeset pre code, .md-typeset__scrollwrap, .md-typeset table")]
            .filter((element) => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible")
            .filter((element) => element.tabIndex < 0 && !element.querySelector("[tabindex='0'], a, button")).map((element) => element.className)"""
    )
    assert stuck == []


# ---- every page, as a file


class Links(html.parser.HTMLParser):
    """The ids of a page, and what it links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.ids |= {value for name in ("id", "name") if (value := given.get(name))}
        for name in ("href", "src"):
            if value := given.get(name):
                relations = (given.get("rel") or "").split()
                is_link = tag == "a" or (tag == "link" and not {"stylesheet", "icon"} & set(relations))
                (self.links if is_link else self.loaded).append(value)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Links]:
    return {path.relative_to(site).as_posix(): Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[str, Links]) -> None:
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            target, fragment = urldefrag(urljoin(f"http://site/{path}", link))
            if not target.startswith("http://site/"):
                continue
            file = unquote(urlparse(target).path).lstrip("/")
            file = f"{file}index.html" if not file or file.endswith("/") else file
            if not (site / file).is_file() or (fragment and file in pages and unquote(fragment) not in pages[file].ids):
                broken.append((path, link))
    assert broken == []


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[str, Links]) -> None:
    assert [(path, link) for path, page in pages.items() for link in page.loaded if urlparse(link).netloc] == []
    for path in (*site.rglob("*.css"), *(site / "assets").rglob("kbask.js"), *(site / "assets/engine").rglob("*.js")):
        assert not re.search(r"url\(['\"]?https?:|fetch\(['\"]https?:|@import", path.read_text(encoding="utf-8")), path


def test_both_languages_have_the_same_pages_and_headings(pages: dict[str, Links]) -> None:
    english = {path for path in pages if not path.startswith("zh/")}
    chinese = {path.removeprefix("zh/") for path in pages if path.startswith("zh/")}
    assert english == chinese
    for path in english:
        if path.startswith("entries/"):
            assert pages[path].ids == pages[f"zh/{path}"].ids, path


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_entry_page_has_all_that_an_entry_is(site: Path, pages: dict[str, Links], entry: str, language: str) -> None:
    folder = next(path for path in entry_folders(builtin_folder()) if path.name == entry)
    page = pages[f"{BASES[language]}entries/{entry}/index.html"]
    text = (site / BASES[language] / "entries" / entry / "index.html").read_text(encoding="utf-8")
    assert {"sources", "related"} <= page.ids
    for script in folder.glob("*.py"):
        assert any(link.endswith(script.name) for link in page.links)
        assert f"kbask run {entry}" in re.sub(r"<[^>]*>", "", text)
