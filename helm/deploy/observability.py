"""What watches the service in a cluster that has nothing of the kind: helm/observability."""

from pathlib import Path

from . import url
from .release import EVALUATION, HELM, MADE_HERE, Release, files, history, leftovers, timeout
from .shell import Failure, attempt, items, setting

NAME, NAMESPACE = "observability", "monitoring"
VALUES = HELM / "evaluation-observability.yaml"
OPERATOR = "servicemonitors.monitoring.coreos.com"
# For values of slipway.
ENDPOINT = f"telemetry.otlpEndpoint=http://{NAME}-collector.{NAMESPACE}:4318"
PASSWORD = (
    f"kubectl get secret --namespace={NAMESPACE} {NAME}-grafana "
    "-o go-template='{{.data.password | base64decode}}'"
)
# What people look at, and the path that answers when it is ready.
PAGES = {
    "prometheus": "/-/ready",
    "alertmanager": "/-/ready",
    "runbooks": "/",
    "grafana": "/api/health",
}


def release() -> Release:
    values = (str(VALUES), *files("OBSERVABILITY_VALUES"))
    return Release(NAME, NAMESPACE, "observability", values, timeout())


def reason_against(target: Release) -> str:
    """Why none comes and goes with `target`; empty where one does."""
    said = setting("OBSERVABILITY")
    if said not in ("", "0", "1"):
        raise Failure(f"OBSERVABILITY={said!r} is neither 0 nor 1")
    if said:
        return "" if said == "1" else "OBSERVABILITY=0"
    if EVALUATION not in (Path(path).resolve() for path in target.values):
        return "VALUES is without helm/evaluation.yaml; OBSERVABILITY=1 decides otherwise"
    if has_operator():
        return (
            "the cluster has a Prometheus Operator, which finds slipway by the values "
            "serviceMonitor, prometheusRule and dashboards; OBSERVABILITY=1 decides otherwise"
        )
    return ""


def has_operator() -> bool:
    """Whether the cluster has a Prometheus Operator."""
    return attempt("kubectl", "get", f"customresourcedefinition/{OPERATOR}") is not None


def is_ours() -> bool:
    """Whether there is one that was made here and not by a person, or what one left."""
    scope = (f"--namespace={NAMESPACE}", f"--selector={MADE_HERE}=true", "--short")
    if NAME in (attempt("helm", "list", *scope) or "").split():
        return True
    return not history(release()) and bool(leftovers(release()))


def watched() -> list[str]:
    """The namespaces in which there is a slipway to watch."""
    selector = "--selector=app.kubernetes.io/name=slipway,app.kubernetes.io/component=web"
    found = items("deployments", "--all-namespaces", selector)
    return sorted({item["metadata"]["namespace"] for item in found})


def report() -> None:
    """Say where its pages are, and how to log in."""
    scope = f"--namespace={NAMESPACE}"
    for component, path in PAGES.items():
        selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
        for service in items("services", scope, f"--selector={selector}"):
            print(f"  {component:<14}{_where(service, path)}")
            if component == "grafana":
                print(f"  {'':<14}as admin, with the password that this tells: {PASSWORD}")
    print(flush=True)


def _where(service: url.Json, path: str) -> str:
    for base in url.addresses(service):
        answer = url.get(base, path, timeout=2)
        if answer and answer.status == 200:
            return base
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    forward = f"kubectl port-forward --namespace={NAMESPACE} service/{name} {port}"
    return f"http://127.0.0.1:{port} after {forward}"
