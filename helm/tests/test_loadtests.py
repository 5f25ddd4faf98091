"""`make loadtest-cluster` on a real cluster: what it brings back, what it tells, what it leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import NAME, NEEDS, ROOT, UNLIMITED, Release, on_spare_cluster, run, until

NAMESPACE = "slipway-loaded"
COMMAND = (sys.executable, str(ROOT / "loadtests/cluster.py"))
FILES = {"report.html", "requests.csv", "failures.csv", "verdict.txt", "verdict.json"}
OURS = "app.kubernetes.io/name=loadtests"
# Nothing hands the image over that the first run has brought.
THERE = {"IMAGE_LOAD": "true"}
# A run that has begun to tell how it goes.
GOES_ON = "load: 0:05"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with on_spare_cluster(NAMESPACE, tmp_path_factory.mktemp("values")) as release:
        # Nobody comes by the nodes' ports, which another test's release may have.
        release.values = [
            "service: {type: ClusterIP, nodePorts: {http: null, https: null}}",
            f"extraEnvs: {json.dumps(UNLIMITED)}",
        ]
        release.deploy()
        yield release


class Loading:
    """The command, while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log = process, log

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, text: str) -> None:
        until(lambda: text in self.said or self.process.poll() is not None, lambda: self.said, 180)
        assert text in self.said

    def ended(self) -> int:
        return self.process.wait(180)


@contextmanager
def loading(folder: Path, *command: str, **settings: str) -> Iterator[Loading]:
    """A process group of its own, as a terminal gives one to what is started there."""
    log = folder / "log"
    known = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    environment = {"PYTHONPATH": str(ROOT / "helm"), "NAMESPACE": NAMESPACE, "RELEASE": NAME}
    with log.open("w") as output:
        process = subprocess.Popen(
            # A shell lets what it starts in the background ignore Ctrl-C, and so would this.
            ["env", "--default-signal=INT", *(command or COMMAND)],
            cwd=ROOT, env=known | environment | settings,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield Loading(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(120)


def results(said: str) -> dict[str, Any]:
    """The verdict among what was copied back, which is then deleted."""
    path = re.search(r"^loadtest: results: (.+)$", said, re.MULTILINE)
    assert path, said
    folder = Path(path[1])
    assert {file.name for file in folder.iterdir()} == FILES
    assert '<pre id="verdict"' in (folder / "report.html").read_text()
    assert (folder / "requests.csv").read_text().startswith("Type,Name,Request Count")
    verdict = json.loads((folder / "verdict.json").read_text())
    assert (folder / "verdict.txt").read_text() in said
    shutil.rmtree(folder)
    return dict(verdict)


def left(release: Release) -> list[str]:
    kinds = "all,secrets,configmaps,networkpolicies,endpointslices"
    found = release.kubectl("get", kinds, f"--selector={OURS}", "--output=name")
    return [*found.split(), *release.helm("list", "--short", "--filter=loadtests").split()]


def accounts(release: Release) -> int:
    """How many there are that load tests have made."""
    query = "SELECT count(*) FROM users WHERE email LIKE 'load-%'"
    command = ("psql", "--username=slipway", "--tuples-only", f"--command={query}")
    return int(release.kubectl("exec", f"{NAME}-postgresql-0", "--", *command))


@NEEDS
def test_a_run_brings_its_report_back_and_leaves_nothing(release: Release, tmp_path: Path) -> None:
    command = ("make", "--no-print-directory", "loadtest-cluster", "WORKERS=2", "DURATION=12s")
    with loading(tmp_path, *command) as load:
        status = load.ended()
    assert "loadtest: ready: worker 2/2" in load.said
    assert re.search(r"^loadtest: web page: http://127.0.0.1:\d+$", load.said, re.MULTILINE)
    assert GOES_ON in load.said
    verdict = results(load.said)
    assert verdict["host"] == f"http://{NAME}.{NAMESPACE}"
    assert verdict["accounts"]["made"] == verdict["accounts"]["deleted"] > 0
    assert verdict["lost"] == []
    # make has one status for whatever fails, and says which it was.
    code = verdict["exit_code"]
    assert status == (2 if code else 0)
    assert (f"loadtest-cluster] Error {code}" in load.said) == bool(code)
    assert left(release) == []


@NEEDS
def test_a_worker_that_dies_is_told_and_nothing_of_its_users_stays(
    release: Release, tmp_path: Path
) -> None:
    admin = {
        "LOADTEST_ADMIN_EMAIL": release.admin["email"],
        "LOADTEST_ADMIN_PASSWORD": release.admin["password"],
    }
    with loading(tmp_path, WORKERS="2", DURATION="30s", **admin, **THERE) as load:
        load.until(GOES_ON)
        worker = f"--selector={OURS},app.kubernetes.io/component=worker"
        victim = release.kubectl("get", "pods", worker, "--output=name").split()[0]
        victim = victim.removeprefix("pod/")
        release.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        status = load.ended()
    assert f"loadtest: lost worker {victim} after " in load.said
    assert re.search(r"loadtest: worker \S+ came after \d+ s, and takes users over", load.said)
    assert "less load than asked for" in load.said
    verdict = results(load.said)
    assert verdict["lost"] == [victim]
    assert status == verdict["exit_code"] != 0
    assert accounts(release) == 0
    assert left(release) == []


@NEEDS
@pytest.mark.parametrize(
    "end",
    [
        # Ctrl-C goes to all that a terminal runs.
        lambda process: os.killpg(process.pid, signal.SIGINT),
        lambda process: os.kill(process.pid, signal.SIGTERM),
    ],
    ids=["ctrl-c", "terminated"],
)
def test_who_ends_it_early_leaves_nothing(
    release: Release, tmp_path: Path, end: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    with loading(tmp_path, **THERE) as load:
        load.until(GOES_ON)
        end(load.process)
        # Who cannot wait tries again.
        load.until("loadtest: uninstalling")
        end(load.process)
        assert load.ended() == 130
    assert "loadtest: interrupted" in load.said
    assert "Traceback" not in load.said
    # Helm, which the second Ctrl-C may reach, has had all deleted, if not waited for the last pods.
    until(lambda: left(release) == [], lambda: left(release), 60)


@NEEDS
def test_a_run_that_cannot_begin_says_why_and_leaves_nothing(
    release: Release, tmp_path: Path
) -> None:
    with loading(tmp_path, HOST="http://nobody.invalid", **THERE) as load:
        status = load.ended()
    assert status == 2, load.said
    assert "loadtest: http://nobody.invalid does not answer" in load.said
    assert load.said.splitlines()[-1] == (
        "loadtest: the master ended with status 2 (Error) and no verdict; see above"
    )
    assert left(release) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"WORKERS": "many"}, "loadtest: WORKERS='many' is not a number of processes"),
        ({"LOADTEST_VALUES": "none.yaml"}, "loadtest: LOADTEST_VALUES names 'none.yaml'"),
        ({"NAMESPACE": "nowhere"}, "HOST=http://"),
    ],
)
@pytest.mark.needs("helm", "cluster")
def test_a_mistake_is_one_line(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    with loading(tmp_path, **settings) as load:
        assert load.ended() == 2
    assert said in load.said.splitlines()[-1]


def test_the_help_names_every_setting() -> None:
    text = run("env", f"PYTHONPATH={ROOT / 'helm'}", *COMMAND, "--help")
    for name in re.findall(r'setting\("(\w+)"', (ROOT / "loadtests/cluster.py").read_text()):
        assert name in text
