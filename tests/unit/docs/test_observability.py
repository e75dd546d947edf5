"""Dashboard and alerts speak of metrics that there are, and each alert has a page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from callboard_gateway.metric_table import METRICS

ROOT = Path(__file__).parents[3]
HERE = ROOT / "deploy" / "observability"
SERIES = {name for one in METRICS for name in one.series()} | {"up"}  # Prometheus' own: could it scrape?
RULES = yaml.safe_load((HERE / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((HERE / "grafana/dashboards/callboard.json").read_text())["panels"]
NAME = re.compile(r"\b(?:(?:callboard|celery)_\w+|up\b)")


def test_the_dashboard_speaks_of_metrics_that_there_are() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            names = set(NAME.findall(target["expr"]))
            assert names and names <= SERIES, (panel["title"], names - SERIES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_speaks_of_metrics_that_there_are_and_has_a_page(rule: dict) -> None:  # type: ignore[type-arg]
    names = set(NAME.findall(rule["expr"]))
    assert names and names <= SERIES, names - SERIES
    page = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert page.startswith(f"# {rule['alert']}\n") and "**Look at**" in page and "**Do**" in page


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {f"docs/runbooks/{page.name}" for page in (ROOT / "docs/runbooks").glob("*.md")}
    assert pages == {rule["annotations"]["runbook"] for rule in RULES}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_accepts_rules_and_settings() -> None:
    for what, name in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        subprocess.run(["promtool", "check", what, name], cwd=HERE, check=True, capture_output=True)
