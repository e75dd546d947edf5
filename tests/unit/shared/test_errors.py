from __future__ import annotations

from callboard_shared import errors
from callboard_shared.errors import CallboardError, Invalid, LedgerFull, LedgerUnavailable


def every_error(base: type[CallboardError] = CallboardError) -> list[type[CallboardError]]:
    return [base] + [found for child in base.__subclasses__() for found in every_error(child)]


def test_the_statuses_and_codes_are_those_promised() -> None:
    promised = {
        "Malformed": (400, "malformed", False), "Unauthorized": (401, "unauthorized", False),
        "Forbidden": (403, "forbidden", False), "NotFound": (404, "not-found", False),
        "Conflict": (409, "conflict", False), "TooLarge": (413, "too-large", False),
        "UnsupportedMedia": (415, "unsupported-media-type", False), "Invalid": (422, "validation", False),
        "LimitReached": (429, "rate-limited", True), "LedgerUnavailable": (503, "ledger-unavailable", True),
        "LedgerFull": (503, "queue-full", True),
    }  # fmt: skip
    there = {name: getattr(errors, name) for name in promised}
    assert {n: (e.status, e.code, e.retryable) for n, e in there.items()} == promised


def test_every_error_is_a_problem_with_all_its_members() -> None:
    for error in every_error():
        body = error("what is wrong").problem()
        assert set(body) == {"type", "title", "status", "detail", "code", "retryable"}
        assert body["type"] == f"urn:callboard:problem:{body['code']}"
        assert body["detail"] == "what is wrong" == str(error("what is wrong"))


def test_a_more_exact_code_and_the_faulty_fields_are_told() -> None:
    fields = [{"field": "input.texts", "message": "too many"}]
    body = Invalid("no", code="unknown-model", errors=fields).problem()
    assert (body["code"], body["type"], body["errors"]) == (
        "unknown-model",
        "urn:callboard:problem:unknown-model",
        fields,
    )


def test_what_the_ledger_cannot_take_may_be_tried_again() -> None:
    assert issubclass(LedgerFull, errors.LedgerError) and issubclass(LedgerUnavailable, errors.LedgerError)
    assert LedgerFull("x", retry_after_s=5).retry_after_s == 5
