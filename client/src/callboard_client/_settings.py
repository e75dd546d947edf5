"""Where the gateway is and which key to show: the only module of the client that reads the environment.

The embedded stack of ``make run`` keeps its address and its key in ``CALLBOARD_HOME`` (``.callboard`` in the
working folder).

Address, first match: the argument, ``CALLBOARD_URL``, the embedded stack that runs, else
``http://127.0.0.1:CALLBOARD_PORT`` (8000).
Key, first match: the argument, ``CALLBOARD_API_KEY``, and for a loopback address that of the embedded stack,
which is never sent to another machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from callboard_client._errors import ConfigError

DEFAULT_PORT = "8000"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
NO_KEY = (
    "No API key was found. Pass key=… (--key), set CALLBOARD_API_KEY, "
    "or work in the folder where `make run` keeps .callboard/api-key."
)


@dataclass(frozen=True, slots=True)
class Connection:
    """The address without a trailing slash, the key if there is one, and where the key came from."""

    url: str
    key: str | None = field(repr=False)
    key_source: str

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.url).hostname in LOOPBACK

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https://")


def embedded_home() -> Path:
    return Path(os.environ.get("CALLBOARD_HOME") or ".callboard")


def connection(url: str | None = None, key: str | None = None) -> Connection:
    """Settle address and key; ``ConfigError`` if the address is no http(s) URL."""
    address = _address(url)
    if key:
        return Connection(address, key.strip(), "the argument")
    if from_environment := os.environ.get("CALLBOARD_API_KEY"):
        return Connection(address, from_environment.strip(), "CALLBOARD_API_KEY")
    if urlsplit(address).hostname in LOOPBACK:
        path = embedded_home() / "api-key"
        if found := _text(path):
            return Connection(address, found, str(path))
    return Connection(address, None, "nowhere")


def _address(url: str | None) -> str:
    running = _text(embedded_home() / "run" / "ready")
    port = os.environ.get("CALLBOARD_PORT") or DEFAULT_PORT
    address = url or os.environ.get("CALLBOARD_URL") or running or f"http://127.0.0.1:{port}"
    address = address.strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{address!r} is not an address of a gateway: write it as http://host:port.")
    return address


def _text(path: Path) -> str | None:
    """What stands in the file; ``None`` if it is not there or empty."""
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
