"""Keys and addresses of providers, as an operator writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from callboard_llm.settings import OPENAI_URL, OpenAISettings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_they_have_their_own_names_in_the_environment_and_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (OpenAISettings().openai_api_key, OpenAISettings().openai_base_url) == (None, OPENAI_URL)
    Path(".env").write_text("OPENAI_API_KEY=sk-of-the-file\nOPENAI_BASE_URL=http://127.0.0.1:1/v1/\n")
    settings = OpenAISettings()
    assert settings.openai_api_key and settings.openai_api_key.get_secret_value() == "sk-of-the-file"
    assert settings.openai_base_url == "http://127.0.0.1:1/v1"
    monkeypatch.setenv("OPENAI_API_KEY", " sk-of-the-environment\n")
    beats = OpenAISettings().openai_api_key
    assert beats and beats.get_secret_value() == "sk-of-the-environment"
    assert "environment" not in repr(OpenAISettings())


def test_set_to_nothing_they_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    assert (OpenAISettings().openai_api_key, OpenAISettings().openai_base_url) == (None, OPENAI_URL)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OPENAI_API_KEY", "sk-secret secret"), ("OPENAI_API_KEY", "sk-secreté"), ("OPENAI_BASE_URL", "secret.com/v1"),
     ("OPENAI_BASE_URL", "file:///secret")],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_and_not_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        OpenAISettings()
    assert name in str(refused.value) and "secret" not in str(refused.value)
