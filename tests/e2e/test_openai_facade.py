"""OpenAI's own library, unchanged, against the facade on the embedded default: real models, no key of OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
from hearing import hear

from callboard_embedded.stack import Stack

pytestmark = pytest.mark.models

ENCODER, CHAT = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key=stack.key, max_retries=0) as made:
        yield made


def test_embeddings_are_those_of_the_job(client: openai.OpenAI, http: httpx.Client) -> None:
    texts = ["A crew takes its work.", "안녕하세요"]
    answer = client.embeddings.create(
        model=ENCODER, input=texts
    )  # the library asks for base64, and decodes it
    assert answer.model == ENCODER and answer.usage.prompt_tokens == answer.usage.total_tokens > 5
    assert [one.index for one in answer.data] == [0, 1] and len(answer.data[0].embedding) == 384
    plain = client.embeddings.create(model=ENCODER, input=texts[0], encoding_format="float", dimensions=384)
    assert np.allclose(plain.data[0].embedding, answer.data[0].embedding, atol=1e-2)
    job = http.post(
        "/v1/jobs", json={"type": "nlp.embed", "input": {"texts": texts}}, headers={"Prefer": "wait=30"}
    )
    assert np.allclose(job.json()["output"]["embeddings"], [one.embedding for one in answer.data], atol=1e-2)


def test_an_answer_too_large_for_a_job_record_comes_all_the_same(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=ENCODER, input=["word " * 3] * 400, encoding_format="float")
    assert len(answer.data) == 400


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"model": ENCODER, "input": ""}, "input[0]"),
        ({"model": ENCODER, "input": ["a", ""]}, "input[1]"),
        ({"model": ENCODER, "input": [[1, 2, 3]]}, "input"),
        ({"model": ENCODER, "input": "a", "dimensions": 8}, "dimensions"),
    ],
)
def test_what_cannot_be_embedded_is_a_400_that_names_the_parameter(
    client: openai.OpenAI, request_: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**request_)  # type: ignore[arg-type]
    assert caught.value.param == param and caught.value.type == "invalid_request_error"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "model_not_found" and ENCODER in str(caught.value)


def test_a_chat_is_answered_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_completion_tokens=40, user="someone",  # type: ignore[arg-type]
    )  # fmt: skip
    choice = answer.choices[0]
    assert "Paris" in (choice.message.content or "") and choice.finish_reason == "stop"
    assert answer.model == CHAT and answer.usage is not None and answer.usage.total_tokens > 10
    assert answer.id.startswith("chatcmpl-job_") and answer.object == "chat.completion"


def test_a_chat_streams_and_says_what_it_used(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_tokens=40, stream=True,  # type: ignore[call-overload]
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text and len(chunks) >= 4
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 10
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_library_puts_a_stream_together_and_reads_an_answer_by_a_schema(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=CHAT, messages=QUESTION, temperature=0, max_tokens=20
    ) as stream:  # type: ignore[arg-type]
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_tokens=60, response_format={"type": "json_object"}  # type: ignore[arg-type]
    )  # fmt: skip
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


async def test_the_asynchronous_library_works_too(stack: Stack) -> None:
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/openai/v1", api_key=stack.key) as client:
        embedded, chat = await asyncio.gather(
            client.embeddings.create(model=ENCODER, input="a"),
            client.chat.completions.create(model=CHAT, messages=QUESTION, max_tokens=20),  # type: ignore[arg-type]
        )
        assert len(embedded.data[0].embedding) == 384 and chat.choices[0].message.content
        stream = await client.chat.completions.create(
            model=CHAT, messages=QUESTION, max_tokens=20, stream=True
        )  # type: ignore[arg-type]
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason in ("stop", "length")


def test_who_stops_listening_cancels_the_job(client: openai.OpenAI, http: httpx.Client) -> None:
    story = [{"role": "user", "content": "Tell a very long story about a railway."}]
    stream = client.chat.completions.create(model=CHAT, messages=story, max_tokens=900, stream=True)  # type: ignore[arg-type]
    first = next(iter(stream))
    stream.close()
    job_id = first.id.removeprefix("chatcmpl-")
    assert http.get(f"/v1/jobs/{job_id}", params={"wait": 20}).json()["status"] == "canceled"


@pytest.mark.parametrize(("audio_format", "codec"), [("mp3", "mp3"), ("wav", "pcm_s16le"), ("opus", "opus")])
def test_speech_is_spoken_by_whoever_can(client: openai.OpenAI, audio_format: str, codec: str) -> None:
    text = "The nine forty to Busan is now boarding."
    answer = client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format=audio_format
    )  # type: ignore[arg-type]
    sound = hear(answer.content)
    assert sound.codec == codec and 1 < sound.duration_s < 6


def test_speech_that_cannot_be_is_refused_with_the_reason(client: openai.OpenAI) -> None:
    for more, param in (({"response_format": "pcm"}, "response_format"), ({"input": "…"}, "input")):
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "Hello.", **more})  # type: ignore[arg-type]
        assert caught.value.param == param
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="local", voice="alloy", input="안녕하세요")
    assert caught.value.code == "language_not_supported"


def test_models_are_those_that_can_be_named(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {ENCODER, CHAT, "sentiment"} <= names
    assert client.models.retrieve(ENCODER).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-17")


def test_files_are_kept_read_and_deleted(client: openai.OpenAI) -> None:
    kept = client.files.create(file=("lines.jsonl", b'{"a": 1}\n'), purpose="batch")
    assert (kept.filename, kept.bytes, kept.purpose, kept.object) == ("lines.jsonl", 9, "batch", "file")
    assert client.files.content(kept.id).read() == b'{"a": 1}\n'
    assert kept.id in [file.id for file in client.files.list(purpose="batch", limit=1)]
    assert client.files.retrieve(kept.id).filename == "lines.jsonl"
    assert client.files.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)


def test_a_key_that_is_none_is_said_as_openai_says_it(stack: Stack) -> None:
    client = openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key="cb_nope", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
