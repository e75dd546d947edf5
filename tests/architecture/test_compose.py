"""What docker-compose.yml and the Dockerfiles promise, read from the files; whether it runs is tried with an engine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from callboard_embedded.members import TRAINING_MALLOC, WORKERS
from callboard_gateway.settings import ServerSettings
from callboard_shared.settings import ModelSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("callboard-")}
BUILT = {name: one for name, one in OURS.items() if "build" in one and "profiles" not in one}
BY_DEFAULT = {name: one for name, one in SERVICES.items() if "profiles" not in one}
ONE_SHOT = {"nlp-models", "vision-models", "minio-bucket", "local-llm-model"}
ROOT_IN_THEIR_IMAGE = {"minio", "local-llm"}
SECRETS = ("CALLBOARD_REDIS_PASSWORD", "CALLBOARD_ADMIN_KEY", "CALLBOARD_OPERATOR_PASSWORD")
FIXED = {
    "CALLBOARD_HOME", "CALLBOARD_FILES_DIR", "CALLBOARD_CACHE_DIR", "CALLBOARD_MODELS_DIR",
    "CALLBOARD_DEFAULT_MODELS_DIR", "CALLBOARD_SHUTDOWN_GRACE_S", "CALLBOARD_GATEWAY_GRACE_S",
    "CALLBOARD_HOST", "CALLBOARD_PORT", "CALLBOARD_HEALTH_FILE",
}  # fmt: skip
"""By the images, or by stop_grace_period."""


def composes() -> bool:
    """Whether the command is there; `config` needs no engine."""
    command = ["docker", "compose", "version"]
    return (
        shutil.which("docker") is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def dockerfile(service: dict[str, Any]) -> str:
    return (ROOT / service["build"]["dockerfile"]).read_text("utf-8")


def final_stage(service: dict[str, Any]) -> str:
    return dockerfile(service).split("\nFROM ")[-1]


@pytest.fixture(scope="module")
def init() -> ModuleType:
    spec = importlib.util.spec_from_file_location("init", ROOT / "deploy" / "init.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_part_of_the_stack_has_its_service() -> None:
    assert set(BY_DEFAULT) == {
        "gateway", "nlp-worker", "nlp-trainer", "llm-worker", "vision-worker", "vision-trainer", "courier", "redis",
        "nlp-models", "vision-models",
    }  # fmt: skip
    profiles = {profile for one in SERVICES.values() for profile in one.get("profiles", [])}
    assert profiles == {"gpu", "observability", "s3", "local-llm"}


@pytest.mark.parametrize("package", ["nlp", "vision"])
def test_what_trains_keeps_its_memory_as_in_the_embedded_stack(package: str) -> None:
    environment = SERVICES[f"{package}-trainer"]["environment"]
    assert {name: environment[name] for name in TRAINING_MALLOC} == TRAINING_MALLOC
    role = WORKERS[f"{package}-train"]
    assert TRAINING_MALLOC.items() <= role.env.items()
    assert environment[f"CALLBOARD_{package.upper()}_QUEUES"] == ",".join(role.queues)


@pytest.mark.parametrize(
    ("service", "title"),
    [
        ("gateway", "The gateway"), ("nlp-worker", "The NLP worker"), ("llm-worker", "The LLM and speech worker"),
        ("vision-worker", "The vision worker"), ("courier", "The courier"),
    ],
)  # fmt: skip
def test_every_setting_that_a_service_reads_is_passed_to_it(service: str, title: str) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    named = {
        heading: set(re.findall(r"^\| `([A-Z_0-9]+)`", part, re.M))
        for heading, part in re.findall(r"^## (.+)\n([^#]+)", text, re.M)
    }
    workers_only = {
        f"CALLBOARD_{name.upper()}" for name in (*WorkerSettings.model_fields, *ModelSettings.model_fields)
    }
    wanted = named[title] | (named["Every process"] - (workers_only if service == "gateway" else set()))
    queues = {"CALLBOARD_NLP_QUEUES", "CALLBOARD_VISION_QUEUES"}
    assert wanted - FIXED - queues - set(SERVICES[service]["environment"]) == set()


def test_providers_keys_are_their_workers_alone() -> None:
    for name in ("OPENAI_API_KEY", "ELEVENLABS_API_KEY"):
        assert [one for one, service in SERVICES.items() if name in service.get("environment", {})] == [
            "llm-worker"
        ]


@pytest.mark.parametrize("name", [name for name in SERVICES if name.endswith("-gpu")])
def test_a_gpu_is_reserved_as_every_compose_understands(name: str) -> None:
    (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert SERVICES[name]["image"].endswith("-gpu")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits_and_an_image_of_no_certain_registry(name: str) -> None:
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    first = SERVICES[name]["image"].split("/")[0]
    assert "/" not in SERVICES[name]["image"] or not re.search(r"[.:]", first)


@pytest.mark.parametrize(
    "name", ["nlp-worker", "nlp-trainer", "llm-worker", "vision-worker", "vision-trainer", "courier"]
)
def test_what_asks_providers_or_fetches_has_a_way_out_and_reaches_the_ledger(name: str) -> None:
    assert set(SERVICES[name]["networks"]) == {"inside", "egress"}
    assert not (COMPOSE["networks"]["egress"] or {}).get("internal")


def test_the_ledger_is_on_a_network_without_a_way_out() -> None:
    assert SERVICES["redis"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


@pytest.mark.skipif(not composes(), reason="`docker compose` does not run on this machine")
@pytest.mark.parametrize("profile", ["", "gpu", "observability", "s3", "local-llm"])
def test_compose_itself_reads_the_file_and_refuses_without_a_secret(profile: str) -> None:
    def config(**secrets: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", "--env-file", os.devnull, "--profile", profile, "config", "--quiet"]
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env={**environment, **secrets}, check=False
        )

    assert config(**dict.fromkeys(SECRETS, "x")).returncode == 0
    for missing in SECRETS:
        refused = config(**dict.fromkeys(set(SECRETS) - {missing}, "x"))
        assert refused.returncode != 0
        assert f"{missing} is missing" in refused.stderr.replace("required variable ", "").replace(
            " a value", ""
        )


def test_only_the_gateway_has_a_port_and_it_is_on_loopback_unless_said() -> None:
    assert [name for name, service in BY_DEFAULT.items() if "ports" in service] == ["gateway"]
    others = [port for one in SERVICES.values() if "profiles" in one for port in one.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in others)
    assert SERVICES["gateway"]["ports"] == ["${CALLBOARD_HOST:-127.0.0.1}:${CALLBOARD_PORT:-8000}:8000"]
    assert all("network_mode" not in service for service in SERVICES.values())


def test_every_service_scales_since_none_has_a_name_of_its_own() -> None:
    assert all("container_name" not in service and "hostname" not in service for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert name in ROOT_IN_THEIR_IMAGE or re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in service
    assert "cap_add" not in service
    mounts = [
        volume for volume in service.get("volumes", []) if volume.split(":")[0] not in COMPOSE["volumes"]
    ]
    assert all(re.fullmatch(r"\./deploy/observability/\S+:ro", mount) for mount in mounts)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_longer_to_end_than_it_gives_itself(name: str) -> None:
    seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    graces = (WorkerSettings.model_fields["shutdown_grace_s"], ServerSettings.model_fields["gateway_grace_s"])
    assert all(seconds >= field.default + 10 for field in graces)
    assert "SHUTDOWN_GRACE" not in TEXT.split("services:")[1]


@pytest.mark.parametrize("name", OURS)
def test_ours_wait_for_a_healthy_ledger_and_share_the_files(name: str) -> None:
    if name not in ONE_SHOT:
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert "files:/var/lib/callboard/files" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", ["nlp-worker", "nlp-trainer", "vision-worker", "vision-trainer"])
def test_models_are_made_before_the_workers_that_use_them_start(name: str) -> None:
    models = f"{name.split('-', maxsplit=1)[0]}-models"
    assert SERVICES[name]["depends_on"][models] == {"condition": "service_completed_successfully"}
    assert "default_models || echo" in SERVICES[models]["command"][-1], (
        "without them the others start all the same"
    )
    assert "cache:/var/lib/callboard/cache" in SERVICES[models]["volumes"]


def test_the_ledger_keeps_what_it_accepted_and_takes_nobody_without_a_password() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "user default on resetpass ~* &* +@all" in command, "as this user Redis plays its file back"
    assert "-@admin -@dangerous" in command
    assert "+sync +psync +replconf" in command  # what docs/backup.md copies the ledger with
    assert "$CALLBOARD" not in command, "a password on a command line can be read by others"
    assert "${" not in command
    assert "redis:/data" in SERVICES["redis"]["volumes"]


def test_no_secret_has_a_default_and_a_missing_one_says_how_to_make_it() -> None:
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", TEXT)
        assert uses
        assert set(uses) == {":?is missing; run make init"}
    assert [
        name for name, service in SERVICES.items() if "CALLBOARD_ADMIN_KEY" in service.get("environment", {})
    ] == ["gateway"]


@pytest.mark.parametrize("name", BUILT)
def test_an_image_is_locked_hashed_and_runs_without_rights(name: str) -> None:
    text, last = dockerfile(BUILT[name]), final_stage(BUILT[name])
    folder = Path(BUILT[name]["build"]["dockerfile"]).parent
    assert (ROOT / folder / "requirements.lock").exists()
    installs = [
        line for line in text.replace("\\\n", " ").splitlines() if re.search(r"\binstall\b.* -r ", line)
    ]
    unhashed = [line for line in installs if "--require-hashes" not in line]
    assert all("requirements-torch.lock" in line for line in unhashed), (
        "only torch: each index has its own files"
    )
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) <= {"${BASE}", "dependencies", "scratch"}
    assert "pip " not in last
    assert text.index("requirements.lock ./") < text.index("COPY shared"), (
        "a change of code installs nothing anew"
    )
    assert "default_models" not in text, "models live in a volume"
    assert "install -d -o 10001 -g 10001" in text
    version = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["version"]
    assert f'image.version="{version}"' in last
    assert "apt-get" not in last
    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert re.search(r"^HEALTHCHECK ", last, re.M)
    assert "# syntax" not in text


def test_the_images_are_of_the_python_that_the_locks_are_made_for() -> None:
    for service in BUILT.values():
        folder = ROOT / Path(service["build"]["dockerfile"]).parent
        base = re.search(r"^ARG BASE=python:(\d+\.\d+)-slim", dockerfile(service), re.M)
        locked = re.search(r"for Python (\d+\.\d+) on", (folder / "requirements.lock").read_text())
        assert base
        assert locked
        assert base[1] == locked[1]


def test_the_gateway_image_holds_no_worker() -> None:
    copied = re.findall(r"^COPY (.*)$", dockerfile(OURS["gateway"]), re.M)
    assert not [line for line in copied if re.search(r"nlp|llm|vision|courier|worker", line)]


def test_what_images_install_besides_their_locks_is_pinned_as_everywhere() -> None:
    constraints = (ROOT / "constraints.txt").read_text().lower()
    for path in (
        ROOT / "services/requirements-build.lock",
        ROOT / "services/nlp_worker/requirements-offline.lock",
        ROOT / "services/llm_worker/requirements-offline.lock",
        ROOT / "services/vision_worker/requirements-offline.lock",
    ):
        pins = re.findall(r"^(\S+==\S+) \\\n +--hash=sha256:[0-9a-f]{64}", path.read_text(), re.M)
        assert pins
        assert [pin for pin in pins if f"\n{pin.lower()}\n" not in constraints] == []


def test_only_what_images_need_reaches_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert "**/.env*" in lines
    allowed = {line[1:].split("/")[0] for line in lines if line[0] == "!"}
    assert allowed == {"shared", "services", "deploy", "constraints.txt"}
    for service in BUILT.values():
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile(service), re.M):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_the_example_settings_fit_a_page_and_hold_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    assert len(lines) < 25
    assert [line for line in lines if line and line[0] != "#"] == [f"{name}=" for name in SECRETS]


def test_init_makes_secrets_that_only_the_owner_reads(init: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text((ROOT / ".env.example").read_text("utf-8"), "utf-8")
    init.main(tmp_path)
    made = tmp_path / ".env"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    values = dict(re.findall(r"^(\w+)=(.*)$", made.read_text("utf-8"), re.M))
    assert set(values) == set(SECRETS)
    assert all(re.fullmatch(r"[\w-]{43,}", value) for value in values.values()), (
        "safe in URLs and in .env files"
    )
    assert re.fullmatch(r"cb_[a-z2-7]{8}_[\w-]{43}", values["CALLBOARD_ADMIN_KEY"])
    assert len(made.read_text("utf-8").splitlines()) == len(
        (ROOT / ".env.example").read_text("utf-8").splitlines()
    )


def test_init_changes_nothing_that_stands_there(
    init: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = (
        "OPENAI_API_KEY=sk-mine\nCALLBOARD_REDIS_PASSWORD=chosen\nCALLBOARD_ADMIN_KEY= \n"
        "CALLBOARD_OPERATOR_PASSWORD=mine\nCALLBOARD_PORT=8001"
    )
    (tmp_path / ".env").write_text(mine)
    init.main(tmp_path)
    text = (tmp_path / ".env").read_text()
    assert text.splitlines()[:2] == mine.splitlines()[:2]
    assert re.fullmatch(r"CALLBOARD_ADMIN_KEY=cb_\S+", text.splitlines()[2])
    assert text.endswith("CALLBOARD_PORT=8001")
    init.main(tmp_path)
    assert (tmp_path / ".env").read_text() == text
    assert "nothing was changed" in capsys.readouterr().out


def test_the_services_are_those_that_have_a_distribution() -> None:
    for service in BUILT.values():
        folder = ROOT / Path(service["build"]["dockerfile"]).parent
        name = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]
        assert f'"{name.replace("-", "_")}"]' in final_stage(service)
