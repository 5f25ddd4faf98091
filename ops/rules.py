"""Prometheus' file of rules: what is recorded of the SLIs, and the alerts.

Everything is by namespace, which is a release. Up to an hour, windows are counted from the
service's own counters. Longer ones are the sum of recorded minutes, which is cheap over 30 days;
and the minutes before the first count as served well, at the same traffic: else the first
failures of a new release would have spent the budget of a month.
"""

from typing import Any

from ops import alerts, duration
from ops.recorded import BUDGET_REMAINING, RELEASE, WEB_DEPLOYMENT, error_ratio, errors, events
from ops.slo import SLO

Rule = dict[str, Any]

# From here on, windows are made of recorded minutes.
LONG_SECONDS = 2 * 3600
# Of which counters the minutes are made: several scrapes, whatever their interval.
BASE = "5m"
MINUTE = "1m"


def groups(slo: SLO) -> list[dict[str, Any]]:
    return [
        {"name": "slipway-releases", "rules": _releases()},
        {"name": "slipway-slis", "rules": _short(slo)},
        {"name": "slipway-slis-long", "interval": MINUTE, "rules": _long(slo)},
        {"name": "slipway-alerts", "rules": [alert.rule() for alert in alerts.every(slo)]},
    ]


def _record(name: str, expr: str, **labels: str) -> Rule:
    return {"record": name, "expr": expr} | ({"labels": labels} if labels else {})


def _releases() -> list[Rule]:
    """Which namespaces and Deployments are ours, also while no pod of them answers."""
    gunicorn = 'kube_pod_init_container_info{container="gunicorn"}'
    pod = "group by (namespace, pod)"
    return [
        _record(
            RELEASE,
            f"group by (namespace) (\n"
            f"  {pod} ({gunicorn})\n"
            f'  and {pod} (kube_pod_container_info{{container="nginx"}})\n'
            f")\n"
            f"or group by (namespace) (slipway_build_info)",
        ),
        # A pod is named by its Deployment; the last day tells of those that have no pod just now.
        _record(
            WEB_DEPLOYMENT,
            f"group by (namespace, deployment) (\n"
            f"  label_replace(\n"
            f"    last_over_time({gunicorn}[1d]),\n"
            f'    "deployment", "$1", "pod", "(.+)-[^-]+-[^-]+"\n'
            f"  )\n"
            f")",
        ),
    ]


def _windows(slo: SLO, sli: str) -> list[str]:
    """Those over which something of the SLI is recorded, the shortest first."""
    pairs = {window for burn in slo.burns(sli) for window in (burn.short, burn.long)}
    return sorted(pairs | {BASE, slo.window}, key=duration.seconds)


def _is_long(window: str) -> bool:
    return duration.seconds(window) >= LONG_SECONDS


def _short(slo: SLO) -> list[Rule]:
    rules = []
    for sli in slo.slis:
        for window in _windows(slo, sli):
            if not _is_long(window):
                only = f'{{sli="{sli}"}}'
                ratio = f"{errors(window)}{only} / clamp_min({events(window)}{only}, 1)"
                rules += [
                    _record(events(window), _events(slo, sli, window), sli=sli),
                    _record(errors(window), _errors(slo, sli, window), sli=sli),
                    _record(error_ratio(window), ratio, sli=sli),
                ]
    return rules


def _sum(metric: str, window: str, *matchers: str) -> str:
    selector = f"{{{', '.join(matchers)}}}" if matchers else ""
    return f"sum by (namespace) (increase({metric}{selector}[{window}]))"


def _timely(slo: SLO) -> list[str]:
    """The requests that the latency is measured of."""
    routes = "|".join(route.replace(".", "[.]") for route in slo.latency.excluded)
    return [f'status!~"{slo.availability.errors}"', *([f'route!~"{routes}"'] if routes else [])]


def _events(slo: SLO, sli: str, window: str) -> str:
    match sli:
        case "availability":
            return _sum("flask_http_request_total", window)
        case "latency":
            return _sum("flask_http_request_duration_seconds_count", window, *_timely(slo))
        case _:
            return _sum("slipway_task_completion_seconds_count", window)


def _errors(slo: SLO, sli: str, window: str) -> str:
    """Where no series tells of any, there are none; where none tells of a success, all are."""
    total = f'{events(window)}{{sli="{sli}"}}'
    match sli:
        case "availability":
            failed = f'status=~"{slo.availability.errors}"'
            some = _sum("flask_http_request_total", window, failed)
            return f"{some}\nor on (namespace) 0 * {total}"
        case "latency":
            metric, matchers = "flask_http_request_duration_seconds_bucket", _timely(slo)
            seconds = slo.latency.seconds
        case _:
            metric, matchers = "slipway_task_completion_seconds_bucket", ['outcome="success"']
            seconds = slo.freshness.seconds
    good = _sum(metric, window, f'le="{float(seconds)}"', *matchers)
    return f"{total} - on (namespace) {good}\nor on (namespace) {total}"


def _long(slo: SLO) -> list[Rule]:
    rules = []
    for sli, promise in slo.slis.items():
        only = f'{{sli="{sli}"}}'
        part = duration.seconds(BASE) // duration.seconds(MINUTE)
        rules += [
            _record(name(MINUTE), f"{name(BASE)}{only} / {part}", sli=sli)
            for name in (events, errors)
        ]
        for window in filter(_is_long, _windows(slo, sli)):
            minutes = duration.seconds(window) // duration.seconds(MINUTE)
            rules += [
                _record(name(window), f"sum_over_time({name(MINUTE)}{only}[{window}])", sli=sli)
                for name in (events, errors)
            ]
            known = f"count_over_time({events(MINUTE)}{only}[{window}]) / {minutes}"
            ratio = f"{errors(window)}{only} / clamp_min({events(window)}{only}, 1)\n* ({known})"
            rules.append(_record(error_ratio(window), ratio, sli=sli))
        left = f"1 - {error_ratio(slo.window)}{only} / {promise.budget:g}"
        rules.append(_record(BUDGET_REMAINING, left, sli=sli))
    return rules
