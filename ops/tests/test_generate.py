"""What `make slo` writes, compared with what is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.generate import DASHBOARDS, GATE, ROOT, files
from ops.slo import load

MADE = files(load())


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_what_is_generated_is_not_stale(path: Path) -> None:
    assert path.is_file(), f"{path} is missing: make slo"
    assert path.read_text() == MADE[path], f"{path} is stale: make slo"


def test_no_dashboard_is_left_that_nothing_makes() -> None:
    assert set(DASHBOARDS.glob("*.json")) == {path for path in MADE if path.parent == DASHBOARDS}


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_what_is_generated_says_so(path: Path) -> None:
    assert "make slo" in MADE[path]


def test_it_is_the_same_each_time() -> None:
    program = (
        "from ops.generate import files; from ops.slo import load; print([*files(load()).values()])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def test_the_gate_has_whole_limits_for_each_route() -> None:
    gate = json.loads(MADE[GATE])
    assert gate["routes"].keys() == load().load.routes.keys()
    for limits in (gate["default"], *gate["routes"].values()):
        assert limits.keys() == {"p95", "p99", "failures"}
