from __future__ import annotations

import threading

import pytest

from callboard_shared.ids import PATTERN, is_id, new_id


def test_an_id_is_its_prefix_and_26_characters_of_base_32() -> None:
    made = new_id("job")
    assert made.startswith("job_") and len(made) == 30
    assert PATTERN.match(made)


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id("job") for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_do_not_make_the_same_id() -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(new_id("job") for _ in range(2_000))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


def test_an_id_holds_a_uuid_of_version_7() -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    number = 0
    for character in new_id("key").removeprefix("key_"):
        number = number * 32 + digits.index(character)
    assert number >> 76 & 0xF == 7
    assert number >> 62 & 0b11 == 0b10


@pytest.mark.parametrize(
    "text",
    [
        "", "job", "job_", "file_01k9x3m5e8f0abcdefghjkmnpq", "job_01k9x3", "job_" + "0" * 27, "job_" + "8" + "0" * 25,
        "job_" + "i" * 26, "job_" + "A" * 26, "job_" + "0" * 26 + "\n", " job_" + "0" * 26, "job_" + "0" * 25 + "é",
        "job_../../../../etc/passwd0000",
    ],
)  # fmt: skip
def test_what_has_not_the_form_of_a_job_id_is_none(text: str) -> None:
    assert not is_id(text, "job")


def test_a_made_id_is_one_of_its_kind_only() -> None:
    assert is_id(new_id("job"), "job")
    assert not is_id(new_id("job"), "file")
