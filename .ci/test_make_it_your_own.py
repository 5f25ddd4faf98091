"""MAKE_IT_YOUR_OWN.md, done as it says: each block in its order, in a copy of the project."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from test_make import environment, free_port

ROOT = Path(__file__).parents[1]
GUIDE = "MAKE_IT_YOUR_OWN.md"
ENVIRONMENTS = {"service": (".dev", ".runtime"), "loadtests": (".ready",), "terraform": (".ready",)}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"(New file|At the end of) `([^`]+)`:\n\n\Z")
# What the steps have written: all of it takes a minute, and is lint's own matter.
LINT = """#!/bin/sh -e
new=$(find service loadtests -name '*.py' -newer .ci/lint)
for file in $new; do
  service/.venv/bin/ruff check $file
  service/.venv/bin/ruff format --check $file
done
"""
LIMITS = dict.fromkeys(("RATE_LIMIT", "LOGIN_LIMIT", "SIGNUP_LIMIT"), "1000000 per minute")

pytestmark = pytest.mark.needs("make", "git", "curl")


def copied(to: Path) -> None:
    """What git knows of the project, and the environments as they are: nothing is installed."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in listed.rstrip("\0").split("\0"):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    for room, stamps in ENVIRONMENTS.items():
        venv = to / room / ".venv"
        venv.mkdir()
        for part in (ROOT / room / ".venv").iterdir():
            (venv / part.name).symlink_to(part)
        for stamp in stamps:
            (venv / stamp).unlink()
            (venv / stamp).touch()
    (to / ".ci/lint").write_text(LINT)
    # With what `make lint` has found out of all other modules.
    if (cache := ROOT / ".mypy_cache").exists():
        shutil.copytree(cache, to / cache.name)


@dataclass
class Project:
    """A copy, in which the steps are done."""

    folder: Path
    port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Python finds the copy's package before the one that is installed, and counts neither."""
        own = environment(
            PYTHONPATH=str(self.folder / "service"),
            BIND=self.host.removeprefix("http://"),
            OPS_PORT="0",
            HOST=self.host,
            USERS="20",
            DURATION="10s",
            **LIMITS,
        )
        return {name: value for name, value in own.items() if not name.startswith("COVERAGE_")}

    def run(self, command: str, *, may_fail: bool = False) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace("http://127.0.0.1:8000", self.host)],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert may_fail or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, command: str) -> None:
        log = self.folder / "log"
        with log.open("w") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self.server.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.host}/ping", timeout=5):  # noqa: S310
                return
            time.sleep(0.1)
        pytest.fail(log.read_text())

    def do(self, language: str, text: str, before: str) -> None:
        """A step; `before` is what the guide says until there."""
        if place := PLACE.search(before):
            path = self.folder / place[2]
            if place[1] == "New file":
                assert not path.exists(), path
                path.write_text(text)
            else:
                path.write_text(f"{path.read_text()}\n\n{text}")
        elif language == "diff":
            self.run(f"git apply - <<'DIFF'\n{text}DIFF")
        elif text == "make run\n":
            self.serve(text)
        elif language == "sh":
            # How fast a busy machine is, nobody promised.
            self.said.append(self.run(text, may_fail=text.startswith("make loadtest")))
        else:
            assert language == "console", f"what is this block for? {text}"

    def stop(self) -> None:
        if self.server:
            os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(timeout=40)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The copy, when all is done, and while it serves."""
    made = subprocess.run(
        ["make", *(f"{room}/.venv/{stamps[0]}" for room, stamps in ENVIRONMENTS.items())],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    project = Project(tmp_path_factory.mktemp("own"))
    copied(project.folder)
    guide = (project.folder / GUIDE).read_text()
    try:
        for block in BLOCK.finditer(guide):
            project.do(block[1], block[2], guide[: block.start()])
        yield project
    finally:
        project.stop()


def test_the_service_answers_as_the_guide_asks(project: Project) -> None:
    said = next(text for text in project.said if '"label":"Books"' in text)
    _signed_up, created, listed, read = map(json.loads, said.splitlines())
    assert created == read
    assert listed == {"items": [created], "next": None}


def test_the_api_tells_of_it_under_its_new_name(project: Project) -> None:
    ask = "import json, slipway; client = slipway.create_app().test_client(); "
    ask += "print(json.dumps([client.get(path).json for path in ('/openapi.json', '/')]))"
    said = project.run(f'ENVIRONMENT=development service/.venv/bin/python -c "{ask}"')
    document, index = json.loads(said)
    assert document["info"]["title"] == "Parcels"
    assert document["paths"].keys() >= {"/api/parcels", "/api/parcels/{parcel_id}"}
    assert index["name"] == "parcels"
    assert index["links"]["parcels"] == "/api/parcels"


def test_users_of_a_load_test_send_parcels_within_their_limits(project: Project) -> None:
    (verdict,) = (project.folder / "loadtests/results").glob("*/verdict.json")
    routes: dict[str, Any] = {
        route["route"]: route for route in json.loads(verdict.read_text())["routes"]
    }
    for path in ("/api/parcels", "/api/parcels/<id:parcel_id>"):
        assert routes[path]["requests"] > routes[path]["failures"] == 0, routes[path]
    gate = json.loads((project.folder / "loadtests/slo.json").read_text())
    assert gate["routes"]["/api/parcels"]["p95"] == 500


def test_what_the_kit_checks_still_holds(project: Project) -> None:
    """What is generated from the promises is so, and their routes are the service's."""
    files = "ops/tests/test_generate.py ops/tests/test_pages.py service/tests/test_service.py"
    chosen = "generate or routes or (root and sqlite)"
    project.run(f"service/.venv/bin/pytest -q {files} -k '{chosen}'")
    new = "service/slipway/api/parcels.py service/tests/test_parcels.py"
    project.run(f"MYPYPATH=service/tests:nginx/tests service/.venv/bin/mypy {new}")


@pytest.mark.needs("helm")
def test_in_a_cluster_everything_has_its_name(project: Project) -> None:
    values = "-f helm/evaluation.yaml -f helm/parcels.yaml"
    made = project.run(f"helm template parcels helm/slipway {values}")
    names = re.findall(r"^metadata:\n(?:  .*\n)*?  name: (\S+)", made, re.MULTILINE)
    assert len(names) > 10
    assert {name.strip('"').partition("-")[0] for name in names} == {"parcels"}
