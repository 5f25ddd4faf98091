"""What GitHub does with the repository, as far as it can be told from its files."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
ACTIONS = sorted(GITHUB.glob("actions/*/action.yaml"))
Yaml = dict[str, Any]


def read(file: Path) -> Yaml:
    loaded: Yaml = yaml.safe_load(file.read_text())
    return loaded


def jobs(workflow: Path) -> Iterator[tuple[str, Yaml]]:
    for name, job in read(workflow)["jobs"].items():
        yield f"{workflow.name}: {name}", job


def steps() -> Iterator[tuple[str, Yaml]]:
    for workflow in WORKFLOWS:
        for name, job in jobs(workflow):
            yield from ((name, step) for step in job.get("steps", []))
    for action in ACTIONS:
        yield from ((action.parent.name, step) for step in read(action)["runs"]["steps"])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def ours(*patterns: str) -> list[Path]:
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        text=True,
    )
    return [Path(line) for line in listed.splitlines()]


def unknown_command(command: str) -> bool:
    """Whether it is neither a target of the Makefile, settings after it, nor a script of ours."""
    match shlex.split(command):
        case ["make", target, *settings]:
            return target not in make_targets() or not all("=" in one for one in settings)
        case [script, *_]:
            return not (script.startswith(".ci/") and os.access(ROOT / script, os.X_OK))
    return True


def test_workflows_run_what_a_laptop_runs() -> None:
    runs = [(name, line) for name, s in steps() for line in s.get("run", "").splitlines()]
    assert runs
    assert not [(name, line) for name, line in runs if unknown_command(line)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_bounded(workflow: Path) -> None:
    """In time, in what it may do, and in how many of it there are."""
    loaded = read(workflow)
    assert loaded["permissions"] == {}
    assert loaded["concurrency"]["group"].startswith(f"{workflow.stem}-")
    for name, job in jobs(workflow):
        assert job["permissions"], name
        assert "uses" in job or job["timeout-minutes"] <= 120, name
    assert "pull_request_target" not in workflow.read_text()


def test_actions_are_pinned_by_a_commit_whose_version_is_told() -> None:
    lines = [
        line for file in (*WORKFLOWS, *ACTIONS) for line in re.findall("uses: .*", file.read_text())
    ]
    pinned = re.compile(r"uses: ([\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+|\./\.github/[\w./-]+)$")
    assert not [line for line in lines if not pinned.match(line)]


def test_the_service_is_tested_on_each_python_and_the_chart_s_databases() -> None:
    job = read(GITHUB / "workflows/ci.yaml")["jobs"]["service"]
    pythons = job["strategy"]["matrix"]["python"]
    project = (ROOT / "service/pyproject.toml").read_text()
    dockerfile = (ROOT / "service/Dockerfile").read_text()
    assert f'requires-python = ">={pythons[0]}"' in project
    assert f"FROM python:{pythons[-1]}-" in dockerfile
    assert pythons == [f"3.{minor}" for minor in range(11, 11 + len(pythons))]
    values = read(ROOT / "helm/slipway/values.yaml")
    for name, service in job["services"].items():
        image = values[name]["image"]
        chart_s = f"{image['repository']}:{image['tag']}"
        assert chart_s.startswith(f"{service['image']}."), (chart_s, service["image"])


# Of each of Dependabot's ecosystems: the files that pin, and what tells them from others.
PINS = {
    "uv": (["*/uv.lock", "*requirements*.txt"], ""),
    "docker": (["*Dockerfile"], "FROM "),
    "github-actions": ([".github/actions/*/action.yaml"], "uses: "),
    "helm": (["helm/*/values.yaml"], "repository: "),
    "terraform": (["terraform/*.tf"], "required_providers"),
}


@pytest.mark.needs("git")
@pytest.mark.parametrize("ecosystem", PINS)
def test_dependabot_knows_each_place_that_pins(ecosystem: str) -> None:
    patterns, mark = PINS[ecosystem]
    folders = {
        PurePath("/", file).parent for file in ours(*patterns) if mark in (ROOT / file).read_text()
    }
    updates = read(GITHUB / "dependabot.yml")["updates"]
    (entry,) = [one for one in updates if one["package-ecosystem"] == ecosystem]
    # The workflows are at the top, for GitHub.
    known = [one for one in entry["directories"] if one != "/"]
    assert folders
    assert not [str(folder) for folder in folders if not any(map(folder.match, known))]
    assert not [one for one in known if not any(folder.match(one) for folder in folders)]
    assert entry["groups"]


@pytest.mark.parametrize(
    "file", ["CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md"]
)
def test_pages_for_contributors_name_what_is_there(file: str) -> None:
    text = (ROOT / file).read_text()
    commands = re.findall(r"`(make [^`]+|\.ci/[^`]+)`|^(make .*|\.ci/\S+)", text, re.MULTILINE)
    assert commands
    said = [re.sub(r"\s+#.*", "", one or other) for one, other in commands]
    assert not [command for command in said if unknown_command(command)]
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert not [link for link in links if not (ROOT / file).parent.joinpath(link).exists()]


def publish(folder: Path, tag: str, fails: str = "") -> tuple[int, str, list[str]]:
    """Exit status, errors, and what it called of a `make` and a `gh` that only tell so."""
    (folder / ".ci").mkdir()
    (folder / "service").mkdir()
    shutil.copy(ROOT / ".ci/publish", folder / ".ci")
    (folder / "service/pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("make", "gh"):
        (tools / tool).write_text(STAND_IN)
        (tools / tool).chmod(0o755)
    settings = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "FAILS": fails,
        "GITHUB_REF_NAME": tag,
        "GITHUB_REPOSITORY": "Example/Kit",
    }
    done = subprocess.run(
        [folder / ".ci/publish"], env=os.environ | settings, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    calls = folder / "calls"
    return done.returncode, done.stderr, calls.read_text().splitlines() if calls.exists() else []


STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
  *"${FAILS:-nothing}"*) exit 2 ;;
  *release-notes) echo "What is new." ;;
  push-chart*) echo registry/charts/kit:1.2.3@sha256:2 >dist/chart ;;
  push*) echo registry/kit:1.2.3@sha256:1 >dist/image ;;
esac
"""


def test_a_tag_is_published_signed_and_told(tmp_path: Path) -> None:
    status, errors, calls = publish(tmp_path, "v1.2.3")
    assert status == 0, errors
    assert calls == [
        "make --no-print-directory release-notes",
        "make push IMAGE=ghcr.io/example/kit",
        "make push-chart CHARTS=oci://ghcr.io/example/kit/charts",
        "make sign IMAGE=registry/kit:1.2.3@sha256:1",
        "make verify IMAGE=registry/kit:1.2.3@sha256:1",
        "make sign IMAGE=registry/charts/kit:1.2.3@sha256:2",
        "make verify IMAGE=registry/charts/kit:1.2.3@sha256:2",
        "make sbom IMAGE=registry/kit:1.2.3@sha256:1",
        "gh release create v1.2.3 --verify-tag --title v1.2.3 "
        "--notes-file dist/notes.md dist/sbom.spdx.json",
    ]
    assert (tmp_path / "dist/notes.md").read_text() == (
        "What is new.\n"
        "\nImage: `registry/kit:1.2.3@sha256:1`\n"
        "\nChart: `registry/charts/kit:1.2.3@sha256:2`\n"
    )


@pytest.mark.parametrize("step", ["release-notes", "push", "sign", "verify", "sbom"])
def test_nothing_is_told_of_what_failed(tmp_path: Path, step: str) -> None:
    status, _, calls = publish(tmp_path, "v1.2.3", fails=step)
    assert status != 0
    assert step in calls[-1]


def test_a_tag_that_is_not_the_version_is_refused(tmp_path: Path) -> None:
    status, errors, calls = publish(tmp_path, "v999.0.0")
    assert (status, calls) == (1, [])
    assert errors.splitlines() == [
        "publish: v999.0.0 is not the version in service/pyproject.toml. "
        "Make tags by: make release VERSION=999.0.0"
    ]
