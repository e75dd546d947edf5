"""infinity-emb in an environment of its own, made on first use in .venv/bench-infinity (some 350 MB).

It cannot share Callboard's: it wants an older numpy, transformers and click. What is large and the same in both, torch,
is linked from Callboard's environment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.processes import ROOT, Failed, output, running, wait_until
from bench.rivals.bare import listens
from callboard_embedded.ports import free_port

HOME = ROOT / ".venv" / "bench-infinity"
PINS = Path(__file__).with_name("rivals") / "infinity.txt"
INSTALL_S, EXPORT_S, START_S = 900.0, 180.0, 120.0
ENV = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TQDM_DISABLE": "1"}
_TORCH = re.compile(
    r"(torch|torchgen|functorch|nvidia|triton|cuda)$|(torch|triton|nvidia_\w+|cuda_\w+)-[\d.]+\.dist-info$"
)
Settings = Mapping[str, Any]


def version() -> str:
    """As it is pinned."""
    found = re.search(r"^infinity-emb==(\S+)", PINS.read_text(), re.MULTILINE)
    return found[1] if found else "?"


def prepare(model: Path) -> None:
    """Make the environment, and the model's ONNX form for its faster engine, unless they are there. Raises ``Failed``."""
    made_from = hashlib.sha256(f"{sys.version} {sys.prefix} {model}\n{PINS.read_text()}".encode()).hexdigest()
    stamp = HOME / "made-from"
    if stamp.exists() and stamp.read_text() == made_from:
        return
    print(f"making infinity-emb's environment in {HOME} (once; some 350 MB)", file=sys.stderr)
    shutil.rmtree(HOME, ignore_errors=True)
    output(("-m", "venv", "--without-pip", str(HOME)), {}, INSTALL_S)
    install = (
        "-m", "pip", "--python", _python(), "install", "--quiet", "--no-deps", "--only-binary", ":all:"
    )  # fmt: skip
    output((*install, "-r", str(PINS)), {}, INSTALL_S)
    _link_torch()
    _onnx().mkdir()
    output(("-m", "bench.rivals.infinity_onnx", str(model), str(_onnx())), ENV, EXPORT_S, _python())
    stamp.write_text(made_from)


def rate(model: Path, texts: Path, settings: Settings, limit_s: float) -> float:
    """Texts a second of the engine in one process. Raises ``Failed``."""
    args = {
        **settings,
        "model_name_or_path": _folder(model, settings),
        "pooling_method": "mean",
        "model_warmup": False,
    }
    command = ("-m", "bench.rivals.infinity_embed", str(texts), json.dumps(args))
    return float(output(command, ENV, limit_s, _python()).split()[-1])


@contextmanager
def serving(model: Path, settings: Settings) -> Iterator[str]:
    """infinity's own server; the URL to POST {"model": "bench", "input": [text]} to. Raises ``Failed`` when it
    does not start."""
    port = free_port()
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in settings.items()
        if not isinstance(value, bool)
    ]
    options += [
        f"--{'' if value else 'no-'}{name}" for name, value in settings.items() if isinstance(value, bool)
    ]
    command = (
        "-c", "from infinity_emb.cli import cli; cli()", "v2", "--model-id", _folder(model, settings),
        "--served-model-name", "bench", "--host", "127.0.0.1", "--port", str(port), "--pooling-method", "mean",
        "--no-model-warmup", "--log-level", "error", *options,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with running(command, ENV, log, _python()) as server:

            def ready() -> bool:
                if server.poll() is not None:
                    raise Failed(f"infinity's server: {log.read_text(errors='replace')[-400:]}")
                return listens(port)

            wait_until(ready, START_S, "infinity's server listens", 0.2)
            yield f"http://127.0.0.1:{port}/embeddings"


def _folder(model: Path, settings: Settings) -> str:
    return str(_onnx() if settings["engine"] == "optimum" else model)


def _python() -> str:
    return str(HOME / "bin" / "python")


def _onnx() -> Path:
    return HOME / "onnx"


def _link_torch() -> None:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Failed("torch is not installed")
    (own,) = HOME.glob("lib/python*/site-packages")
    for path in Path(spec.origin).parents[1].iterdir():
        if _TORCH.match(path.name):
            (own / path.name).symlink_to(path)
