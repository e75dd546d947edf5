"""Which processes a stack has, and what they are told."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from callboard_embedded.members import WORKERS, ledger_member, service_members
from callboard_embedded.settings import EmbeddedSettings, member_environment
from callboard_embedded.valkey import Valkey
from callboard_shared.jobs import CATALOGUE

URL = "redis://:hunter2@127.0.0.1:6400/0"


def test_every_job_type_has_a_worker_in_the_stack() -> None:
    served = {queue for role in WORKERS.values() for queue in role.queues}
    assert {job_type.queue for job_type in CATALOGUE} <= served


def test_each_worker_is_there_once_unless_said_otherwise() -> None:
    members = service_members(EmbeddedSettings(workers="nlp=2, nlp-train=0, vision=0, vision-train=0"), {})
    assert [member.name for member in members] == ["gateway", "nlp", "nlp-2", "llm", "courier"]


@pytest.mark.parametrize("name", ["nlp", "vision"])
def test_training_has_a_worker_of_its_own_of_the_same_package(name: str) -> None:
    members = {member.name: member for member in service_members(EmbeddedSettings(), {})}
    setting = f"CALLBOARD_{name.upper()}_QUEUES"
    assert members[name].argv == members[f"{name}-train"].argv
    assert members[name].env[setting] == name
    assert members[f"{name}-train"].env[setting] == f"{name}-train"
    assert members[f"{name}-train"].queues == (f"{name}-train",)


@pytest.mark.parametrize("workers", ["nlp", "nlp=two", "nlp=1;llm=1", "NLP=1"])
def test_a_misspelt_number_of_workers_is_refused(workers: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        EmbeddedSettings(workers=workers)


def test_secrets_travel_in_the_environment_and_never_in_the_command(tmp_path: Path) -> None:
    env = member_environment(EmbeddedSettings(home=tmp_path), URL, "cb_key")
    valkey = Valkey(6400, "hunter2", ("valkey-server", str(tmp_path / "valkey.conf")))
    members = [ledger_member(valkey, env), *service_members(EmbeddedSettings(home=tmp_path), env)]
    assert all(member.env["CALLBOARD_REDIS_URL"] == URL for member in members)
    assert not any("hunter2" in word or "cb_key" in word for member in members for word in member.argv)
    assert "hunter2" not in repr(members[1:])


def test_the_stack_decides_where_its_members_find_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_REDIS_URL", "redis://elsewhere:6379")
    monkeypatch.setenv("CALLBOARD_LOG_FORMAT", "json")
    env = member_environment(EmbeddedSettings(home=tmp_path, port=9000), URL, "cb_key")
    assert env["CALLBOARD_REDIS_URL"] == env["CALLBOARD_BROKER_URL"] == URL
    assert env["CALLBOARD_PORT"] == "9000"
    assert env["CALLBOARD_LOG_FORMAT"] == "json"


def test_hubs_are_closed_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "CALLBOARD_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert "HF_HUB_OFFLINE" not in member_environment(EmbeddedSettings(home=tmp_path), URL, "k")
    assert (
        member_environment(EmbeddedSettings(home=tmp_path, offline=True), URL, "k")["HF_HUB_OFFLINE"] == "1"
    )
