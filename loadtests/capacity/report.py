"""The tables of capacity.json: a short one for README.md, the steps for loadtests/README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .advice import FORMULAS
from .generator import NAME as LOAD
from .limits import CONTAINERS, NODE, POOL, THREADS

NAMES = {
    "processes": "`gunicorn.processes` (`WEB_CONCURRENCY`)",
    "threads": "`gunicorn.threads`",
    "cpu_request": "`gunicorn.resources.requests.cpu`",
    "hpa_cpu": "`hpa.cpu`",
}
CORES = (*CONTAINERS, LOAD)
Json = Mapping[str, Any]


def short(kept: Json) -> str:
    lines = [*sizes(kept), "", *circumstances(kept)]
    return "\n".join(lines)


def whole(kept: Json) -> str:
    """Each recommendation with its formula, and each step that was measured."""
    lines = [*circumstances(kept), "", *recommended(kept)]
    for pods, one in kept["pods"].items():
        lines += ["", f"**{number(pods)}**", "", *steps(one)]
    return "\n".join(lines)


def number(pods: str) -> str:
    return "1 pod" if pods == "1" else f"{pods} pods"


def size(name: str, value: float) -> str:
    return f"{value * 1000:.0f}m" if name == "cpu_request" else str(value)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> Iterator[str]:
    yield row(*cells)
    yield "|---" * len(cells) + "|"


def sizes(kept: Json) -> Iterator[str]:
    rates = ("requests/s kept", "for each core used", "of limit", "what ran out first")
    yield from head("pods", *rates, "processes", "threads", "CPU request", "`hpa.cpu`")
    for pods, one in kept["pods"].items():
        if one["kept"] is None:
            yield row(pods, f"below {one['broken']:g}", "", "", one["limiting"], *[""] * len(NAMES))
            continue
        told = [f"{one[name]:g}" for name in ("kept", "per_core", "per_core_of_limit")]
        advised = [size(name, one["recommended"][name]) for name in NAMES]
        yield row(pods, *told, one["limiting"], *advised)


def circumstances(kept: Json) -> Iterator[str]:
    on, how = kept["machine"], kept["load"]
    gunicorn = next(iter(kept["pods"].values()))["gunicorn"]
    where = "that are one machine, " if on["nodes"] > on["machines"] else ""
    yield f"By `make capacity` on {on['date']}, on {on['nodes']} nodes {where}with {on['cores']:g}"
    yield f"cores of {on['processor']}, Kubernetes {on['kubernetes']}. These cores also had the"
    yield "database, the load and whatever else ran: the figures are this machine's alone. Each"
    yield f"pod had {gunicorn['processes']} processes of {gunicorn['threads']} threads and a limit"
    yield f"of {gunicorn['cpu_limit']:g} cores. A rate is kept when {how['seconds']:g} s of it, as"
    yield "the profile `open`, keep the SLO of each route, and the rate told is at most"
    yield f"{100 * how['tolerance']:.0f} % below one that did not."


def recommended(kept: Json) -> Iterator[str]:
    told = {
        number(pods): one["recommended"]
        for pods, one in kept["pods"].items()
        if "recommended" in one
    }
    yield from head("for each pod", *(f"of {pods}" for pods in told), "how it follows")
    for name, title in NAMES.items():
        yield row(title, *(size(name, one[name]) for one in told.values()), FORMULAS[name])


def steps(one: Json) -> Iterator[str]:
    times = ("requests/s", "p95, ms", "p99, ms", "in service, ms")
    yield from head(*times, f"cores: {', '.join(CORES)}, others", "node", "threads", "pool", "")
    for step in one["steps"]:
        verdict = "kept"
        if step["broken"]:
            verdict = f"broken: {'; '.join(step['broken'])}; {step['limiting']}"
        yield row(
            *(f"{step[name]:g}" for name in ("offered", "p95", "p99", "ms_in_service")),
            ", ".join(f"{one:g}" for one in (*map(step["cores"].get, CORES), step["others"])),
            *(f"{100 * step['used'][name]:.0f} %" for name in (NODE, THREADS, POOL)),
            verdict,
        )
