"""Error budgets that burn too fast: what users feel, whatever the cause.

They wait for nothing: a window and the least traffic do what `for` does elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ops import duration
from ops.alerts.alert import NAMESPACE, PERCENT, Alert
from ops.recorded import error_ratio, events
from ops.slo import SLO, Burn


@dataclass(frozen=True)
class Told:
    """How bad events of an SLI are told of."""

    alert: str
    summary: str
    events: str
    dashboard: str


def _told(slo: SLO) -> dict[str, Told]:
    late = f"answers took longer than {slo.latency.milliseconds} ms"
    tasks = f"tasks failed, or took longer than {slo.freshness.seconds:g} s,"
    return {
        "availability": Told(
            "SlipwayErrorBudgetBurn", "Requests fail", "requests failed", "slipway-service"
        ),
        "latency": Told("SlipwayLatencyBudgetBurn", "Answers are late", late, "slipway-service"),
        "freshness": Told("SlipwayFreshnessBudgetBurn", "Tasks are late", tasks, "slipway-tasks"),
    }


def alerts(slo: SLO) -> Iterator[Alert]:
    for sli, told in _told(slo).items():
        for burn in slo.burns(sli):
            yield _alert(slo, sli, told, burn)


def _alert(slo: SLO, sli: str, told: Told, burn: Burn) -> Alert:
    promise = slo.slis[sli]
    only, limit = f'{{sli="{sli}"}}', f"{burn.burn:g} * {promise.budget:g}"
    return Alert(
        name=told.alert,
        severity=burn.severity,
        summary=f"{told.summary} in {NAMESPACE}",
        description=(
            f"{PERCENT} of the {told.events} within {duration.words(burn.long)}. That is more than "
            f"{burn.burn:g} times the budget of {promise.budget * 100:g} %, and so are the last "
            f"{duration.words(burn.short)}."
        ),
        dashboard=told.dashboard,
        expr=(
            f"{error_ratio(burn.long)}{only} > {limit}\n"
            f"and {error_ratio(burn.short)}{only} > {limit}\n"
            f"and {events(burn.long)}{only} >= {promise.least.long}\n"
            f"and {events(burn.short)}{only} >= {promise.least.short}"
        ),
        labels={"long": burn.long, "short": burn.short},
    )
