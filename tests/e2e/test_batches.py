"""Batches on the embedded default: real models, OpenAI's own library unchanged, and kills of everything with a part."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from callboard_client import Callboard
from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack

pytestmark = pytest.mark.models

ENCODER, CHAT = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"


@pytest.fixture
def callboard(stack: Stack) -> Iterator[Callboard]:
    with Callboard(stack.url, stack.key) as client:
        yield client


def test_hundreds_of_texts_are_embedded_and_come_in_order(callboard: Callboard) -> None:
    texts = [f"Train {n} leaves at {n % 24} o'clock." for n in range(300)]
    jobs = ({"type": "nlp.embed", "input": {"texts": [text]}, "custom_id": text} for text in texts)
    batch = callboard.batches.create(jobs)
    found = list(callboard.batches.results(batch, 120))
    assert [one.custom_id for one in found] == texts
    assert {one.status for one in found} == {"succeeded"}
    alone = callboard.run("nlp.embed", {"texts": [texts[250]]}, wait_s=60)
    assert np.allclose(found[250].output["embeddings"], alone["embeddings"], atol=1e-2)


def test_a_wrong_line_and_a_failing_job_are_told_of_and_only_the_job_runs_again(callboard: Callboard) -> None:
    jobs = [
        {"type": "nlp.embed", "input": {"texts": ["one"]}, "custom_id": "good"},
        {"type": "nlp.embed", "input": {"texts": "one"}, "custom_id": "wrong"},
        {"type": "nlp.embed", "input": {"texts": ["one"], "model": "no-such-model"}, "custom_id": "failing"},
    ]
    batch = callboard.batches.wait(callboard.batches.create(jobs), 120)
    assert (batch.counts.succeeded, batch.counts.invalid, batch.counts.failed) == (1, 1, 1)
    assert batch.errors_file is not None
    errors = [json.loads(line) for line in callboard.files.read(batch.errors_file.file_id).splitlines()]
    assert [(one["custom_id"], one["status"]) for one in errors] == [
        ("wrong", "invalid"),
        ("failing", "failed"),
    ]
    again = callboard.batches.wait(callboard.batches.retry(batch), 120)
    assert (again.counts.total, again.counts.failed, again.retried_from) == (1, 1, batch.id)


def openais(url: str, body: dict[str, object], name: str) -> bytes:
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body}).encode()


def test_openais_library_runs_embeddings_as_a_batch(stack: Stack) -> None:
    lines = [
        openais("/v1/embeddings", {"model": ENCODER, "input": f"text {n}"}, f"t{n}") for n in range(1500)
    ]
    lines.append(openais("/v1/embeddings", {"model": ENCODER, "input": ["word " * 3] * 400}, "large"))
    with openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key=stack.key, max_retries=0) as client:
        uploaded = client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/embeddings", completion_window="24h"
        )
        seen, deadline = set(), time.monotonic() + 150
        while batch.status != "completed":
            assert time.monotonic() < deadline, batch
            time.sleep(0.05)
            batch = client.batches.retrieve(batch.id)
            seen.add(batch.request_counts.completed if batch.request_counts else 0)
        assert batch.request_counts is not None and batch.request_counts.completed == 1501
        assert len(seen) > 3, "the counts moved"
        assert batch.output_file_id is not None and batch.error_file_id is None
        output = [
            json.loads(line) for line in client.files.content(batch.output_file_id).content.splitlines()
        ]
        direct = client.embeddings.create(model=ENCODER, input="text 7", encoding_format="float")
    assert [one["custom_id"] for one in output] == [*(f"t{n}" for n in range(1500)), "large"]
    assert len(output[1500]["response"]["body"]["data"]) == 400  # its output was kept as a file
    batched = output[7]["response"]["body"]["data"][0]["embedding"]
    assert np.allclose(batched, direct.data[0].embedding, atol=1e-2)


async def test_openais_async_library_runs_chats_as_a_batch(stack: Stack) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": CHAT, "messages": question, "temperature": 0, "max_tokens": 24}
    lines = [openais("/v1/chat/completions", body, f"q{n}") for n in range(3)]
    lines.append(openais("/v1/chat/completions", body | {"stream": True}, "streamed"))
    async with openai.AsyncOpenAI(
        base_url=f"{stack.url}/openai/v1", api_key=stack.key, max_retries=0
    ) as client:
        uploaded = await client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
        batch = await client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        async with asyncio.timeout(150):
            while batch.status != "completed":
                await asyncio.sleep(0.1)
                batch = await client.batches.retrieve(batch.id)
        assert batch.output_file_id is not None and batch.error_file_id is not None
        output = (await client.files.content(batch.output_file_id)).content.splitlines()
        errors = (await client.files.content(batch.error_file_id)).content.splitlines()
    answers = [json.loads(line)["response"]["body"] for line in output]
    assert len(answers) == 3, [json.loads(line)["response"]["body"] for line in errors]
    assert all("Paris" in one["choices"][0]["message"]["content"] for one in answers)
    assert json.loads(errors[0])["response"]["body"]["error"]["param"] == "stream"


def test_couriers_and_gateways_that_are_killed_change_nothing(tmp_path: Path) -> None:
    count = 3000
    with (
        Stack(tmp_path / "home", env={"CALLBOARD_WORKERS": "nlp=0,nlp-train=0,llm=0,vision=0"}) as own,
        Callboard(own.url, own.key) as callboard,
    ):
        jobs = ({"type": "system.echo", "input": {"value": n, "sleep_ms": 20}} for n in range(count))
        batch = callboard.batches.create(jobs)
        for name in ("courier", "gateway", "courier", "courier"):
            ended_before = batch.counts.succeeded
            os.kill(
                next(one.pid for one in records(Folder(own.home).run) if one.name == name), signal.SIGKILL
            )
            deadline = time.monotonic() + 60
            while batch.counts.succeeded <= ended_before and not batch.has_ended:
                assert time.monotonic() < deadline, batch
                time.sleep(0.1)
                batch = callboard.batches.get(batch)
        found = list(callboard.batches.results(batch, 120))
        assert [one.output for one in found] == [{"value": n} for n in range(count)]
        assert len({one.job_id for one in found}) == count
        (usage,) = [row for row in callboard.usage("type") if row.type == "system.echo"]
        assert (usage.jobs, usage.succeeded) == (count, count)  # each ended once
