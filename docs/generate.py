"""Writes what the documentation repeats from the code: `make docs`; with ``--check`` it only says what has drifted.

Each generated part stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``; the rest of a page is
written by hand.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from callboard_shared.jobs import CATALOGUE, JobType
from callboard_shared.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
KOREAN = json.loads((ROOT / "docs" / "job-types.ko.json").read_text("utf-8"))

SETTINGS = {
    "Every process": [
        "callboard_shared.settings",
        "callboard_shared.files",
        "callboard_shared.s3_store",
        "callboard_shared.models.shelf",
        "callboard_shared.pictures",
        "callboard_shared.models.trusted",
        "callboard_shared.tracing",
    ],
    "The gateway": ["callboard_gateway.settings", "callboard_gateway.metrics"],
    "The NLP worker": ["callboard_nlp.settings"],
    "The LLM and speech worker": ["callboard_llm.settings"],
    "The vision worker": ["callboard_vision.settings"],
    "The courier": ["callboard_courier.settings"],
    "The embedded stack (`make run`)": ["callboard_embedded.settings"],
}


def job_types(summary: Callable[[JobType[Any, Any]], str], headings: tuple[str, str, str, str]) -> str:
    """The table of job types, from the catalogue."""
    rows = [
        f"| `{one.name}` | {summary(one)} | {_fields(one.input.model_fields)} | {_names(one.output.model_fields)} |"
        for one in CATALOGUE
    ]
    return "\n".join([f"| {' | '.join(headings)} |", "|---|---|---|---|", *rows])


def _fields(fields: dict[str, FieldInfo]) -> str:
    return ", ".join(f"`{name}`{_bracketed(field)}" for name, field in fields.items())


def _bracketed(field: FieldInfo) -> str:
    """A default in brackets, where there is one worth telling."""
    if field.is_required() or field.default in (None, []):
        return ""
    value = field.get_default(call_default_factory=True)
    return f" [{value}]" if isinstance(value, str) else f" [{json.dumps(value)}]"


def _names(fields: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in fields)


def settings() -> str:
    """All settings by the process that reads them; one that several groups share stands where it comes first."""
    shown: set[str] = set()
    parts = []
    for title, modules in SETTINGS.items():
        rows = [row for group in _groups(modules) for row in _rows(group, shown)]
        parts.append(
            "\n".join([f"## {title}", "", "| variable | default | what it is |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def _groups(modules: list[str]) -> Iterator[type[Settings]]:
    for name in modules:
        members = vars(importlib.import_module(name)).values()
        for member in members:
            if isinstance(member, type) and issubclass(member, Settings) and member.__module__ == name:
                yield member


def _rows(group: type[Settings], shown: set[str]) -> Iterator[str]:
    fields = group.model_fields
    about = " ".join((group.__doc__ or "").split()) if len(fields) == 1 else ""
    for name, field in fields.items():
        variable = _variable(name, field)
        if variable in shown:
            continue
        shown.add(variable)
        text = (field.description or about).replace("|", "\\|").replace("``", "`")
        yield f"| `{variable}` | {_default(field)} | {text} |"


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]  # type: ignore[assignment]
    return str(alias) if alias else f"CALLBOARD_{name.upper()}"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "by the machine"
    value = field.default
    if value is None or value is PydanticUndefined or value in ("", (), {}):
        return "–"
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`"


def metrics() -> str:
    """Every metric of the gateway's ``/metrics``."""
    table = importlib.import_module("callboard_gateway.metric_table").METRICS
    rows = [
        f"| `{one.exposed}` | {one.kind} | {_names(dict.fromkeys(one.labels))} | {one.help} |"
        for one in table
    ]
    return "\n".join(["| metric | kind | labels | what it is |", "|---|---|---|---|", *rows])


def sizes(text: str) -> str:
    """What a first `make` costs, from the figures that the set-up itself prints."""
    sys.path.append(str(ROOT / "deploy" / "embedded"))
    bootstrap = importlib.import_module("bootstrap")
    costs, minutes = bootstrap.COSTS, bootstrap.minutes
    small, large = ([costs[kind][i] + costs["run"][i] for i in (0, 1)] for kind in ("cpu", "cuda"))
    return text.format(
        download=f"{small[0] / 1000:.1f}", disk=f"{small[1] / 1000:.1f}", minutes=minutes(small[0]),
        cuda_download=f"{large[0] / 1000:.1f}", cuda_disk=f"{large[1] / 1000:.1f}", cuda_minutes=minutes(large[0]),
        computing=bootstrap.MAKING_MINUTES,
        test_download=f"{costs['dev'][0] / 1000:.1f}", test_disk=f"{costs['dev'][1] / 1000:.1f}",
    )  # fmt: skip


ENGLISH_SIZES = (
    "The first `make` downloads about {download} GB and fills {disk} GB of disk, in about {minutes} min on a "
    "100 Mbit/s line (`make test` adds {test_download} GB and {test_disk} GB). With an NVIDIA GPU, or where the "
    "index of CPU builds of torch cannot be reached, it is {cuda_download} GB, {cuda_disk} GB and about "
    "{cuda_minutes} min. Sizes on disk with CUDA are measured; those with the CPU builds, and the downloads and "
    "minutes, are estimates. Then some default models are trained here, in about {computing} min on 2 cores."
)
KOREAN_SIZES = (
    "첫 `make`는 약 {download} GB를 내려받고 디스크를 {disk} GB 쓰며, 100 Mbit/s 회선에서 {minutes}분쯤 걸립니다"
    "(`make test`는 여기에 {test_download} GB와 {test_disk} GB를 더합니다). NVIDIA GPU가 있거나 torch의 CPU "
    "빌드 인덱스에 닿을 수 없으면 {cuda_download} GB, {cuda_disk} GB, {cuda_minutes}분쯤입니다. "
    "CUDA 빌드의 디스크 크기는 측정값이고, CPU 빌드의 크기와 내려받기 크기, 시간은 추정값입니다. "
    "그다음 기본 모델 몇 개를 여기서 학습합니다(코어 2개로 {computing}분쯤)."
)


def pages() -> dict[Path, dict[str, str]]:
    """Every page that has generated parts, and what stands in them."""
    english = job_types(lambda one: one.summary, ("type", "what it does", "input [default]", "output"))
    korean = job_types(
        lambda one: KOREAN.get(one.name, one.summary), ("작업 유형", "하는 일", "입력 [기본값]", "출력")
    )
    return {
        ROOT / "README.md": {"job-types": english, "sizes": sizes(ENGLISH_SIZES)},
        ROOT / "README.ko.md": {"job-types": korean, "sizes": sizes(KOREAN_SIZES)},
        ROOT / "docs" / "configuration.md": {"settings": settings()},
        ROOT / "docs" / "observability.md": {"metrics": metrics()},
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """``text`` with its marked parts replaced. Raises ValueError if a mark is missing."""
    for name, content in parts.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{begin} and {end} must each stand in the page once")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
    return text


def main(check: bool) -> int:
    drifted = []
    for path, parts in pages().items():
        now = path.read_text("utf-8")
        wanted = filled(now, parts)
        if wanted != now:
            drifted.append(path.relative_to(ROOT))
            if not check:
                path.write_text(wanted, "utf-8")
    for path in drifted:
        print(f"{path} {'has drifted from the code: run make docs' if check else 'written anew'}")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
