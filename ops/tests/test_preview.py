"""The preview of the dashboards, with data of a real Prometheus."""

import html
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest
import yaml
from answers import until
from containers import ROOT, running

from ops import dashboards
from ops.preview import UNITS, stretches

# What Prometheus itself records of nothing, in place of a service.
LABELS = {"namespace": "tried", "pod": "pod-1", "dependency": "database", "image": "slipway:1"}
RECORDED = [
    "slipway_dependency_up",
    "slipway_tasks_queued",
    "kube_pod_container_info",
    "kube_pod_container_status_waiting_reason",
    "slipway_build_info",
]
CONFIGURATION = {
    "global": {"evaluation_interval": "1s"},
    "rule_files": ["/etc/prometheus/rules.yaml"],
}
RULES = {
    "groups": [
        {
            "name": "made-up",
            "rules": [{"record": name, "expr": "vector(1)", "labels": LABELS} for name in RECORDED],
        }
    ]
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one in which a few metrics have data."""
    folder = tmp_path_factory.mktemp("prometheus")
    folder.chmod(0o755)
    values = yaml.safe_load((ROOT / "helm/observability/values.yaml").read_text())
    image = values["prometheus"]["image"]
    options = []
    for name, content in (("prometheus.yml", CONFIGURATION), ("rules.yaml", RULES)):
        (folder / name).write_text(yaml.safe_dump(content))
        options += ["--volume", f"{folder / name}:/etc/prometheus/{name}:ro"]
    with running(f"{image['repository']}:{image['tag']}", 9090, options=options) as (port,):
        url = f"http://127.0.0.1:{port}"
        until(lambda: has_data(url), lambda: f"nothing is recorded at {url}")
        yield url


def has_data(url: str) -> bool:
    with suppress(OSError):
        address = f"{url}/api/v1/query?query={RECORDED[-1]}"
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310
            return bool(json.load(answer)["data"]["result"])
    return False


def preview(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ops.preview", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("preview") / "page.html"
    done = preview(prometheus, "--range", "5m", "--output", str(output))
    assert done.returncode == 0, done.stderr
    return output.read_text()


def shown(page: str) -> list[tuple[str, str]]:
    """The title of each panel, and what is below it."""
    panel = r'<div class="panel"><h3>(.*?)</h3>(.*?)</div>'
    return [(html.unescape(title), body) for title, body in re.findall(panel, page, re.DOTALL)]


@pytest.mark.needs("engine")
def test_every_panel_is_drawn_or_says_what_it_asked(page: str) -> None:
    panels = [panel for board in dashboards.build().values() for panel in board["panels"]]
    assert [title for title, _ in shown(page)] == [panel["title"] for panel in panels]
    ways = ("<svg", 'class="stat"', "<table", '<p class="none">no data</p><code>')
    for title, body in shown(page):
        assert sum(way in body for way in ways) == 1, (title, body)
    assert {way for way in ways for _, body in shown(page) if way in body} == {*ways}
    # Each variable has a value.
    assert "$" not in page
    # Nothing of it is fetched from elsewhere.
    assert "src=" not in page


@pytest.mark.needs("engine")
@pytest.mark.parametrize(
    ("title", "seen"),
    [
        # The line's name, which stands there when it is drawn; and when something was released.
        ("Waiting", "<!-- tried -->"),
        ("Waiting", "stroke: #0000ff"),
        # From where on it is not good.
        ("Containers that cannot start", "stroke: #ffff00"),
        ("What it depends on", '<p class="stat">1 <small>database</small></p>'),
        ("Images", "<td>slipway:1</td>"),
    ],
)
def test_what_is_recorded_is_seen(page: str, title: str, seen: str) -> None:
    assert seen in dict(shown(page))[title]


def test_what_lasts_is_marked_from_its_start_to_its_end() -> None:
    samples = [(0.0, "0"), (5.0, "1"), (10.0, "100"), (15.0, "0"), (20.0, "1"), (40.0, "1")]
    assert list(stretches(samples, step=5)) == [(5, 10), (20, 20), (40, 40)]


def test_every_unit_has_a_name() -> None:
    panels = [panel for board in dashboards.build().values() for panel in board["panels"]]
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in panels} <= {*UNITS}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "preview: http://127.0.0.1:1 does not answer: "),
        (["http://127.0.0.1:1", "--range", "soon"], "preview: a duration reads 30s, 5m, 6h or 30d"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    done = preview(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
