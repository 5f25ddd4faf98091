"""What the service tells of itself: what it depends on, its queue, and what it runs out of."""

from collections.abc import Iterator

from ops import duration
from ops.alerts.alert import DURATION, NAMESPACE, PERCENT, VALUE, Alert

# Twice what freshness allows to most tasks.
QUEUE_SECONDS = 120
# Of threads, and of the connections that pools may open.
BUSY = 0.9
CERTIFICATE_DAYS = 14


def alerts() -> Iterator[Alert]:
    yield _away("SlipwayDatabaseDown", "database", "PostgreSQL", "No request is served with it.")
    yield _away("SlipwayValkeyDown", "valkey", "Valkey", "Tasks are refused, and nothing is kept.")
    yield Alert(
        name="SlipwayQueueStuck",
        severity="page",
        summary=f"Tasks are not begun in {NAMESPACE}",
        description=(
            f"The oldest waiting task was asked for {DURATION} ago: more than {QUEUE_SECONDS} s, "
            "for 1 minute."
        ),
        dashboard="slipway-tasks",
        expr=f"max by (namespace) (slipway_tasks_oldest_seconds) > {QUEUE_SECONDS}",
        wait="1m",
    )
    yield Alert(
        name="SlipwayDeadLetters",
        severity="ticket",
        summary=f"Tasks came to nothing in {NAMESPACE}",
        description=f"{VALUE} dead letters wait until somebody replays or discards them.",
        dashboard="slipway-tasks",
        expr="max by (namespace) (slipway_tasks_dead) > 0",
        wait="1m",
    )
    # A page: no other alert sees those who wait for a thread.
    yield _busy("SlipwayThreadsSaturated", "page", "threads", "slipway_threads", "2m")
    yield _busy(
        *("SlipwayDatabasePoolSaturated", "ticket", "database connections"),
        *("slipway_database_connections", "5m"),
    )
    yield Alert(
        name="SlipwayCertificateExpiring",
        severity="ticket",
        summary=f"The certificate in {NAMESPACE} expires soon",
        description=(
            f"nginx serves a certificate that is good for {DURATION}, less than "
            f"{CERTIFICATE_DAYS} days."
        ),
        dashboard="slipway-saturation",
        expr=(
            "min by (namespace) (slipway_certificate_expires_timestamp_seconds) - time()\n"
            f"< {CERTIFICATE_DAYS} * 86400"
        ),
        wait="1m",
    )
    yield Alert(
        name="Watchdog",
        severity="none",
        summary="Alerts are sent",
        description=f"It always fires ({VALUE}). When it stops, the others do not come either.",
        dashboard="slipway-service",
        expr="vector(1)",
    )


def _away(name: str, dependency: str, product: str, effect: str) -> Alert:
    return Alert(
        name=name,
        severity="page",
        summary=f"{product} does not answer in {NAMESPACE}",
        description=f"slipway_dependency_up is {VALUE} in every pod for 1 minute. {effect}",
        dashboard="slipway-saturation",
        expr=f'max by (namespace) (slipway_dependency_up{{dependency="{dependency}"}}) == 0',
        wait="1m",
    )


def _busy(name: str, severity: str, what: str, metric: str, window: str) -> Alert:
    # Idle workers must not hide what the web pods run out of.
    each = "sum by (namespace, container)"
    return Alert(
        name=name,
        severity=severity,
        summary=f"{{{{ $labels.container }}}} runs out of {what} in {NAMESPACE}",
        description=(
            f"{PERCENT} of the {what} were busy within {duration.words(window)}, more than "
            f"{BUSY * 100:g} %, for 1 minute."
        ),
        dashboard="slipway-saturation",
        expr=(
            f"{each} (avg_over_time({metric}_busy[{window}]))\n"
            f"/ {each} (avg_over_time({metric}[{window}]))\n"
            f"> {BUSY}"
        ),
        wait="1m",
    )
