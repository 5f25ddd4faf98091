"""The names of what rules.yaml records, for all that ask Prometheus: alerts, dashboards, tests.

Of an SLI, each series has the labels `namespace` and `sli` (availability, latency or freshness).
"""


def events(window: str) -> str:
    """How many events there were in the window."""
    return f"slipway:sli_events:increase{window}"


def errors(window: str) -> str:
    """How many of them were bad."""
    return f"slipway:sli_errors:increase{window}"


def error_ratio(window: str) -> str:
    """The share of the window's events that were bad, 0 to 1; 0 where there were none."""
    return f"slipway:sli_errors:ratio_rate{window}"


# The share of the error budget that is left, 1 to 0, and below once more is spent than there was.
BUDGET_REMAINING = "slipway:sli_error_budget:remaining_ratio"

# 1 for each namespace with a release, and for each Deployment that serves its requests.
RELEASE = "slipway:release:info"
WEB_DEPLOYMENT = "slipway:web_deployment:info"
