"""What tokens cost: list prices of OpenAI's chat models in US dollars per million, as of August 2025
(https://platform.openai.com/docs/pricing). ``CALLBOARD_LLM_PRICES`` adds to them and beats them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

AS_OF = "2025-08"


class Price(BaseModel):
    """US dollars per million tokens; ``cached_input`` is for the part of a prompt that the provider had kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)


def _price(input: float, cached_input: float, output: float) -> Price:
    return Price(input=input, cached_input=cached_input, output=output)


LIST: Mapping[str, Price] = {
    "gpt-5": _price(1.25, 0.125, 10),
    "gpt-5-mini": _price(0.25, 0.025, 2),
    "gpt-5-nano": _price(0.05, 0.005, 0.4),
    "gpt-4.1": _price(2, 0.5, 8),
    "gpt-4.1-mini": _price(0.4, 0.1, 1.6),
    "gpt-4.1-nano": _price(0.1, 0.025, 0.4),
    "gpt-4o": _price(2.5, 1.25, 10),
    "gpt-4o-mini": _price(0.15, 0.075, 0.6),
    "o3": _price(2, 0.5, 8),
    "o4-mini": _price(1.1, 0.275, 4.4),
}
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Prices:
    """``own``: the operator's, which beat those of the list. They hold for whoever serves a model of that name: most
    servers besides OpenAI that have a gpt-4o pass it on."""

    own: Mapping[str, Price]

    def of(self, model: str) -> Price | None:
        """The price of a model; one with a date costs what it costs without, unless it is named itself."""
        for name in (model, _DATE.sub("", model)):
            if name in self.own:
                return self.own[name]
            if name in LIST:
                return LIST[name]
        return None

    def cost_usd(self, model: str, prompt: int, completion: int, cached: int = 0) -> float | None:
        """Dollars for tokens of a prompt (``cached`` of them kept from before) and of an answer; None if the model has
        no price here."""
        price = self.of(model)
        if price is None:
            return None
        kept = min(cached, prompt)
        cached_price = price.input if price.cached_input is None else price.cached_input
        cost = (prompt - kept) * price.input + kept * cached_price + completion * price.output
        return round(cost / 1e6, 9)
