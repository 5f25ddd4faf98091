"""The service on a real cluster with helm/observability beside it, as `make deploy` brings both."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator

import pytest
from live import NAME, NEEDS, Release, on_spare_cluster, run, until
from watch import PORTS, ask, exemplars, series, targets

pytestmark = [NEEDS, pytest.mark.alone]

NAMESPACE, MONITORING = "slipway-watched", "monitoring"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

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


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("values")
    with on_spare_cluster(NAMESPACE, folder, "OBSERVABILITY=1") as release:
        yield release


def test_make_deploy_brings_what_watches_the_service_and_says_where(release: Release) -> None:
    release.deploy("OBSERVABILITY=1")
    output = release.deploy("OBSERVABILITY=1", "IMAGE=slipway:latest")
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

    def seen() -> list[str]:
        labels = [target["labels"] for target in targets() if target["health"] == "up"]
        names = (f"{of['job']} {of.get('pod') or of.get('node', '')}".strip() for of in labels)
        return sorted(names)

    until(
        lambda: seen() == sorted(wanted), lambda: [(t["labels"], t["lastError"]) for t in targets()]
    )
    for target in targets():
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
    log = run("kubectl", f"--namespace={MONITORING}", "logs", "deployment/observability-collector")
    assert TRACE_ID in log


def test_undeploy_says_what_it_leaves_of_the_watchers_and_purge_takes_that_too(
    release: Release,
) -> None:
    extra = release.folder / "storage.yaml"
    extra.write_text("prometheus: {storage: {enabled: true}}\n")
    rig = os.environ.get("OBSERVABILITY_VALUES", "")
    release.deploy("OBSERVABILITY=1", "IMAGE=slipway:latest", f"OBSERVABILITY_VALUES={rig} {extra}")
    assert (
        "persistentvolumeclaim/observability-prometheus\n"
        in release.make("undeploy", "OBSERVABILITY=1").output
    )
    output = release.make("undeploy", "OBSERVABILITY=1", "PURGE=1").output
    assert f"deleted namespace {NAMESPACE}" in output
    assert f"deleted namespace {MONITORING}" in output
    kinds = "clusterroles,clusterrolebindings"
    assert "observability" not in run("kubectl", "get", kinds, "--output=name")
