"""The preview of the dashboards, with data of a real Prometheus."""

import html
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from answers import until
from containers import ROOT, running

from ops import dashboards

# What Prometheus itself records of nothing, in place of a service.
LABELS = {"namespace": "tried", "pod": "pod-1", "dependency": "database", "commit": "abc"}
RECORDED = ["slipway_dependency_up", "slipway_tasks_queued", "slipway_build_info"]
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


@pytest.mark.needs("engine")
def test_every_panel_is_drawn_or_says_what_it_asked(prometheus: str, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    done = preview(prometheus, "--range", "5m", "--output", str(output))
    assert done.returncode == 0, done.stderr
    page = output.read_text()
    panels = [panel for board in dashboards.build().values() for panel in board["panels"]]
    assert page.count('class="panel"') == len(panels)
    for panel in panels:
        assert f"<h3>{html.escape(panel['title'])}</h3>" in page
    drawn = page.count("<svg") + page.count('class="stat"')
    assert 0 < drawn < len(panels)
    assert page.count('class="none"') == len(panels) - drawn
    assert "$namespace" not in page
    # Nothing of it is fetched from elsewhere.
    assert "src=" not in page


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
