"""What watches a release, put to the proof: it is asked for all that anybody asks it, and breaks.

One release, watched by helm/observability, under load from the first test to the last.
"""

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql
import pytest
import webhook
import yaml
from answers import PASSWORD, settings
from broken import Broken
from charts import render
from deploy import observability
from live import (
    EVALUATION,
    NAME,
    NEEDS,
    ROOT,
    UNLIMITED,
    Json,
    Release,
    on_spare_cluster,
    request,
    run,
    until,
)
from test_pages import PAGES, RULES, blocks, name_of
from traffic import traffic
from watch import PORTS, ask, exemplars, series, targets
from webhook import messages, receive

from ops import dashboards, recorded
from ops.preview import Source
from slipway import create_app, tasks

pytestmark = NEEDS

NAMESPACE = "slipway-proof"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
FAULTS: dict[str, Any] = yaml.safe_load((ROOT / "ops/faults.yaml").read_text())
# All at once, but this one: it is nothing but errors to all the others.
LAST = "database"
TOGETHER = [fault for fault in FAULTS if fault != LAST]
# Requests, before anything is broken; and seconds, within which all of the above happens.
ENOUGH, WATCHED = 300, 1200

# As two pods of the service send it; argv is the collector, the namespace and the trace's id.
SEND_SPAN = """
import json, sys, time, urllib.request
collector, namespace, trace = sys.argv[1:]
def text(key, value):
    return {"key": key, "value": {"stringValue": value}}
end = time.time_ns()
for pod in ("one", "other"):
    span = {"traceId": trace, "spanId": "b7ad6b7169203331", "name": "GET /test", "kind": 2,
            "startTimeUnixNano": str(end - 30_000_000), "endTimeUnixNano": str(end)}
    resource = {"attributes": [text("service.name", "slipway-test"),
                               text("k8s.namespace.name", namespace), text("k8s.pod.name", pod)]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    request = urllib.request.Request(collector + "/v1/traces", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()
"""
# A task that no try can do, as it is asked for without what it needs.
FAIL_FOR_GOOD = f"""
from slipway import create_app
create_app().extensions["celery"].send_task("{tasks.send_email.name}", [])
"""
WATCHERS = f"""
prometheus: {{scrapeInterval: 5s, evaluationInterval: 5s}}
alertmanager: {{webhook: {{url: "http://{webhook.NAME}.{NAMESPACE}:{webhook.PORT}"}}}}
"""


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What brings the watchers, too."""
    watchers = tmp_path_factory.mktemp("watchers") / "values.yaml"
    watchers.write_text(WATCHERS)
    rig = os.environ.get("OBSERVABILITY_VALUES", "")
    return "OBSERVABILITY=1", f"OBSERVABILITY_VALUES={rig} {watchers}"


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory, watching: tuple[str, str]
) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("values")
    with on_spare_cluster(NAMESPACE, folder, *watching) as release:
        # Who signs up too often is told so: that is counted, too.
        unlimited = [one for one in UNLIMITED if one["name"] != "SIGNUP_LIMIT"]
        release.values[-1] = f"extraEnvs: {json.dumps(unlimited)}"
        release.values.append("faults: {enabled: true}")
        release.deploy(*watching)
        receive(release)
        with traffic(release.token()):
            yield release


def of_release(found: list[Json]) -> list[Json]:
    """Those of the release, and those of no namespace."""
    return [one for one in found if one["metric"].get("namespace", NAMESPACE) == NAMESPACE]


def firing(alert: str = ".+") -> list[Json]:
    only = f'alertname=~"{alert}", alertstate="firing", namespace="{NAMESPACE}"'
    return [one["metric"] for one in series(f"ALERTS{{{only}}}")]


def test_make_deploy_brings_what_watches_the_service_and_says_where(
    release: Release, watching: tuple[str, str]
) -> None:
    output = release.deploy(*watching, f"IMAGE={release.image()}")
    assert "unchanged: revision 1 serves observability" in output
    assert "unchanged: revision 1 serves slipway:" in output
    for page in ("prometheus", "alertmanager", "runbooks"):
        assert f"http://127.0.0.1:{PORTS[page]}\n" in output


def test_every_target_is_found_and_answers(release: Release) -> None:
    pods = {f"{NAME}-ops": release.pods("web"), f"{NAME}-worker-ops": release.pods("worker")}
    nodes = json.loads(run("kubectl", "get", "nodes", "--output=json"))["items"]
    alone = ("alertmanager", "collector", "kube-state-metrics", "prometheus")
    wanted = [
        *alone,
        *(f"kubelet {node['metadata']['name']}" for node in nodes),
        *(f"{job} {pod}" for job, names in pods.items() for pod in names),
    ]

    def ours() -> list[Json]:
        """Another test may have a release beside."""
        spaces = {NAMESPACE, observability.NAMESPACE}
        return [one for one in targets() if one["labels"].get("namespace", NAMESPACE) in spaces]

    def seen() -> list[str]:
        labels = [target["labels"] for target in ours() if target["health"] == "up"]
        names = (f"{of['job']} {of.get('pod') or of.get('node', '')}".strip() for of in labels)
        return sorted(names)

    until(lambda: seen() == sorted(wanted), lambda: [(t["labels"], t["lastError"]) for t in ours()])
    for target in ours():
        labels = target["labels"]
        if labels["job"] in pods:
            assert labels["service"] == labels["job"]
            assert labels["namespace"] == NAMESPACE
            assert labels["node"] == release.node_of(labels["pod"])
            assert labels["container"] == (
                "gunicorn" if labels["job"] == f"{NAME}-ops" else "worker"
            )


@pytest.mark.parametrize(
    "expression",
    [
        'kube_deployment_status_replicas_available{deployment="slipway", %s}',
        'kube_pod_init_container_info{container="gunicorn", %s}',
        'kube_pod_container_info{container="nginx", %s}',
        'kube_pod_container_resource_limits{container="worker", resource="memory", %s}',
        "kube_job_status_failed{%s}",
        'container_cpu_usage_seconds_total{container="gunicorn", %s}',
        'container_memory_working_set_bytes{container="worker", %s}',
    ],
)
def test_kubernetes_tells_of_the_services_pods_under_their_own_names(
    release: Release, expression: str
) -> None:
    query = expression % f'namespace="{release.namespace}"'
    until(lambda: len(series(query)) > 0, lambda: f"nothing for {query}")


def test_the_alert_that_always_fires_arrives_with_a_runbook_that_is_there(release: Release) -> None:
    def alerts() -> list[dict[str, dict[str, str]]]:
        found = ask("alertmanager", "/api/v2/alerts", filter='alertname="Watchdog"')
        return list(found)

    until(lambda: len(alerts()) > 0, lambda: ask("prometheus", "/api/v1/alerts"))
    url = alerts()[0]["annotations"]["runbook_url"]
    assert url == f"http://127.0.0.1:{PORTS['runbooks']}/Watchdog.md"
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - it is ours
        assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert page.read().startswith(b"# Watchdog")


def test_spans_of_all_pods_become_one_series_with_a_trace_to_look_at(release: Release) -> None:
    began = time.time()
    environment = release.kubectl("exec", release.pods()[0], "--container=gunicorn", "--", "env")
    told = dict(line.split("=", 1) for line in environment.splitlines())
    collector = told["OTEL_EXPORTER_OTLP_ENDPOINT"]
    release.python(SEND_SPAN, collector, release.namespace, TRACE_ID)
    of_test = (
        f'{{service_name="slipway-test", span_name="GET /test", namespace="{release.namespace}"}}'
    )
    calls = f"traces_span_metrics_calls_total{of_test}"
    # It counts from 0, so that a rate sees the first ones.
    until(
        lambda: [found["value"][1] for found in series(calls)] == ["2"],
        lambda: f"{calls}: {series(calls)}",
    )
    buckets = f"traces_span_metrics_duration_milliseconds_bucket{of_test}"
    until(lambda: len(exemplars(buckets, began - 60)) > 0, lambda: f"no exemplar for {buckets}")
    found = exemplars(buckets, began - 60)
    assert {exemplar["labels"]["trace_id"] for exemplar in found} == {TRACE_ID}
    log = run(
        "kubectl",
        f"--namespace={observability.NAMESPACE}",
        "logs",
        "deployment/observability-collector",
    )
    assert TRACE_ID in log


@pytest.fixture(scope="module")
def routes() -> set[tuple[str, str]]:
    """Method and rule of everything that the service offers."""
    app = create_app(settings(database_url="sqlite:///unused.db"))
    offered = (((rule.methods or set()), rule.rule) for rule in app.url_map.iter_rules())
    return {(method, rule) for methods, rule in offered for method in methods - {"HEAD", "OPTIONS"}}


def path_of(rule: str, user: int) -> str:
    """A path that the rule is for."""
    path = rule.replace("<id:user_id>", str(user))
    path = path.replace("<uuid:task_id>", "00000000-0000-4000-8000-000000000000")
    return re.sub(r"<\w+>", "x", path)


def sign_up(number: int) -> tuple[int, Json]:
    user = {"name": "Ann", "email": f"ann{number}@example.com", "password": PASSWORD}
    status, _, body = request("POST", "/api/users", user)
    return status, json.loads(body)


def test_every_route_and_every_task_is_counted(
    release: Release, routes: set[tuple[str, str]]
) -> None:
    token = release.token()
    _, ann = sign_up(0)
    # Ann is deleted, and the admin logs out, when all else is done.
    for method, rule in sorted(routes, key=lambda one: (one[1] == "/logout", one[0] == "DELETE")):
        request(method, path_of(rule, ann["id"]), {} if method != "GET" else None, token=token)
    # Who signs up too often is told so: that is counted, too.
    assert any(sign_up(number)[0] == 429 for number in range(1, 50))

    def counted() -> set[tuple[str, str]]:
        only = f'flask_http_request_duration_seconds_count{{namespace="{NAMESPACE}"}}'
        return {(one["metric"]["method"], one["metric"]["route"]) for one in series(only)}

    until(lambda: routes <= counted(), lambda: f"not counted: {routes - counted()}", 60)
    done = f'slipway_task_completion_seconds_count{{namespace="{NAMESPACE}"}}'
    names = {tasks.send_email.name}
    until(
        lambda: {one["metric"]["task"] for one in series(done)} == names, lambda: series(done), 60
    )


def test_nobody_is_called_while_all_is_well(release: Release) -> None:
    many = f'{recorded.events("5m")}{{namespace="{NAMESPACE}", sli="latency"}} > {ENOUGH}'
    until(lambda: len(series(many)) > 0, lambda: f"nothing for {many}", 120)
    assert firing() == []


@pytest.fixture(scope="module")
def loaded(release: Release) -> str:
    """What a load test says, whose figures are looked at below. Its verdict is no matter here."""
    output = release.make("loadtest-cluster", "WORKERS=1", "DURATION=40s").output
    results = re.search(r"^loadtest: results: (.+)$", output, re.MULTILINE)
    assert results, output
    shutil.rmtree(results[1])
    return output


def test_a_load_test_is_marked_from_its_start_to_its_end(release: Release, loaded: str) -> None:
    only = f'locust_run_active{{namespace="{NAMESPACE}", profile="smoke"}}'
    # It is there no more.
    until(lambda: series(only) == [], lambda: series(only), 60)
    assert series(f"max_over_time({only}[5m]) == 1") != []


@pytest.fixture(scope="module")
def broken(release: Release) -> Broken:
    return Broken(release)


@pytest.fixture(scope="module")
def begun(broken: Broken) -> dict[str, float]:
    """When each was made; while one is awaited, so are the others. Seconds since 1970."""
    return {fault: broken.begin(fault) for fault in TOGETHER}


@pytest.fixture(scope="module")
def ended(broken: Broken, begun: dict[str, float]) -> dict[str, float]:
    """When each was ended."""
    return {fault: broken.end(fault) for fault in begun}


def is_told(release: Release, fault: str, began: float, told: list[str]) -> None:
    alert, most = FAULTS[fault]["alert"], FAULTS[fault]["fires"]

    def sent() -> list[tuple[float, Json]]:
        return messages(release, alert, "firing")

    def seen() -> object:
        return firing(), sent(), release.kubectl("get", "pods,events")

    until(lambda: firing(alert) != [] and sent() != [], seen, most)
    at, message = sent()[0]
    told.append(f"{fault}: {alert} was told after {at - began:.0f} s")
    assert at - began <= most
    url = message["alerts"][0]["annotations"]["runbook_url"]
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - it is ours
        assert page.read().decode().startswith(f"# {alert}\n")


def is_over(release: Release, fault: str, ended: float, told: list[str]) -> None:
    alert, most = FAULTS[fault]["alert"], FAULTS[fault]["resolves"]

    def sent() -> list[tuple[float, Json]]:
        resolved = messages(release, alert, "resolved")
        return [(at, message) for at, message in resolved if at > ended]

    until(lambda: not firing(alert) and sent() != [], lambda: (firing(), sent()), most)
    at, _ = sent()[0]
    told.append(f"{fault}: {alert} was over after {at - ended:.0f} s")
    assert at - ended <= most


@pytest.mark.parametrize("fault", TOGETHER)
def test_a_fault_is_told_with_a_page_that_says_what_to_do(
    release: Release, begun: dict[str, float], fault: str, told: list[str]
) -> None:
    is_told(release, fault, begun[fault], told)


def test_a_fault_on_purpose_is_marked_as_such(release: Release, begun: dict[str, float]) -> None:
    kinds = f'slipway_fault_active{{namespace="{NAMESPACE}", route="*"}} > 0'
    found = {(one["metric"]["kind"], float(one["value"][1])) for one in series(kinds)}
    assert found == {("error", 20), ("latency", 100)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_to_run_runs_as_it_is_pasted(
    release: Release, begun: dict[str, float], page: Path
) -> None:
    for command in blocks(page, "sh"):
        pasted = command.replace("--namespace slipway ", f"--namespace {NAMESPACE} ")
        run("bash", "-euo", "pipefail", "-c", pasted)


def test_a_task_that_fails_for_good_is_counted(release: Release, ended: dict[str, float]) -> None:
    # Until the pods that crashed are gone.
    release.settled()
    release.python(FAIL_FOR_GOOD)
    only = f'namespace="{NAMESPACE}"'
    # A rate needs to have been told twice.
    failed = f'rate(slipway_task_duration_seconds_count{{{only}, outcome="failure"}}[1m])'
    for wanted in (f"slipway_tasks_dead{{{only}}} == 1", failed):
        until(lambda: series(wanted) != [], lambda: f"nothing for {wanted}", 120)  # noqa: B023


# What anybody asks of metrics, by where it is asked.
ASKED = {
    **{
        f"{uid}: {panel['title']}: {target['refId']}": target["expr"]
        for uid, board in dashboards.build().items()
        for panel in board["panels"]
        for target in panel["targets"]
    },
    **{
        f"{uid}: {one['name']}": one["expr"]
        for uid, board in dashboards.build().items()
        for one in board["annotations"]["list"]
    },
    **{f"rule {name_of(rule)}": rule["expr"] for rule in RULES},
    **{
        f"{page.stem}: {number}": query.replace('namespace="slipway"', f'namespace="{NAMESPACE}"')
        for page in PAGES
        for number, query in enumerate(blocks(page, "promql"), 1)
    },
}


@pytest.fixture(scope="module")
def source(loaded: str, ended: dict[str, float]) -> Source:
    """Prometheus, over the time in which all was served, was loaded, and broke."""
    return Source(f"http://127.0.0.1:{PORTS['prometheus']}", NAMESPACE, WATCHED, time.time())


@pytest.mark.parametrize("where", ASKED)
def test_every_expression_has_a_result(source: Source, where: str) -> None:
    """Beyond its limit or not."""
    asked = promql.without_limits(source.plain(ASKED[where]))
    assert of_release(source.over_time(asked)) != [], asked


@pytest.fixture(scope="module")
def labels(source: Source) -> dict[str, set[str]]:
    """Of each metric that is asked for, what tells its series from each other."""
    names = {name for asked in ASKED.values() for name in promql.metrics(source.plain(asked))}
    span = {"start": str(source.end - source.seconds), "end": str(source.end)}
    found = {}
    for name in names:
        every = ask("prometheus", "/api/v1/series", **span, **{"match[]": name})["data"]
        ours = [one for one in every if one.get("namespace", NAMESPACE) == NAMESPACE]
        found[name] = {label for one in ours for label in one}
    return found


@pytest.mark.parametrize("where", ASKED)
def test_every_label_that_is_named_is_there(
    source: Source, labels: dict[str, set[str]], where: str
) -> None:
    asked = source.plain(ASKED[where])
    for name, label in promql.matched(asked):
        assert label in labels[name], f"{name} has no {label}"
    known = promql.made(asked).union(*(labels[name] for name in promql.metrics(asked)))
    for kept in promql.aggregations(asked):
        assert {*kept} <= known, f"nothing has { ({*kept} - known) }"


def test_what_workers_are_scaled_by_is_measured(source: Source) -> None:
    scaler = render({"worker.hpa.enabled": True}, EVALUATION)[
        "HorizontalPodAutoscaler/slipway-worker"
    ]
    (metric,) = scaler["spec"]["metrics"]
    assert of_release(source.over_time(metric["external"]["metric"]["name"])) != []


# Last, as what takes longest is waited for while all of the above is asked.
@pytest.mark.parametrize("fault", TOGETHER)
def test_a_fault_that_is_over_is_told_as_over(
    release: Release, ended: dict[str, float], fault: str, told: list[str]
) -> None:
    is_over(release, fault, ended[fault], told)


def test_a_dead_database_is_told_and_told_as_over(
    release: Release, broken: Broken, told: list[str]
) -> None:
    is_told(release, LAST, broken.begin(LAST), told)
    is_over(release, LAST, broken.end(LAST), told)


def test_undeploy_says_what_it_leaves_of_the_watchers_and_purge_takes_that_too(
    release: Release, watching: tuple[str, str]
) -> None:
    release.kubectl("delete", "pod,service", webhook.NAME)
    extra = release.folder / "storage.yaml"
    extra.write_text("prometheus: {storage: {enabled: true}}\n")
    bring, values = watching
    release.deploy(bring, f"{values} {extra}", f"IMAGE={release.image()}")
    # As long as there are others, their watchers stay.
    until(lambda: observability.watched() == [NAMESPACE], observability.watched, 600)
    left = release.make("undeploy", bring).output
    assert "persistentvolumeclaim/observability-prometheus\n" in left
    output = release.make("undeploy", bring, "PURGE=1").output
    assert f"deleted namespace {NAMESPACE}" in output
    assert f"deleted namespace {observability.NAMESPACE}" in output
    kinds = "clusterroles,clusterrolebindings"
    assert "observability" not in run("kubectl", "get", kinds, "--output=name")
