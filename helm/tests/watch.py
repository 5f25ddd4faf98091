"""Prometheus, Alertmanager and runbooks of helm/observability, asked at their node ports."""

import json
import time
import urllib.parse
import urllib.request
from typing import Any

import yaml
from charts import HELM
from live import Json

PORTS = yaml.safe_load((HELM / "evaluation-observability.yaml").read_text())["service"]["nodePorts"]


def ask(page: str, path: str, **query: str) -> Any:
    """The JSON that one of them answers."""
    url = f"http://127.0.0.1:{PORTS[page]}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def series(expression: str) -> list[Json]:
    """What Prometheus finds for it now: `metric` and `value` of each."""
    return list(ask("prometheus", "/api/v1/query", query=expression)["data"]["result"])


def targets() -> list[Json]:
    return list(ask("prometheus", "/api/v1/targets", state="active")["data"]["activeTargets"])


def exemplars(expression: str, since: float) -> list[Json]:
    """Requests that stand for it, with their traces' ids."""
    span = {"start": str(since), "end": str(time.time())}
    found = ask("prometheus", "/api/v1/query_exemplars", query=expression, **span)
    return [exemplar for one in found["data"] for exemplar in one["exemplars"]]
