"""Charts, rendered by Helm and taken apart."""

import base64
import json
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

HELM = Path(__file__).parents[1]
Objects = dict[str, dict[str, Any]]


def run(*command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=120
    )


def flags(values: dict[str, Any], *files: Path) -> list[str]:
    of_files = [f"--values={file}" for file in files]
    return of_files + [f"--set-json={path}={json.dumps(value)}" for path, value in values.items()]


def template(
    values: dict[str, Any], *files: Path, chart: str = "slipway"
) -> subprocess.CompletedProcess[str]:
    """The release has its chart's name."""
    place = ("--namespace=prod", *flags(values, *files))
    return run("helm", "template", chart, HELM / chart, *place)


@lru_cache
def _manifest(chart: str, values: str, files: tuple[Path, ...]) -> str:
    rendered = template(json.loads(values), *files, chart=chart)
    assert rendered.returncode == 0, rendered.stderr
    return rendered.stdout


def manifest(values: dict[str, Any], *files: Path, chart: str = "slipway") -> str:
    return _manifest(chart, json.dumps(values), files)


def render(values: dict[str, Any], *files: Path, chart: str = "slipway") -> Objects:
    """The objects by `Kind/name`; the migration's name is cut before its hash."""
    found: Objects = {}
    for item in yaml.safe_load_all(manifest(values, *files, chart=chart)):
        if item:
            name = re.sub(r"(-migrate)-[0-9a-f]{10}$", r"\1", item["metadata"]["name"])
            assert found.setdefault(f"{item['kind']}/{name}", item) is item, (
                f"{name} is there twice"
            )
    return found


def pod_of(item: dict[str, Any]) -> dict[str, Any]:
    """The pod that an object is or makes; empty where it makes none."""
    spec: dict[str, Any] = item.get("spec", {})
    return item if item["kind"] == "Pod" else spec.get("template", {})


def pods(objects: Objects) -> Objects:
    return {name: pod for name, item in objects.items() if (pod := pod_of(item))}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    spec = pod.get("spec", {})
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def name_of(entry: dict[str, Any]) -> Any:
    return entry.get("name", entry.get("job_name"))


def at(item: dict[str, Any], path: str) -> Any:
    """What is under a path as toggles_*.yaml write it; None where the path ends early."""
    pod = pod_of(item)
    shorts = {"pod": pod.get("spec"), **{c["name"]: c for c in containers(pod)}}
    found: Any = item | shorts
    for key in (key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path)):
        if isinstance(found, str):
            found = yaml.safe_load(found)
        if isinstance(found, list) and not key.isdigit():
            found = next((entry for entry in found if name_of(entry) == key), None)
        elif isinstance(found, list):
            found = found[int(key)] if int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def decoded(item: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
