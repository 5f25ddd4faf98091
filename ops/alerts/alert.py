"""An alert, and what its texts and expressions are made of."""

from dataclasses import dataclass, field
from typing import Any

from ops import links

NAMESPACE = "{{ $labels.namespace }}"
VALUE = "{{ $value }}"
PERCENT = "{{ $value | humanizePercentage }}"
DURATION = "{{ $value | humanizeDuration }}"


@dataclass(frozen=True)
class Alert:
    """What Prometheus tells people; its page is runbooks/NAME.md.

    A figure in a text is made of the constant that the expression compares with. `wait` is longer
    than two scrapes, so that one that went wrong tells nobody anything.
    """

    name: str
    severity: str
    summary: str
    description: str
    # The uid of the dashboard that shows it.
    dashboard: str
    expr: str
    wait: str | None = None
    # What tells it from others of the same name.
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As it stands in Prometheus' file of rules."""
        of_namespace = f"?var-namespace={NAMESPACE}" if NAMESPACE in self.summary else ""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.wait} if self.wait else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "dashboard_url": links.dashboard(self.dashboard) + of_namespace,
                "runbook_url": links.runbook(self.name),
            },
        }
