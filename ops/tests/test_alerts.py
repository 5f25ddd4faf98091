"""Alerts over made-up time: each is silent in health, fires, says what it sees, and ends."""

from pathlib import Path

import pytest
from promtool import ALERTS, Expected, Firing, Story, counter, gauge, tell

pytestmark = pytest.mark.needs("engine")

# A minute of samples.
MINUTE = 4
OF = 'namespace="a", pod="a-7d9c-x1"'
WEB = f'{OF}, container="gunicorn", job="a-ops"'
POD = 'namespace="a", pod="a-7d9c-x1", container="gunicorn"'
# What a release is known by, for as long as a story goes on.
LONG = 120 * MINUTE
RELEASE = {
    f"kube_pod_init_container_info{{{POD}}}": gauge((LONG, 1)),
    'kube_pod_container_info{namespace="a", pod="a-7d9c-x1", container="nginx"}': gauge((LONG, 1)),
    f"slipway_build_info{{{WEB}}}": gauge((LONG, 1)),
    f"up{{{WEB}}}": gauge((LONG, 1)),
    'kube_pod_status_ready{namespace="a", pod="a-7d9c-x1", condition="true"}': gauge((LONG, 1)),
}


def minutes(*phases: tuple[float, float | None]) -> str:
    return gauge(*((int(many * MINUTE), value) for many, value in phases))


def story(
    alert: str,
    series: dict[str, str],
    silent: tuple[str, ...],
    firing: dict[str, Firing],
) -> Story:
    """What happens beside a healthy release."""
    expected = [Expected(after, alert) for after in silent]
    expected += [Expected(after, alert, (one,)) for after, one in firing.items()]
    return Story(RELEASE | series, expected, "15s")


def of(severity: str, value: str, **labels: str) -> Firing:
    return Firing({"severity": severity, "namespace": "a"} | labels, value)


def known(name: str, labels: str, *phases: tuple[float, float | None]) -> dict[str, str]:
    return {f"{name}{{{labels}}}": minutes(*phases)}


JOB = 'namespace="a", job_name="a-migrate-1f"'
DEPLOYMENT = 'namespace="a", deployment="a"'
LIMIT = {f'kube_pod_init_container_resource_limits{{{POD}, resource="memory"}}': minutes((60, 512))}
OURS = {"container": "gunicorn", "pod": "a-7d9c-x1"}
# Restarts by restarts: three within two minutes, and what Kubernetes says in between.
RESTARTS = {
    f"kube_pod_init_container_status_restarts_total{{{POD}}}": minutes(
        (10, 0), (0.5, 1), (0.5, 2), (40, 3)
    ),
    f'kube_pod_init_container_status_waiting_reason{{{POD}, reason="CrashLoopBackOff"}}': minutes(
        (10, None), (0.25, 1), (0.25, None), (2, 1)
    )
    + " stale",
}
ONE_RESTART = {
    f"kube_pod_init_container_status_restarts_total{{{POD}}}": minutes((10, 7), (40, 8)),
    f'kube_pod_init_container_status_waiting_reason{{{POD}, reason="CrashLoopBackOff"}}': minutes(
        (10, None), (0.5, 1)
    )
    + " stale",
}

STORIES = {
    "database": story(
        "SlipwayDatabaseDown",
        known("slipway_dependency_up", f'{WEB}, dependency="database"', (10, 1), (5, 0), (5, 1))
        | known("slipway_dependency_up", 'namespace="b", dependency="database"', (20, 1)),
        ("9m", "10m45s", "15m30s"),
        {"11m30s": of("page", "0")},
    ),
    "one pod without a database": story(
        "SlipwayDatabaseDown",
        known("slipway_dependency_up", f'{WEB}, dependency="database"', (10, 1), (20, 0))
        | known("slipway_dependency_up", f'{OF}, container="b", dependency="database"', (30, 1)),
        ("15m", "25m"),
        {},
    ),
    "valkey": story(
        "SlipwayValkeyDown",
        known("slipway_dependency_up", f'{WEB}, dependency="valkey"', (10, 1), (5, 0), (5, 1)),
        ("9m", "10m45s", "15m30s"),
        {"11m30s": of("page", "0")},
    ),
    "queue": story(
        "SlipwayQueueStuck",
        known("slipway_tasks_oldest_seconds", WEB, (10, 60), (5, 150), (5, 0)),
        ("9m", "10m45s", "15m30s"),
        {"11m30s": of("page", "2m 30s")},
    ),
    "dead letters": story(
        "SlipwayDeadLetters",
        known("slipway_tasks_dead", WEB, (10, 0), (5, 3), (5, 0))
        # Every replica tells of the same.
        | known("slipway_tasks_dead", f'{OF}, container="worker"', (10, 0), (5, 3), (5, 0)),
        ("9m", "15m30s"),
        {"11m30s": of("ticket", "3")},
    ),
    "threads": story(
        "SlipwayThreadsSaturated",
        known("slipway_threads", WEB, (30, 16))
        | known("slipway_threads_busy", WEB, (10, 12), (0.5, 16), (4.5, 12), (6, 16), (6, 2)),
        ("9m", "11m", "14m", "23m"),
        {"18m30s": of("page", "100%", container="gunicorn")},
    ),
    "connections": story(
        "SlipwayDatabasePoolSaturated",
        known("slipway_database_connections", WEB, (30, 16))
        | known("slipway_database_connections_busy", WEB, (5, 8), (10, 16), (10, 2))
        # Those of idle workers are no use to web pods.
        | known("slipway_database_connections", f'{OF}, container="worker"', (30, 32))
        | known("slipway_database_connections_busy", f'{OF}, container="worker"', (30, 0)),
        ("4m", "7m", "20m"),
        {"14m": of("ticket", "100%", container="gunicorn")},
    ),
    "certificate": story(
        "SlipwayCertificateExpiring",
        # Time begins at 0.
        known(
            "slipway_certificate_expires_timestamp_seconds",
            WEB,
            *((10, 15 * 86_400), (5, 3 * 86_400), (5, 90 * 86_400)),
        ),
        ("9m", "15m30s"),
        {"12m": of("ticket", "2d 23h 48m 0s")},
    ),
    "watchdog": story("Watchdog", {}, (), {"1m": Firing({"severity": "none"}, "1")}),
    "unavailable": story(
        "SlipwayUnavailable",
        known("kube_deployment_status_replicas_available", DEPLOYMENT, (10, 2), (5, 0), (5, 1))
        # Not ours.
        | known(
            "kube_deployment_status_replicas_available",
            'namespace="a", deployment="other"',
            (20, 0),
        ),
        ("9m", "10m45s", "15m30s"),
        {"11m30s": of("page", "0", deployment="a")},
    ),
    "a first deployment": story(
        "SlipwayUnavailable",
        known("kube_deployment_status_replicas_available", DEPLOYMENT, (4, 0), (10, 2)),
        ("2m", "4m", "8m"),
        {},
    ),
    "a first deployment that never serves": story(
        "SlipwayUnavailable",
        known("kube_deployment_status_replicas_available", DEPLOYMENT, (20, 0)),
        ("4m",),
        {"7m": of("page", "0", deployment="a")},
    ),
    "crash loop": story(
        "SlipwayCrashLooping",
        RESTARTS,
        ("9m", "10m15s", "20m"),
        {"11m": of("ticket", "3", **OURS), "16m": of("ticket", "3", **OURS)},
    ),
    "one restart": story("SlipwayCrashLooping", ONE_RESTART, ("10m15s", "11m", "14m"), {}),
    "somebody else's crash loop": story(
        "SlipwayCrashLooping",
        {name.replace('"a"', '"b"'): values for name, values in RESTARTS.items()}
        | known("kube_pod_status_ready", 'namespace="b", pod="a-7d9c-x1"', (30, 1)),
        ("11m", "16m"),
        {},
    ),
    "migration": story(
        "SlipwayMigrationFailed",
        known("kube_job_status_failed", JOB, (10, 0), (5, 2), (5, None))
        | known("kube_job_status_succeeded", JOB, (15, 0), (5, None)),
        ("9m", "11m", "21m"),
        {"13m": of("ticket", "2", job_name="a-migrate-1f")},
    ),
    "a migration at the second try": story(
        "SlipwayMigrationFailed",
        known("kube_job_status_failed", JOB, (10, 0), (30, 1))
        | known("kube_job_status_succeeded", JOB, (11, 0), (29, 1)),
        ("11m", "13m", "30m"),
        {},
    ),
    "memory": story(
        "SlipwayMemoryNearLimit",
        LIMIT | known("container_memory_working_set_bytes", POD, (10, 400), (10, 480), (10, 300)),
        ("9m", "14m", "20m30s"),
        {"16m": of("ticket", "93.75%", **OURS)},
    ),
    "every target": story(
        "SlipwayScrapeDown",
        known("up", WEB, (10, 1), (4, 0), (5, 1)),
        ("9m", "11m", "14m30s"),
        {"13m": of("page", "0", job="a-ops", targets="all")},
    ),
    "one bad scrape": story(
        "SlipwayScrapeDown", known("up", WEB, (10, 1), (0.25, 0), (9, 1)), ("10m", "13m"), {}
    ),
    "one target": story(
        "SlipwayScrapeDown",
        known("up", 'namespace="a", job="a-ops", container="gunicorn", pod="2"', (10, 0), (5, 1)),
        ("4m", "10m30s"),
        {"6m": of("ticket", "1", job="a-ops", targets="some")},
    ),
    "no target": story(
        "SlipwayScrapeDown",
        {f"up{{{WEB}}}": minutes((10, 1)) + " stale", f"slipway_build_info{{{WEB}}}": "stale"},
        ("9m", "14m"),
        {"16m": of("page", "1", targets="unknown")},
    ),
    "no kube-state-metrics": story(
        "SlipwayScrapeDown",
        {f"kube_pod_init_container_info{{{POD}}}": minutes((10, 1)) + " stale"},
        ("9m", "14m"),
        {"16m": of("ticket", "1", targets="kubernetes")},
    ),
}


@pytest.mark.parametrize("told", STORIES.values(), ids=list(STORIES))
def test_an_alert_tells_what_happens_and_no_longer(
    told: Story, promtool: Path, tmp_path: Path
) -> None:
    tell(promtool, tmp_path, told)


def _failing(share: float) -> dict[str, str]:
    """Half an hour, in which so many of the requests, answers and tasks are bad."""
    every, good = counter((35, 1000)), counter((35, 1000 * (1 - share)))
    bad, of = counter((35, 1000 * share)), 'namespace="a", pod="1"'
    timely = "flask_http_request_duration_seconds"
    done, task = "slipway_task_completion_seconds", 'task="mail", outcome="success"'
    # What is slow on purpose, and what clients do wrong, is no fault of ours.
    others = {
        f'{timely}_count{{{of}, route="/slow", status="200"}}': every,
        f'{timely}_bucket{{{of}, route="/slow", status="200", le="0.25"}}': counter((35, 0)),
        f'{timely}_count{{{of}, route="/ping", status="503"}}': every,
        f'{timely}_bucket{{{of}, route="/ping", status="503", le="0.25"}}': counter((35, 0)),
    }
    return others | {
        f'flask_http_request_total{{{of}, status="429"}}': good,
        f'flask_http_request_total{{{of}, status="500"}}': bad,
        f'{timely}_count{{{of}, route="/ping", status="200"}}': every,
        f'{timely}_bucket{{{of}, route="/ping", status="200", le="0.25"}}': good,
        f"{done}_count{{{of}, {task}}}": every,
        f'{done}_bucket{{{of}, {task}, le="60.0"}}': good,
    }


def _burn(sli: str, long: str, short: str, value: str) -> Firing:
    return of("page", value, sli=sli, long=long, short=short)


BURNING = {
    "SlipwayErrorBudgetBurn": (0.02, [_burn("availability", "1h", "5m", "2%")]),
    "SlipwayFreshnessBudgetBurn": (0.2, [_burn("freshness", "1h", "5m", "20%")]),
    "SlipwayLatencyBudgetBurn": (
        0.8,
        [_burn("latency", "1h", "5m", "80%"), _burn("latency", "5m", "2m", "80%")],
    ),
}


@pytest.mark.parametrize("alert", BURNING)
def test_a_budget_that_burns_is_told_of_with_what_is_bad(
    alert: str, promtool: Path, tmp_path: Path
) -> None:
    share, firing = BURNING[alert]
    tell(promtool, tmp_path, Story(_failing(share), [Expected("30m", alert, tuple(firing))]))


def test_every_alert_has_its_story() -> None:
    told = {expected.alert for one in STORIES.values() for expected in one.expected}
    assert told | BURNING.keys() == {rule["alert"] for rule in ALERTS}
