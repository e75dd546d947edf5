from __future__ import annotations

from pathlib import Path

import pytest

from callboard_client import ConfigError
from callboard_client._settings import connection

pytestmark = pytest.mark.usefixtures("no_environment")


def embedded(folder: Path, url: str | None = None) -> None:
    (folder / "run").mkdir(parents=True)
    (folder / "api-key").write_text("cb_embedded\n")
    if url:
        (folder / "run" / "ready").write_text(url)


def test_with_nothing_said_it_is_the_embedded_default_without_a_key() -> None:
    found = connection()
    assert (found.url, found.key) == ("http://127.0.0.1:8000", None)


def test_arguments_beat_the_environment_which_beats_the_embedded_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded(Path(".callboard"), "http://127.0.0.1:8111")
    assert connection().url == "http://127.0.0.1:8111"
    assert connection().key == "cb_embedded"
    monkeypatch.setenv("CALLBOARD_URL", "http://127.0.0.1:8222/")
    monkeypatch.setenv("CALLBOARD_API_KEY", "cb_env")
    assert (connection().url, connection().key) == ("http://127.0.0.1:8222", "cb_env")
    assert connection("https://one.example/base/", "cb_arg").key == "cb_arg"
    assert connection("https://one.example/base/").url == "https://one.example/base"


def test_the_folder_and_the_port_of_the_embedded_stack_can_be_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded(tmp_path / "elsewhere")
    monkeypatch.setenv("CALLBOARD_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("CALLBOARD_PORT", "8333")
    assert (connection().url, connection().key) == ("http://127.0.0.1:8333", "cb_embedded")


def test_the_embedded_stacks_key_is_never_sent_to_another_machine() -> None:
    embedded(Path(".callboard"))
    assert connection("https://callboard.example").key is None


def test_the_key_is_not_in_the_repr() -> None:
    assert "cb_secret" not in repr(connection("http://127.0.0.1", "cb_secret"))


@pytest.mark.parametrize("address", ["ftp://x", "localhost:8000", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="http://host:port"):
        connection(address)
