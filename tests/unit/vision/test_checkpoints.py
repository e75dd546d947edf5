"""What a killed training goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard_vision.engines.training.checkpoints import read_checkpoint, write_checkpoint

HISTORY = [{"epoch": 1.0, "map50": 0.5}, {"epoch": 2.0, "map50": 0.25}]


@pytest.mark.parametrize("best_is_last", [True, False])
def test_a_checkpoint_brings_back_the_last_weights_the_best_and_the_history(
    best_is_last: bool, tmp_path: Path
) -> None:
    run, again, folder = tmp_path / "run", tmp_path / "again", tmp_path / "checkpoint"
    (run / "weights").mkdir(parents=True)
    best = b"of epoch 2" if best_is_last else b"of epoch 1"
    (run / "weights" / "last.pt").write_bytes(b"of epoch 2")
    (run / "weights" / "best.pt").write_bytes(best)
    (run / "results.csv").write_text("epoch\n1\n2\n")
    write_checkpoint(run, HISTORY, folder, best_is_last=best_is_last)
    assert (folder / "best.pt").exists() != best_is_last, "the same weights are not kept twice"
    assert read_checkpoint(folder, again) == HISTORY
    assert (again / "weights" / "last.pt").read_bytes() == b"of epoch 2"
    assert (again / "weights" / "best.pt").read_bytes() == best
    assert (again / "results.csv").read_text() == "epoch\n1\n2\n"
