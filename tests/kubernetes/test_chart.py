"""The Helm chart: what it renders is valid, hardened, scaled as it says, and knows every setting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rendering import CHART, ROOT, Documents, Render

from callboard_shared.jobs import QUEUES

OLDEST, NEWEST = "1.29", "1.37"
KEDA = {"keda.sh", "monitoring.coreos.com"}
VARIATIONS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "with KEDA": ("keda.enabled=true",),
    "on GPUs": ("keda.enabled=true", "workers.nlp.gpu=1", "workers.vision.gpu=2", "workers.nlp-train.gpu=1"),
    "in a bucket": ("files.url=s3://bucket/prefix", "settings.AWS_REGION=here"),
    "a Redis elsewhere": ("redis.enabled=false",),
    "a Redis at an address": ("redis.enabled=false", 'networkPolicies.redisTo=[{"ipBlock":{"cidr":"10.1.2.3/32"}}]'),
    "without policies": ("networkPolicies.enabled=false",),
    "with an Ingress": ("ingress.enabled=true", "ingress.host=jobs.example", "ingress.tlsSecret=tls"),
    "with a ServiceMonitor": ("serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus"),
    "no models made": ("models.make=false",),
    "narrow": ("gateway.replicas=1", "workers.courier.replicas=1", 'networkPolicies.gatewayFrom=[{"podSelector":{}}]'),
    "a registry of one's own": ("image.registry=registry.example/cb/", "image.tag=7.1.0", 'image.pullSecrets=["pull"]'),
    "a language model inside": (
        "settings.OPENAI_BASE_URL=http://llm.models/v1",
        'networkPolicies.extraEgress=[{"to":[{"namespaceSelector":{"matchLabels":{"name":"models"}}}]}]',
    ),
}  # fmt: skip


OF_ALL_KINDS = {"as it is", "with an Ingress"}
"""Together they hold every kind of object that Kubernetes itself knows."""


def of_kind(documents: Documents, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in documents if one["kind"] in kinds]


def pods(documents: Documents) -> dict[str, dict[str, Any]]:
    """Pod specs by the component that they are."""
    makers = of_kind(documents, "Deployment", "StatefulSet", "Job")
    return {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"][
            "spec"
        ]
        for one in makers
    }


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {
        one["name"]: one.get("value", one.get("valueFrom")) for one in pod["containers"][0].get("env", [])
    }


WORKERS = yaml.safe_load((CHART / "values.yaml").read_text())["workers"]


@pytest.mark.parametrize("name", VARIATIONS)
def test_what_is_rendered_is_valid_in_old_and_new_clusters(render: Render, name: str) -> None:
    documents = render(*VARIATIONS[name])
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]
    assert len(names) == len(set(names)) and len(names) > 20
    for one in documents:
        if one["apiVersion"].partition("/")[0] not in KEDA:
            for version in (OLDEST, NEWEST) if name in OF_ALL_KINDS else (NEWEST,):
                kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_pod_is_hardened(render: Render, name: str) -> None:
    for component, pod in pods(render(*VARIATIONS[name])).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, component
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert not container["image"].endswith(":latest")
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert (
                mounted == {"tmp", "data"}
                if component == "redis"
                else mounted == {one["name"] for one in pod["volumes"]}
            )


def test_a_pod_has_longer_to_end_than_its_process_gives_itself(render: Render) -> None:
    found = pods(render("gateway.shutdownGraceSeconds=40", "workers.nlp.shutdownGraceSeconds=90"))
    for component, pod in found.items():
        if component in WORKERS:
            assert (
                pod["terminationGracePeriodSeconds"] > int(environment(pod)["CALLBOARD_SHUTDOWN_GRACE_S"]) + 5
            )
    gateway = found["gateway"]
    waits = int(gateway["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert gateway["terminationGracePeriodSeconds"] > waits + int(
        environment(gateway)["CALLBOARD_GATEWAY_GRACE_S"]
    )
    assert environment(found["nlp"])["CALLBOARD_SHUTDOWN_GRACE_S"] == "90"


def test_readiness_asks_for_work_and_the_gateways_life_does_not_hang_on_the_ledger(render: Render) -> None:
    found = pods(render())
    gateway = found["gateway"]["containers"][0]
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert (
        gateway["livenessProbe"]["httpGet"]["path"]
        == gateway["startupProbe"]["httpGet"]["path"]
        == "/healthz"
    )
    for name in WORKERS:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = found[name]["containers"][0][probe]
            assert asked["exec"]["command"] == ["python", "-I", "-S", "/opt/code/worker_health.py"]
            assert asked["timeoutSeconds"] >= 30
        alive = found[name]["containers"][0]["livenessProbe"]
        assert alive["periodSeconds"] * alive["failureThreshold"] >= 600, (
            "an outage of the ledger ends no training"
        )
    assert (ROOT / "deploy" / "worker_health.py").exists()


def test_every_queue_has_a_worker_and_every_worker_is_one_of_compose(render: Render) -> None:
    assert sorted(queue for worker in WORKERS.values() for queue in worker["queues"]) == sorted(QUEUES)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    images = {service["image"].partition(":")[0] for service in compose.values()}
    assert {pod["containers"][0]["image"].partition(":")[0] for pod in pods(render()).values()} <= images


def test_settings_reach_those_that_they_are_for(render: Render) -> None:
    found = pods(render("settings.CALLBOARD_LOG_LEVEL=DEBUG", "gateway.settings.CALLBOARD_RATE_LIMIT_PER_S=7",
                        "workers.llm.settings.OPENAI_BASE_URL=http://llm/v1", "workers.nlp.slots=3"))  # fmt: skip
    ours = {name: environment(pod) for name, pod in found.items() if name != "redis"}
    assert {one["CALLBOARD_LOG_LEVEL"] for one in ours.values()} == {"DEBUG"}
    assert [name for name, one in ours.items() if "CALLBOARD_RATE_LIMIT_PER_S" in one] == ["gateway"]
    assert [name for name, one in ours.items() if "OPENAI_BASE_URL" in one] == ["llm"]
    assert ours["nlp"]["CALLBOARD_NLP_CONCURRENCY"] == "3"
    assert "hugetlb" in ours["nlp-train"]["GLIBC_TUNABLES"] and "GLIBC_TUNABLES" not in ours["nlp"]


def test_secrets_come_by_reference_and_only_to_those_who_need_them(render: Render) -> None:
    documents = render()
    assert not of_kind(documents, "Secret")
    for name, pod in pods(documents).items():
        own = environment(pod)
        taken = {key for key, value in own.items() if isinstance(value, dict)}
        assert all(
            value["secretKeyRef"]["name"] == "secrets" for value in own.values() if isinstance(value, dict)
        )
        assert ("CALLBOARD_ADMIN_KEY" in taken) == (name == "gateway")
        assert ("OPENAI_API_KEY" in taken) == ("ELEVENLABS_API_KEY" in taken) == (name == "llm")
        if name in WORKERS or name == "gateway":
            assert (
                "CALLBOARD_REDIS_PASSWORD" in taken
                and "$(CALLBOARD_REDIS_PASSWORD)" in own["CALLBOARD_REDIS_URL"]
            )
            names = list(own)
            assert names.index("CALLBOARD_REDIS_PASSWORD") < names.index(
                "CALLBOARD_REDIS_URL"
            )  # or it is not filled in
    elsewhere = environment(pods(render("redis.enabled=false"))["nlp"])
    assert elsewhere["CALLBOARD_REDIS_URL"]["secretKeyRef"] == {
        "name": "secrets",
        "key": "CALLBOARD_REDIS_URL",
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((), "secrets.existing is missing"),
        (("secrets.existing=a", "gatway.replicas=3"), "gatway"),
        (("secrets.existing=a", "workers.nlp.replica=3"), "replica"),
        (("secrets.existing=a", "settings.OPENAI_API_KEY=sk-1"), "OPENAI_API_KEY"),
        (("secrets.existing=a", "gateway.settings.CALLBOARD_ADMIN_KEY=cb_1"), "CALLBOARD_ADMIN_KEY"),
        (("secrets.existing=a", "ingress.enabled=true"), "ingress.host is missing"),
        (("secrets.existing=a", "workers.nlp.autoscaling.target=0"), "target"),
    ],
)
def test_what_is_missing_or_misspelt_is_named(
    refuse: Callable[..., str], settings: tuple[str, ...], said: str
) -> None:
    assert said in refuse(*settings)


# --- network ---


def policies(documents: Documents) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"].removeprefix("cb-callboard-"): one["spec"]
        for one in of_kind(documents, "NetworkPolicy")
    }


def chosen(spec: dict[str, Any], component: str) -> bool:
    """Whether a policy is about a component's pods."""
    labels = {
        "app.kubernetes.io/name": "callboard",
        "app.kubernetes.io/instance": "cb",
        "app.kubernetes.io/component": component,
    }
    selector = spec["podSelector"]
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels[one["key"]] not in one["values"]
        for one in selector.get("matchExpressions", ())
        if one["operator"] == "NotIn"
    )


def test_nothing_is_reached_but_what_is_said(render: Render) -> None:
    rules = policies(render())
    components = [*WORKERS, "gateway", "redis", "nlp-models", "vision-models"]
    assert all(chosen(rules["nothing-else"], name) for name in components)
    assert (
        rules["nothing-else"]["policyTypes"] == ["Ingress", "Egress"]
        and "egress" not in rules["nothing-else"]
    )
    public = [name for name in components if chosen(rules["public"], name)]
    assert public == [*WORKERS, "nlp-models", "vision-models"]
    assert [name for name in components if chosen(rules["gateway"], name)] == ["gateway"]
    (to_redis,) = [
        rule for rule in rules["inside"]["egress"] if {"port": 6379, "protocol": "TCP"} in rule["ports"]
    ]
    assert to_redis["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "redis"
    assert not chosen(rules["inside"], "redis") and chosen(rules["redis"], "redis")
    assert chosen(policies(render("files.url=s3://b/p"))["public"], "gateway"), "which a bucket may need"


def test_what_is_public_is_no_address_inside(render: Render) -> None:
    (rule,) = policies(render())["public"]["egress"]
    assert [port["port"] for port in rule["ports"]] == [443, 8443]
    blocks = {to["ipBlock"]["cidr"]: to["ipBlock"]["except"] for to in rule["to"]}
    inside = {
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.64.0.0/10",
    }
    assert inside <= set(blocks["0.0.0.0/0"])
    assert blocks["2000::/3"] == [
        "2002::/16"
    ]  # fc00::/7, fe80::/10, ::1 and 64:ff9b::/96 lie outside 2000::/3


# --- scaling ---


def scaled(documents: Documents) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"].removeprefix("cb-callboard-"): one["spec"]
        for one in of_kind(documents, "ScaledObject")
    }


def metrics(figures: dict[str, tuple[int, int]]) -> str:
    lines = []
    for at, figure in enumerate(("ready", "running")):
        lines += [f"# HELP callboard_queue_{figure} Jobs", f"# TYPE callboard_queue_{figure} gauge"]
        lines += [
            f'callboard_queue_{figure}{{queue="{queue}"}} {both[at]}' for queue, both in figures.items()
        ]
    return "\n".join(lines) + "\n"


def value_at(text: str, location: str) -> float:
    """As KEDA reads it: a metric's name, and what its labels must be."""
    match = re.fullmatch(r'(\w+)\{queue="([a-z-]+)"\}', location)
    assert match, location
    (value,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == match[1] and sample.labels == {"queue": match[2]}
    ]
    return value


def wanted(spec: dict[str, Any], text: str) -> float:
    """The pods that the autoscaler asks for, before it rounds up and holds to the limits."""
    values = {one["name"]: value_at(text, one["metadata"]["valueLocation"]) for one in spec["triggers"]}
    modifiers = spec["advanced"]["scalingModifiers"]
    assert modifiers["metricType"] == "AverageValue"
    return float(eval(modifiers["formula"], {"__builtins__": {}}, values)) / float(modifiers["target"])


def test_every_worker_is_scaled_by_what_waits_and_runs_in_its_queues(render: Render) -> None:
    objects = scaled(render("keda.enabled=true"))
    assert objects.keys() == WORKERS.keys()
    text = metrics({queue: (30 + at, 2) for at, queue in enumerate(QUEUES)})
    for name, spec in objects.items():
        worker = WORKERS[name]
        jobs = sum(30 + QUEUES.index(queue) + 2 for queue in worker["queues"])
        assert wanted(spec, text) == pytest.approx(jobs / worker["slots"] / worker["autoscaling"]["target"])
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (
            worker["autoscaling"]["min"], worker["autoscaling"]["max"]
        )  # fmt: skip
        assert {one["metadata"]["url"] for one in spec["triggers"]} == {
            "http://cb-callboard-gateway-metrics.jobs.svc:9464/metrics"
        }
        assert {one["type"] for one in spec["triggers"]} == {"metrics-api"}
        assert {one["metadata"]["format"] for one in spec["triggers"]} == {"prometheus"}


def test_the_metrics_that_it_asks_for_are_metrics_that_there_are(render: Render) -> None:
    from callboard_gateway.metric_table import METRICS

    known = {name for one in METRICS for name in one.series()}
    for spec in scaled(render("keda.enabled=true")).values():
        for trigger in spec["triggers"]:
            assert trigger["metadata"]["valueLocation"].partition("{")[0] in known
            assert trigger["name"] in spec["advanced"]["scalingModifiers"]["formula"]


def test_who_scales_is_one(render: Render) -> None:
    def replicas(*settings: str) -> dict[str, Any]:
        return {
            one["metadata"]["name"]: one["spec"].get("replicas")
            for one in of_kind(render(*settings), "Deployment")
        }

    assert all(replicas().values())
    by_keda = replicas("keda.enabled=true")
    assert by_keda.pop("cb-callboard-gateway") == 2 and set(by_keda.values()) == {None}


KEYS = {
    "": {"scaleTargetRef", "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount", "fallback", "triggers",
         "advanced"},
    "fallback": {"failureThreshold", "replicas", "behavior"},
    "advanced": {"scalingModifiers", "horizontalPodAutoscalerConfig"},
    "scalingModifiers": {"formula", "target", "activationTarget", "metricType"},
}  # fmt: skip
"""What KEDA's specification of ScaledObjects calls them (2.17)."""


def test_a_scaled_object_has_the_words_that_keda_knows(render: Render) -> None:
    for spec in scaled(render("keda.enabled=true")).values():
        assert spec.keys() <= KEYS[""] and spec["fallback"].keys() <= KEYS["fallback"]
        assert spec["advanced"].keys() <= KEYS["advanced"]
        assert spec["advanced"]["scalingModifiers"].keys() == KEYS["scalingModifiers"]
        assert spec["fallback"]["behavior"] in {
            "static",
            "currentReplicas",
            "currentReplicasIfHigher",
            "currentReplicasIfLower",
        }
        for trigger in spec["triggers"]:
            assert trigger.keys() == {"type", "name", "metadata"}
            assert trigger["metadata"].keys() == {"url", "format", "valueLocation", "targetValue"}
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        hpa = {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}, "maxReplicas": 2, "behavior": behavior},
        }  # fmt: skip
        kubernetes_validate.validate(hpa, NEWEST, strict=True)


def test_a_gpu_is_asked_for_where_one_is(render: Render) -> None:
    found = pods(render("workers.vision.gpu=2"))
    worker = found["vision"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert worker["containers"][0]["image"].endswith("-gpu")
    assert worker["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert worker["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "nvidia.com/gpu" not in str(found["nlp"])


# --- disruption and data ---


def test_only_one_pod_of_a_kind_goes_at_a_time_and_pods_are_spread(render: Render) -> None:
    documents = render()
    budgets = {one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: one["spec"] for one in
               of_kind(documents, "PodDisruptionBudget")}  # fmt: skip
    assert budgets.keys() == {*WORKERS, "gateway"}
    assert {one["maxUnavailable"] for one in budgets.values()} == {1}
    for name in budgets:
        (spread,) = pods(documents)[name]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == name


def test_what_jobs_made_outlives_the_release(render: Render) -> None:
    claims = of_kind(render(), "PersistentVolumeClaim")
    assert {one["metadata"]["name"].rpartition("-")[2] for one in claims} == {"files", "cache", "models"}
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in claims} == {"keep"}
    bucket = render("files.url=s3://b/p")
    assert {
        one["metadata"]["name"].rpartition("-")[2] for one in of_kind(bucket, "PersistentVolumeClaim")
    } == {"cache", "models"}
    assert environment(pods(bucket)["nlp"])["CALLBOARD_FILES_URL"] == "s3://b/p"


def test_the_ledger_is_started_as_in_compose(render: Render) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    ours = pods(render())["redis"]["containers"][0]["command"][2].split()
    assert ours == compose["command"][2].replace("$$", "$").split()
    assert render()[0] and pods(render())["redis"]["containers"][0]["image"] == compose["image"]


def test_metrics_are_never_published_with_the_gateway(render: Render) -> None:
    services = {
        one["metadata"]["name"]: one["spec"]
        for one in of_kind(render("gateway.service.type=LoadBalancer"), "Service")
    }
    assert [port["targetPort"] for port in services["cb-callboard-gateway"]["ports"]] == ["http"]
    assert "type" not in services["cb-callboard-gateway-metrics"]
