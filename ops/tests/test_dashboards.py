"""Dashboards: what each panel says of itself, and that Grafana and Prometheus understand it."""

import itertools
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from ops import dashboards
from ops.preview import Source

RUNBOOKS = Path(__file__).parents[1] / "runbooks"
BUILT = dashboards.build()
# Puts in place of Grafana's variables what the preview does.
SOURCE = Source("", namespace=".*", seconds=3600, end=0)
PANELS = [(uid, panel) for uid, board in BUILT.items() for panel in board["panels"]]
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in PANELS], ids=[f"{u}-{p['title']}" for u, p in PANELS]
)


def test_the_five_dashboards_have_the_names_that_alerts_link_to() -> None:
    assert list(BUILT) == [
        f"slipway-{name}" for name in ("service", "saturation", "tasks", "release", "load")
    ]
    assert {uid: board["uid"] for uid, board in BUILT.items()} == dict(
        zip(BUILT, BUILT, strict=True)
    )


@each_panel
def test_a_panel_says_what_good_looks_like_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert "Good: " in panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


@each_panel
def test_a_panel_names_its_lines(panel: dict[str, Any]) -> None:
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
        assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_prometheus_understands_what_a_panel_asks(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = SOURCE.plain(target["expr"])
        assert "$" not in expression, expression
        promql_parser.parse(expression)


@each_panel
def test_a_panel_leads_to_a_page_that_is_there(panel: dict[str, Any]) -> None:
    for link in panel.get("links") or []:
        assert (RUNBOOKS / link["url"].rsplit("/", 1)[1]).is_file(), link["url"]


@pytest.mark.parametrize("uid", BUILT)
def test_panels_stand_beside_each_other(uid: str) -> None:
    panels = BUILT[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("uid", BUILT)
def test_a_dashboard_leads_to_all_others_and_marks_what_was_done(uid: str) -> None:
    board = BUILT[uid]
    urls = " ".join(link["url"] for link in board["links"])
    assert all((f"/d/{other}" in urls) == (other != uid) for other in BUILT)
    assert "https://grafana.invalid/explore" in urls
    assert {one["name"] for one in board["annotations"]["list"]} >= {
        "Releases",
        "Faults on purpose",
        "Load tests",
    }
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
