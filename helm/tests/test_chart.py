"""The charts: what a value makes of them, what they refuse, and what judges them from outside."""

import json
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from charts import (
    HELM,
    at,
    containers,
    decoded,
    flags,
    manifest,
    pod_of,
    pods,
    render,
    run,
    template,
)

CHART = HELM / "slipway"
CHARTS = ("slipway", "observability", "loadtests")
EVALUATION = HELM / "evaluation.yaml"
NGINX_CONF = HELM.parent / "nginx/nginx.conf"
CHECKOV = HELM.parent / "terraform/.venv/bin/checkov"
URL = {"database.existingSecret": "urls"}
REDIS = URL | {"redis.existingSecret": "urls"}
POLICY = URL | {"admissionPolicy.enabled": True}

pytestmark = pytest.mark.needs("helm")

# Everything on, as far as it can be on at once.
EVERYTHING = {
    "hosts": ["a.example.org", "b.example.org"],
    "tls.selfSigned": True,
    "ingress.enabled": True,
    "hpa.enabled": True,
    "serviceMonitor.enabled": True,
    "prometheusRule.enabled": True,
    "dashboards.enabled": True,
    "runbooks.url": "https://runbooks.example.org",
    "grafana.url": "https://grafana.example.org",
    "telemetry.otlpEndpoint": "http://collector:4318",
    "telemetry.sentry.existingSecret": "dsn",
    "faults.enabled": True,
    "httpRoute.enabled": True,
    "httpRoute.parentRefs": [{"name": "gateway"}],
    "admissionPolicy.enabled": True,
    "networkPolicy.egress.enabled": True,
    "networkPolicy.clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    "worker.replicaCount": 2,
    "worker.hpa.enabled": True,
    "oauth.existingSecret": "providers",
    "hooks": {"preUpgrade": {"args": ["flask", "--version"]}},
}
WATCHED = {
    "prometheus.storage.enabled": True,
    "collector.backend": "http://tempo:4318",
    "networkPolicy.clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    "networkPolicy.senders": [{"namespaceSelector": {}}],
    "alertmanager.webhook.url": "http://receiver",
    "alertmanager.watchdog.url": "http://switch",
}
RUN = {"host": "http://slipway.slipway", "image.tag": "1"}
WATCHED_RUN = {
    "admin": {"email": "ann@example.org", "password": "a long one"},
    "serviceMonitor.enabled": True,
}
RENDERS: dict[str, tuple[Any, ...]] = {
    "production": (REDIS,),
    "evaluation": ({}, EVALUATION),
    "everything": (EVERYTHING, EVALUATION),
}
OF_ALL: dict[str, tuple[Any, ...]] = {
    **{name: ("slipway", *arguments) for name, arguments in RENDERS.items()},
    "observability": ("observability", {}),
    "observability, everything": ("observability", WATCHED, HELM / "evaluation-observability.yaml"),
    "load test": ("loadtests", RUN),
    "load test, everything": ("loadtests", RUN | WATCHED_RUN),
}
each_render = pytest.mark.parametrize(
    ("chart", "arguments"), [(chart, rest) for chart, *rest in OF_ALL.values()], ids=OF_ALL
)
each_chart = pytest.mark.parametrize("chart", CHARTS)

PROBES = ("startup", "liveness", "readiness")
WEB, MIGRATE, CONFIG = "Deployment/slipway", "Job/slipway-migrate", "ConfigMap/slipway-nginx"
ON_TOP_OF: dict[str, dict[str, Any]] = {"slipway": REDIS, "observability": {}, "loadtests": RUN}
TOGGLES = {
    chart: yaml.safe_load((HELM / f"tests/toggles_{chart}.yaml").read_text()) for chart in CHARTS
}
EACH_TOGGLE = [(chart, toggle) for chart in CHARTS for toggle in TOGGLES[chart]]


@pytest.mark.parametrize(
    ("chart", "toggle"),
    EACH_TOGGLE,
    ids=[f"{chart}:{','.join(toggle['values'])}" for chart, toggle in EACH_TOGGLE],
)
def test_a_value_does_what_it_says(chart: str, toggle: dict[str, Any]) -> None:
    objects = render(ON_TOP_OF[chart] | toggle["values"], chart=chart)
    for name, expected in toggle.items():
        if name == "values":
            continue
        assert (name in objects) == (expected is not None), name
        for path, wanted in (expected or {}).items():
            assert at(objects[name], path) == wanted, f"{name} {path}"


@each_chart
def test_every_value_is_tried(chart: str) -> None:
    def paths(value: Any, path: str = "") -> Iterator[str]:
        yield path
        if isinstance(value, dict):
            for key, below in value.items():
                yield from paths(below, f"{path}.{key}" if path else key)

    values = (toggle["values"] for toggle in TOGGLES[chart])
    tried = {p for v in values for key, value in v.items() for p in paths(value, key)}
    known = re.findall(r"^\| `(\S+)` \|", (HELM / chart / "README.md").read_text(), re.MULTILINE)
    assert len(known) > 20
    assert [path for path in known if path not in tried] == []


# ── What holds for all ──────────────────────────────────────────────────────────────────────────


def test_a_production_release_is_no_more_than_this() -> None:
    assert sorted(render(REDIS)) == [
        "ConfigMap/slipway-nginx",
        "Deployment/slipway",
        "Deployment/slipway-worker",
        "Job/slipway-migrate",
        "NetworkPolicy/slipway-jobs",
        "NetworkPolicy/slipway-web",
        "NetworkPolicy/slipway-worker",
        "Pod/slipway-test",
        "PodDisruptionBudget/slipway",
        "PodDisruptionBudget/slipway-worker",
        "Secret/slipway",
        "Service/slipway",
        "Service/slipway-ops",
        "Service/slipway-worker-ops",
        "ServiceAccount/slipway",
    ]


# Who asks the Kubernetes API.
WITH_TOKEN = {f"Deployment/observability-{name}" for name in ("prometheus", "kube-state-metrics")}


@each_render
def test_every_pod_is_restricted_and_bounded(chart: str, arguments: tuple[Any, ...]) -> None:
    found = pods(render(*arguments, chart=chart))
    assert len(found) >= 2
    for name, pod in found.items():
        assert pod["spec"]["automountServiceAccountToken"] is (name in WITH_TOKEN), name
        assert pod["spec"]["enableServiceLinks"] is False, name
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, name
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys(), name


@each_render
def test_labels_are_complete_and_selectors_outlive_a_release(
    chart: str, arguments: tuple[Any, ...]
) -> None:
    objects = render(*arguments, chart=chart)
    label = "app.kubernetes.io/"
    for name, item in objects.items():
        labels = item["metadata"]["labels"]
        wanted = {f"{label}{key}" for key in ("name", "instance", "component", "version")}
        assert wanted | {f"{label}managed-by", "helm.sh/chart"} <= labels.keys(), name
        if selector := at(item, "spec.selector.matchLabels"):
            assert selector.keys() == {f"{label}name", f"{label}instance", f"{label}component"}, (
                name
            )
            if pod := pod_of(item):
                assert selector.items() <= pod["metadata"]["labels"].items(), name
                # A new version of the chart alone restarts nothing.
                assert "helm.sh/chart" not in pod["metadata"]["labels"], name


@each_render
def test_a_service_selects_the_pods_that_have_its_ports(
    chart: str, arguments: tuple[Any, ...]
) -> None:
    objects = render(*arguments, chart=chart)
    services = [item for item in objects.values() if item["kind"] == "Service"]
    assert services
    for service in services:
        selector = service["spec"]["selector"].items()
        targets = [p for p in pods(objects).values() if selector <= p["metadata"]["labels"].items()]
        assert len(targets) == 1, service["metadata"]["name"]
        names = {port["name"] for c in containers(targets[0]) for port in c.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_metrics_of_web_and_worker_are_found_by_one_servicemonitor() -> None:
    objects = render(*RENDERS["everything"])
    wanted = objects["ServiceMonitor/slipway"]["spec"]["selector"]["matchLabels"].items()
    services = [o for o in objects.values() if o["kind"] == "Service"]
    found = [s for s in services if wanted <= s["metadata"]["labels"].items()]
    component = r"spec.selector.app\.kubernetes\.io/component"
    assert {at(service, component) for service in found} == {"web", "worker"}
    (endpoint,) = at(objects["ServiceMonitor/slipway"], "spec.endpoints")
    for service in found:
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_rules_and_dashboards_link_to_where_pages_are_and_keep_their_own_templates() -> None:
    objects = render(*RENDERS["everything"])
    rule = objects["PrometheusRule/slipway"]
    of_file = (CHART / "files/rules.yaml").read_text()
    assert "{{ $value" in of_file
    for page in ("runbooks", "grafana"):
        assert f"https://{page}.invalid/" in of_file
        of_file = of_file.replace(f"https://{page}.invalid", f"https://{page}.example.org")
    assert rule["spec"] == yaml.safe_load(of_file)
    maps = [o for name, o in objects.items() if name.startswith("ConfigMap/slipway-dashboard")]
    files = {name: text for o in maps for name, text in o["data"].items()}
    assert files.keys() == {path.name for path in (CHART / "files/dashboards").glob("*.json")}
    assert all(json.loads(text) for text in files.values())
    assert ".invalid" not in json.dumps(objects)


def test_the_public_service_reaches_nginx_alone() -> None:
    ports = render(*RENDERS["evaluation"])["Service/slipway"]["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http", 80, "http"),
        ("https", 443, "https"),
    ]


def test_gunicorn_is_a_sidecar_that_shares_the_socket_and_a_group_with_nginx() -> None:
    web = render(REDIS)[WEB]
    assert at(web, "gunicorn.restartPolicy") == "Always"
    assert at(web, "pod.containers.0.name") == "nginx"
    socket = at(web, "gunicorn.volumeMounts.socket")
    assert socket == at(web, "nginx.volumeMounts.socket")
    assert at(web, "gunicorn.env.BIND.value") == f"unix:{socket['mountPath']}/gunicorn.sock"
    assert at(web, "pod.securityContext.fsGroup") == at(web, "pod.securityContext.runAsGroup")
    assert at(web, "nginx.securityContext.runAsUser") != at(web, "pod.securityContext.runAsUser")


def test_each_container_of_a_web_pod_answers_for_itself() -> None:
    web = render(REDIS)[WEB]
    probes = {
        f"{container}.{probe}": at(web, f"{container}.{probe}Probe.httpGet")
        for container in ("gunicorn", "nginx")
        for probe in PROBES
    }
    assert probes == {
        "gunicorn.startup": {"path": "/startupz", "port": "ops"},
        "gunicorn.liveness": {"path": "/livez", "port": "ops"},
        "gunicorn.readiness": {"path": "/readyz", "port": "ops"},
        "nginx.startup": None,
        "nginx.liveness": {"path": "/nginx-health", "port": "health"},
        "nginx.readiness": {"path": "/nginx-health", "port": "health"},
    }


def test_the_worker_answers_for_itself() -> None:
    worker = render(REDIS)["Deployment/slipway-worker"]
    probes = {probe: at(worker, f"worker.{probe}Probe.httpGet") for probe in PROBES}
    assert probes == {
        "startup": {"path": "/startupz", "port": "ops"},
        "liveness": {"path": "/livez", "port": "ops"},
        "readiness": {"path": "/readyz", "port": "ops"},
    }
    assert at(worker, "worker.env.OPS_PORT.value") == str(
        at(worker, "worker.ports.ops.containerPort")
    )


def test_a_worker_has_time_to_end_its_tasks_and_then_itself() -> None:
    worker = render(REDIS)["Deployment/slipway-worker"]
    graceful = int(at(worker, "worker.env.GRACEFUL_SECONDS.value"))
    assert at(worker, "pod.terminationGracePeriodSeconds") >= graceful + 5


def test_the_grace_period_covers_every_step_of_the_end() -> None:
    drained = re.search(r"^worker_shutdown_timeout (\d+)s;", NGINX_CONF.read_text(), re.MULTILINE)
    assert drained
    web = render(REDIS | {"drain": {"preStopSeconds": 20, "gunicornSeconds": 7}})[WEB]
    assert at(web, "pod.terminationGracePeriodSeconds") >= 20 + int(drained[1]) + 7 + 2


def test_nginx_is_configured_by_the_one_file_that_its_own_tests_use() -> None:
    assert render(REDIS)[CONFIG]["data"]["nginx.conf"] == NGINX_CONF.read_text()


def test_only_another_configuration_of_nginx_restarts_the_pods_for_it() -> None:
    def checksum(values: dict[str, Any]) -> Any:
        web = render(REDIS | values)[WEB]
        return web["spec"]["template"]["metadata"]["annotations"]["checksum/nginx"]

    before = checksum({})
    assert before == checksum({"image.tag": "other"})
    assert before != checksum({"maxBodyBytes": 2048})


def test_the_migration_is_named_by_its_content() -> None:
    def name(values: dict[str, Any]) -> str:
        return str(render(REDIS | values)[MIGRATE]["metadata"]["name"])

    before = name({})
    assert re.fullmatch(r"slipway-migrate-[0-9a-f]{10}", before)
    assert before == name({"replicaCount": 5})
    assert before != name({"image.tag": "other"})
    assert before != name({"extraEnvs": [{"name": "A", "value": "b"}]})


@pytest.mark.parametrize(
    ("values", "budgets"),
    [
        ({}, {"web", "worker"}),
        ({"replicaCount": 1}, {"worker"}),
        ({"replicaCount": 1, "hpa.enabled": True}, {"web", "worker"}),
        ({"hpa.enabled": True, "hpa.minReplicas": 1}, {"worker"}),
        ({"worker.replicaCount": 1}, {"web"}),
        ({"worker.hpa.enabled": True, "worker.hpa.minReplicas": 1}, {"web"}),
        (
            {"worker.replicaCount": 1, "worker.hpa": {"enabled": True, "minReplicas": 2}},
            {"web", "worker"},
        ),
    ],
)
def test_a_disruption_budget_never_guards_a_single_pod(
    values: dict[str, Any], budgets: set[str]
) -> None:
    found = [o for o in render(REDIS | values).values() if o["kind"] == "PodDisruptionBudget"]
    component = r"spec.selector.matchLabels.app\.kubernetes\.io/component"
    assert {at(budget, component) for budget in found} == budgets


def test_long_names_stay_valid() -> None:
    name = "a-release-with-a-name-as-long-as-helm-allows-it"
    rendered = run("helm", "template", name, CHART, *flags(EVERYTHING, EVALUATION))
    assert rendered.returncode == 0, rendered.stderr
    for item in filter(None, yaml.safe_load_all(rendered.stdout)):
        # A StatefulSet's pods carry its name and a hash of 11 characters in a label.
        limit = 52 if item["kind"] == "StatefulSet" else 63
        assert len(item["metadata"]["name"]) <= limit, item["kind"]


# ── Secrets ─────────────────────────────────────────────────────────────────────────────────────


def test_no_two_releases_share_a_secret_and_none_leaves_its_secret_object() -> None:
    texts = [template({}, EVALUATION).stdout for _ in range(2)]
    one, other = (
        {o["metadata"]["name"]: o for o in yaml.safe_load_all(t) if o["kind"] == "Secret"}
        for t in texts
    )
    assert one.keys() == {"slipway", "slipway-postgresql", "slipway-valkey", "slipway-tls"}
    for name, item in one.items():
        for key, value in decoded(item).items():
            assert value != decoded(other[name])[key], f"{name} {key}"
            assert value not in texts[0], f"{name} {key}"
            assert len(value) >= 32
            assert texts[0].count(item["data"][key]) == 1, f"{name} {key} is copied"


def test_urls_carry_the_passwords_that_the_databases_are_given() -> None:
    objects = render({}, EVALUATION)
    postgresql = decoded(objects["Secret/slipway-postgresql"])
    password = postgresql["POSTGRES_PASSWORD"]
    assert postgresql["DATABASE_URL"] == (
        f"postgresql://slipway:{password}@slipway-postgresql:5432/slipway"
    )
    valkey = decoded(objects["Secret/slipway-valkey"])
    assert valkey["REDIS_URL"] == f"redis://:{valkey['VALKEY_PASSWORD']}@slipway-valkey:6379/0"


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no database: set database.existingSecret"),
        (URL | {"postgresql.enabled": True}, "two databases"),
        (REDIS | {"valkey.enabled": True}, "two caches"),
        (URL | {"tls.secretName": "t", "tls.selfSigned": True}, "more than one certificate"),
        (URL | {"hosts": ["a"], "tls.certManager.enabled": True}, "tls.certManager.issuerRef.name"),
        (URL | {"tls.certManager": {"enabled": True, "issuerRef": {"name": "i"}}}, "needs hosts"),
        (URL | {"tls.redirect.enabled": True}, "a redirect to nowhere"),
        (
            URL | {"tls.selfSigned": True, "tls.redirect.enabled": True, "ingress.enabled": True},
            "an endless redirect",
        ),
        (URL | {"httpRoute.enabled": True}, "needs httpRoute.parentRefs"),
        (URL | {"hpa.minReplicas": 11}, "hpa.minReplicas is greater"),
        (URL | {"prometheusRule.enabled": True, "grafana.url": "http://g"}, "links to nowhere"),
        (URL | {"dashboards.enabled": True, "runbooks.url": "http://r"}, "links to nowhere"),
        (URL | {"worker.hpa.minReplicas": 11}, "worker.hpa.minReplicas is greater"),
        (POLICY | {"nginx.image.tag": "latest"}, "a version in nginx.image.tag"),
        (POLICY | {"worker.resources.limits.cpu": None}, "cpu and memory in worker.resources"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, Any], message: str
) -> None:
    rendered = template(values)
    assert rendered.returncode != 0
    errors = [line for line in rendered.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    ("path", "value", "refused"),
    [
        ("replicas", 3, "at '': additional properties 'replicas'"),
        ("replicaCount", "3", "at '/replicaCount': got string, want integer"),
        ("replicaCount", 0, "at '/replicaCount'"),
        ("database.url", "x", "at '/database': additional properties 'url'"),
        ("drain.preStopSecond", 5, "at '/drain': additional properties 'preStopSecond'"),
        ("drain.preStopSeconds", None, "at '/drain': missing property 'preStopSeconds'"),
        ("drain.preStopSeconds", "10s", "at '/drain/preStopSeconds'"),
        ("gunicorn.resources.limits.cpus", "2", "at '/gunicorn/resources/limits'"),
        ("gunicorn.resources.limits.memory", "512 MB", "at '/gunicorn/resources/limits/memory'"),
        ("gunicorn.probes.liveness.period", 1, "at '/gunicorn/probes/liveness'"),
        ("nginx.trustedProxies", ["10.0.0.0/8; return 200"], "at '/nginx/trustedProxies/0'"),
        ("prefix", "/a/", "at '/prefix'"),
        ("hosts", "a.org", "at '/hosts': got string, want array"),
        ("hosts", ["https://a.org"], "at '/hosts/0'"),
        ("extraEnvs", [{"key": "A", "value": "b"}], "at '/extraEnvs/0'"),
        ("extraEnvs", [{"name": "A", "value": 1}], "at '/extraEnvs/0/value'"),
        ("hooks.preInstall.args", ["x"], "at '/hooks': additional properties 'preInstall'"),
        ("tolerations", [{"keys": "a"}], "at '/tolerations/0'"),
        ("affinity.podaffinity", {}, "at '/affinity'"),
        ("networkPolicy.clients", [{"podselector": {}}], "at '/networkPolicy/clients/0'"),
        ("admissionPolicy.actions", ["Deny", "Warn"], "at '/admissionPolicy/actions'"),
        ("service.type", "Nodeport", "at '/service/type'"),
        ("service.nodePorts.http", 99999, "at '/service/nodePorts/http'"),
        ("topologySpread.zones", "Never", "at '/topologySpread/zones'"),
        ("postgresql.password", "x", "at '/postgresql': additional properties 'password'"),
        ("telemetry.sampleRatio", 10, "at '/telemetry/sampleRatio'"),
        ("telemetry.otlpEndpoint", "collector:4318", "at '/telemetry/otlpEndpoint'"),
        ("telemetry.environment", "a,b=c", "at '/telemetry/environment'"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(path: str, value: Any, refused: str) -> None:
    rendered = template(URL | {path: value})
    assert rendered.returncode != 0
    assert refused in rendered.stderr


def test_a_parent_chart_may_pass_its_globals() -> None:
    assert template(URL | {"global.registry": "r"}).returncode == 0


@each_chart
def test_a_cluster_that_is_too_old_is_refused(chart: str) -> None:
    """Native sidecars are on from 1.30."""
    version = "--kube-version=1.29.9"
    rendered = run("helm", "template", HELM / chart, version, *flags(ON_TOP_OF[chart]))
    assert rendered.returncode != 0
    assert "kubeVersion" in rendered.stderr


# ── Judges ──────────────────────────────────────────────────────────────────────────────────────


@each_render
def test_helm_lint_has_nothing_to_say(chart: str, arguments: tuple[Any, ...]) -> None:
    linted = run("helm", "lint", "--strict", HELM / chart, *flags(*arguments))
    assert linted.returncode == 0, linted.stdout


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schemas that kubernetes-validate brings, with references that kubeconform follows."""
    folder = tmp_path_factory.mktemp("schemas")
    for version in ("v1.30.0", "v1.37.0"):
        brought = (
            Path(kubernetes_validate.__path__[0]) / f"kubernetes-json-schema/{version}-local-strict"
        )
        (folder / version).mkdir()
        for file in brought.glob("*.json"):
            schema = json.loads(file.read_text().replace("/api/_definitions", "_definitions"))
            schema.pop("$id", None)
            (folder / version / file.name).write_text(json.dumps(schema))
    return folder


# Custom resources, of which kubernetes-validate has no schema.
CUSTOM = "Certificate,HTTPRoute,PrometheusRule,ServiceMonitor"


@pytest.mark.needs("kubeconform")
@pytest.mark.parametrize("version", ["1.30.0", "1.37.0"])
@each_render
def test_kubeconform_passes(
    chart: str, arguments: tuple[Any, ...], version: str, schemas: Path
) -> None:
    judged = run(
        "kubeconform",
        "-strict",
        "-summary",
        f"-skip={CUSTOM}",
        f"-kubernetes-version={version}",
        f"-schema-location={schemas}/v{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        stdin=manifest(*arguments, chart=chart),
    )
    assert judged.returncode == 0, judged.stdout
    assert "Valid: 0" not in judged.stdout


@pytest.mark.needs("kube-score")
@each_render
def test_kube_score_passes(chart: str, arguments: tuple[Any, ...]) -> None:
    text = manifest(*arguments, chart=chart)
    judged = run("kube-score", "score", "--exit-one-on-warning", "-", stdin=text)
    assert judged.returncode == 0, judged.stdout


def test_checkov_passes(tmp_path: Path) -> None:
    """All at once, as it takes seconds to start."""
    for number, (chart, *arguments) in enumerate(OF_ALL.values()):
        # Helm says where they go, and the objects do not.
        placed = re.sub(
            "^metadata:$",
            "metadata:\n  namespace: prod",
            manifest(*arguments, chart=chart),
            flags=re.M,
        )
        (tmp_path / f"{number}.yaml").write_text(placed)
    judged = run(CHECKOV, f"--config-file={HELM}/checkov.yaml", f"--directory={tmp_path}")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_tables_of_values_are_fresh() -> None:
    checked = run(sys.executable, HELM / "values_table.py", "--check")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("replicaCount: 2", "replicaCount: 3", "is stale"),
        (
            "# -- Pods that serve.",
            "# Pods that serve.",
            "no `# --` line in values.yaml for replicaCount",
        ),
    ],
)
def test_a_stale_table_of_values_is_seen(
    old: str, new: str, complaint: str, tmp_path: Path
) -> None:
    shutil.copy(CHART / "README.md", tmp_path)
    values = (CHART / "values.yaml").read_text()
    assert old in values
    (tmp_path / "values.yaml").write_text(values.replace(old, new))
    checked = run(sys.executable, HELM / "values_table.py", "--check", tmp_path)
    assert checked.returncode == 1
    assert complaint in checked.stderr


# ── With a cluster: what the chart reads back from it ───────────────────────────────────────────


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace that admits restricted pods only, and says what it would not admit."""
    name = f"chart-{uuid.uuid4().hex[:8]}"
    labelled = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                f"pod-security.kubernetes.io/{m}": "restricted" for m in ("enforce", "warn")
            },
        },
    }
    created = run("kubectl", "apply", "--filename=-", stdin=json.dumps(labelled))
    assert created.returncode == 0, created.stderr
    yield name
    run("kubectl", "delete", "namespace", name, "--wait=false")


def kubectl(namespace: str, *arguments: str, stdin: str = "") -> str:
    done = run("kubectl", f"--namespace={namespace}", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def release(namespace: str, verb: str, changed: dict[str, Any] | None = None) -> str:
    """The manifest after `verb`. Its pods find no node: what is looked at are the objects."""
    values = {
        "nodeSelector": {"slipway/nowhere": "true"},
        "faults.enabled": True,
        "service.nodePorts": {"http": None, "https": None},
    }
    wanted = flags(values | (changed or {}), EVALUATION)
    done = run("helm", verb, "slipway", CHART, f"--namespace={namespace}", *wanted)
    assert done.returncode == 0, done.stderr
    return run("helm", "get", "manifest", "slipway", f"--namespace={namespace}").stdout


def secrets(namespace: str) -> dict[str, Any]:
    items = json.loads(kubectl(namespace, "get", "secrets", "--output=json"))["items"]
    return {s["metadata"]["name"]: s["data"] for s in items if s["type"] != "helm.sh/release.v1"}


@pytest.mark.needs("cluster")
@pytest.mark.parametrize(
    ("chart", "arguments"),
    [
        ("slipway", ({"hpa.enabled": True, "worker.hpa.enabled": True}, EVALUATION)),
        ("observability", ({"prometheus.storage.enabled": True},)),
        ("loadtests", (RUN,)),
    ],
    ids=CHARTS,
)
def test_the_cluster_takes_every_object_and_finds_every_pod_restricted(
    chart: str, arguments: tuple[Any, ...], namespace: str
) -> None:
    def warnings(text: str) -> list[str]:
        tried = run(
            "kubectl", f"--namespace={namespace}", "apply", "--dry-run=server", "--filename=-",
            stdin=text,
        )  # fmt: skip
        assert tried.returncode == 0, tried.stderr
        return [line for line in tried.stderr.splitlines() if "PodSecurity" in line]

    objects = [
        item | {"metadata": item["metadata"] | {"namespace": namespace}}
        for item in render(*arguments, chart=chart).values()
        if item["kind"] not in {"Pod", "Service"}
    ]
    text = "\n---\n".join(json.dumps(item) for item in objects)
    assert warnings(text) == []
    lax = text.replace('"allowPrivilegeEscalation": false', '"allowPrivilegeEscalation": true')
    assert len(warnings(lax)) == len([item for item in objects if pod_of(item)])


@pytest.mark.needs("cluster")
def test_what_was_made_once_is_kept_over_upgrades_and_the_password_over_a_release(
    namespace: str,
) -> None:
    first = release(namespace, "install")
    made = secrets(namespace)
    names = ("slipway", "slipway-faults", "slipway-postgresql", "slipway-valkey", "slipway-tls")
    assert made.keys() == set(names)
    assert release(namespace, "upgrade") == first
    release(namespace, "upgrade", {"hosts": ["a.example.org"]})
    renamed = secrets(namespace)
    assert renamed.pop("slipway-tls") != made["slipway-tls"], "a certificate without its new name"
    assert renamed == {name: data for name, data in made.items() if name != "slipway-tls"}

    uninstalled = run("helm", "uninstall", "slipway", f"--namespace={namespace}", "--wait")
    assert uninstalled.returncode == 0, uninstalled.stderr
    assert secrets(namespace) == {"slipway-postgresql": made["slipway-postgresql"]}
    release(namespace, "install")
    assert secrets(namespace)["slipway-postgresql"] == made["slipway-postgresql"]


@pytest.mark.needs("cluster")
def test_an_upgrade_adds_the_key_that_is_missing_and_keeps_those_that_were_rotated(
    namespace: str,
) -> None:
    def keys() -> dict[str, str]:
        return decoded(json.loads(kubectl(namespace, "get", "secret", "slipway", "--output=json")))

    def patch(kind: str, content: object) -> None:
        text = json.dumps(content)
        kubectl(namespace, "patch", "secret", "slipway", f"--type={kind}", f"--patch={text}")

    release(namespace, "install")
    before = keys()
    patch("json", [{"op": "remove", "path": "/data/JWT_SECRET_KEY"}])
    release(namespace, "upgrade")
    after = keys()
    assert after["SECRET_KEY"] == before["SECRET_KEY"]
    assert len(after["JWT_SECRET_KEY"]) >= 32
    assert after["JWT_SECRET_KEY"] not in before.values()

    rotated = {"JWT_SECRET_KEY": "x" * 32, "JWT_SECRET_KEY_PREVIOUS": after["JWT_SECRET_KEY"]}
    patch("merge", {"stringData": rotated})
    release(namespace, "upgrade", {"replicaCount": 3})
    assert keys() == after | rotated
