"""What handlers that train share: checkpoints that are stored beside the training."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from callboard_embedded.members import TRAINING_MALLOC
from callboard_shared.errors import FinalError, LedgerUnavailable, RetryableError
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.workshop import Workshop


@dataclass
class Context:
    logs: list[tuple[str, str]] = field(default_factory=list)

    def log(self, level: str, message: str) -> None:
        self.logs.append((level, message))


@dataclass
class FakeJob:
    id: str = "job_1"
    owner: str = "key_1"
    attempt: int = 2
    context: Context = field(default_factory=Context)


@dataclass
class FakeStore:
    """``go``: what a saving waits for; ``fails``: what it raises."""

    fails: Exception | None = None
    go: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)
    saved: list[tuple[int, bytes]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def save_checkpoint(self, folder: Path, *, step: int, **given: Any) -> None:
        assert given == {"owner": "key_1", "job_id": "job_1", "attempt": 2, "keep": 2}
        self.began.set()
        assert self.go.wait(10)
        if self.fails is not None:
            raise self.fails
        self.saved.append((step, (folder / "weights").read_bytes()))

    def forget_checkpoints(self, job_id: str) -> None:
        self.forgotten.append(job_id)


def a_checkpoint(tmp_path: Path, step: int) -> Path:
    folder = tmp_path / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "weights").write_bytes(b"of %d" % step)
    return folder


def workshop(store: FakeStore, tmp_path: Path) -> Workshop:
    return Workshop(lambda: store, 1, tmp_path)  # type: ignore[arg-type, return-value]


def test_the_training_goes_on_while_a_checkpoint_is_stored(tmp_path: Path) -> None:
    store, folder = FakeStore(), a_checkpoint(tmp_path, 1)
    with workshop(store, tmp_path).checkpoints(FakeJob()) as checkpoints:  # type: ignore[arg-type]
        checkpoints.save(folder, 1)
        assert store.began.wait(10) and store.saved == [], "it is on its way, and here we are"
        store.go.set()
    assert store.saved == [(1, b"of 1")] and not folder.exists()


def test_the_next_one_waits_for_the_one_before(tmp_path: Path) -> None:
    store = FakeStore()
    with workshop(store, tmp_path).checkpoints(FakeJob()) as checkpoints:  # type: ignore[arg-type]
        checkpoints.save(a_checkpoint(tmp_path, 1), 1)
        threading.Timer(0.05, store.go.set).start()
        checkpoints.save(a_checkpoint(tmp_path, 2), 2)
        assert store.saved[0] == (1, b"of 1")
    assert [step for step, _ in store.saved] == [1, 2]


def test_a_checkpoint_that_cannot_be_saved_is_a_warning_and_the_training_does_without(tmp_path: Path) -> None:
    store, job = FakeStore(LedgerUnavailable("The ledger is away.")), FakeJob()
    store.go.set()
    with workshop(store, tmp_path).checkpoints(job) as checkpoints:  # type: ignore[arg-type]
        checkpoints.save(a_checkpoint(tmp_path, 7), 7)
    ((level, message),) = job.context.logs
    assert level == "warning" and "step 7" in message and "The ledger is away." in message


def test_a_defect_of_the_saving_is_not_swallowed(tmp_path: Path) -> None:
    store = FakeStore(ValueError("a defect"))
    store.go.set()
    with (
        pytest.raises(ValueError, match="a defect"),
        workshop(store, tmp_path).checkpoints(FakeJob()) as checkpoints,  # type: ignore[arg-type]
    ):
        checkpoints.save(a_checkpoint(tmp_path, 1), 1)


@pytest.mark.parametrize(
    ("end", "forgotten"),
    [
        (None, True),
        (FinalError("It diverged."), True),
        (JobCanceled("The job was canceled."), True),
        (KeyError("a defect"), True),
        (RetryableError("Try again."), False),
        (LedgerUnavailable("The ledger is away."), False),
    ],
)
def test_checkpoints_outlive_an_attempt_that_is_made_again_and_no_other(
    end: Exception | None, forgotten: bool, tmp_path: Path
) -> None:
    store = FakeStore()
    store.go.set()
    with (
        pytest.raises(type(end)) if end is not None else nullcontext(),
        workshop(store, tmp_path).checkpoints(FakeJob()) as checkpoints,  # type: ignore[arg-type]
    ):
        checkpoints.save(a_checkpoint(tmp_path, 1), 1)
        if end is not None:
            raise end
    assert store.saved == [(1, b"of 1")], "first it is stored, and then forgotten"
    assert store.forgotten == (["job_1"] if forgotten else [])


KEEPS_AND_GIVES_BACK = """
import re
from pathlib import Path
from callboard_shared.worker.workshop import give_memory_back

def resident_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

pieces = [bytearray(b"x") * 2**20 for _ in range(200)]
above = bytearray(b"x") * 2**20
del pieces
kept = resident_mb()
give_memory_back()
print(kept - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_that_a_training_kept_is_given_back_at_its_end() -> None:
    env = {**os.environ, **TRAINING_MALLOC}
    printed = subprocess.run(
        [sys.executable, "-c", KEEPS_AND_GIVES_BACK], env=env, capture_output=True, text=True, check=True
    )
    assert int(printed.stdout) > 150, "the C library kept it, and no longer does"
