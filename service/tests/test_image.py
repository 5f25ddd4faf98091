"""The image, as `make image` builds it."""

import hashlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).parents[1]
MAX_ADDED_BYTES = 120_000_000
pytestmark = pytest.mark.needs("engine")

LOOK = """
import hashlib, json, pathlib, shutil, slipway
package = pathlib.Path(slipway.__file__).parent
uncompiled = [str(f) for f in pathlib.Path("/opt/venv/lib").rglob("*.py")
              if not list(f.parent.glob(f"__pycache__/{f.stem}.cpython-*.pyc"))]
print(json.dumps({
    "code": {str(f.relative_to(package)): hashlib.sha256(f.read_bytes()).hexdigest()
             for f in package.rglob("*.py")},
    "uncompiled": uncompiled,
    "tools": [tool for tool in ("gcc", "cc", "make", "uv", "git") if shutil.which(tool)],
}))
"""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    subprocess.run(["make", "--no-print-directory", "image"], cwd=SERVICE.parent, check=True)
    return "slipway:latest"


@pytest.fixture(scope="module")
def facts(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return found


@pytest.fixture(scope="module")
def inside(image: str) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(docker("run", "--rm", image, "python", "-c", LOOK))
    return seen


def test_it_holds_the_code_of_this_tree(inside: dict[str, Any]) -> None:
    package = SERVICE / "slipway"
    assert inside["code"] == {
        str(file.relative_to(package)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in package.rglob("*.py")
    }


def test_its_code_is_compiled_and_no_build_tool_is_left(inside: dict[str, Any]) -> None:
    assert inside["uncompiled"] == []
    assert inside["tools"] == []


def test_it_adds_at_most_120_mb_to_its_base(facts: dict[str, Any]) -> None:
    recipe = (SERVICE / "Dockerfile").read_text().splitlines()
    base = [line.split()[1] for line in recipe if line.startswith("FROM ")][-1]
    added = facts["Size"] - int(docker("image", "inspect", "--format={{.Size}}", base))
    assert 0 < added <= MAX_ADDED_BYTES


def test_it_says_what_it_is_and_runs_as_nobody(facts: dict[str, Any]) -> None:
    assert facts["Config"]["User"] == "10001:10001"
    labels = facts["Config"]["Labels"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"], name


def test_it_starts_read_only_without_capabilities(image: str) -> None:
    container = docker(
        *("run", "--detach", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp"),
        *("--security-opt=no-new-privileges", "--env=ENVIRONMENT=development"),
        *("--env=DATABASE_URL=sqlite:////tmp/slipway.db", image),
    )
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/version').read())"
    try:
        deadline = time.monotonic() + 30
        while True:
            command = ["docker", "exec", container, "python", "-c", ask]
            asked = subprocess.run(command, capture_output=True, text=True, check=False)
            if asked.returncode == 0:
                break
            assert time.monotonic() < deadline, docker("logs", container)
        assert '"commit":' in asked.stdout
    finally:
        docker("rm", "--force", container)
