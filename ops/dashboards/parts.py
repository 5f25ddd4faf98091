"""What dashboards are made of: panels, their variables, and the links between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ops import links

SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED = "green", "yellow", "red"
COLUMNS, WIDTH, HEIGHT = 24, 8, 8

# Of the release's pods; and of its namespace, where a metric knows no pod of it.
PODS = 'namespace=~"$namespace", pod=~"$pod"'
ROUTES = f'{PODS}, route=~"$route"'
SPACE = 'namespace=~"$namespace"'


@dataclass(frozen=True)
class Panel:
    """A question, what good looks like, and from where on it is not."""

    title: str
    description: str
    unit: str
    # Expression and legend.
    queries: Sequence[tuple[str, str]]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    # Of warning and of alarm; the other way round where more is better.
    limits: tuple[float, float] | None = None
    more_is_better: bool = False
    # The alert whose page says what to do.
    runbook: str = ""
    width: int = WIDTH


@dataclass(frozen=True)
class Board:
    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    # As Grafana writes it.
    since: str = "now-1h"
    variables: Sequence[Literal["pod", "route"]] = field(default=("pod", "route"))


def _thresholds(panel: Panel) -> builder.Builder[models.ThresholdsConfig]:
    steps = [models.Threshold(value=None, color=GREEN)]
    if panel.limits:
        first, second = panel.limits
        colors = (YELLOW, RED)
        if panel.more_is_better:
            steps = [models.Threshold(value=None, color=RED)]
            first, second, colors = second, first, (YELLOW, GREEN)
        steps += [models.Threshold(value=first, color=colors[0])]
        steps += [models.Threshold(value=second, color=colors[1])]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _builder(panel: Panel) -> Any:
    match panel.kind:
        case "stat":
            return stat.Panel()
        case "table":
            return table.Panel()
    legend = common.VizLegendOptions().show_legend(True)
    legend = legend.display_mode(common_models.LegendDisplayMode.LIST)
    legend = legend.placement(common_models.LegendPlacement.BOTTOM)
    shown = timeseries.Panel().line_width(1).fill_opacity(10).legend(legend)
    if panel.limits:
        line = common.GraphThresholdsStyleConfig().mode(
            common_models.GraphThresholdsStyleMode.DASHED
        )
        shown = shown.thresholds_style(line)
    return shown


def _panel(panel: Panel, position: models.GridPos, number: int) -> Any:
    made = (
        _builder(panel)
        .id(number)
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .grid_pos(position)
        .thresholds(_thresholds(panel))
    )
    for index, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend)
        query = query.ref_id(chr(ord("A") + index)).datasource(SOURCE)
        # Exemplars of a slow request lead to its trace.
        over_time = panel.kind == "timeseries"
        query = query.range().exemplar(True) if over_time else query.instant()
        if panel.kind == "table":
            query = query.format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    if panel.runbook:
        page = dashboard.DashboardLink("What to do").url(links.runbook(panel.runbook))
        made = made.links([page.target_blank(True)])
    return made


def _variable(name: str, label: str, query: str) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


VARIABLES = {
    "pod": _variable("pod", "Pod", f"label_values(slipway_build_info{{{SPACE}}}, pod)"),
    "route": _variable(
        "route",
        "Route",
        f"label_values(flask_http_request_duration_seconds_count{{{SPACE}}}, route)",
    ),
}


def _annotation(name: str, color: str, expression: str, title: str) -> Any:
    # The expression stands in the annotation itself: so Grafana's own Prometheus source reads it.
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expression)
        .step("15s")
        .title_format(title)
    )


def made(board: Board, every: Sequence[Board]) -> models.Dashboard:
    """The dashboard, with links to `every` other one, to logs, traces and runbooks."""
    shown = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(f"{board.description} Made by `make slo`.")
        .tags(["slipway"])
        .editable()
        .refresh("30s")
        .time(board.since, "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(
            _variable("namespace", "Namespace", "label_values(slipway_build_info, namespace)")
        )
        .annotation(
            _annotation(
                "Releases",
                "blue",
                f"count by (namespace, commit) (slipway_build_info{{{SPACE}}}) unless"
                f" count by (namespace, commit) (slipway_build_info{{{SPACE}}} offset 1m)",
                "{{namespace}}: {{commit}}",
            )
        )
        .annotation(
            _annotation(
                "Faults on purpose",
                "orange",
                f"max by (namespace, route, kind) (slipway_fault_active{{{SPACE}}})",
                "{{namespace}}: {{kind}} on {{route}}",
            )
        )
        .annotation(
            # From its start to its end: Grafana makes one region of samples that follow each other.
            _annotation(
                "Load tests",
                "purple",
                f"max by (namespace, profile) (locust_run_active{{{SPACE}}})",
                "{{namespace}}: load test {{profile}}",
            )
        )
    )
    for name in board.variables:
        shown = shown.with_variable(VARIABLES[name])
    for other in every:
        if other.uid != board.uid:
            link = dashboard.DashboardLink(other.title).url(links.dashboard(other.uid))
            shown = shown.link(link.include_vars(True).keep_time(True))
    for title, url in (
        ("Logs and traces", f"{links.GRAFANA}/explore"),
        ("Runbooks", links.RUNBOOKS),
    ):
        shown = shown.link(dashboard.DashboardLink(title).url(url).target_blank(True))
    column = row = 0
    for number, panel in enumerate(board.panels, 1):
        if column + panel.width > COLUMNS:
            column, row = 0, row + HEIGHT
        position = models.GridPos(h=HEIGHT, w=panel.width, x=column, y=row)
        shown = shown.with_panel(_panel(panel, position, number))
        column += panel.width
    return shown.build()
