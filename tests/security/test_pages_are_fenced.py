"""What is not in the OpenAPI document is fenced too: the console's pages, and routes for old clients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from house import House
from possessions import MARK, OWNED, SHARED
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.access import new_secret, put_session

OPEN = {
    "GET /openapi.json": "the document", "HEAD /openapi.json": "the document", "GET /docs": "the same, to try out",
    "GET /sign-in": "the way in", "GET /language/{language}": "a choice of words",
    "OPTIONS /v1/uploads": "what the server knows of tus, which its specification wants without a key",
    "OPTIONS /v1/uploads/{upload_id}": "the same",
}  # fmt: skip

REPLIES = "/chat/{conversation_id}/replies/{job_id}"


def _routes(routes: Any, hidden: bool = False) -> Iterator[tuple[str, str]]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _routes(inner.routes)
        else:
            yield from ((method, route.path) for method in sorted(getattr(route, "methods", None) or ()))


APP = create_app(GatewaySettings(admin_key=SecretStr("cb_x"), webhook_inbox=True))
DOCUMENTED = {(m.upper(), path) for path, item in APP.openapi()["paths"].items() for m in item}
HIDDEN = sorted({(m, re.sub(r":path}", "}", p)) for m, p in _routes(APP.routes)} - DOCUMENTED)


def at(path: str) -> str:
    return re.sub(r"{\w+}", "x", path)


def test_the_hidden_routes_are_found() -> None:
    assert ("GET", "/jobs/{job_id}") in HIDDEN and ("HEAD", "/v1/files/{file_id}/content") in HIDDEN


@pytest.mark.parametrize(("method", "path"), HIDDEN, ids=lambda text: text)
def test_nobody_sees_more_than_the_way_in(house: House, method: str, path: str) -> None:
    answer = house.nobody.request(method, at(path))
    if f"{method} {path}" in OPEN:
        assert answer.status_code not in (401, 403)
    else:
        to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
        if path == REPLIES:  # it answers with a stream whatever happens, for that is what the page listens to
            assert "event: done" in answer.text and "job_" not in answer.text
            return
        assert to_sign_in or answer.status_code in (401, 403), answer.status_code


@pytest.fixture(scope="module")
def visitor(house: House) -> httpx.Client:
    """A stranger who is signed in, with a page's token."""
    made = house.new_key("jobs:read", "jobs:write")
    secret = new_secret()
    house.ledger.run(put_session(secret, made["id"]))
    visitor = house.client(None, cookies={"callboard_session": secret})
    token = re.search(
        r'csrf[^>]*?(?:value|content)="([^"]+)"|X-CSRF-Token&#34;: ?&#34;([^&]+)', visitor.get("/").text
    )
    assert token is not None
    visitor.headers["X-CSRF-Token"] = token[1] or token[2]
    return visitor


PAGES = [(m, p) for m, p in HIDDEN if "{" in p and not p.startswith("/v1") and p not in SHARED]


@pytest.mark.parametrize(("method", "path"), PAGES, ids=lambda text: text)
def test_anothers_page_is_not_there(house: House, visitor: httpx.Client, method: str, path: str) -> None:
    assert path in OWNED, (
        f"{method} {path} is new: say in possessions.OWNED how to make what it shows, or in SHARED why not."
    )
    owner = house.key("jobs:read", "jobs:write")
    possession = OWNED[path](house, owner)
    form = {"content": "hello", "text": "hello", "title": "taken over"}
    given = {"data": form} if method == "POST" else {"params": {"before": 1, "since": 0}}
    answer = visitor.request(method, re.sub(r"{\w+}", possession, path), **given)
    assert answer.status_code == 404, answer.text[:300]
    assert MARK not in answer.text


def test_of_two_ids_neither_may_be_anothers(house: House, visitor: httpx.Client) -> None:
    owner = house.key("jobs:read", "jobs:write")
    theirs, job = OWNED["/chat/{conversation_id}"](house, owner), OWNED["/jobs/{job_id}"](house, owner)
    mine = visitor.post(  # a conversation of the visitor's own, to try the second id alone
        "/v1/conversations", json={"title": "mine"}, headers={"Sec-Fetch-Site": "same-origin"}
    ).json()["id"]
    for method, path in [
        ("GET", f"/chat/{theirs}/replies/{job}"), ("GET", f"/chat/{mine}/replies/{job}"),
        ("POST", f"/chat/{theirs}/speech/0"), ("GET", f"/chat/speech/{job}"),
    ]:  # fmt: skip
        answer = visitor.request(method, path)
        assert answer.status_code == (200 if "/replies/" in path else 404), (path, answer.status_code)
        assert MARK not in answer.text and "succeeded" not in answer.text
