"""A step: load at a rate, whether the SLO was kept, and what was used up meanwhile."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.shell import Failure, run
from load import measured, slo

from . import limits, usage
from .generator import COMPONENT, Load, Seen
from .stage import Stage

SAMPLE_SECONDS = 2
SERIES = re.compile(r"^(\w+)(?:\{.*\})? (\S+)$", re.MULTILINE)
DURATION = "flask_http_request_duration_seconds"
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """Rates in requests per second, times in milliseconds, processors in cores."""

    offered: float
    answered: float
    # Which limits were broken; none where the rate was kept.
    broken: list[str]
    p95: int
    p99: int
    cores: Mapping[str, float]
    # By whatever else ran on the busiest machine.
    others: float
    throttled: Mapping[str, float]
    used: Mapping[str, float]
    # In a thread of the service, on average.
    seconds: float
    limiting: str = ""

    @property
    def is_kept(self) -> bool:
        return not self.broken

    def json(self) -> dict[str, Any]:
        def rounded(shares: Mapping[str, float]) -> dict[str, float]:
            return {name: round(share, 2) for name, share in shares.items()}

        return {
            "offered": round(self.offered, 1),
            "answered": round(self.answered, 1),
            "broken": self.broken,
            "p95": self.p95,
            "p99": self.p99,
            "cores": rounded(self.cores),
            "others": round(self.others, 2),
            "throttled": rounded(self.throttled),
            "used": rounded(self.used),
            "ms_in_service": round(self.seconds * 1000, 1),
            "limiting": self.limiting,
        }


def scrape(namespace: str, pods: list[str]) -> dict[str, float]:
    """Each metric of the operations port, added up over its labels and all pods."""
    total: defaultdict[str, float] = defaultdict(float)
    for pod in pods:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}:8001/proxy/metrics"
        text = run("kubectl", "get", "--raw", path, what=f"reading the metrics of {pod}")
        for name, value in SERIES.findall(text):
            total[name] += float(value)
    return total


def busy(samples: Sequence[Metrics], what: str) -> float:
    """The share of threads or connections that was in use, on average."""
    there = sum(sample[what] for sample in samples)
    return sum(sample[f"{what}_busy"] for sample in samples) / there if there else 0.0


def in_service(samples: Sequence[Metrics]) -> float:
    """Seconds that a request took in a thread, on average, between the first and the last."""
    first, last = samples[0], samples[-1]
    requests = last[f"{DURATION}_count"] - first[f"{DURATION}_count"]
    return (last[f"{DURATION}_sum"] - first[f"{DURATION}_sum"]) / requests if requests else 0.0


def web(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of those that serve."""
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["labels"][COMPONENT] == "web"
        and "deletionTimestamp" not in pod["metadata"]
    ]


def broken(seen: Seen, rate: float, seconds: float, gate: slo.Gate) -> list[str]:
    """Limits that were, by route; and whether the rate was not reached."""
    judged = slo.judge_all(seen.routes, gate)
    if slo.kept(judged) is None:
        raise Failure(f"{rate:.0f} requests/s for {seconds:.0f} s are too few to judge")
    found = [f"{one.route} ({', '.join(one.broken)})" for one in judged if one.broken]
    if seen.answered < limits.REACHED * rate * seconds:
        found.append(f"{seen.answered / seconds:.3g} requests/s reached")
    if any("failures" in one.broken for one in judged):
        what, number = seen.errors.most_common(1)[0]
        found.append(f"{number} x {what}")
    return found


@dataclass(frozen=True)
class Measure:
    """A release under load; times in seconds."""

    stage: Stage
    load: Load
    # Of gunicorn, in each pod.
    processes: int
    warm_up: float
    seconds: float
    gate: slo.Gate

    def step(self, rate: float) -> Step:
        pods, namespace = self.stage.pods(), self.stage.namespace
        containers, serving = usage.containers(pods), web(pods)
        self.load.begin(rate, self.warm_up, self.seconds)
        end = time.monotonic() + self.warm_up + self.seconds
        time.sleep(self.warm_up)
        before, samples = usage.read(namespace, containers), [scrape(namespace, serving)]
        while (left := end - time.monotonic()) > SAMPLE_SECONDS:
            time.sleep(min(SAMPLE_SECONDS, left - 1))
            samples.append(scrape(namespace, serving))
        after = usage.read(namespace, containers)
        seen = self.load.seen()
        by_container, machine = usage.between(before, after), usage.busiest(before, after)
        of_pod = max(one.limit for one in containers if one.name == "gunicorn")
        used = {
            limits.GENERATOR: seen.share,
            **{limits.of_container(name): by_container[name].share for name in limits.CONTAINERS},
            limits.PROCESSES: by_container["gunicorn"].share * of_pod / self.processes,
            limits.NODE: machine.share,
            limits.POOL: busy(samples, "slipway_database_connections"),
            limits.THREADS: busy(samples, "slipway_threads"),
        }
        throttled = {name: by_container[name].throttled for name in limits.CONTAINERS}
        found = broken(seen, rate, self.seconds, self.gate)
        reached = seen.answered / (rate * self.seconds)
        total = measured.total(seen.routes)
        return Step(
            offered=rate,
            answered=seen.answered / self.seconds,
            broken=found,
            p95=total.percentile(95),
            p99=total.percentile(99),
            cores={name: one.cores for name, one in by_container.items()},
            others=machine.others,
            throttled=throttled,
            used=used,
            seconds=in_service(samples),
            limiting=limits.limiting(used, throttled, reached) if found else "",
        )


def told(one: Step) -> str:
    """For a person."""
    verdict = f"BROKEN: {'; '.join(one.broken)}; {one.limiting}" if one.broken else "kept"
    used = f"cores: gunicorn {one.cores['gunicorn']:.2f}, others {one.others:.2f}"
    return f"{one.offered:.0f} requests/s, p95 {one.p95} ms, p99 {one.p99} ms, {used}: {verdict}"
