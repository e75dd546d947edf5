"""Faults of a provider as errors of the job: which are tried again, and that they tell no secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import openai
import pytest
from pydantic import SecretStr

from callboard_llm.faults import Service, retry_after_s, word_of
from callboard_llm.providers.faults import as_job_error
from callboard_shared.errors import FinalError, JobError, RetryableError

SERVICE = Service("OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "CALLBOARD_OPENAI_SILENCE_S")
REQUEST = httpx2.Request("POST", "http://provider/v1/chat/completions")
SAID = [{"role": "user", "content": "My name is Kim Young-hee and I live in Busan."}]
ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError, 401: openai.AuthenticationError, 403: openai.PermissionDeniedError,
    404: openai.NotFoundError, 409: openai.ConflictError, 422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}  # fmt: skip


def told(error: Exception) -> JobError:
    return as_job_error(error, SERVICE, SAID)


def status(code: int, error: dict[str, Any] | None = None, **headers: str) -> JobError:
    """What the error of OpenAI's library for an answer becomes."""
    kind = ERRORS.get(code, openai.InternalServerError if code >= 500 else openai.APIStatusError)
    response = httpx2.Response(code, headers=headers, request=REQUEST)
    return told(kind("…", response=response, body=error or {}))


@pytest.mark.parametrize(
    ("status_code", "word", "kind", "code"),
    [
        (401, "invalid_api_key", FinalError, "provider-unauthorized"),
        (401, "quota_exceeded", FinalError, "provider-unauthorized"),
        (401, "detected_unusual_activity", FinalError, "provider-unauthorized"),
        (402, "", FinalError, "provider-unauthorized"),
        (403, "unsupported_country_region_territory", FinalError, "provider-unauthorized"),
        (429, "insufficient_quota", FinalError, "provider-unauthorized"),
        (429, "rate_limit_exceeded", RetryableError, "provider-rate-limited"),
        (429, "system_busy", RetryableError, "provider-rate-limited"),
        (307, "", FinalError, "provider-invalid"),
        (400, "invalid_value", FinalError, "provider-invalid"),
        (404, "model_not_found", FinalError, "provider-invalid"),
        (404, "voice_not_found", FinalError, "provider-invalid"),
        (413, "", FinalError, "provider-invalid"),
        (422, "body.text", FinalError, "provider-invalid"),
        (400, "content_policy_violation", FinalError, "provider-refused"),
        (400, "content_filter", FinalError, "provider-refused"),
        (408, "", RetryableError, "provider-timeout"),
        (409, "", RetryableError, "provider-unavailable"),
        (425, "", RetryableError, "provider-unavailable"),
        (500, "server_error", RetryableError, "provider-unavailable"),
        (503, "", RetryableError, "provider-unavailable"),
        (504, "", RetryableError, "provider-timeout"),
        (529, "", RetryableError, "provider-unavailable"),
    ],
)
def test_a_status_is_final_or_tried_again_whoever_answers_it(
    status_code: int, word: str, kind: type[JobError], code: str
) -> None:
    plain = SERVICE.of_status(status_code, word)
    by_library = status(status_code, {"code": word or None, "message": "…"}) if status_code >= 400 else plain
    for found in (plain, by_library):
        assert (type(found), found.problem_code) == (kind, code)
        assert "OpenAI" in found.detail and len(found.detail) > 40, "it says what to do"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (openai.APITimeoutError(request=REQUEST), "provider-timeout"),
        (openai.APIConnectionError(request=REQUEST), "provider-unavailable"),
        (openai.APIError("…", REQUEST, body={"type": "server_error"}), "provider-unavailable"),
        (openai.APIError("…", REQUEST, body={"code": "rate_limit_exceeded"}), "provider-rate-limited"),
        (ValueError("Expecting value: line 1"), "provider-unavailable"),
    ],
)
def test_what_breaks_on_the_way_is_tried_again(error: Exception, code: str) -> None:
    found = told(error)
    assert isinstance(found, RetryableError) and found.problem_code == code


@pytest.mark.parametrize(("word", "code"), [("content_filter", "provider-refused"),
                                            ("insufficient_quota", "provider-unauthorized")])  # fmt: skip
def test_what_will_not_get_better_is_final_within_a_stream_too(word: str, code: str) -> None:
    found = told(openai.APIError("…", REQUEST, body={"code": word}))
    assert isinstance(found, FinalError) and found.problem_code == code


def test_an_error_names_the_settings_that_cure_it_where_there_are_any() -> None:
    assert "CALLBOARD_OPENAI_SILENCE_S" in SERVICE.slow().detail
    assert "OPENAI_BASE_URL" in SERVICE.unreachable().detail
    assert "OPENAI_API_KEY" in SERVICE.without_key().detail and "OPENAI_API_KEY" in status(401).detail
    nameless = Service("The local model")
    assert nameless.slow().detail == "The local model took too long. The job is tried again by itself."
    assert nameless.unreachable().detail.endswith("broke. The job is tried again by itself.")


def test_a_request_that_is_refused_names_the_field_and_the_reason() -> None:
    error = {"code": "invalid_value", "param": "temperature", "message": "Must be\n at most 2."}
    assert "(400 about 'temperature'): Must be at most 2." in status(400, error).detail


@pytest.mark.parametrize(
    "message",
    [
        "Invalid message: My name is Kim Young-hee and I live in Busan.",
        "Could not read '…is kim YOUNG-HEE and i live…'",
    ],
)
def test_a_reason_that_repeats_the_conversation_is_left_out(message: str) -> None:
    found = status(400, {"code": "x", "message": message})
    assert "Kim" not in found.detail and "YOUNG" not in found.detail and "(400)" in found.detail


def test_a_short_message_is_not_repeated_either() -> None:
    response = httpx2.Response(400, request=REQUEST)
    error = openai.BadRequestError("…", response=response, body={"message": "Bad word: Rumpel"})
    assert "Rumpel" not in as_job_error(error, SERVICE, [{"role": "user", "content": "Rumpel"}]).detail


def test_without_the_messages_to_compare_with_no_reason_is_quoted() -> None:
    response = httpx2.Response(400, request=REQUEST)
    error = openai.BadRequestError(
        "…", response=response, body={"code": "invalid_value", "message": "Bad: x"}
    )
    detail = as_job_error(error, SERVICE).detail
    assert "Bad" not in detail and "(400, invalid_value)" in detail


@pytest.mark.parametrize("key", ["team-key-0451", "TEAM-KEY-0451", "a_key.with-dots"])
@pytest.mark.parametrize("code", [400, 401, 402, 404, 429, 500])
def test_a_key_that_a_server_repeats_is_struck_out_wherever_it_stands(key: str, code: int) -> None:
    """A self-hosted server's key may look as its own words for errors do."""
    service = Service("OpenAI", "OPENAI_API_KEY", secret=SecretStr(key))
    said = {
        "code": f"{key.lower()}_is_unknown",
        "type": key.lower(),
        "param": key,
        "message": "no " * 99 + key,
    }
    response = httpx2.Response(code, request=REQUEST)
    kind = ERRORS.get(code, openai.InternalServerError if code >= 500 else openai.APIStatusError)
    found = [
        as_job_error(kind("…", response=response, body=said), service, SAID),
        as_job_error(openai.APIError("…", REQUEST, body=said), service),
        service.of_status(code, key.lower()),
    ]
    for error in found:
        assert (
            key.lower() not in f"{error.problem()}".lower() and key[:-3].lower() not in error.detail.lower()
        )
    assert repr(service).find(key) == -1


def test_a_key_that_is_no_secret_mangles_no_message() -> None:
    service = Service("OpenAI", "OPENAI_API_KEY", secret=SecretStr("none"))
    assert "(400, none_found)" in service.of_status(400, "none_found").detail


def test_of_an_error_within_a_stream_only_the_word_is_kept() -> None:
    said = {"code": "My name is Kim Young-hee and I live in Busan.", "type": None}
    assert "Kim" not in told(openai.APIError("…", REQUEST, body=said)).detail


def test_a_wrong_key_is_not_repeated() -> None:
    found = status(
        401, {"code": "invalid_api_key", "message": "Incorrect API key provided: sk-proj-abcdefgh."}
    )
    assert "sk-" not in found.detail and ".env" in found.detail


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"detail": {"status": "voice_not_found", "message": "…"}}, "voice_not_found"),
        ({"detail": {"type": "payment_required", "code": "paid_plan_required", "status": "x"}}, "paid_plan_required"),
        ({"detail": [{"loc": ["body", "text"], "msg": "Field required", "type": "missing"}]}, "body.text"),
        ({"detail": "Not Found"}, ""),
        ({"error": {"message": "…", "type": "invalid_request_error", "code": "model_not_found"}}, "model_not_found"),
        ({"error": {"message": "…", "type": "server_error", "code": None}}, "server_error"),
        ({"message": "…", "code": "invalid_api_key"}, "invalid_api_key"),
        ({"detail": {"status": "A whole sentence with the text in it"}}, ""),
        ({"detail": []}, ""), ({"detail": ["x"]}, ""), (["x"], ""), (None, ""), ("text", ""),
    ],
    ids=str,
)  # fmt: skip
def test_only_the_providers_own_word_is_taken_from_an_answer(body: Any, word: str) -> None:
    assert word_of(body) == word


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "20"}, 20, 24),
        ({"retry-after": "1.5"}, 1.5, 1.8),
        ({"retry-after": "0"}, 0.1, 0.12),
        ({"retry-after": "999999999"}, 3600, 4320),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30, 36),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_not_for_ever(
    headers: dict[str, str], least: float, most: float
) -> None:
    seconds = [retry_after_s(headers) or 0 for _ in range(50)]
    assert min(seconds) >= least and max(seconds) <= most
    assert len(set(seconds)) > 10, "not all come back at once"
    assert least <= (status(429, None, **headers).retry_after_s or 0) <= most


def test_a_date_is_read_by_our_clock_if_the_provider_does_not_tell_its_own() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 57 < (retry_after_s({"retry-after": at}) or 0) <= 72


@pytest.mark.parametrize("given", ["", "soon", "-3", "inf", "nan", "Wed, 99 Foo"])
def test_a_retry_after_that_says_nothing_leaves_it_to_us(given: str) -> None:
    assert retry_after_s({"retry-after": given}) is None


def test_many_names_are_shown_in_part() -> None:
    detail = SERVICE.unknown("voice", "x", [f"v{n}" for n in range(100)]).detail
    assert "v39, …" in detail and "v40" not in detail
