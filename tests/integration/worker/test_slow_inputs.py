"""What some jobs of a batch name by URL comes slowly: the others do not wait for it, and nothing is run twice."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from file_server import FileServer, Request, content, serving, status
from trials import LEASE_S, Trial, code_of, trial_at, until, value_of

from callboard_shared.ids import new_id
from callboard_shared.ledger import JobRecord, NewJob, verbs


@pytest.fixture(scope="module")
def trial(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial_at(valkey_server, tmp_path_factory.mktemp("arrivals")) as running:
        running.worker(CALLBOARD_WEBHOOK_ALLOW_PRIVATE="true")
        yield running


@pytest.fixture
def drip() -> threading.Event:
    """Set when what drips is to come to its end."""
    return threading.Event()


@pytest.fixture
def server(drip: threading.Event) -> Iterator[FileServer]:
    def dripping(request: Request) -> None:
        request.head(200)
        while not drip.is_set():
            request.wfile.write(b"." * 1024)
            request.pause(0.1)

    with serving({"/quick": content(b"quick"), "/gone": status(404), "/slow": dripping}) as running:
        yield running


def errands(trial: Trial, *files: dict[str, str]) -> list[str]:
    """Submitted while the worker is busy, so that one claim takes them all."""
    [busy] = trial.submit(trial.job("sleep", s=0.5))
    trial.running(busy)
    specs = [orjson.dumps({"input": {"file": one}, "metadata": {}}) for one in files]
    return trial.submit(*(NewJob(new_id("job"), "trial.errand", "nlp", "key_a", spec) for spec in specs))


def quick_ones(trial: Trial, server: FileServer) -> tuple[str, list[str]]:
    """One job whose file drips, and others of its batch, which have ended."""
    urls = [f"{server.url}/{name}" for name in ("quick", "slow", "quick", "gone")]
    jobs = errands(trial, *({"url": url} for url in urls), {"base64": "aGVsbG8="})
    slow = jobs.pop(1)
    records = trial.ended(jobs, 20)
    assert [value_of(one) for one in records if one.status == "succeeded"] == ["quick", "quick", "hello"]
    assert code_of(records[2]) == "fetch-failed"
    return slow, jobs


def scratch(trial: Trial) -> list[Path]:
    return list((trial.folder / "files" / "fetched").glob("*"))


def left_nothing(trial: Trial, job: str, within_s: float = 5) -> JobRecord:
    record = trial.result(job, 20)
    until(lambda: not scratch(trial), within_s, "the scratch folder is empty")
    assert trial.nothing_is_held()
    return record


def test_a_slow_url_holds_up_its_own_job_alone(
    trial: Trial, server: FileServer, drip: threading.Event
) -> None:
    slow, quick = quick_ones(trial, server)
    assert trial.read(slow).status == "running", "it goes on while the others have ended"
    assert trial.stats().running == 1
    time.sleep(LEASE_S * 1.2)  # longer than a lease that nobody renews
    drip.set()
    record = left_nothing(trial, slow)
    assert (record.status, record.attempt) == ("succeeded", 1) and set(value_of(record)) == {"."}
    groups = [set(row.split()) for row in trial.notes("read")]
    assert groups[-1] == {slow}, "in a call of its own"
    assert sum(len(set(quick) & one) for one in groups) == 3, "once each; what is gone is not even asked for"


def test_a_job_whose_url_drips_is_canceled_at_once(trial: Trial, server: FileServer) -> None:
    slow, _ = quick_ones(trial, server)
    trial.ledger.run(verbs.cancel(slow, "nlp"))
    began = time.monotonic()
    assert left_nothing(trial, slow).status == "canceled"
    assert time.monotonic() - began < 10
    until(server.hung_up.is_set, 5, "the server was left")


def test_a_batch_of_quick_urls_stays_one_batch(trial: Trial, server: FileServer) -> None:
    jobs = errands(trial, *({"url": f"{server.url}/quick"} for _ in range(4)))
    assert {value_of(one) for one in trial.ended(jobs, 10)} == {"quick"}
    assert trial.notes("read")[-1].split() == sorted(jobs)
