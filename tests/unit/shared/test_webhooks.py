"""Events, secrets, and where a webhook goes."""

from __future__ import annotations

import base64

import pytest

from callboard_shared.ids import is_id
from callboard_shared.ledger.deliveries import MOST_KEPT_MS, host_of, to_endpoint, to_url
from callboard_shared.ledger.outbox import OutboxRow
from callboard_shared.webhooks import ENDINGS, EVENTS, hook, is_final, new_webhook_secret


def row(url: str = "", **more: object) -> OutboxRow:
    facts: dict[str, object] = {
        "id": "1-0", "queue": "nlp", "event": "job.succeeded", "subject": "job_1", "owner": "key_a", "type": "nlp.embed",
        "at_ms": 1_800_000_000_000, "run": 1, "keep_ms": 60_000, "url": url,
    }  # fmt: skip
    return OutboxRow(**(facts | more))  # type: ignore[arg-type]


def test_every_event_but_the_beginning_is_an_ending() -> None:
    assert set(EVENTS) - set(ENDINGS) == {"job.running"}
    assert not is_final("job.running") and is_final("webhook.test")


def test_a_job_s_own_webhook_is_its_statuses_and_its_url() -> None:
    assert (
        hook(["job.failed", "job.running", "job.failed"], "https://a/?x=1") == "failed,running https://a/?x=1"
    )


def test_secrets_are_256_bits_and_differ() -> None:
    one, other = new_webhook_secret(), new_webhook_secret()
    assert one != other and one.startswith("whsec_")
    assert len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.com/hook", "@example.com:443"), ("http://example.com", "@example.com:80"),
        ("https://example.com:8443/", "@example.com:8443"), ("http://[::1]:9000/", "@::1:9000"),
    ],
)  # fmt: skip
def test_hosts_are_told_apart_by_name_and_port(url: str, host: str) -> None:
    assert host_of(url) == host


def test_a_destination_is_a_url_without_its_query_of_one_key() -> None:
    lanes = {
        to_url(row(url, **more)).lane
        for url, more in (
            ("https://a.example/x", {}), ("https://a.example/x?job=1", {}), ("https://a.example/x?job=2#f", {}),
            ("https://a.example/y", {}), ("http://a.example/x", {}), ("https://a.example/x", {"owner": "key_b"}),
        )
    }  # fmt: skip
    assert len(lanes) == 4


def test_what_is_made_of_a_row_is_the_same_each_time() -> None:
    first, again = to_url(row("https://a.example/")), to_url(row("https://a.example/"))
    assert first == again and is_id(first.id, "whd") and is_id(first.message, "evt")
    endpoint = to_endpoint(row(), "whe_1", "https://a.example/")
    assert (endpoint.message, endpoint.lane) == (first.message, "whe_1") and endpoint.id != first.id
    others = [row(id="1-1"), row(queue="llm"), row(event="job.failed"), row(subject="job_2"), row(at_ms=1)]
    assert len({one.message for one in others} | {first.message}) == 6


def test_a_delivery_is_kept_as_long_as_its_job_and_at_most_a_week() -> None:
    assert to_url(row("https://a.example/")).keep_ms == 60_000
    assert to_url(row("https://a.example/", keep_ms=366 * 86_400_000)).keep_ms == MOST_KEPT_MS
