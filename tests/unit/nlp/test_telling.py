"""A training that nobody watches."""

from __future__ import annotations

from pathlib import Path

from callboard_nlp.engines.telling import silent


def test_a_checkpoint_that_nobody_wants_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    silent().save(folder, 7)
    assert list(tmp_path.iterdir()) == []
