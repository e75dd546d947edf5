"""Row group l: vision.detect, one photo a job, beside ultralytics in one process on the same model and cores; its latency
on an idle system; the worker's memory."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil

from bench.load import Job
from bench.processes import output
from bench.report import Row, absent, at_least, at_most, plain
from bench.scale import Scale
from bench.stack import VISION_ONLY, Measured, stack
from bench.wire import Wire
from callboard_shared.jobs.vision import DEFAULT_DETECTOR
from callboard_shared.settings import ModelSettings, cpu_count

GROUP = (
    "l. vision.detect with the default model, one 640 × 480 JPEG a job, end to end; ultralytics runs alone"
)
CLIENTS, BATCH = 16, 16
WIDTH, HEIGHT, PHOTOS = 640, 480, 32
P50_MS = 25.0
CALLBOARD = f"Callboard, {CLIENTS} clients that each wait for their result"
BATCHED, SINGLE = f"model.predict, {BATCH} a call", "model.predict, one a call"
IDLE_S = (0.02, 0.05)


def rows(scale: Scale) -> Iterator[Row]:
    """ultralytics (nothing of Callboard running) and Callboard in turn; the medians are compared."""
    model = ModelSettings().default_models_path / DEFAULT_DETECTOR
    if not (model / "model.onnx").is_file():
        yield absent(GROUP, CALLBOARD, "the default detector is not made (make models)")
        return
    runs: dict[str, list[float]] = defaultdict(list)
    photos = _photos()
    jobs = [_job(photo) for photo in photos]
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as home:
        folder = Path(home)
        for number, photo in enumerate(photos):
            (folder / f"{number:02}.jpg").write_bytes(photo)
        engine_ms = _own_ms(model, folder)
        for _ in range(scale.rounds):
            for name, batch in ((BATCHED, BATCH), (SINGLE, 1)):
                runs[name].append(_bare(model, folder, batch, scale.photos))
            with stack(VISION_ONLY) as running:
                _rate(running, jobs, 4 * CLIENTS)
                runs[CALLBOARD].append(_rate(running, jobs, scale.photos))
                idle = _idle_ms(running, jobs, scale.idle_requests)
                memory = _worker_megabytes(running)
    for name in (BATCHED, SINGLE):
        yield plain(GROUP, name, runs[name], "photos/s")
    for name, factor in ((BATCHED, 0.85), (SINGLE, 1.0)):
        yield at_least(
            GROUP, CALLBOARD, runs[CALLBOARD], "photos/s", statistics.median(runs[name]), factor, name
        )
    yield plain(GROUP, "the engine's own time for one photo, p50", [engine_ms], "ms")
    cuts = statistics.quantiles(idle, n=100, method="inclusive")
    yield at_most(
        GROUP, f"idle: submit → result, less that: p50 of {len(idle)}", cuts[49] - engine_ms, "ms", P50_MS
    )
    yield plain(GROUP, "idle: submit → result, less that: p99", [cuts[98] - engine_ms], "ms")
    yield plain(GROUP, "vision worker, all processes", [memory], "MB")
    yield plain(GROUP, "the model's weights on disk", [(model / "model.onnx").stat().st_size / 1e6], "MB")


def _photos() -> list[bytes]:
    """Parts of the two photos in ultralytics' wheel, as JPEG; no two alike."""
    spec = importlib.util.find_spec("ultralytics")
    locations = (spec.submodule_search_locations if spec else None) or []
    assets = Path(next(iter(locations))) / "assets"
    chance = random.Random(1)
    made = []
    for number in range(PHOTOS):
        photo = cv2.imread(str(assets / ("bus.jpg", "zidane.jpg")[number % 2]))
        if photo is None:
            raise RuntimeError(f"ultralytics has no photos in {assets}")
        height, width = photo.shape[:2]
        side = int(min(height / 3, width / 4) * chance.uniform(0.7, 1))
        left, top = chance.randrange(width - 4 * side + 1), chance.randrange(height - 3 * side + 1)
        part = cv2.resize(photo[top : top + 3 * side, left : left + 4 * side], (WIDTH, HEIGHT))
        made.append(cv2.imencode(".jpg", part)[1].tobytes())
    return made


def _job(photo: bytes) -> Job:
    return {"type": "vision.detect", "input": {"image": {"base64": base64.b64encode(photo).decode()}}}


def _rate(running: Measured, jobs: Sequence[Job], count: int) -> float:
    """Photos a second from so many clients, each of which waits for its result before it sends the next."""
    left = iter(range(count))

    def client() -> None:
        with running.wire() as connection:
            for number in left:
                _result(connection, jobs[number % len(jobs)])

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()
    return count / (time.perf_counter() - start)


def _result(connection: Wire, job: Job) -> None:
    answer = connection.exchange(
        connection.prepared("POST", "/v1/jobs", json.dumps(job).encode(), ("Prefer: wait=60",))
    )
    if answer.status != 200 or answer.json()["status"] != "succeeded":
        raise RuntimeError(f"vision.detect was answered {answer.status}: {answer.body[:300]!r}")


def _bare(model: Path, folder: Path, batch: int, count: int) -> float:
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as config:
        env = {
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "false",
            "YOLO_CONFIG_DIR": config,
        }
        command = ("-m", "bench.rivals.bare_ultralytics", str(model), str(folder), str(batch), str(count))
        return float(output(command, env).split()[-1])


def _own_ms(model: Path, folder: Path) -> float:
    """Of the worker's engine, in this process: from a decoded photo to findings."""
    from callboard_vision.engines import Options, open_detector

    detector = open_detector(model, threads=cpu_count(), cache=ModelSettings().cache_path)
    pictures = [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted(folder.glob("*.jpg"))]
    took = []
    for picture in pictures * 3:
        start = time.perf_counter()
        detector.detect([picture], [Options()])
        took.append((time.perf_counter() - start) * 1e3)
        time.sleep(IDLE_S[0])
    return statistics.median(took[10:])


def _idle_ms(running: Measured, jobs: Sequence[Job], count: int) -> list[float]:
    """Milliseconds from request to result, one after the other, with a pause between them."""
    found = []
    with running.wire() as connection:
        for number in range(count + 20):
            start = time.perf_counter()
            _result(connection, jobs[number % len(jobs)])
            found.append((time.perf_counter() - start) * 1e3)
            time.sleep(random.uniform(*IDLE_S))
    return found[20:]


def _worker_megabytes(running: Measured) -> float:
    """Proportional sets, which count shared pages once."""
    for member in psutil.Process(running.pid).children():
        if "callboard_vision" in " ".join(member.cmdline()):
            return sum(one.memory_full_info().pss for one in [member, *member.children(recursive=True)]) / 1e6
    raise RuntimeError("no vision worker is running")
