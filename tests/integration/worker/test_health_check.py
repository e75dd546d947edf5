"""What a container's health check says of a worker, and that it costs the machine next to nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trials import QUEUE, Trial, until

from callboard_shared.bell import hears
from callboard_shared.ledger import verbs

CHECK = Path(__file__).parents[3] / "deploy" / "worker_health.py"


def checked(file: Path) -> str:
    """What the check says; empty if the worker is well."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", CHECK],
        env={"CALLBOARD_HEALTH_FILE": str(file)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (1 if done.stderr else 0)
    return done.stderr.strip()


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_a_worker_that_hears_its_bells_is_healthy_and_one_that_stands_still_is_not_heard(
    trial: Trial, tmp_path: Path, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "health.json"
    assert checked(file) == "no worker of this container is online"
    worker = trial.worker(pool, CALLBOARD_HEALTH_FILE=file)
    until(lambda: checked(file) == "", 30, f"healthy\n{worker.output()[-2000:]}", every_s=0.3)
    monkeypatch.setenv("CALLBOARD_BROKER_URL", trial.broker)
    (mine,) = trial.ledger.run(verbs.workers(QUEUE))
    assert hears(mine.id, 20)
    worker.signal_main(signal.SIGSTOP)
    assert not hears(mine.id, 1)


@pytest.mark.parametrize(
    ("told", "age_s", "said"),
    [
        ({"note": "", "bells": "ok"}, 0, ""),
        ({"note": "", "bells": "ok"}, 40, ""),
        ({"note": "", "bells": "ok"}, 60, "the worker has reached no ledger for 60 s"),
        ({"note": "loading models", "bells": "ok"}, 0, "its models are loading"),
        ({"note": "", "bells": "silent"}, 0, "it does not hear what is sent through the broker"),
        ({"note": "", "bells": ""}, 0, "it does not hear what is sent through the broker"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, told: dict[str, str], age_s: float, said: str) -> None:
    file = tmp_path / "health.json"
    file.write_text(json.dumps(told))
    written = file.stat().st_mtime - age_s
    os.utime(file, (written, written))
    assert checked(file) == said


def test_a_check_takes_a_tenth_of_a_second_of_the_processor_at_most(tmp_path: Path) -> None:
    file = tmp_path / "health.json"
    file.write_text('{"note": "", "bells": "ok"}')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        assert checked(file) == ""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 5 < 0.1
