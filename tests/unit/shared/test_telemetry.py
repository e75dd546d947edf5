"""A log line holds what happened, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from callboard_shared.telemetry import told

SECRETS = ["cb_abcdefgh_" + "s" * 43, "sk-" + "k" * 24, "sk_" + "4e" * 24, "whsec_" + "w" * 24, "user:pass"]
PROGRAM = """
import logging, structlog
from callboard_shared.settings import LogSettings
from callboard_shared.telemetry import configure_logging
configure_logging("trial", LogSettings(log_format="{format}"))
log = structlog.get_logger("mine")
log.info("it.happened", plain="{0}", nested={{"deep": ["{1}"]}}, error=ValueError("{2}"), url="redis://{3}@host/0")
logging.getLogger("library").warning("using %s", "{0}")
try:
    raise RuntimeError("{1}")
except RuntimeError:
    log.exception("it.failed")
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_log_line_holds_no_secret_however_deep(log_format: str) -> None:
    program = PROGRAM.format(*SECRETS, format=log_format)
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stderr
    assert not [secret for secret in SECRETS if secret in output]
    assert output.count("[secret]") >= 6
    for word in ("it.happened", "it.failed", "RuntimeError", "using", "host/0"):
        assert word in output


def test_a_json_log_is_one_object_a_line() -> None:
    program = PROGRAM.format(*SECRETS, format="json")
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stderr
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["event"] for event in events] == ["it.happened", "using [secret]", "it.failed"]
    assert {event["service"] for event in events[:1]} == {"trial"}
    assert all(event["timestamp"].endswith("Z") and event["level"] for event in events)


def test_a_fault_is_told_by_its_kind_and_place_and_never_by_what_it_says() -> None:
    def handler(text: str) -> None:
        try:
            int(text)
        except ValueError as error:
            raise RuntimeError(f"cannot read {text}") from error

    with pytest.raises(RuntimeError) as caught:
        handler("planted-in-the-prompt")
    said = told(caught.value)
    assert (said["error"], said["cause"]) == ("RuntimeError", "ValueError")
    assert said["at"][-1].endswith(" handler") and said["at"][-1].startswith("test_telemetry.py:")
    assert "planted" not in str(said)
