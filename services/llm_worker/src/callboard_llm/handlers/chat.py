"""Handler of llm.chat."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Any

from callboard_llm import wire
from callboard_llm.history import Talk, doubted, fit, recall, with_its_pictures
from callboard_llm.pictures import Pictures, has_pictures, must_be_brought
from callboard_llm.prices import Prices
from callboard_llm.providers import Answer, Provider
from callboard_llm.providers.local import Local
from callboard_llm.providers.openai import OpenAI
from callboard_shared.jobs.llm import AssistantMessage, ChatInput, ChatOutput, ChatUsage
from callboard_shared.jobs.llm.chat import AskedCall, CalledFunction
from callboard_shared.ledger.metering import TALLY
from callboard_shared.worker import Context, Job

_REASONS = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "canceled": "canceled",
}


class ChatHandlers:
    """``prices``: of what OpenAI counts; the local model costs nothing."""

    def __init__(self, openai: OpenAI, local: Local, prices: Prices, pictures: Pictures) -> None:
        self._openai, self._local, self._prices, self._pictures = openai, local, prices, pictures

    async def chat(self, job: Job[ChatInput]) -> ChatOutput:
        talk = await recall(job)
        provider = self._provider(talk.input)
        talk = doubted(await with_its_pictures(await fit(talk, provider), job.context), provider)
        talk = await self._seen(talk, provider, job.context)
        for note in talk.warnings:
            job.context.log("warning", note)
        answer = Answer(talk.input.model)
        try:
            with TALLY.asking(provider.name):
                await provider.chat(wire.asked(talk.input), answer, _Listener(job.context))
        except asyncio.CancelledError:
            if answer.text or answer.tool_calls:
                answer.finish_reason = "canceled"
                output = self._output(answer, provider, talk)
                job.context.unfinished = output.model_dump(exclude_none=True)
                _join(job, output)
            raise
        finally:
            self._count(job.context, answer, provider)
        output = self._output(answer, provider, talk)
        _join(job, output)
        return output

    def _provider(self, value: ChatInput) -> Provider:
        if value.provider == "auto":
            to_openai = self._openai.ready and not self._local.is_named(value.model)
            return self._openai if to_openai else self._local
        return self._openai if value.provider == "openai" else self._local

    async def _seen(self, talk: Talk, provider: Provider, context: Context) -> Talk:
        """``talk`` with its pictures, of which none is fetched for a model that sees none."""
        if has_pictures(talk):
            provider.check_sees(talk.input.model)
        return await self._pictures.brought(talk, context) if must_be_brought(talk) else talk

    def _count(self, context: Context, answer: Answer, provider: Provider) -> None:
        """For the job's figures. An attempt that is followed by another leaves none."""
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            return
        context.usage |= {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "tokens": answer.prompt_tokens + answer.completion_tokens,
        }
        cost = self._cost_usd(answer, provider)
        if cost is not None:
            context.usage["cost_usd"] = cost

    def _cost_usd(self, answer: Answer, provider: Provider) -> float | None:
        if provider is self._local:
            return 0.0
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            return None
        return self._prices.cost_usd(
            answer.model, answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens
        )

    def _output(self, answer: Answer, provider: Provider, talk: Talk) -> ChatOutput:
        usage = None
        if answer.prompt_tokens is not None and answer.completion_tokens is not None:
            usage = ChatUsage(
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
                total_tokens=answer.prompt_tokens + answer.completion_tokens,
            )
        return ChatOutput(
            message=_message(answer),
            finish_reason=_reason(answer),
            usage=usage,
            cost_usd=self._cost_usd(answer, provider),
            model=answer.model,
            provider=provider.name,
            trimmed=talk.trimmed,
            warnings=list(talk.warnings) or None,
        )


def _join(job: Job[ChatInput], output: ChatOutput) -> None:
    """Have the reply join the conversation when the job ends."""
    if job.input.conversation_id is not None:
        said = output.model_dump(
            exclude_none=True, include={"model", "provider", "finish_reason", "warnings"}
        )
        job.context.reply = {"content": output.message.content or "", **said}


class _Listener:
    """Passes on to the job's owner what a provider tells."""

    def __init__(self, context: Context) -> None:
        self._context, self._delayed = context, False

    def delta(self, text: str) -> None:
        if self._delayed:
            self._delayed = False
            self._context.progress(0.0, "answering")
        self._context.delta(text)

    def delayed(self, why: str) -> None:
        self._delayed = True
        self._context.progress(0.0, why)

    def waiting(self) -> AbstractContextManager[None]:
        return self._context.waiting()


def _message(answer: Answer) -> AssistantMessage:
    calls = [
        AskedCall(id=call.id, function=CalledFunction(name=call.name, arguments=call.arguments))
        for _, call in sorted(answer.tool_calls.items())
    ]
    return AssistantMessage(
        content=answer.content if answer.text or not calls else None, tool_calls=calls or None
    )


def _reason(answer: Answer) -> Any:
    """Servers differ in the words they have besides OpenAI's; all of them mean that the model was done."""
    return _REASONS.get(answer.finish_reason or "", "stop")
