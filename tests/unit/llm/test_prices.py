"""What tokens cost."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from callboard_llm.prices import LIST, Price, Prices
from callboard_llm.settings import LlmSettings


def test_a_model_costs_by_its_tokens_and_kept_ones_cost_less() -> None:
    prices = Prices({})
    assert prices.cost_usd("gpt-4o", 1_000_000, 0) == 2.5
    assert prices.cost_usd("gpt-4o", 0, 1_000_000) == 10
    assert prices.cost_usd("gpt-4o", 1_000_000, 0, cached=400_000) == 0.6 * 2.5 + 0.4 * 1.25
    assert prices.cost_usd("gpt-4o", 12, 7) == pytest.approx(0.0001)


def test_a_model_with_a_date_costs_what_it_costs_without() -> None:
    assert Prices({}).of("gpt-4o-mini-2024-07-18") == LIST["gpt-4o-mini"] != LIST["gpt-4o"]
    own = {"gpt-4o-2024-05-13": Price(input=5, output=15)}
    assert Prices(own).of("gpt-4o-2024-05-13") == own["gpt-4o-2024-05-13"]


def test_what_has_no_price_has_no_cost() -> None:
    assert Prices({}).cost_usd("gpt-4o-audio-preview", 1, 1) is None
    assert Prices({}).cost_usd("llama-3-70b", 1, 1) is None


def test_own_prices_beat_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_LLM_PRICES", '{"gpt-4o": {"input": 1, "output": 2}}')
    prices = Prices(LlmSettings().llm_prices)
    assert prices.cost_usd("gpt-4o", 1_000_000, 1_000_000, cached=1_000_000) == 3


@pytest.mark.parametrize("written", ['{"a": {"input": -1, "output": 0}}', '{"a": 1}', '{"a": {"input": 1}}'])
def test_prices_that_are_none_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CALLBOARD_LLM_PRICES", written)
    with pytest.raises(ValidationError):
        LlmSettings()
