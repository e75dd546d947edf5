"""Webhooks on the embedded default: the page's examples, its receivers on a real webhook, and the inbox."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from over_http import ended, submit
from standardwebhooks import WebhookVerificationError

from callboard_client import Callboard, verify_webhook
from callboard_embedded.stack import Stack

ROOT = Path(__file__).parents[2]
PAGES = ("docs/webhooks.md", "docs/webhooks.ko.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: str, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall((ROOT / page).read_text("utf-8")) if found == kind]


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; ``came`` is set with the first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Posted)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.came = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks"


class Posted(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def folder(stack: Stack, tmp_path: Path) -> Path:
    (tmp_path / ".callboard").symlink_to(stack.home)
    return tmp_path


@pytest.fixture
def delivered(http: httpx.Client, receiver: Receiver) -> tuple[dict[str, str], bytes, str]:
    """A webhook that the stack has really posted, and the secret that it is signed with."""
    job = submit(http, "system.echo", {"value": "é"}, webhook={"url": receiver.url})
    assert receiver.came.wait(20)
    ((headers, body),) = receiver.received
    assert json.loads(body)["data"]["id"] == job
    return headers, body, http.get("/v1/webhook-secret").json()["secret"]


def run(folder: Path, command: list[str]) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    done = subprocess.run(
        command, cwd=folder, env=ours, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_a_newcomer_sees_a_signed_webhook(page: str, stack: Stack, folder: Path) -> None:
    (script,) = blocks(page, "sh")
    name = f"first-{page.count('.')}"  # each language has an inbox of its own here
    script = script.replace("http://127.0.0.1:8000", stack.url).replace(
        "webhook-inbox/first", f"webhook-inbox/{name}"
    )
    answers = json.loads("[" + run(folder, ["bash", "-c", script]).replace("}{", "},{") + "]")
    assert answers[0]["status"] == "succeeded"
    (entry,) = answers[1]["data"]
    assert (entry["verified"], entry["reason"], entry["event"]) == (True, None, "job.succeeded")
    assert entry["body"]["data"] == answers[0]


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_the_page_runs(page: str, folder: Path) -> None:
    said = run(folder, [sys.executable, "-c", "\n".join(blocks(page, "python"))]).splitlines()
    assert re.fullmatch(r"whe_\w+ whsec_", said[0])
    assert said[1] == "webhook.test delivered 200"
    assert said[2] == "webhook.test delivered [200] None"
    assert said[-1] == "0"


@pytest.mark.parametrize("page", PAGES)
def test_the_python_receiver_of_the_page_believes_what_is_signed_and_nothing_else(
    page: str, delivered: tuple[dict[str, str], bytes, str]
) -> None:
    headers, body, secret = delivered
    (source,) = blocks(page, "py")
    names: dict[str, Any] = {}
    exec(source.replace("whsec_…", secret), names)
    assert names["event_of"](body, headers)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        names["event_of"](body.replace(b"succeeded", b"failed"), headers)


@pytest.mark.parametrize("page", PAGES)
def test_the_javascript_receiver_of_the_page_believes_what_is_signed_and_nothing_else(
    page: str, delivered: tuple[dict[str, str], bytes, str], tmp_path: Path
) -> None:
    headers, body, secret = delivered
    (source,) = blocks(page, "js")
    (tmp_path / "body").write_bytes(body)
    (tmp_path / "headers.json").write_text(json.dumps(headers))
    old = "1600000000"
    script = (
        source.replace("whsec_…", secret)
        + f"""
const fs = require("node:fs");
const headers = JSON.parse(fs.readFileSync("headers.json")), body = fs.readFileSync("body");
console.log(eventOf(body, headers).data.input.value);
const bad = [
  [Buffer.concat([body, Buffer.from(" ")]), headers],
  [body, {{ ...headers, "webhook-signature": "v1,AAAA" }}],
  [body, {{ ...headers, "webhook-signature": "v1" }}],
  [body, {{ ...headers, "webhook-timestamp": "{old}" }}],
  [body, {{ ...headers, "webhook-timestamp": "now" }}],
];
for (const [b, h] of bad) {{
  try {{ eventOf(b, h); console.log("believed"); }} catch (error) {{ console.log(error.message); }}
}}
"""
    )
    said = run(tmp_path, ["node", "-e", script]).splitlines()
    assert said == ["é", *["not signed by us"] * 3, *["too old, or not of this time"] * 2]


def test_the_client_believes_it_too(delivered: tuple[dict[str, str], bytes, str]) -> None:
    headers, body, secret = delivered
    assert verify_webhook(body, headers, secret)["data"]["input"]["value"] == "é"
    assert verify_webhook(body, headers, ["whsec_eA==", secret])["type"] == "job.succeeded"


def test_an_endpoint_hears_of_running_before_it_hears_of_the_end(stack: Stack, http: httpx.Client) -> None:
    with Callboard(stack.url, stack.key) as callboard:
        endpoint = callboard.webhooks.create(
            f"{stack.url}/v1/webhook-inbox/order", events=["job.running", "job.succeeded"]
        )
        try:
            jobs = [submit(http, "system.echo", {"value": n}) for n in range(20)]
            for job in jobs:
                ended(http, job)
            for job in jobs:
                found: list[Any] = []
                while len(found) < 2 or any(one.status != "delivered" for one in found):
                    found = list(callboard.webhooks.deliveries(endpoint, job=job))
            entries = http.get("/v1/webhook-inbox/order").json()["data"]
            assert len(entries) == 20 and all(one["verified"] for one in entries)
            told: dict[str, list[str]] = {}
            for entry in reversed(entries):
                told.setdefault(entry["body"]["data"]["id"], []).append(entry["event"])
            whole = [events for events in told.values() if len(events) == 2]
            assert whole and all(events == ["job.running", "job.succeeded"] for events in whole)
        finally:
            callboard.webhooks.delete(endpoint)


def test_private_addresses_are_refused_on_the_embedded_stack_too(http: httpx.Client) -> None:
    for url in ("http://169.254.169.254/", "https://10.0.0.1/", "http://192.168.0.1:8000/"):
        answer = http.post("/v1/webhook-endpoints", json={"url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, "url-not-allowed")


def test_a_pipeline_tells_how_it_ended_once_by_its_own_webhook_and_to_endpoints(
    http: httpx.Client, receiver: Receiver
) -> None:
    """The endpoint asks for pipelines only, so its first webhook is that."""
    endpoint = http.post(
        "/v1/webhook-endpoints", json={"url": receiver.url + "/all", "events": ["pipeline.failed"]}
    ).json()
    steps = {"a": {"type": "system.echo", "input": {"value": 1}}}
    body = {"steps": steps, "webhook": {"url": receiver.url}}
    made = http.post("/v1/pipelines", json=body, headers={"Prefer": "wait=20"}).json()
    assert receiver.came.wait(20)
    headers, posted = receiver.received[0]
    secret = http.get("/v1/webhook-secret").json()["secret"]
    event = verify_webhook(posted, headers, secret)
    assert (event["type"], event["data"]["id"]) == ("pipeline.succeeded", made["id"])
    assert (
        event["data"]["output"] == {"a": {"value": 1}}
        and event["data"]["steps"]["a"]["status"] == "succeeded"
    )
    receiver.came.clear()
    unspeakable = {"v": {"type": "tts.speech", "input": {"text": "안녕하세요", "provider": "local"}}}
    failed = http.post("/v1/pipelines", json={"steps": unspeakable}).json()
    assert receiver.came.wait(30)
    headers, posted = receiver.received[1]
    event = verify_webhook(posted, headers, endpoint["secret"])
    assert (event["type"], event["data"]["id"]) == ("pipeline.failed", failed["id"])
    http.delete(f"/v1/webhook-endpoints/{endpoint['id']}")


def test_no_secret_of_a_webhook_is_in_a_log(stack: Stack, http: httpx.Client) -> None:
    made = http.post("/v1/webhook-endpoints", json={"url": f"{stack.url}/v1/webhook-inbox/log"}).json()
    http.post(f"/v1/webhook-endpoints/{made['id']}/test")
    http.post(f"/v1/webhook-endpoints/{made['id']}/rotate")
    http.post("/v1/webhook-secret/rotate")
    assert http.delete(f"/v1/webhook-endpoints/{made['id']}").status_code == 204
    logs = [path for path in stack.home.rglob("*") if path.is_file() and path.suffix in (".log", "")]
    said = b"".join(
        path.read_bytes() for path in logs if "valkey" not in str(path) and "files" not in path.parts
    )
    assert b"callboard" in said and b"whsec_" not in said
