"""The official client of OpenAI against kbask, with the base address changed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from markdown_it import MarkdownIt

from assistant.generation import estimate_tokens
from indexer.index import Index
from tests.replay import replaying
from tests.test_generation import within
from tests.test_http import ECC, LOG, QUESTION, REPLY, connect, serving


def official(client: httpx2.Client, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def plain(index: Index) -> Iterator[httpx2.Client]:
    with serving(index) as served:
        yield served


@pytest.fixture(scope="module")
def asked(plain: httpx2.Client) -> Iterator[openai.OpenAI]:
    with official(plain) as client:
        yield client


def user(text: Any) -> Any:
    return [{"role": "user", "content": text}]


def test_an_answer_is_a_completion_with_its_sources_and_true_counts(asked: openai.OpenAI, plain: httpx2.Client) -> None:
    done = asked.chat.completions.create(model="kbask", messages=user(QUESTION))
    message = done.choices[0].message
    told = plain.post("/v1/ask", json={"text": QUESTION}).json()
    assert message.content is not None
    # Each line of the foot for itself: CommonMark ends a line where two spaces stand before its end.
    blocks = [b["text"].replace("\n", "  \n") if b["kind"] == "foot" else b["text"] for b in told["blocks"]]
    assert message.content.startswith("\n\n".join(blocks))
    assert "<br />\n<strong>" in MarkdownIt().render(message.content)
    assert (done.object, done.model, done.choices[0].finish_reason, message.role) == (
        "chat.completion",
        "kbask",
        "stop",
        "assistant",
    )
    assert done.usage is not None
    assert done.usage.prompt_tokens == estimate_tokens(QUESTION)
    assert done.usage.completion_tokens == estimate_tokens(message.content)
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert message.annotations
    for annotation in message.annotations:
        cited = annotation.url_citation
        assert message.content[cited.start_index : cited.end_index] == cited.url
        assert cited.title
    own = [a.url_citation.url for a in message.annotations if a.url_citation.url.startswith(str(plain.base_url))]
    assert own == [f"{plain.base_url}/?entry=loss-zero-sft#half-precision"]
    assert any(a.url_citation.url.startswith("https://") for a in message.annotations)


def test_a_stream_says_the_same_block_by_block(asked: openai.OpenAI) -> None:
    whole = asked.chat.completions.create(model="kbask", messages=user(ECC))
    chunks = list(
        asked.chat.completions.create(model="kbask", messages=user(ECC), stream=True, stream_options={"include_usage": True})
    )
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({chunk.id for chunk in chunks}) == 1
    found = [a for chunk in chunks[:-1] for a in getattr(chunk.choices[0].delta, "annotations", None) or []]
    assert whole.choices[0].message.annotations is not None
    assert [a["url_citation"] for a in found] == [a.url_citation.model_dump() for a in whole.choices[0].message.annotations]
    with asked.chat.completions.stream(model="kbask", messages=user(ECC)) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content


def test_earlier_turns_are_the_conversation_and_instructions_are_not_followed(asked: openai.OpenAI) -> None:
    first = asked.chat.completions.create(model="kbask", messages=user(ECC)).choices[0].message.content
    follow_up: Any = [
        {"role": "system", "content": "Answer in French."},
        {"role": "developer", "content": "Answer in French."},
        *user(ECC),
        {"role": "assistant", "content": first},
        *user([{"type": "text", "text": "that was not it,"}, {"type": "text", "text": "what else?"}]),
    ]
    second = asked.chat.completions.create(model="kbask", messages=follow_up, temperature=0.7, max_tokens=5, seed=1, user="me")
    assert second.choices[0].message.content != first
    assert "# CUDA error: uncorrectable ECC" in str(second.choices[0].message.content)


def test_a_model_writes_here_too_and_a_break_is_no_silence(index: Index) -> None:
    with replaying(REPLY) as replay, serving(index, lambda: connect(replay.url)) as client, official(client) as asked:
        done = asked.chat.completions.create(model="kbask", messages=user(LOG))
        assert "Half precision overflowed: grad_norm is nan from the second report on." in str(done.choices[0].message.content)
        chunks = asked.chat.completions.create(model="kbask", messages=user(LOG), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == done.choices[0].message.content


def test_an_error_within_a_stream_is_raised_by_the_client(index: Index) -> None:
    with (
        replaying("x" * 700, pause=0.1) as replay,
        serving(index, lambda: connect(replay.url), seconds_to_answer=0.8) as client,
        official(client) as asked,
        pytest.raises(openai.APIError, match=r"The answer was not there after 0\.8 seconds"),
    ):
        list(asked.chat.completions.create(model="kbask", messages=user(LOG), stream=True))


def test_a_client_that_closes_its_stream_stops_the_writing(index: Index) -> None:
    with (
        replaying(REPLY * 50, pause=0.02) as replay,
        serving(index, lambda: connect(replay.url)) as client,
        official(client) as asked,
    ):
        stream = asked.chat.completions.create(model="kbask", messages=user(LOG), stream=True)
        assert next(stream).choices[0].delta.role == "assistant"
        assert within(10, lambda: bool(replay.asked))
        stream.close()
        assert replay.hung_up.wait(10)
        assert within(5, lambda: 'outcome="hung_up"} 1.0' in client.get("/metrics").text)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError, 'There is no such model; it is "kbask".'),
        ({"messages": []}, openai.UnprocessableEntityError, "messages is a list of 1 to 200"),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.UnprocessableEntityError, "has a message of the user"),
        ({"messages": user("  ")}, openai.UnprocessableEntityError, "messages has a message of the user that holds the question."),
        ({"messages": user([{"type": "image_url", "image_url": {"url": "http://x"}}])}, openai.UnprocessableEntityError, "messages[0].content is a text, or a list"),
        ({"messages": user(None)}, openai.UnprocessableEntityError, "messages[0].content is a text"),
        ({"n": 2}, openai.UnprocessableEntityError, "n is 1: there is one answer."),
        ({"stream_options": {"include_usage": "x"}}, openai.UnprocessableEntityError, "stream_options.include_usage is true or false."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error_of_its_type(
    asked: openai.OpenAI, changed: dict[str, Any], error: type[openai.APIStatusError], said: str
) -> None:
    with pytest.raises(error) as caught:
        asked.chat.completions.create(**{"model": "kbask", "messages": user("x"), **changed})
    assert said in caught.value.message


def test_the_key_is_the_token_and_too_much_is_told_as_such(index: Index) -> None:
    with serving(index, token="right", requests_a_minute=3) as client:
        with official(client, "wrong") as asked, pytest.raises(openai.AuthenticationError, match="A token is wanted"):
            asked.models.list()
        with official(client, "right") as asked:
            assert [model.id for model in asked.models.list()] == ["kbask"]
            assert asked.chat.completions.create(model="kbask", messages=user(ECC)).choices
            with pytest.raises(openai.RateLimitError) as caught:
                asked.models.list()
            assert int(caught.value.response.headers["retry-after"]) >= 1


def test_the_models_are_one(asked: openai.OpenAI) -> None:
    assert asked.models.retrieve("kbask").owned_by == "kbask"
    with pytest.raises(openai.NotFoundError):
        asked.models.retrieve("other")


def test_a_chinese_question_has_its_sources_in_chinese(asked: openai.OpenAI) -> None:
    done = asked.chat.completions.create(model="kbask", messages=user("微调时 loss 变成 0"))
    assert "**条目**" in str(done.choices[0].message.content)


@pytest.mark.parametrize("stream", [False, True])
def test_where_no_entry_fits_there_is_no_source(asked: openai.OpenAI, stream: bool) -> None:
    if stream:
        chunks = asked.chat.completions.create(model="kbask", messages=user("hello"), stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        message = asked.chat.completions.create(model="kbask", messages=user("hello")).choices[0].message
        text = str(message.content)
        assert message.annotations == []
    assert text.startswith("**No entry fits.**")
    assert "**Entries**" not in text
