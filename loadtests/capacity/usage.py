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
SCRIPT = f"""grep -E "^(cpu|btime) " /proc/stat
echo usage $(cat {GROUP}/cpuacct/cpuacct.usage {GROUP}/cpu/cpuacct.usage 2>/dev/null | head -n 1)
cat {" ".join(FILES)} 2>/dev/null
cat /proc/uptime
"""
# What /proc/stat counts in, of a second: proc(5).
USER_HZ = 100
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
    # When the machine was started: nodes that are parts of one have this in common.
    machine: int
    # Of all its processors.
    busy: float
    total: float


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
    times = [float(value) / USER_HZ for value in fields["cpu"][:8]]
    # user nice system idle iowait irq softirq steal: what is not idle was used, be it by others.
    idle = times[3] + times[4]
    if fields["usage"]:
        cpu = float(fields["usage"][0]) / 1e9
    else:
        cpu = float(fields["usage_usec"][0]) / 1e6
    return Usage(
        float(lines[-1][0]),
        cpu,
        float(fields.get("nr_periods", ["0"])[0]),
        float(fields.get("nr_throttled", ["0"])[0]),
        int(fields["btime"][0]),
        sum(times) - idle,
        sum(times),
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


@dataclass(frozen=True)
class Machine:
    """Between two readings: the share of its processors that was used, and cores by others."""

    share: float
    others: float


Readings = Mapping[Container, Usage]


def between(before: Readings, after: Readings) -> dict[str, Used]:
    """By container's name."""
    used: dict[str, Used] = {}
    for container, then in before.items():
        now = after[container]
        seen = _cores(then, now)
        periods = now.periods - then.periods
        throttled = (now.throttled - then.throttled) / periods if periods else 0.0
        so_far = used.get(container.name, Used(0, 0, 0))
        used[container.name] = Used(
            so_far.cores + seen,
            max(so_far.share, seen / container.limit),
            max(so_far.throttled, throttled),
        )
    return used


def busiest(before: Readings, after: Readings) -> Machine:
    """The machine whose processors were used most. Others are all but these containers."""
    found = []
    for machine in {usage.machine for usage in before.values()}:
        ours = [one for one, usage in before.items() if usage.machine == machine]
        then, now = before[ours[0]], after[ours[0]]
        busy = now.busy - then.busy
        own = sum(_cores(before[one], after[one]) for one in ours)
        others = max(0.0, busy / (now.at - then.at) - own)
        found.append(Machine(busy / (now.total - then.total), others))
    return max(found, key=lambda machine: machine.share)


def _cores(then: Usage, now: Usage) -> float:
    return (now.cpu - then.cpu) / (now.at - then.at)
