"""Alerts as they are read: what each is called, says and leads to, and what it is made of."""

import re
from pathlib import Path
from typing import Any

import promql
import promql_parser
import pytest
from answers import settings
from promtool import ALERTS, GROUPS

from ops import dashboards, duration, slo
from slipway import create_app, tasks
from slipway.telemetry import metrics

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "ops/runbooks"
PAGES = sorted(RUNBOOKS.iterdir())
RULES = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
# Of kube-state-metrics, the kubelet and Prometheus itself.
KUBERNETES = {
    "container_memory_working_set_bytes",
    "kube_deployment_status_replicas_available",
    "kube_job_status_failed",
    "kube_job_status_succeeded",
    "kube_pod_container_info",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_init_container_info",
    "kube_pod_init_container_resource_limits",
    "kube_pod_init_container_status_restarts_total",
    "kube_pod_init_container_status_waiting_reason",
    "kube_pod_status_ready",
    "up",
    "ALERTS",
}


SERVICE = "".join(path.read_text() for path in (ROOT / "service/slipway").rglob("*.py"))


def unknown(names: set[str]) -> set[str]:
    """Those that neither the service nor Kubernetes tells, and no rule records."""
    return {name for name in names - RECORDED - KUBERNETES if not is_served(name)}


def is_served(name: str) -> bool:
    base = re.sub(r"_(bucket|count|sum|total)$", "", name)
    # Those of flask are the exporter's own.
    return f'"{base}"' in SERVICE or base in {
        "flask_http_request",
        "flask_http_request_duration_seconds",
    }


def name_of(rule: dict[str, Any]) -> str:
    labels = "-".join(rule.get("labels", {}).values())
    return f"{rule.get('alert') or rule['record']}-{labels}"


each_rule = pytest.mark.parametrize("rule", RULES, ids=name_of)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=name_of)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    """What is fenced as that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {page.name for page in PAGES} == {f"{alert['alert']}.md" for alert in ALERTS}


@each_page
def test_a_page_says_what_it_means_whom_it_hurts_how_to_look_and_what_to_do(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        assert part.strip()


@each_page
def test_a_page_has_about_three_things_to_paste_each_with_what_its_answer_means(page: Path) -> None:
    diagnosis = page.read_text().split("## Diagnosis")[1].split("## Mitigation")[0]
    parts = re.split(r"^```(?:sh|promql)\n.*?^```$", diagnosis, flags=re.MULTILINE | re.DOTALL)
    assert 3 <= len(parts) - 1 <= 5
    assert all(part.strip() for part in parts[1:])


@each_page
def test_a_page_asks_prometheus_for_what_there_is(page: Path) -> None:
    for query in blocks(page, "promql"):
        assert unknown(promql.metrics(query)) == set()


@each_page
def test_a_page_names_only_alerts_and_dashboards_that_there_are(page: Path) -> None:
    named = set(re.findall(r"\bSlipway[A-Z]\w+", page.read_text()))
    assert named <= {alert["alert"] for alert in ALERTS}


@each_alert
def test_an_alert_says_who_is_told_what_and_where_to_look(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket", "none"}
    notes = alert["annotations"]
    assert list(notes) == ["summary", "description", "dashboard_url", "runbook_url"]
    assert notes["runbook_url"] == f"https://runbooks.invalid/{alert['alert']}.md"
    uid = re.fullmatch(
        r"https://grafana\.invalid/d/([a-z-]+)(\?var-namespace={{ \$labels\.namespace }})?",
        notes["dashboard_url"],
    )
    assert uid
    assert uid[1] in dashboards.build()
    assert "{{ $value" in notes["description"]


@each_alert
def test_the_figures_of_a_text_are_those_of_its_expression(alert: dict[str, Any]) -> None:
    known = promql.figures(alert["expr"]) | {float(duration.seconds(alert.get("for", "1s")))}
    known |= {slo.load().latency.seconds, slo.load().freshness.seconds}
    text = f"{alert['annotations']['summary']}. {alert['annotations']['description']}"
    figures = set(promql.told(text))
    assert figures <= {round(figure, 10) for figure in known}
    for limit in promql.thresholds(alert["expr"]) - {0}:
        products = {round(a * b, 10) for a in figures for b in figures}
        assert round(limit, 10) in figures | products


@each_alert
def test_an_alert_that_looks_at_one_moment_waits_for_several_scrapes(alert: dict[str, Any]) -> None:
    """Who looks at a window need not: a scrape that went wrong is a small part of it."""
    if alert["alert"] != "Watchdog" and not promql.windows(alert["expr"]):
        assert duration.seconds(alert["for"]) >= 60


@each_rule
def test_a_rule_never_mixes_two_releases(rule: dict[str, Any]) -> None:
    for labels in promql.aggregations(rule["expr"]):
        assert "namespace" in labels


@each_rule
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    promql_parser.parse(rule["expr"])
    assert unknown(promql.metrics(rule["expr"])) == set()


def test_the_buckets_that_thresholds_may_be_are_the_services_own() -> None:
    assert slo.REQUEST_BUCKETS == metrics.BUCKETS
    assert list(slo.TASK_BUCKETS) == tasks.COMPLETION._upper_bounds[:-1]


def test_excluded_routes_and_those_with_limits_are_routes_of_the_service() -> None:
    app = create_app(settings(database_url="sqlite:///unused.db"))
    promises = slo.load()
    named = {*promises.latency.excluded, *promises.load.routes}
    assert named - {rule.rule for rule in app.url_map.iter_rules()} == set()
