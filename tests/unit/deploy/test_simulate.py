"""The simulation against what queueing theory knows exactly."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from statistics import mean

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "deploy"))

from simulate import lognormal, main, poisson, quantile, simulate

JOBS = 60_000


def erlang_c(rate: float, service: float, servers: int) -> float:
    """The share of jobs that waits, in M/M/c."""
    load = rate * service
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)


@pytest.mark.parametrize(("rate", "servers"), [(0.7, 1), (3.2, 4), (9, 10)])
def test_memoryless_jobs_wait_as_erlang_says(rate: float, servers: int) -> None:
    chance = random.Random(7)
    arrivals = poisson(chance, rate, JOBS)
    services = [chance.expovariate(1) for _ in range(JOBS)]
    found = simulate(arrivals, services, servers)
    waits = erlang_c(rate, 1, servers)
    assert sum(wait > 0 for wait in found.waits_s) / JOBS == pytest.approx(waits, rel=0.06)
    assert mean(found.waits_s) == pytest.approx(waits / (servers - rate), rel=0.12)
    assert found.busy == pytest.approx(rate / servers, rel=0.03)


@pytest.mark.parametrize("p95", [None, 2.0, 3.0])
def test_one_server_waits_as_pollaczek_and_khinchine_say(p95: float | None) -> None:
    chance = random.Random(3)
    arrivals = poisson(chance, 0.7, JOBS)
    services = lognormal(chance, 1, p95, JOBS)
    second = mean(service**2 for service in services)
    found = simulate(arrivals, services, 1)
    assert mean(found.waits_s) == pytest.approx(0.7 * second / (2 * (1 - 0.7 * mean(services))), rel=0.12)


def test_times_have_the_mean_and_percentile_that_were_asked_for() -> None:
    times = lognormal(random.Random(1), 0.4, 1.2, 200_000)
    assert mean(times) == pytest.approx(0.4, rel=0.02)
    assert quantile(times, 0.95) == pytest.approx(1.2, rel=0.02)
    with pytest.raises(ValueError, match=r"3\.8 times"):
        lognormal(random.Random(1), 1, 5, 1)


def test_jobs_that_run_together_take_one_pass() -> None:
    found = simulate([0, 0.1, 0.2, 0.3], [1, 1, 3, 1], 1, together=2)
    assert found.waits_s == pytest.approx([0, 0.9, 0.8, 3.7])
    assert found.totals_s == pytest.approx([1, 3.9, 3.8, 4.7])


def test_a_table_names_the_fewest_workers_that_keep_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rate", "20", "--mean", "0.4", "--p95", "1.2", "--workers", "6-12"])
    lines = capsys.readouterr().out.splitlines()
    assert "never catches up" in lines[1] and "never catches up" not in lines[4]
    assert lines[-1] == "the fewest whose p95 wait is at most 2 s: 9"
