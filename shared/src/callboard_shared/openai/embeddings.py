"""Embeddings as ``nlp.embed``: the request as its input, the output as the answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from callboard_shared.errors import Invalid
from callboard_shared.openai.parameters import Parameters

NAMES = {"texts": "input"}


class EmbeddingsRequest(Parameters):
    input: str | list[str] | list[int] | list[list[int]] = Field(description="A text or texts, none empty.")
    model: str = Field(description="An encoder; see GET /openai/v1/models.", examples=["all-MiniLM-L6-v2"])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(
        default=None, ge=1, description="Only the model's own: the encoders here are not made to be cut."
    )


def input_of(asked: EmbeddingsRequest) -> dict[str, Any]:
    """The input of nlp.embed. Raises Invalid for tokens."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if any(not isinstance(text, str) for text in texts):
        fault = {
            "field": "input",
            "message": "give texts; tokens of another model mean nothing here",
            "code": "tokens",
        }
        raise Invalid(
            "input: give texts, not tokens: those of another model mean nothing here.", errors=[fault]
        )
    return {"texts": texts, "model": asked.model, "encoding": asked.encoding_format}


def answer_of(output: dict[str, Any]) -> dict[str, Any]:
    """The body of the answer."""
    usage = {"prompt_tokens": output["tokens"], "total_tokens": output["tokens"]}
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(output["embeddings"])
    ]
    return {"object": "list", "data": data, "model": output["model"], "usage": usage}


def check_dimensions(asked: int | None, own: int) -> None:
    """Raises Invalid for others than the model's own."""
    if asked is not None and asked != own:
        fault = {"field": "dimensions", "message": f"this model has {own}", "code": "dimensions"}
        raise Invalid(f"dimensions: this model has {own}, and cannot be cut to {asked}.", errors=[fault])
