"""Bad input of every kind gets the answer that docs/security.md promises, and a sentence that names the cure."""

from __future__ import annotations

import base64
import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from bad_input_table import row
from file_server import Network, Request, redirect, serving
from house import ADMIN_KEY, House
from possessions import OWNED

from callboard_shared.errors import CallboardError, FinalError
from callboard_shared.models import Shelf
from callboard_shared.outbound import FetchLimits, Policy, UrlBlocked, fetch
from callboard_shared.pictures import PictureSettings
from callboard_vision.data.archive import Archive
from callboard_vision.data.faults import Faults

ECHO: dict[str, Any] = {"type": "system.echo", "input": {"value": 1}}
JSON = {"Content-Type": "application/json"}
PUBLIC = "93.184.216.34"


def test_a_key_that_is_none(house: House) -> None:
    gone = house.new_key("jobs:read")
    assert house.admin.delete(f"/v1/keys/{gone['id']}").status_code == 204
    past = house.admin.post("/v1/keys", json={"name": "soon over", "expires_at": _soon()}).json()["key"]
    kept = {
        "none": None,
        "bad": "nonsense",
        "unknown": ADMIN_KEY[:-1] + "x",
        "revoked": gone["key"],
        "expired": past,
    }
    until = time.monotonic() + 10
    while house.client(past).get("/v1/jobs").status_code == 200:
        assert time.monotonic() < until, "the key does not expire"
        time.sleep(0.05)
    bodies = set()
    with row("no, bad, unknown, revoked or expired key") as tried:
        for name, key in kept.items():
            answer = house.client(key).get("/v1/jobs")
            tried.expect(answer, 401, "unauthorized", name)
            bodies.add(str({**answer.json(), "trace_id": ""}))
    assert len(bodies) == 1, "the answer tells which it was"


def _soon() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


def test_a_key_without_the_scope_and_anothers_things(house: House) -> None:
    reader, owner, stranger = (
        house.key("jobs:read"),
        house.key("jobs:read", "jobs:write"),
        house.key("jobs:read", "jobs:write"),
    )
    with row("key without scope") as tried:
        tried.expect(reader.post("/v1/jobs", json=ECHO), 403, "forbidden")
        tried.expect(owner.get("/v1/keys"), 403, "forbidden")
    with row("another key's job, file, stream, cancel") as tried:
        for path in (
            "/v1/jobs/{job_id}",
            "/v1/files/{file_id}",
            "/v1/files/{file_id}/content",
            "/v1/jobs/{job_id}/events",
        ):
            own = OWNED[path](house, owner)
            tried.expect(
                stranger.get(path[: path.index("{")] + own + path[path.index("}") + 1 :]),
                404,
                "not-found",
                path,
            )
        waiting = OWNED["/v1/jobs/{job_id}/cancel"](house, owner)
        tried.expect(stranger.post(f"/v1/jobs/{waiting}/cancel"), 404, "not-found")


def test_documents_that_are_none_and_fields_that_are_wrong(house: House) -> None:
    with row("unknown field, NaN, wrong type") as tried:
        for body in (
            b'{"type": "system.echo", "input": {"value": 1}, "prority": 3}',
            b'{"type": "system.echo", "input": {"value": NaN}}',
            b'{"type": "vision.detect", "input": {"image": {"file_id": 7}}}',
            b'{"type": "system.echo", "input": {"value": 1}, "timeout_s": "long"}',
            b'{"type": "system.echo", "input": {"value": 1, "sleep_ms": 1e999}}',
            b'{"type": "nobody.knows", "input": {}}',
        ):
            answer = house.admin.post("/v1/jobs", content=body, headers=JSON)
            tried.expect(answer, 422, "validation", body)
            assert answer.json()["errors"][0]["field"]
    with row("malformed or deeply nested JSON") as tried:
        for body in (b"{", b"", b"\xff", b"[" * 100_000, b'{"a":' * 50_000, b'{"a": 1,}'):
            tried.expect(
                house.admin.post("/v1/jobs", content=body, headers=JSON), 400, "malformed", body[:20]
            )


def test_bodies_over_their_limit(house: House) -> None:
    limit = house.app.state.settings.max_json_bytes

    def pieces(size: int, before: bytes = b"", after: bytes = b"") -> Any:
        yield before
        for _ in range(size // 65_536 + 1):
            yield b" " * 65_536
        yield after

    form = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with row("body over its limit, announced or chunked") as tried:
        tried.expect(house.admin.post("/v1/jobs", content=b" " * (limit + 1), headers=JSON), 413, "too-large")
        tried.expect(house.admin.post("/v1/jobs", content=pieces(limit), headers=JSON), 413, "too-large")
        tried.expect(house.admin.post("/v1/files", files={"file": ("a", b"x" * 1_000_001)}), 413, "too-large")
        tried.expect(
            house.admin.post("/v1/files", content=pieces(1_200_000, head, b"\r\n--b--"), headers=form),
            413,
            "too-large",
        )


def _detect(house: House, content: bytes) -> httpx.Response:
    value = {"image": {"base64": base64.b64encode(content).decode()}}
    return house.admin.post("/v1/jobs", json={"type": "vision.detect", "input": value})


def _png(width: int, height: int) -> bytes:
    """Whole, of so many pixels, in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


def test_pictures_that_are_none_or_too_large(house: House) -> None:
    with row("wrong content by its first bytes: SVG, FITS, PDF, text") as tried:
        for content in (
            b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            b"SIMPLE  =                    T".ljust(2880),
            b"%PDF-1.7\n",
            b"only words",
            b"GIF89a",
        ):
            tried.expect(_detect(house, content), 415, "unsupported-media-type", content[:8])
        tried.expect(
            house.admin.post("/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"}),
            415,
            "unsupported-media-type",
        )
    with row("a picture that is cut off") as tried:
        tried.expect(_detect(house, _png(10, 10)[:40]), 415, "image-damaged")
    with row("14,000 × 14,000 PNG, judged before decoding") as tried:
        large = _png(14_000, 14_000)
        assert len(large) < 700_000 < PictureSettings().picture_max_bytes
        began = time.monotonic()
        tried.expect(_detect(house, large), 422, "image-too-large")
        assert time.monotonic() - began < 5, "24 MB were unpacked for it"


def test_weights_that_are_pickles(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "models" / "mine"
    made.mkdir(parents=True)
    (made / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (made / "pytorch_model.bin").write_bytes(b"PK\x03\x04 a pickle")
    (tmp_path / "models" / "detector.pt").write_bytes(b"PK\x03\x04 a pickle")
    known = house.app.state.models
    monkeypatch.setattr(known, "_shelf", Shelf(models_path=tmp_path / "models", made_path=tmp_path / "none"))
    with row("user-supplied pickle or .pt weights") as tried:
        for kind, name in (("nlp.embed", "mine"), ("vision.detect", "detector.pt")):
            value: dict[str, Any] = (
                {"texts": ["a"]}
                if kind == "nlp.embed"
                else {"image": {"base64": base64.b64encode(_png(4, 4)).decode()}}
            )
            until = time.monotonic() + 10
            while (
                answer := house.admin.post("/v1/jobs", json={"type": kind, "input": {**value, "model": name}})
            ).json()["code"] == "unknown-model":
                assert time.monotonic() < until, answer.text
                time.sleep(0.1)
            tried.expect(answer, 422, "unsupported-format", name)


INSIDE = (
    "http://example.com/", "file:///etc/passwd", "ftp://example.com/", "https://user:pw@example.com/", "https://example.com:22/",
    "https://127.1/", "https://0x7f000001/", "https://0177.0.0.1/", "https://2130706433/", "https://127.0.0.1./", "https://localhost/",
    "https://a.localhost/", "https://169.254.169.254/latest/meta-data/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[fd00::1]/", "https://[fe80::1]/",
    "https://[::1]/", "https://[::]/", "https://192.0.0.8/", "https://10.0.0.1/", "https://100.64.0.1/", "https://0.0.0.0/",
    "https://１２７.0.0.1/", "https://127。0。0。1/", "https://router/", "https://db.internal/", "https://printer.local/", "https://[::1%25eth0]/",
    "https://0x7f.0.0.1/", "https://017700000001/", "https://0/", "https://①②⑦.0.0.1/", "https://example.com\\@127.0.0.1/", "https://127.0.0.1#@example.com/",
    "//example.com/", "https://user@example.com/", "https://example.com:6379/", "https://LOCALHOST./", "https://metadata.google.internal/", "https://100.100.100.200/",
)  # fmt: skip


def test_addresses_that_are_not_allowed(house: House) -> None:
    def with_picture(url: str) -> httpx.Response:
        return house.admin.post("/v1/jobs", json={"type": "vision.detect", "input": {"image": {"url": url}}})

    def with_chat(url: str) -> httpx.Response:
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        return house.admin.post(
            "/v1/jobs", json={"type": "llm.chat", "input": {"messages": [{"role": "user", "content": parts}]}}
        )

    places: dict[str, Callable[[str], httpx.Response]] = {
        "webhook of a job": lambda url: house.admin.post("/v1/jobs", json={**ECHO, "webhook": {"url": url}}),
        "endpoint": lambda url: house.admin.post("/v1/webhook-endpoints", json={"url": url}),
        "picture": with_picture,
        "picture of a chat": with_chat,
        "data set": lambda url: house.admin.post("/v1/jobs", json={"type": "vision.train", "input": {"dataset": {"url": url}, "name": "a"}}),
    }  # fmt: skip
    with row("webhook or input URL that leads inside, in every notation and field") as tried:
        for place, ask in places.items():
            for url in INSIDE:
                tried.expect(ask(url), 422, "url-not-allowed", (place, url))


def _fetched(url: str, network: Network, policy: Policy | None = None, **limits: float) -> CallboardError:
    bounds = FetchLimits(**{"max_bytes": 1_000_000, "total_s": 20, "window_s": 10, "answer_s": 10, **limits})  # type: ignore[arg-type]
    with pytest.raises(CallboardError) as caught:
        fetch(url, policy or Policy(), bounds, io.BytesIO(), resolve=network.resolve, network=network)
    return caught.value


def test_names_that_lead_inside_and_redirects_to_there() -> None:
    with row("DNS rebinding; redirect to a private address: no packet reaches it") as tried:
        for answers in (
            ["10.0.0.1"],
            [PUBLIC, "10.0.0.1"],
            ["::ffff:7f00:1"],
            ["fd00::1"],
            ["192.0.0.8"],
            ["169.254.169.254"],
        ):
            network = Network({"rebound.example.com": [answers]})
            error = _fetched("https://rebound.example.com/", network)
            tried.failed(error, UrlBlocked.code)
            assert network.dialled == []
        for to in (
            "http://169.254.169.254/",
            "https://10.0.0.1/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://inside.example.com/",
        ):
            with serving({"/": redirect(to)}) as server:
                network = Network({"inside.example.com": [["10.0.0.1"]]}, {"127.0.0.1": server.server_port})
                tried.failed(_fetched(server.url, network, Policy(allow_private=True)), UrlBlocked.code)
            assert network.dialled == [("127.0.0.1", server.server_port)]


def test_urls_that_are_slow_or_have_no_end() -> None:
    def drips(request: Request) -> None:
        request.head(200, Content_Length=10**6)
        for _ in range(100):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.1)  # is what is tried

    def endless(request: Request) -> None:
        request.head(200)
        while True:
            request.wfile.write(b"x" * 65_536)

    with row("slow or endless URL") as tried:
        for answer, code in ((drips, "fetch-timeout"), (endless, "fetch-too-large")):
            with serving({"/": answer}) as server:
                network = Network(servers={"127.0.0.1": server.server_port})
                error = _fetched(
                    server.url, network, Policy(allow_private=True), total_s=5, window_s=0.5, answer_s=2
                )
                tried.failed(error, code)


def _zip(entries: dict[str, bytes], encrypted: bool = False) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return made


def test_zips_that_are_bombs_or_lead_out() -> None:
    with row("zip bomb, ../ in a zip") as tried:
        for entries in (
            {"data.yaml": b"0" * 200_000_000},
            {"../../etc/passwd": b"x"},
            {"/etc/passwd": b"x"},
            {"a\\..\\..\\b": b"x"},
            {"C:\\b": b"x"},
        ):
            with pytest.raises(FinalError) as caught:
                Archive(_zip(entries), Faults())
            tried.failed(caught.value, "dataset-invalid")


def test_names_of_files_and_values_of_headers(house: House) -> None:
    with row("../ or control characters in a file name, CRLF in a header value") as tried:
        for name in (b"../../etc/passwd", b"a\x00b", b"a%0D%0Ab\x0b"):
            body = (
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\nx\r\n--b--\r\n'
                % name
            )
            answer = house.admin.post(
                "/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            tried.expect(answer, 422, "validation", name)
        for key in ("a\tb", "é", "x" * 300):
            answer = house.admin.post(
                "/v1/jobs", json=ECHO, headers={"Idempotency-Key": key.encode("latin-1")}
            )  # type: ignore[dict-item]
            tried.expect(answer, 422, "validation", key)
        made = house.admin.post("/v1/files", files={"file": ('we "said"\u2028.txt', b"x")}).json()
        disposition = house.admin.get(made["url"]).headers["content-disposition"]
        assert disposition.isascii() and disposition.count('"') == 2
        tried.held("names are the server's own")
