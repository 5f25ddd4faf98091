"""SlipwayScrapeDown: while a target does not tell anything, the other alerts are blind."""

from collections.abc import Iterator

from ops.alerts.alert import NAMESPACE, VALUE, Alert
from ops.recorded import RELEASE

# The pods behind the Services of the operations port.
TARGETS = 'up{job=~".+-ops", container=~"gunicorn|worker"}'
WEB_PODS = 'kube_pod_init_container_info{container="gunicorn"}'
JOB = "{{ $labels.job }}"

NAME = "SlipwayScrapeDown"


def alerts() -> Iterator[Alert]:
    yield Alert(
        name=NAME,
        severity="page",
        summary=f"Nothing is known of {JOB} in {NAMESPACE}",
        description=(
            f"{VALUE} targets of {JOB} answer Prometheus, for 2 minutes: it does not see failures."
        ),
        expr=f"sum by (namespace, job) ({TARGETS}) == 0",
        wait="2m",
        dashboard="slipway-service",
        labels={"targets": "all"},
    )
    yield Alert(
        name=NAME,
        severity="page",
        summary=f"Prometheus does not look at {NAMESPACE}",
        description=(
            f"There are {VALUE} web pods in {NAMESPACE}, none of which is a target of Prometheus, "
            "for 5 minutes: it does not see failures."
        ),
        expr=(
            f"count by (namespace) ({WEB_PODS})\n"
            f'unless on (namespace) up{{job=~".+-ops", container="gunicorn"}}\n'
            f"and on (namespace) {RELEASE}"
        ),
        wait="5m",
        dashboard="slipway-service",
        labels={"targets": "unknown"},
    )
    yield Alert(
        name=NAME,
        severity="ticket",
        summary=f"Some pods of {JOB} in {NAMESPACE} do not answer Prometheus",
        description=f"{VALUE} targets of {JOB} do not answer Prometheus, for 5 minutes.",
        expr=f"count by (namespace, job) ({TARGETS} == 0)",
        wait="5m",
        dashboard="slipway-service",
        labels={"targets": "some"},
    )
    yield Alert(
        name=NAME,
        severity="ticket",
        summary=f"kube-state-metrics does not tell of {NAMESPACE}",
        description=(
            f"{VALUE} pods of {NAMESPACE} answer Prometheus, and kube-state-metrics knows none of "
            "them, for 5 minutes: crash loops and failed migrations are not seen."
        ),
        expr=f"count by (namespace) (slipway_build_info)\nunless on (namespace) {WEB_PODS}",
        wait="5m",
        dashboard="slipway-service",
        labels={"targets": "kubernetes"},
    )
