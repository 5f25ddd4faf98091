"""The chart observability: what is in it, and whether its programs take what it tells them."""

import base64
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import HELM, Objects, at, containers, pods, render, run

pytestmark = pytest.mark.needs("helm")

CHART = "observability"
EVALUATION = HELM / "evaluation-observability.yaml"
CONFIG = r"data.prometheus\.yaml"
PROMETHEUS = "ConfigMap/observability-prometheus"
DASHBOARDS = sorted((HELM / "slipway/files/dashboards").glob("*.json"))


def rendered(values: dict[str, Any] | None = None, *files: Path) -> Objects:
    return render(values or {}, *files, chart=CHART)


def test_a_release_is_no_more_than_this() -> None:
    def named(kinds: str, *names: str) -> set[str]:
        return {f"{kind}/{CHART}-{name}" for kind in kinds.split() for name in names}

    watchers = ("prometheus", "kube-state-metrics")
    others = ("alertmanager", "collector", "grafana", "runbooks")
    dashboards = [path.stem for path in DASHBOARDS]
    assert dashboards
    expected = {
        *named("Deployment Service NetworkPolicy", *watchers, *others),
        *named("ServiceAccount", *watchers),
        *named("ClusterRole ClusterRoleBinding", *(f"{name}-prod" for name in watchers)),
        *named("ConfigMap", "prometheus", "collector", "grafana", "runbooks", "runbooks-nginx"),
        *named("ConfigMap", *(f"grafana-{name}" for name in dashboards)),
        *named("Secret", "alertmanager", "grafana"),
    }
    assert set(rendered()) == expected


def test_it_fits_beside_the_service_on_two_cores() -> None:
    millicores = [
        int(container["resources"]["requests"]["cpu"].removesuffix("m"))
        for pod in pods(rendered()).values()
        for container in containers(pod)
    ]
    assert len(millicores) == 6
    assert sum(millicores) <= 250


def test_nobody_may_do_more_than_look() -> None:
    rules = [
        rule
        for name, item in rendered().items()
        if name.startswith("ClusterRole/")
        for rule in item["rules"]
    ]
    assert len(rules) == 4
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {resource for rule in rules for resource in rule["resources"]} == {
        "deployments",
        "endpointslices",
        "jobs",
        "nodes",
        "nodes/metrics",
        "pods",
        "services",
    }


def test_prometheus_finds_the_services_that_have_metrics() -> None:
    """Its selector, and its port."""
    selector = at(
        rendered()[PROMETHEUS],
        f"{CONFIG}.scrape_configs.services.kubernetes_sd_configs.0.selectors.0.label",
    )
    wanted = re.fullmatch(
        r"app.kubernetes.io/name in \(([\w,]+)\),app.kubernetes.io/component=(\w+)", selector
    )
    assert wanted
    of_charts = {
        "slipway": {"database.existingSecret": "u", "redis.existingSecret": "u"},
        "loadtests": {"host": "http://slipway", "image.tag": "1"},
    }
    assert wanted[1].split(",") == [*of_charts]
    found = {
        name: [port["port"] for port in item["spec"]["ports"] if port["name"] == "ops"]
        for chart, values in of_charts.items()
        for name, item in render(values, chart=chart).items()
        if item["kind"] == "Service"
        and item["metadata"]["labels"]["app.kubernetes.io/name"] == chart
        and item["metadata"]["labels"]["app.kubernetes.io/component"] == wanted[2]
    }
    assert found == {
        "Service/slipway-ops": [8001],
        "Service/slipway-worker-ops": [8001],
        "Service/loadtests": [8001],
    }


def test_targets_have_the_labels_that_a_servicemonitor_gives_them() -> None:
    relabelled = at(rendered()[PROMETHEUS], f"{CONFIG}.scrape_configs.services.relabel_configs")
    assert {rule["target_label"] for rule in relabelled if "target_label" in rule} == {
        "namespace",
        "pod",
        "container",
        "service",
        "job",
        "node",
    }


def test_every_static_target_is_a_service_of_the_release() -> None:
    objects = rendered()
    ports = {
        f"{item['metadata']['name']}:{port['port']}"
        for item in objects.values()
        if item["kind"] == "Service"
        for port in item["spec"]["ports"]
    }
    config = yaml.safe_load(objects[PROMETHEUS]["data"]["prometheus.yaml"])
    targets = {
        target
        for job in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
        for static in job.get("static_configs", [])
        for target in static["targets"]
    }
    assert len(targets) == 4
    assert targets - ports == {"localhost:9090"}


@pytest.mark.parametrize("files", [(), (EVALUATION,)], ids=["defaults", "evaluation"])
def test_links_lead_to_the_runbooks_and_the_grafana_of_the_release(files: tuple[Path, ...]) -> None:
    objects = rendered({}, *files)
    rules = yaml.safe_load(objects[PROMETHEUS]["data"]["rules.yaml"])
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    runbooks, grafana = (
        ("http://127.0.0.1:30094", "http://127.0.0.1:30300")
        if files
        else ("http://observability-runbooks.prod:8080", "http://observability-grafana.prod:3000")
    )
    assert alerts
    pages = objects["ConfigMap/observability-runbooks"]["data"]
    for alert in alerts:
        page = f"{alert['alert']}.md"
        assert alert["annotations"]["runbook_url"] == f"{runbooks}/{page}"
        assert page in pages
        assert alert["annotations"]["dashboard_url"].startswith(f"{grafana}/d/")
    assert ".invalid" not in json.dumps(objects)


def test_grafana_is_given_every_dashboard() -> None:
    objects = rendered()
    grafana = objects["Deployment/observability-grafana"]
    mounted = [
        source["configMap"]["name"]
        for source in at(grafana, "pod.volumes.dashboards.projected.sources")
    ]
    files = {
        name: text
        for source in mounted
        for name, text in objects[f"ConfigMap/{source}"]["data"].items()
    }
    assert files.keys() == {
        path.name for path in (HELM / "slipway/files/dashboards").glob("*.json")
    }
    home = at(grafana, "grafana.env.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH.value")
    assert Path(home).name in files
    assert str(Path(home).parent) == at(grafana, "grafana.volumeMounts.dashboards.mountPath")
    uids = {
        at(
            objects["ConfigMap/observability-grafana"],
            f"data.datasources\\.yaml.datasources.{name}.uid",
        )
        for name in ("Prometheus", "Alertmanager")
    }
    assert uids == {"prometheus", "alertmanager"}
    assert all(json.loads(text)["uid"] for text in files.values())


@pytest.mark.parametrize(
    ("workload", "values"),
    [
        ("alertmanager", {"alertmanager.webhook.url": "http://w"}),
        ("alertmanager", {"alertmanager.config": {"receivers": []}}),
        ("collector", {"collector.backend": "http://tempo:4318"}),
        ("grafana", {"grafana.traceUrl": "http://t/TRACE_ID"}),
    ],
)
def test_only_another_configuration_restarts_a_program_that_does_not_watch_it(
    workload: str, values: dict[str, Any]
) -> None:
    def pod(changed: dict[str, Any]) -> Any:
        return rendered(changed)[f"Deployment/observability-{workload}"]["spec"]["template"]

    assert pod({"service.type": "NodePort"}) == pod({})
    assert pod(values) != pod({})


def test_other_rules_do_not_restart_prometheus_which_would_forget_its_metrics() -> None:
    prometheus = rendered()["Deployment/observability-prometheus"]["spec"]["template"]
    assert "annotations" not in prometheus["metadata"]
    arguments = at(rendered()["Deployment/observability-prometheus"], "prometheus.args")
    assert any("auto-reload-config" in argument for argument in arguments)


def test_no_two_releases_share_grafanas_password() -> None:
    command = ("helm", "template", CHART, HELM / CHART, "--show-only=templates/grafana.yaml")
    passwords = {
        base64.b64decode(item["data"]["password"])
        for _ in range(2)
        for item in yaml.safe_load_all(run(*command).stdout)
        if item["kind"] == "Secret"
    }
    assert len(passwords) == 2
    assert {len(password) for password in passwords} == {32}


@pytest.mark.parametrize(
    ("path", "value", "refused"),
    [
        ("prometheus.retention.time", 30, "at '/prometheus/retention/time'"),
        ("prometheus.retention.size", "1GiB", "at '/prometheus/retention/size'"),
        ("prometheus.scrapeInterval", "often", "at '/prometheus/scrapeInterval'"),
        ("alertmanager.webhook.url", "receiver:80", "at '/alertmanager/webhook/url'"),
        ("grafana.traceUrl", "http://jaeger/trace", "at '/grafana/traceUrl'"),
        ("grafana.password", "x", "at '/grafana': additional properties 'password'"),
        ("service.type", "LoadBalancer", "at '/service/type'"),
        ("runbooks.image.tag", "", "at '/runbooks/image/tag'"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(path: str, value: Any, refused: str) -> None:
    setting = f"--set-json={path}={json.dumps(value)}"
    done = run("helm", "template", CHART, HELM / CHART, setting)
    assert done.returncode != 0
    assert refused in done.stderr


# How each program is asked what it says of the configuration in /config.
CHECKS = {
    "prometheus": ("promtool", "check", "config", "--syntax-only", "/config/prometheus.yaml"),
    "rules": ("promtool", "check", "rules", "/config/rules.yaml"),
    "alertmanager": ("amtool", "check-config", "/config/alertmanager.yaml"),
    "collector": ("/otelcol-contrib", "validate", "--config=/config/config.yaml"),
    "runbooks": ("nginx", "-t", "-e", "stderr", "-c", "/config/nginx.conf"),
}
OBJECTS = {
    "rules": PROMETHEUS,
    "alertmanager": "Secret/observability-alertmanager",
    "runbooks": "ConfigMap/observability-runbooks-nginx",
}


@pytest.mark.needs("engine")
@pytest.mark.parametrize("program", CHECKS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "collector.backend": "http://tempo:4318",
            "alertmanager.webhook.url": "http://w",
            "alertmanager.watchdog.url": "http://d",
        },
    ],
    ids=["defaults", "everything"],
)
def test_a_program_takes_its_configuration(
    program: str, values: dict[str, Any], tmp_path: Path
) -> None:
    objects = rendered(values)
    given = objects[OBJECTS.get(program, f"ConfigMap/observability-{program}")]
    image = at(
        objects[f"Deployment/observability-{program.replace('rules', 'prometheus')}"],
        "pod.containers.0.image",
    )
    name = f"chart-{uuid.uuid4().hex[:8]}"
    entry, *arguments = CHECKS[program]
    run("docker", "create", f"--name={name}", f"--entrypoint={entry}", image, *arguments)
    try:
        # Each program has a user of its own.
        tmp_path.chmod(0o755)
        for file, text in (given.get("data") or given["stringData"]).items():
            (tmp_path / file).write_text(text)
        run("docker", "cp", tmp_path, f"{name}:/config")
        done = run("docker", "start", "--attach", name)
    finally:
        run("docker", "rm", "--force", name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("cluster")
def test_grafanas_password_is_kept_over_upgrades() -> None:
    namespace = f"chart-{uuid.uuid4().hex[:8]}"
    release = (CHART, HELM / CHART, f"--namespace={namespace}")

    def password(*command: str) -> str:
        # Its pods find no node: what is looked at is the Secret.
        done = run("helm", *command, *release, "--set-string=nodeSelector.slipway/nowhere=true")
        assert done.returncode == 0, done.stderr
        name = ("secret", "observability-grafana", "--output=jsonpath={.data.password}")
        return run("kubectl", f"--namespace={namespace}", "get", *name).stdout

    try:
        first = password("install", "--create-namespace")
        assert first
        assert password("upgrade", "--set=grafana.anonymous=true") == first
    finally:
        run("helm", "uninstall", CHART, f"--namespace={namespace}")
        run("kubectl", "delete", "namespace", namespace, "--wait=false")
