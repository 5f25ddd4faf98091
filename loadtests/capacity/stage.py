"""The release that is measured, in a namespace that is there for nothing else."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import SOURCE, host
from deploy import cause, context, image, release
from deploy.shell import Failure, attempt, items, run, say, setting

from . import generator

NAMESPACE = "slipway-capacity"
# As many as a step can ask for.
UNLIMITED = "100000 per second"
LIMITS = ("RATE_LIMIT", "LOGIN_LIMIT", "SIGNUP_LIMIT")
Json = dict[str, Any]


def values(of_service: image.Image, pods: int) -> Json:
    """Of the chart, after those of a person."""
    return {
        "image": {"repository": of_service.repository, "tag": of_service.tag},
        "replicaCount": pods,
        "hpa": {"enabled": False},
        # No mail is sent, so nobody has to.
        "worker": {"enabled": False},
        "service": {"type": "ClusterIP", "nodePorts": {"http": None, "https": None}},
        # Nobody is left to be served when it goes.
        "drain": {"preStopSeconds": 1, "gunicornSeconds": 1},
        # Metrics are read through the API server, whose address no policy knows.
        "networkPolicy": {"enabled": False},
        "extraEnvs": [{"name": name, "value": UNLIMITED} for name in LIMITS],
    }


@dataclass(frozen=True)
class Stage:
    target: release.Release
    of_service: image.Image
    folder: Path

    @property
    def namespace(self) -> str:
        return self.target.namespace

    @property
    def host(self) -> str:
        """Where the load generator finds the service."""
        return host(self.target)

    def bring(self, pods: int) -> None:
        """Let so many pods serve, and no other."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(values(self.of_service, pods)))
        files = (*self.target.values, str(file))
        release.bring(replace(self.target, values=files), f"{pods} of {self.of_service}")

    def pods(self) -> list[Json]:
        return cause.pods(self.namespace, self.target.name)

    def gunicorn(self) -> Json:
        """Its values: processes, threads, resources."""
        scope = (*self.target.scope, "--all", "--output=json")
        found = run("helm", "get", "values", *scope, what="reading the release's values")
        return dict(json.loads(found)["gunicorn"])


@contextmanager
def stage(processes: int) -> Iterator[Stage]:
    """With `processes` that make load. Nothing of it is left, whatever ends the block."""
    target = replace(release.from_environment(), namespace=setting("NAMESPACE", NAMESPACE))
    where = context.current()
    release.check_helm()
    context.check_answers(where)
    if attempt("kubectl", "get", "namespace", target.namespace):
        raise Failure(
            f"the namespace {target.namespace} is there already: another run goes on, or was "
            f"killed. If none does: kubectl delete namespace {target.namespace}"
        )
    if not setting("IMAGE"):
        image.build()
    image.build(SOURCE)
    of_service = image.by_content(setting("IMAGE", image.SERVICE.built))
    of_load = image.by_content(SOURCE.built, SOURCE.suffix)
    for one in (of_service, of_load):
        image.hand_over(where, one)
    with tempfile.TemporaryDirectory() as folder:
        try:
            release.make_namespace(target)
            manifest = generator.pod(of_load, target.name, processes)
            generator.start(target.namespace, manifest)
            yield Stage(target, of_service, Path(folder))
        finally:
            # Whoever is in a hurry now would leave load behind. Programs started here inherit it.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            say(f"deleting the namespace {target.namespace}")
            run(
                *("kubectl", "delete", "namespace", target.namespace, "--ignore-not-found"),
                "--timeout=180s",
                what="deleting the namespace",
            )


def machine() -> Json:
    """What the cluster runs on. Nodes that have one boot are parts of one machine."""
    cores: dict[str, float] = {}
    versions = set()
    found = items("nodes")
    for node in found:
        info = node["status"]["nodeInfo"]
        boot = info["bootID"]
        cores[boot] = max(cores.get(boot, 0), float(node["status"]["capacity"]["cpu"]))
        versions.add(info["kubeletVersion"])
    return {
        "nodes": len(found),
        "machines": len(cores),
        "cores": sum(cores.values()),
        "kubernetes": ", ".join(sorted(versions)),
    }
