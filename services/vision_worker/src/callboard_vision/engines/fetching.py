"""What ultralytics publishes, by name.

    python -m callboard_vision.engines.fetching NAME TARGET CACHE

is the process of its own in which it is fetched: the only one of ours in which ultralytics may ask a network. Such
weights are pickles too. They come only by the names that ultralytics itself lists, over https from its own releases;
what came is recorded by its sha256, and nothing else in that place is read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from callboard_shared.errors import FinalError, RetryableError
from callboard_shared.models import looking
from callboard_shared.models.trusted import sha256_of
from callboard_shared.settings import ModelSettings
from callboard_vision.engines.export import locked
from callboard_vision.settings import VisionSettings

log = structlog.get_logger(__name__)
_FETCH_S = 900


def fetched(name: str) -> Path:
    """The local file of weights that ultralytics publishes, fetched if it is not here yet. An architecture has no file:
    its name is given back as it is.

    Raises FinalError ``model-unavailable`` where no network may be asked, RetryableError of the same code where one
    does not answer."""
    found = looking.published(name)
    if found is None:
        raise FinalError(f"Ultralytics publishes no model {name!r}.", code="unknown-model")
    full, task = found
    if task == "architecture":
        return Path(full)
    models = ModelSettings()
    target = models.fetched_weights_path / full
    if was_fetched(target):
        return target
    if VisionSettings().offline:
        raise FinalError(
            f"Model {full} is not on this machine, and no network is asked (CALLBOARD_OFFLINE). {_cure(full, models)}",
            code="model-unavailable",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_suffix(".lock")):
        if not was_fetched(target):
            _fetch(full, target, models)
    return target


def was_fetched(path: Path) -> bool:
    """Whether the file is what was fetched, by the sha256 that was recorded then."""
    try:
        return _record(path).read_text().strip() == sha256_of(path)
    except OSError:
        return False


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _cure(full: str, models: ModelSettings) -> str:
    stem = Path(full).stem
    return (
        f"Where there is a network, make {stem}.onnx with `yolo export model={full} format=onnx dynamic=True`, and put "
        f"it at {models.models_path / stem}.onnx; or put {full} there, and its sha256 into "
        "CALLBOARD_VISION_TRUSTED_WEIGHTS."
    )


def _fetch(full: str, target: Path, models: ModelSettings) -> None:
    log.info("model.fetching", model=full)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as scratch:
        unfinished = Path(scratch) / full
        command = [sys.executable, "-m", __name__, full, str(unfinished), str(models.cache_path)]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=_FETCH_S, check=False, cwd=scratch
            )
            reason = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            reason = f"not done after {_FETCH_S} s"
        if not unfinished.is_file():
            raise RetryableError(
                f"Model {full} is not on this machine and could not be fetched ({reason}). {_cure(full, models)}",
                code="model-unavailable",
            )
        _record(target).write_text(sha256_of(unfinished))
        os.replace(unfinished, target)
    log.info("model.fetched", model=full, file=str(target))


def main(full: str, target: Path, cache: Path) -> None:
    from callboard_vision.engines.quiet_ultralytics import ultralytics

    ultralytics(cache, online=True)
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if full not in GITHUB_ASSETS_NAMES:
        sys.exit(f"{full} is none of the names that ultralytics lists")
    attempt_download_asset(str(target))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:4]))
