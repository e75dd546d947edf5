"""Signatures are those of the Standard Webhooks specification."""

from __future__ import annotations

import base64
import hashlib
import hmac

from callboard_courier.delivery.signing import signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_specification_s_own_example() -> None:
    """From the specification's reference libraries: id, time and body that give this signature."""
    headers = signed_headers(
        [SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1_614_265_330_999
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip


def test_each_secret_signs() -> None:
    other = "whsec_" + base64.b64encode(b"another secret of enough bytes").decode()
    signatures = signed_headers([SECRET, other], "evt_1", "{}é".encode(), 0)["webhook-signature"].split(" ")
    assert len(signatures) == 2
    digest = hmac.new(b"another secret of enough bytes", "evt_1.0.{}é".encode(), hashlib.sha256).digest()
    assert signatures[1] == "v1," + base64.b64encode(digest).decode()


def test_the_time_zone_of_the_machine_plays_no_part(monkeypatch: object) -> None:
    import time

    before = signed_headers([SECRET], "evt_1", b"{}", 1_800_000_000_000)
    monkeypatch.setenv("TZ", "Asia/Seoul")  # type: ignore[attr-defined]
    time.tzset()
    try:
        assert signed_headers([SECRET], "evt_1", b"{}", 1_800_000_000_000) == before
    finally:
        monkeypatch.undo()  # type: ignore[attr-defined]
        time.tzset()
