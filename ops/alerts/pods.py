"""What Kubernetes tells of a release's pods, also of those that cannot tell anything themselves.

Of gunicorn, which is a sidecar, kube-state-metrics tells among the init containers.
"""

from collections.abc import Iterator

from ops.alerts.alert import NAMESPACE, PERCENT, VALUE, Alert
from ops.recorded import RELEASE, WEB_DEPLOYMENT

# Containers, as the chart names them.
SERVICE = "gunicorn|nginx|worker"
ALL = f"{SERVICE}|migrate|postgresql|valkey"

MEMORY = 0.9
RESTARTS = 2


def alerts() -> Iterator[Alert]:
    yield _unavailable()
    yield _crash_looping()
    yield _migration_failed()
    yield _memory_near_limit()


def _unavailable() -> Alert:
    available = "kube_deployment_status_replicas_available"
    return Alert(
        name="SlipwayUnavailable",
        severity="page",
        summary=f"No pod serves requests in {NAMESPACE}",
        description=(
            f"Deployment {{{{ $labels.deployment }}}} has {VALUE} available pods for 1 minute."
        ),
        dashboard="slipway-service",
        # One that is just being made is given five minutes.
        expr=(
            f"max by (namespace, deployment) ({available}) == 0\n"
            f"and on (namespace, deployment) {WEB_DEPLOYMENT}\n"
            f"and on (namespace, deployment) last_over_time({available}[5m] offset 5m)"
        ),
        wait="1m",
    )


def _crash_looping() -> Alert:
    restarts, waiting = "container_status_restarts_total", "container_status_waiting_reason"
    ours = f'container=~"{ALL}"'
    back_off = f'reason="CrashLoopBackOff", {ours}'
    return Alert(
        name="SlipwayCrashLooping",
        severity="ticket",
        summary=f"A pod crashes again and again in {NAMESPACE}",
        description=(
            "{{ $labels.container }} of {{ $labels.pod }} restarted "
            f"{VALUE} times within 15 minutes, {RESTARTS} or more, and Kubernetes backs off."
        ),
        dashboard="slipway-release",
        # Kubernetes waits for five minutes at most, and lets it run in between. Of a pod that is
        # gone, only the past is known.
        expr=(
            f"max by (namespace, pod, container) (\n"
            f"  changes(kube_pod_{restarts}{{{ours}}}[15m])\n"
            f"  or changes(kube_pod_init_{restarts}{{{ours}}}[15m])\n"
            f") >= {RESTARTS}\n"
            f"and on (namespace, pod, container) (\n"
            f"  max_over_time(kube_pod_{waiting}{{{back_off}}}[6m])\n"
            f"  or max_over_time(kube_pod_init_{waiting}{{{back_off}}}[6m])\n"
            f")\n"
            f"and on (namespace, pod) kube_pod_status_ready\n"
            f"and on (namespace) {RELEASE}"
        ),
    )


def _migration_failed() -> Alert:
    return Alert(
        name="SlipwayMigrationFailed",
        severity="ticket",
        summary=f"A migration fails in {NAMESPACE}",
        description=(
            f"Job {{{{ $labels.job_name }}}} failed ({VALUE}), and did not succeed for 2 minutes. "
            "Pods that need its schema do not become ready; the former ones serve on."
        ),
        dashboard="slipway-release",
        # A try that failed stays counted when the next one succeeds.
        expr=(
            'max by (namespace, job_name) (kube_job_status_failed{job_name=~".+-migrate-.+"}) > 0\n'
            "unless on (namespace, job_name) kube_job_status_succeeded > 0\n"
            f"and on (namespace) {RELEASE}"
        ),
        wait="2m",
    )


def _memory_near_limit() -> Alert:
    each = "max by (namespace, pod, container)"
    ours = f'container=~"{SERVICE}"'
    memory = f'resource="memory", {ours}'
    return Alert(
        name="SlipwayMemoryNearLimit",
        severity="ticket",
        summary=f"A container in {NAMESPACE} is about to be killed for its memory",
        description=(
            "{{ $labels.container }} of {{ $labels.pod }} uses "
            f"{PERCENT} of its limit, more than {MEMORY * 100:g} %, for 5 minutes."
        ),
        dashboard="slipway-saturation",
        expr=(
            f"{each} (container_memory_working_set_bytes{{{ours}}})\n"
            f"/ {each} (\n"
            f"  kube_pod_container_resource_limits{{{memory}}}\n"
            f"  or kube_pod_init_container_resource_limits{{{memory}}}\n"
            f")\n"
            f"> {MEMORY}\n"
            f"and on (namespace) {RELEASE}"
        ),
        wait="5m",
    )
