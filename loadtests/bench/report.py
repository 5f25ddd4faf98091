"""The tables: a short one for README.md, all of them for loadtests/README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .changes import told
from .rounds import Figures
from .routes import ROUTES
from .servers import KIT

COLUMNS = {
    "requests_per_second": "requests/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "cpu_s_per_1000": "CPU s per 1,000",
    "memory_mib": "memory, MiB",
    "to_gunicorn": "to bare Flask",
    "to_fastapi": "to instrumented FastAPI",
    "cpu_to_gunicorn": "by CPU, to bare Flask",
    "cpu_to_fastapi": "by CPU, to instrumented FastAPI",
    "ratio": "ratio",
    "cpu_ratio": "by CPU",
}
SHORT = ("requests_per_second", "p99_ms", "cpu_s_per_1000", "to_gunicorn", "to_fastapi")


def short(result: Mapping[str, Any]) -> str:
    """The kit with all its telemetry, route by route."""
    kits = {
        f"{ROUTES[route].title}, {way}": contenders[KIT]
        for route, ways in result["throughput"].items()
        for way, contenders in ways.items()
    }
    return "\n".join([*table(kits, SHORT), "", *circumstances(result)])


def whole(result: Mapping[str, Any]) -> str:
    """All that was measured, be it a part."""
    lines = [*circumstances(result)]
    for route, ways in result.get("throughput", {}).items():
        for way, contenders in ways.items():
            lines += ["", f"**{ROUTES[route].title}, {way}**", "", *table(contenders)]
    for route, variants in result.get("telemetry", {}).items():
        title = f"**What telemetry leaves of it: {ROUTES[route].title}**"
        lines += ["", title, "", *table(variants)]
    if pages := result.get("keyset"):
        by = ", ".join(f"{pages[f'by {sort}']['ratio']} (by {sort})" for sort in ("id", "name"))
        lines += [
            "",
            f"Page {pages['page']:,} of {pages['limit']} rows each costs {by} times page 1.",
        ]
    if scrape := result.get("scrape"):
        ended = scrape["ended_workers"]
        lines += ["", f"After {ended} workers have ended, a scrape takes {told(scrape['ms'])} ms."]
    return "\n".join(lines)


def circumstances(result: Mapping[str, Any]) -> Iterator[str]:
    on = result["machine"]
    rounds = f"{result['rounds']} rounds of {result['seconds']} s"
    yield f"Median (least to most) of {rounds} on {on['date']}."
    yield f"The servers on one core of {on['cpu']}, {result['processes']} process each but Flask's;"
    yield f"{result['connections']} connections, {result['rows']:,} rows."


def table(seen: Mapping[str, Figures], columns: tuple[str, ...] = tuple(COLUMNS)) -> Iterator[str]:
    """A row for each, with those of the columns that any has."""
    shown = [name for name in columns if any(name in figures for figures in seen.values())]
    yield f"| | {' | '.join(COLUMNS[name] for name in shown)} |"
    yield "|---" * (len(shown) + 1) + "|"
    for name, figures in seen.items():
        cells = (told(figures[column]) if column in figures else "" for column in shown)
        yield f"| {name} | {' | '.join(cells)} |"
