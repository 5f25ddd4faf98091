"""What people are told: every alert there is, for the promises of an SLO."""

from collections.abc import Iterator

from ops.alerts import budgets, pods, scrapes, service
from ops.alerts.alert import Alert
from ops.slo import SLO


def every(slo: SLO) -> Iterator[Alert]:
    yield from budgets.alerts(slo)
    yield from service.alerts()
    yield from pods.alerts()
    yield from scrapes.alerts()
