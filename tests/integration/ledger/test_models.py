"""Records of trained models and of checkpoints: versions, owners, and who may write."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from builders import OWNER
from clocked import ClockedLedger

from callboard_shared.files import FileRecord
from callboard_shared.ledger import Ledger, filing, keys, modelling
from callboard_shared.models import Checkpoint, Part, TrainedModel

OTHER = "key_bob"
HOUR_MS = 3_600_000
FAR_MS = 4_000_000_000_000
"""A time that no test reaches."""
_numbers = itertools.count(1)


def a_file(owner: str = OWNER, **fields: Any) -> FileRecord:
    """The record of a file of which the content is of no matter here."""
    standard: dict[str, Any] = {
        "id": f"file_{next(_numbers)}", "owner": owner, "name": "weights", "media_type": "application/octet-stream",
        "bytes": 7, "sha256": "0" * 64, "purpose": "model", "created_ms": 1_000, "held_by": "a model",
    }  # fmt: skip
    return FileRecord(**{**standard, **fields})


def parts(files: list[FileRecord]) -> tuple[Part, ...]:
    return tuple(Part(file.name, file.id, file.bytes, file.sha256) for file in files)


def publish(
    ledger: Ledger, job_id: str, name: str = "reviews", owner: str = OWNER, **fields: Any
) -> tuple[TrainedModel, bool]:
    files = [a_file(owner), a_file(owner)]
    standard: dict[str, Any] = {"kind": "classifier", "task": "classify", "created_ms": 5_000}
    model = TrainedModel(owner, name, job_id=job_id, files=parts(files), **{**standard, **fields})
    return ledger.run(modelling.publish_model(model, files))


def find(ledger: Ledger, name: str, owner: str = OWNER) -> TrainedModel | None:
    return ledger.run(modelling.find_model(owner, name))


def names(ledger: Ledger, owner: str = OWNER) -> list[str]:
    return [model.full_name for model in ledger.run(modelling.list_models(owner))]


def on_record(ledger: Ledger, files: tuple[Part, ...]) -> list[bool]:
    return [ledger.run(filing.get_file(part.id)) is not None for part in files]


class TestAModel:
    def test_comes_back_as_it_was_published_with_its_files_on_record(self, real_ledger: Ledger) -> None:
        details = {"labels": ["a", "b"], "rows": 3}
        made, before = publish(
            real_ledger, "job_1", metrics={"accuracy": 0.9}, details=details, license="MIT"
        )
        assert not before and made.full_name == "reviews@1"
        assert (made.metrics, made.details, made.license) == ({"accuracy": 0.9}, details, "MIT")
        assert find(real_ledger, "reviews@1") == find(real_ledger, "reviews") == made
        assert real_ledger.run(modelling.list_models(OWNER)) == [made]
        assert on_record(real_ledger, made.files) == [True, True]
        assert real_ledger.run(filing.expired_files()) == []

    def test_gets_the_next_version_of_its_name(self, ledger: ClockedLedger) -> None:
        given = [publish(ledger, f"job_{n}", name)[0].full_name for n, name in enumerate("aabab")]
        assert given == ["a@1", "a@2", "b@1", "a@3", "b@2"]

    def test_never_gets_a_version_that_was_given_before(self, ledger: ClockedLedger) -> None:
        for n in (1, 2):
            publish(ledger, f"job_{n}")
        for name in ("reviews@2", "reviews@1"):
            assert ledger.run(modelling.remove_model(OWNER, name)) is not None
        assert names(ledger) == [] and find(ledger, "reviews") is None
        assert publish(ledger, "job_3")[0].full_name == "reviews@3"
        assert publish(ledger, "job_2")[0].full_name == "reviews@4", "nor the job whose model was removed"

    def test_is_published_once_a_job_and_name(self, ledger: ClockedLedger) -> None:
        first, _ = publish(ledger, "job_1")
        again, before = publish(ledger, "job_1", metrics={"accuracy": 0.1})
        assert before and again == first
        assert names(ledger) == ["reviews@1"]
        owned = ledger.redis.zcard(keys.FILES_OWNED + OWNER)
        assert owned == 2, "the second attempt's files are on no record"
        other_name, before = publish(ledger, "job_1", "tokens")
        assert not before and other_name.full_name == "tokens@1"

    def test_has_a_version_of_its_own_however_many_publish_at_once(self, real_ledger: Ledger) -> None:
        given: list[str] = []
        start = threading.Barrier(8)

        def work(worker: int) -> None:
            start.wait(10)
            given.extend(publish(real_ledger, f"job_{worker}_{n}")[0].full_name for n in range(10))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(given) == sorted(f"reviews@{n}" for n in range(1, 81))

    def test_is_anothers_business_in_no_way(self, ledger: ClockedLedger) -> None:
        mine, _ = publish(ledger, "job_1")
        assert find(ledger, "reviews@1", OTHER) is None and find(ledger, "reviews", OTHER) is None
        assert names(ledger, OTHER) == []
        assert ledger.run(modelling.remove_model(OTHER, "reviews@1")) is None
        theirs, before = publish(ledger, "job_1", owner=OTHER)
        assert not before and theirs.full_name == "reviews@1"
        assert find(ledger, "reviews@1") == mine and find(ledger, "reviews@1", OTHER) == theirs

    def test_is_removed_with_the_records_of_its_files_and_no_others(self, ledger: ClockedLedger) -> None:
        (first, _), (second, _) = publish(ledger, "job_1"), publish(ledger, "job_2")
        assert ledger.run(modelling.remove_model(OWNER, "reviews@2")) == second
        assert on_record(ledger, first.files) == [True, True]
        assert on_record(ledger, second.files) == [False, False]
        owned = ledger.redis.zrange(keys.FILES_OWNED + OWNER, 0, -1)
        assert {one.decode() for one in owned} == {part.id for part in first.files}
        assert find(ledger, "reviews@2") is None
        assert ledger.run(modelling.remove_model(OWNER, "reviews@2")) is None

    def test_by_its_name_alone_is_the_newest_that_is_left(self, ledger: ClockedLedger) -> None:
        for n in (1, 2, 3):
            publish(ledger, f"job_{n}")
        for gone, newest in (("reviews@2", "reviews@3"), ("reviews@3", "reviews@1")):
            ledger.run(modelling.remove_model(OWNER, gone))
            found = find(ledger, "reviews")
            assert found is not None and found.full_name == newest

    @pytest.mark.parametrize(
        "name", ["reviews", "reviews@", "reviews@2", "reviews@1@1", "@1", "", "reviews@01"]
    )
    def test_is_removed_by_name_and_version_only(self, ledger: ClockedLedger, name: str) -> None:
        publish(ledger, "job_1")
        assert ledger.run(modelling.remove_model(OWNER, name)) is None
        assert names(ledger) == ["reviews@1"]

    def test_is_listed_newest_first(self, ledger: ClockedLedger) -> None:
        for n, (name, created_ms) in enumerate((("old", 1), ("b", 7), ("new", 9), ("a", 7))):
            publish(ledger, f"job_{n}", name, created_ms=created_ms)
        assert names(ledger) == ["new@1", "a@1", "b@1", "old@1"]


def save(
    ledger: Ledger, step: int, attempt: int = 1, job_id: str = "job_1", **limits: int
) -> tuple[bool, list[Checkpoint]]:
    options = {"keep": 2, "expires_ms": FAR_MS, "ttl_ms": HOUR_MS, **limits}
    files = [a_file(held_by="a checkpoint", expires_ms=options["expires_ms"])]
    checkpoint = Checkpoint(OWNER, job_id, attempt, step, parts(files))
    return ledger.run(modelling.save_checkpoint(checkpoint, files, **options))


def steps(ledger: Ledger, job_id: str = "job_1") -> list[int]:
    return [one.step for one in ledger.run(modelling.checkpoints(job_id))]


class TestACheckpoint:
    def test_is_the_first_of_its_jobs_and_makes_the_oldest_go(self, ledger: ClockedLedger) -> None:
        assert save(ledger, 10) == (True, [])
        assert save(ledger, 20) == (True, [])
        oldest = ledger.run(modelling.checkpoints("job_1"))[-1]
        assert on_record(ledger, oldest.files) == [True]
        saved, gone = save(ledger, 30)
        assert saved and gone == [oldest]
        assert steps(ledger) == [30, 20]
        assert on_record(ledger, oldest.files) == [False]
        assert steps(ledger, "job_2") == []

    def test_leaves_only_itself_if_one_is_to_be_kept(self, ledger: ClockedLedger) -> None:
        for step in (10, 20, 30):
            save(ledger, step)
        _, gone = save(ledger, 40, keep=1)
        assert sorted(one.step for one in gone) == [20, 30]
        assert steps(ledger) == [40]

    def test_of_an_attempt_that_was_given_up_changes_nothing(self, ledger: ClockedLedger) -> None:
        save(ledger, 10, attempt=1)
        save(ledger, 15, attempt=2)
        before = ledger.run(modelling.checkpoints("job_1"))
        owned = ledger.redis.zcard(keys.FILES_OWNED + OWNER)
        assert save(ledger, 90, attempt=1, keep=1) == (False, [])
        assert ledger.run(modelling.checkpoints("job_1")) == before
        assert ledger.redis.zcard(keys.FILES_OWNED + OWNER) == owned
        assert save(ledger, 20, attempt=2)[0] and save(ledger, 25, attempt=10)[0]
        assert not save(ledger, 30, attempt=9)[0], "attempts are numbers, not texts"

    def test_is_forgotten_with_all_of_its_job_and_their_files(self, ledger: ClockedLedger) -> None:
        for step in (10, 20):
            save(ledger, step)
        save(ledger, 1, job_id="job_2")
        there = ledger.run(modelling.checkpoints("job_1"))
        assert ledger.run(modelling.forget_checkpoints("job_1")) == there
        assert steps(ledger) == [] and steps(ledger, "job_2") == [1]
        assert [on_record(ledger, one.files) for one in there] == [[False], [False]]
        assert ledger.run(modelling.forget_checkpoints("job_1")) == []

    def test_of_a_job_that_nobody_ends_expires_and_its_files_are_swept(self, real_ledger: Ledger) -> None:
        save(real_ledger, 10, expires_ms=1_000, ttl_ms=1)
        deadline = time.monotonic() + 10
        while steps(real_ledger):
            assert time.monotonic() < deadline
        (swept,) = real_ledger.run(filing.expired_files())
        assert swept.held_by == "a checkpoint"

    def test_lives_on_while_its_job_saves_more(self, ledger: ClockedLedger) -> None:
        save(ledger, 10, ttl_ms=HOUR_MS)
        save(ledger, 20, ttl_ms=2 * HOUR_MS)
        left_ms = ledger.redis.pttl(keys.CHECKPOINTS + "job_1")
        assert HOUR_MS < left_ms <= 2 * HOUR_MS


def test_the_bytes_of_models_and_checkpoints_count_and_go_with_them(ledger: ClockedLedger) -> None:
    def stored() -> int:
        return ledger.run(filing.stored_bytes(OWNER))

    made, _ = publish(ledger, "job_1")
    publish(ledger, "job_1")
    assert stored() == 14, "once, however often it is published"
    files = [a_file(held_by="a checkpoint") for _ in range(3)]
    for number, file in enumerate(files):
        checkpoint = Checkpoint(OWNER, "job_2", 1, number, parts([file]))
        ledger.run(modelling.save_checkpoint(checkpoint, [file], keep=2, expires_ms=FAR_MS, ttl_ms=HOUR_MS))
    assert stored() == 14 + 2 * 7
    ledger.run(modelling.forget_checkpoints("job_2"))
    assert stored() == 14
    ledger.run(modelling.remove_model(OWNER, made.full_name))
    assert stored() == 0
