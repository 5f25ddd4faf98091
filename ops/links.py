"""Where people are led to; the charts put real addresses in place of these."""

GRAFANA, RUNBOOKS = "https://grafana.invalid", "https://runbooks.invalid"


def dashboard(uid: str) -> str:
    return f"{GRAFANA}/d/{uid}"


def runbook(alert: str) -> str:
    return f"{RUNBOOKS}/{alert}.md"
