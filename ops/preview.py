"""Every panel of every dashboard with live data, in one page: `make dashboards-preview`.

For who looks at no Grafana. Queries are asked as Grafana would ask them, with all namespaces, pods
and routes; a panel without data says so, and shows what it asked.
"""

import argparse
import html
import io
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

from ops import duration

with warnings.catch_warnings():
    # What Grafana is provisioned with from files is its classic model.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ops import dashboards

mpl.use("svg")
from matplotlib import dates
from matplotlib import pyplot as plt

# What Prometheus may take for a query, seconds, and how many points a panel has.
QUERY_SECONDS = 20
POINTS = 240
RATE_WINDOW = "2m"
LEGEND_MOST = 8
UNITS = {
    "s": "seconds",
    "ms": "milliseconds",
    "percentunit": "%",
    "reqps": "requests/s",
    "ops": "tasks/s",
    "short": "",
}
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
h2 { margin: 2.5rem 0 .3rem } p { margin: .2rem 0 }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1rem }
.panel { border: 1px solid #ccc; border-radius: 6px; padding: .8rem }
.panel h3 { margin: 0 } .panel p { color: #555; font-size: 13px }
.panel svg { width: 100%; height: auto }
.panel p.stat { font-size: 1.6rem; color: #222 } .stat small { color: #555; font-size: 13px }
.panel p.none { color: #a40000 } code { font-size: 11px; overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: 12px }
td, th { border: 1px solid #ddd; padding: 2px 6px }
"""

Json = dict[str, Any]


class PreviewError(Exception):
    """What was asked, what was answered, what to do: one line."""


@dataclass(frozen=True)
class Source:
    """A Prometheus, and the span of time that is looked at."""

    url: str
    namespace: str
    seconds: int
    end: float

    def ask(self, path: str, **parameters: object) -> list[Json]:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=QUERY_SECONDS) as answer:  # noqa: S310
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            said = json.loads(error.read() or b"{}").get("error", error.reason)
            raise PreviewError(f"{parameters['query']}: {said}") from None
        except (OSError, ValueError) as error:
            raise PreviewError(
                f"{self.url} does not answer: {error}. Name another: PROMETHEUS=http://…"
            ) from None

    def plain(self, expression: str) -> str:
        """The expression with what Grafana would put in place of its variables."""
        expression = expression.replace("$__rate_interval", RATE_WINDOW)
        expression = expression.replace("$__range", f"{self.seconds}s")
        expression = expression.replace("$namespace", self.namespace)
        return re.sub(r"\$(pod|route)\b", ".*", expression)

    @property
    def step(self) -> int:
        """Seconds between two points."""
        return max(self.seconds // POINTS, 5)

    def now(self, expression: str) -> list[Json]:
        return self.ask("query", query=self.plain(expression), time=self.end)

    def over_time(self, expression: str) -> list[Json]:
        start = self.end - self.seconds
        query = self.plain(expression)
        return self.ask("query_range", query=query, start=start, end=self.end, step=self.step)


@dataclass(frozen=True)
class Mark:
    """Something that somebody did, from when to when."""

    begin: float
    end: float
    color: str


def _namespaces(source: Source) -> str:
    """Where there are releases, as Grafana's variable finds them."""
    found = source.over_time("count by (namespace) (slipway_build_info)")
    return "|".join(one["metric"].get("namespace", "") for one in found)


def legend(pattern: str, labels: Json) -> str:
    """As Grafana makes it; all labels where there is no pattern."""
    if pattern:
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: str(labels.get(match[1], "")), pattern)
    return ", ".join(f"{k}={v}" for k, v in sorted(labels.items()) if k != "__name__")


def _factor(unit: str) -> float:
    return 100 if unit == "percentunit" else 1


def _time(at: float) -> float:
    """As matplotlib counts."""
    return float(dates.date2num(datetime.fromtimestamp(at, UTC)))


def _plot(panel: Json, series: list[tuple[str, Json]], source: Source, marks: list[Mark]) -> str:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    figure, axes = plt.subplots(figsize=(6, 2.6))
    for name, one in series:
        times = [_time(at) for at, _ in one["values"]]
        values = [float(value) * _factor(unit) for _, value in one["values"]]
        axes.plot(times, values, linewidth=1.2, label=name)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), high if high > 0 else 1)
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]:
        value = step["value"] * _factor(unit)
        if value <= axes.get_ylim()[1]:
            axes.axhline(value, color=step["color"], linestyle="--", linewidth=0.8)
    for mark in marks:
        begin, end = _time(mark.begin), _time(mark.end)
        axes.axvspan(begin, end, color=mark.color, alpha=0.08, linewidth=0)
        for at in (begin, end):
            axes.axvline(at, color=mark.color, linestyle=":", linewidth=0.8)
    # All panels alike, so that what is below each other was at the same time.
    axes.set_xlim(_time(source.end - source.seconds), _time(source.end))
    axes.set_ylabel(UNITS.get(unit, unit))
    axes.grid(alpha=0.2)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    if 0 < len(series) <= LEGEND_MOST:
        axes.legend(fontsize=7, loc="upper left", frameon=False)
    figure.tight_layout()
    output = io.StringIO()
    figure.savefig(output, format="svg")
    plt.close(figure)
    text = output.getvalue()
    return text[text.index("<svg") :]


def _shown(value: str, unit: str) -> str:
    suffix = {"percentunit": " %", "s": " s", "ms": " ms"}.get(unit, "")
    return f"{float(value) * _factor(unit):,.3g}{suffix}"


def _stat(panel: Json, samples: list[tuple[str, Json]]) -> str:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    rows = (
        f'<p class="stat">{_shown(one["value"][1], unit)} <small>{html.escape(name)}</small></p>'
        for name, one in samples
    )
    return "".join(rows)


def _table(samples: list[tuple[str, Json]]) -> str:
    names = sorted({name for _, one in samples for name in one["metric"]})
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(one['metric'].get(name, ''))}</td>" for name in names)
        + "</tr>"
        for _, one in samples
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _panel(panel: Json, source: Source, marks: list[Mark]) -> tuple[str, bool]:
    """The panel, and whether there is something to see on it."""
    over_time = panel["type"] == "timeseries"
    found: list[tuple[str, Json]] = []
    for target in panel["targets"]:
        pattern = target.get("legendFormat", "")
        series = (source.over_time if over_time else source.now)(target["expr"])
        found += [(legend(pattern, one["metric"]), one) for one in series]
    if not found:
        asked_for = "<br>".join(html.escape(source.plain(t["expr"])) for t in panel["targets"])
        body = f'<p class="none">no data</p><code>{asked_for}</code>'
    elif over_time:
        body = _plot(panel, found, source, marks)
    else:
        body = _table(found) if panel["type"] == "table" else _stat(panel, found)
    title, about = html.escape(panel["title"]), html.escape(panel["description"])
    return f'<div class="panel"><h3>{title}</h3><p>{about}</p>{body}</div>', bool(found)


def _marks(board: Json, source: Source) -> list[Mark]:
    """What was done: released, broken on purpose, loaded."""
    return [
        Mark(begin, end, annotation["iconColor"])
        for annotation in board["annotations"]["list"]
        for one in source.over_time(annotation["expr"])
        for begin, end in stretches(one["values"], source.step)
    ]


def stretches(values: list[tuple[float, str]], step: float) -> Iterator[tuple[float, float]]:
    """First and last of the samples above 0 that follow each other, as Grafana joins them."""
    begin = end = 0.0
    for at in (float(at) for at, value in values if float(value) > 0):
        if not end or at - end > step:
            if end:
                yield begin, end
            begin = at
        end = at
    if end:
        yield begin, end


def page(source: Source) -> Iterator[str]:
    """The page, piece by piece, with progress on standard error."""
    yield f'<!doctype html><meta charset="utf-8"><title>Dashboards</title><style>{STYLE}</style>'
    until = datetime.fromtimestamp(source.end, UTC).isoformat(timespec="seconds")
    yield f"<h1>Dashboards</h1><p>{html.escape(source.url)}, {source.seconds} s until {until}</p>"
    for uid, board in dashboards.build().items():
        marks = _marks(board, source)
        drawn = [_panel(panel, source, marks) for panel in board["panels"]]
        with_data = sum(has_data for _, has_data in drawn)
        print(f"preview: {uid}: {with_data} of {len(drawn)} panels have data", file=sys.stderr)
        yield f"<h2>{html.escape(board['title'])}</h2><p>{html.escape(board['description'])}</p>"
        yield f'<div class="panels">{"".join(text for text, _ in drawn)}</div>'


def main() -> None:
    parser = argparse.ArgumentParser(prog="preview", description=__doc__)
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:30090")
    parser.add_argument("--range", default="1h", help="how far to look back (1h)")
    parser.add_argument("--namespace", default="", help="a regular expression (those of releases)")
    parser.add_argument("--output", type=Path, default=Path("dashboards.html"))
    arguments = parser.parse_args()
    try:
        seconds = int(duration.seconds(arguments.range))
        end = datetime.now(UTC).timestamp()
        source = Source(arguments.prometheus.rstrip("/"), arguments.namespace, seconds, end)
        source = replace(source, namespace=source.namespace or _namespaces(source))
        arguments.output.write_text("".join(page(source)))
    except (PreviewError, ValueError) as error:
        sys.exit(f"preview: {error}")
    print(f"preview: {arguments.output}")


if __name__ == "__main__":
    main()
