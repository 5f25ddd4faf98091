"""What containers and nodes have used of their processors, read where the kernel counts it.

metrics-server and the kubelet tell it every ten seconds or so, which is as long as a step: a
container's own control group tells it now, of either version, and so does /proc/stat of its node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deploy.shell import run

GROUP = "/sys/fs/cgroup"
FILES = (f"{GROUP}/cpu.stat", f"{GROUP}/cpu/cpu.stat")
SCRIPT = f"""head -n 1 /proc/stat
echo usage $(cat {GROUP}/cpuacct/cpuacct.usage {GROUP}/cpu/cpuacct.usage 2>/dev/null | head -n 1)
cat {" ".join(FILES)} 2>/dev/null
cat /proc/uptime
"""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Container:
    pod: str
    name: str
    node: str
    # Cores.
    limit: float


@dataclass(frozen=True)
class Usage:
    """Since a start, in seconds and periods."""

    at: float
    cpu: float
    periods: float
    throttled: float
    node_busy: float
    node_total: float


def cores(quantity: str) -> float:
    """Of a quantity of processors as Kubernetes writes it: `2`, `500m`."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def containers(pods: Iterable[Json]) -> list[Container]:
    """Those with a limit, of pods that run: sidecars too, but not what has ended."""
    return [
        Container(
            pod["metadata"]["name"],
            one["name"],
            pod["spec"]["nodeName"],
            cores(one["resources"]["limits"]["cpu"]),
        )
        for pod in pods
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        for one in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        if one.get("resources", {}).get("limits", {}).get("cpu")
        and (one in pod["spec"]["containers"] or one.get("restartPolicy") == "Always")
    ]


def parse(text: str) -> Usage:
    """What SCRIPT prints."""
    fields: dict[str, list[str]] = {}
    lines = [line.split() for line in text.splitlines()]
    for name, *values in lines:
        fields.setdefault(name, values)
    jiffies = [float(value) for value in fields["cpu"][:8]]
    # user nice system idle iowait irq softirq steal: what is not idle was used, be it by others.
    idle = jiffies[3] + jiffies[4]
    if fields["usage"]:
        cpu = float(fields["usage"][0]) / 1e9
    else:
        cpu = float(fields["usage_usec"][0]) / 1e6
    return Usage(
        float(lines[-1][0]),
        cpu,
        float(fields.get("nr_periods", ["0"])[0]),
        float(fields.get("nr_throttled", ["0"])[0]),
        sum(jiffies) - idle,
        sum(jiffies),
    )


def read(namespace: str, found: list[Container]) -> dict[Container, Usage]:
    """Of all of them at once."""

    def one(container: Container) -> Usage:
        command = ["kubectl", "exec", f"--namespace={namespace}", container.pod]
        command += [f"--container={container.name}", "--", "sh", "-c", SCRIPT]
        return parse(run(*command, what=f"reading what {container.pod} uses"))

    with ThreadPoolExecutor(len(found)) as pool:
        return dict(zip(found, pool.map(one, found), strict=True))


@dataclass(frozen=True)
class Used:
    """Between two readings, of all containers of a name."""

    # In all, and the most of a single one's limit; the share of periods that was throttled.
    cores: float
    share: float
    throttled: float


def between(
    before: Mapping[Container, Usage], after: Mapping[Container, Usage]
) -> tuple[dict[str, Used], float]:
    """By container's name; and the share of the busiest node's processors that was used."""
    used: dict[str, Used] = {}
    node = 0.0
    for container, then in before.items():
        now = after[container]
        seen = (now.cpu - then.cpu) / (now.at - then.at)
        periods = now.periods - then.periods
        throttled = (now.throttled - then.throttled) / periods if periods else 0.0
        so_far = used.get(container.name, Used(0, 0, 0))
        used[container.name] = Used(
            so_far.cores + seen,
            max(so_far.share, seen / container.limit),
            max(so_far.throttled, throttled),
        )
        total = now.node_total - then.node_total
        node = max(node, (now.node_busy - then.node_busy) / total if total else 0.0)
    return used, node
