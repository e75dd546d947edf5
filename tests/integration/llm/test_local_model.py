"""The process that serves the local model: one for all, started when it is wanted, gone with whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
from trials import until

from callboard_llm.providers import Answer, Ask
from callboard_llm.providers.llama_process import LlamaProcess
from callboard_llm.providers.local import Local, LocalModel, local_model
from callboard_llm.settings import LocalChatSettings
from callboard_shared.errors import FinalError, RetryableError
from callboard_shared.models import Shelf
from callboard_shared.worker import Context

pytestmark = pytest.mark.models

ASKED = Ask("gpt-4o", [{"role": "user", "content": "What is the capital of France?"}], {"temperature": 0})


@pytest.fixture
def context(tmp_path: Path) -> Context:
    from callboard_shared.files import Files, FileSettings, configured_store

    files = Files(configured_store(FileSettings(files_dir=tmp_path)))
    return Context("job_1", "llm", "key_a", 1, runner="w#1", send=lambda call: True, files=files)


class Listening:
    """Hears how a chat goes."""

    def __init__(self, context: Context) -> None:
        self.waiting = context.waiting
        self.said: list[str] = []
        self.told: list[str] = []
        self.delta, self.delayed = self.said.append, self.told.append


@pytest.fixture
def model() -> LocalModel:
    found = local_model(LocalChatSettings(), Shelf())
    assert found is not None
    return found


@pytest.fixture
async def process(model: LocalModel) -> AsyncIterator[LlamaProcess]:
    made = LlamaProcess(model.file, model.name, window=512, at_once=2, threads=1)
    yield made
    made.stop()


async def test_all_who_ask_while_it_starts_get_the_same_process(process: LlamaProcess) -> None:
    impatient = asyncio.create_task(process.address())
    others = [asyncio.create_task(process.address()) for _ in range(8)]
    await asyncio.sleep(0.05)
    impatient.cancel()  # takes it from none of the others
    addresses = await asyncio.gather(*others)
    assert len(set(addresses)) == 1 and process.runs
    assert len(servers(os.getpid())) == 1


async def test_who_asks_while_it_runs_and_does_not_answer_yet_waits_too(process: LlamaProcess) -> None:
    first = asyncio.create_task(process.address())
    async with asyncio.timeout(60):
        while not process.runs:
            await asyncio.sleep(0.001)
    assert not first.done()
    second = await process.address()
    assert second == await first and second.url and second.key


async def test_one_that_died_is_started_anew(process: LlamaProcess) -> None:
    first, pid = await process.address(), process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not process.runs, 5, "it is gone")
    second = await process.address()
    assert second != first and process.pid != pid and process.runs


async def test_it_stays_when_its_group_is_told_to_end_and_goes_when_nobody_wants_it(
    process: LlamaProcess,
) -> None:
    await process.address()
    assert process.pid is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process.pid, number)
    address = await process.address()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{address.url[:-3]}/health")).status_code == 200
    assert process.runs
    process.stop()
    assert not process.runs


async def test_nobody_else_on_the_machine_can_use_it(process: LlamaProcess) -> None:
    address = await process.address()
    assert address.url.startswith("http://127.0.0.1:")
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"{address.url}/chat/completions", json=asked)).status_code == 401
    assert address.key not in " ".join(psutil.Process(process.pid).cmdline())


def test_it_ends_with_whoever_started_it_also_by_a_kill(model: LocalModel) -> None:
    program = (
        "import asyncio, sys, time; from pathlib import Path\n"
        "from callboard_llm.providers.llama_process import LlamaProcess\n"
        "process = LlamaProcess(Path(sys.argv[1]), 'm', window=256, at_once=1, threads=1)\n"
        "asyncio.run(process.address()); print(process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(model.file)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = next(int(line) for line in parent.stdout if line.strip().isdigit())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    until(lambda: not alive(pid), 5, "the server is gone too")


async def test_a_file_that_is_no_model_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but no more")
    broken = LlamaProcess(tmp_path / "broken.gguf", "broken", window=256, at_once=1, threads=1)
    for _ in range(2):
        with pytest.raises(RetryableError, match=r"broken\.gguf could not be started"):
            await broken.address()


async def test_the_answer_names_the_model_that_gave_it_and_a_start_is_told(
    model: LocalModel, context: Context
) -> None:
    local, listening, answer = Local(model, LocalChatSettings()), Listening(context), Answer("gpt-4o")
    try:
        await local.chat(ASKED, answer, listening)
        assert answer.content == "".join(listening.said) and "Paris" in answer.content
        assert (answer.model, listening.told) == (model.name, [f"loading model {model.name}"])
    finally:
        local.stop()


@pytest.mark.parametrize("settings", [{}, {"llm_local_model": "/nowhere/a.gguf"}])
async def test_without_a_model_the_cure_is_told(settings: dict[str, str], context: Context) -> None:
    given = LocalChatSettings.model_validate(settings)
    local = Local(local_model(given, Shelf()) if settings else None, given)
    with pytest.raises(FinalError, match="CALLBOARD_LLM_LOCAL_MODEL") as refused:
        await local.chat(ASKED, Answer("gpt-4o"), Listening(context))
    assert refused.value.problem_code == "provider-invalid"


def servers(parent: int) -> list[psutil.Process]:
    return [
        child for child in psutil.Process(parent).children() if "llama_server" in " ".join(child.cmdline())
    ]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
