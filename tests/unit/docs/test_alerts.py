"""Each alert fires on what it is for, when it is due and not before, and keeps silent on what is usual.

promtool (of Prometheus) evaluates the rules over series of one sample a minute, written in its notation: ``0x9`` is ten
times 0, ``0+2x9`` rises by 2 nine times.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "observability" / "alerts.yml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
Series = dict[str, str]


@dataclass(frozen=True)
class Fires:
    """``at`` that minute, and not the minute ``before``. Labels besides the severity."""

    alert: str
    series: Series
    at: int
    summary: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Silent:
    """Through the first half hour."""

    alert: str
    series: Series


def failing(failed: str, started: str) -> Series:
    labels = '{name="nlp.embed",queue_name="nlp"}'
    return {f"celery_task_failed_total{labels}": failed, f"celery_task_started_total{labels}": started}


def answers(ok: str, failed: str) -> Series:
    name = "callboard_provider_request_seconds_count"
    return {
        f'{name}{{outcome="ok",provider="openai"}}': ok,
        f'{name}{{outcome="timeout",provider="openai"}}': failed,
    }


def seen_by_two(name: str, values: str) -> Series:
    """A figure of the ledger, which two gateways show alike."""
    return {name.replace("{", f'{{instance="{one}",'): values for one in ("a", "b")}


NLP = {"queue": "nlp"}
CASES = [
    Fires("CallboardGatewayAway", {'up{job="callboard",instance="g:9464"}': "1x2 0x30"}, 4,
          "Prometheus gets no metrics from the gateway g:9464", {"job": "callboard", "instance": "g:9464"}),
    Fires("CallboardGatewayAway", {'up{job="node"}': "1x30"}, 1,
          "Prometheus gets no metrics from the gateway", {"job": "callboard"}),
    Silent("CallboardGatewayAway", {'up{job="callboard",instance="g:9464"}': "1x30", 'up{job="node"}': "0x30"}),
    Fires("CallboardLedgerAway", {'callboard_ledger_up{instance="g"}': "1x2 0x30"}, 4,
          "The gateway cannot reach its ledger (Redis)", {"instance": "g"}),
    Silent("CallboardLedgerAway", {"callboard_ledger_up": "1x30"}),
    Fires("CallboardNoWorker",
          {**seen_by_two('callboard_queue_ready{queue="nlp"}', "5x30"),
           **seen_by_two('callboard_queue_workers{queue="nlp"}', "1 0x30")}, 3,
          "Jobs wait and no worker is online for nlp", NLP),
    Silent("CallboardNoWorker",  # nothing to do; somebody there; a worker that was away for a minute
           {'callboard_queue_ready{queue="llm"}': "0x30", 'callboard_queue_workers{queue="llm"}': "0x30",
            'callboard_queue_ready{queue="nlp"}': "9x30", 'callboard_queue_workers{queue="nlp"}': "1x30",
            'callboard_queue_ready{queue="tts"}': "9x30", 'callboard_queue_workers{queue="tts"}': "1 0 1x30"}),
    Fires("CallboardJobsWaitLong", {'callboard_queue_oldest_wait_seconds{queue="nlp"}': "0+60x30"}, 11,
          "The oldest job of nlp waits longer than 5 minutes", NLP),
    Silent("CallboardJobsWaitLong",  # a paused queue; a queue that is worked off
           {'callboard_queue_oldest_wait_seconds{queue="nlp"}': "0+60x30", 'callboard_queue_paused{queue="nlp"}': "1x30",
            'callboard_queue_oldest_wait_seconds{queue="llm"}': "299x30", 'callboard_queue_paused{queue="llm"}': "0x30"}),
    Fires("CallboardJobsFail", failing("0+2x30", "0+10x30"), 11, "More than a tenth of nlp.embed fails",
          {"name": "nlp.embed"}),
    Silent("CallboardJobsFail", failing("0+1x30", "0+20x30")),
    Fires("CallboardWorkersLost", seen_by_two('callboard_lease_losses_total{queue="nlp",type="nlp.embed"}', "0x3 6x30"), 4,
          "Attempts on nlp lose their worker", NLP),
    Silent("CallboardWorkersLost", seen_by_two('callboard_lease_losses_total{queue="nlp",type="nlp.embed"}', "0x3 2x30")),
    Fires("CallboardStaleCommits", seen_by_two('callboard_queue_stale_commits_total{queue="nlp"}', "0x3 9x30"), 4,
          "Results on nlp come too late", NLP),
    Silent("CallboardStaleCommits", seen_by_two('callboard_queue_stale_commits_total{queue="nlp"}', "0x20 4x10")),
    Fires("CallboardWebhooksExhausted",
          seen_by_two('callboard_webhook_deliveries_total{outcome="exhausted"}', "0x3 1x30"), 4,
          "Webhooks were given up"),
    Silent("CallboardWebhooksExhausted",
           {'callboard_webhook_deliveries_total{outcome="exhausted"}': "7x30",
            'callboard_webhook_deliveries_total{outcome="delivered"}': "0+9x30"}),
    Fires("CallboardOutboxStalls", seen_by_two('callboard_outbox_oldest_seconds{queue="nlp"}', "0 90x30"), 3,
          "Webhook events of nlp are not taken up", NLP),
    Silent("CallboardOutboxStalls", {'callboard_outbox_oldest_seconds{queue="nlp"}': "30x30"}),
    Fires("CallboardProviderFails", answers("0+2x30", "0+1x30"), 11, "A quarter of the requests to openai fail",
          {"provider": "openai"}),
    Silent("CallboardProviderFails",
           {**answers("0+9x30", "0+1x30"),
            'callboard_provider_request_seconds_count{outcome="canceled",provider="openai"}': "0+30x30"}),
    Fires("CallboardDiskNearlyFull", seen_by_two('callboard_worker_disk_free_bytes{worker="w"}', "1e9x30"), 5,
          "Less than 2 GB free at w", {"worker": "w"}),
    Silent("CallboardDiskNearlyFull", {'callboard_worker_disk_free_bytes{worker="w"}': "3e9x30"}),
    Fires("CallboardClockSkew", seen_by_two('callboard_worker_clock_skew_seconds{worker="w"}', "-9x30"), 5,
          "The clock of w is wrong", {"worker": "w"}),
    Silent("CallboardClockSkew", {'callboard_worker_clock_skew_seconds{worker="w"}': "-1x30"}),
]  # fmt: skip


def as_test(case: Fires | Silent) -> dict[str, Any]:
    """A case as promtool's file has it."""
    expected: list[dict[str, Any]]
    if isinstance(case, Silent):
        expected = [{"eval_time": f"{minute}m", "alertname": case.alert} for minute in range(0, 31, 3)]
    else:
        rule = RULES[case.alert]
        alert = {
            "exp_labels": {**case.labels, **rule["labels"]},
            "exp_annotations": {"summary": case.summary, "runbook": rule["annotations"]["runbook"]},
        }
        expected = [
            {"eval_time": f"{case.at - 1}m", "alertname": case.alert},
            {"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": [alert]},
        ]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "1m", "input_series": series, "alert_rule_test": expected}


@pytest.mark.parametrize("kind", [Fires, Silent])
def test_every_alert_is_tried(kind: type) -> None:
    assert {case.alert for case in CASES if isinstance(case, kind)} == set(RULES)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    told = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [as_test(case) for case in CASES],
    }
    (tmp_path / "alerts_test.yml").write_text(yaml.safe_dump(told))
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
