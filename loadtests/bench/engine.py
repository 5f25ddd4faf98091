"""Containers: each pinned to a core, named, gone at the end; and what one has used so far."""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from deploy.shell import Failure, last_line, run, say, setting

ROOT = Path(__file__).parents[2]

# Servers that are compared run on the first, all that they wait for and what asks them on the last.
SERVER_CORE = "0"
OTHER_CORE = str((os.cpu_count() or 1) - 1)

# Of this process: a test may run beside a bench.
PREFIX = f"slipway-bench-{os.getpid()}"


def image_of(component: str, chart: str = "slipway") -> str:
    """As the chart's values name it."""
    values = yaml.safe_load((ROOT / f"helm/{chart}/values.yaml").read_text())
    image = values[component]["image"]
    return f"{image['repository']}:{image['tag']}"


def build(name: str, folder: Path) -> str:
    """The image `name` of the Dockerfile in `folder`, with BUILD_ARGS as the service's own."""
    say(f"building the image {name}")
    more = shlex.split(setting("BUILD_ARGS"))
    command = ["docker", "buildx", "build", "--quiet", "--load", "--provenance=false"]
    run(*command, f"--tag={name}", *more, str(folder), what=f"building the image {name}")
    return name


@contextmanager
def container(
    role: str,
    image: str,
    options: Sequence[str],
    command: Sequence[str],
    core: str = SERVER_CORE,
) -> Iterator[str]:
    """Its name; it is gone with its volumes at the end, however that comes."""
    name = f"{PREFIX}-{role}"
    remove = ["docker", "rm", "--force", "--volumes", name]
    try:
        start = ["docker", "run", "--detach", "--name", name, "--cpuset-cpus", core]
        # A line a request for half an hour is much.
        start += ["--log-driver", "json-file", "--log-opt", "max-size=10m"]
        run(*start, *options, image, *command, what=f"starting {name}")
        yield name
    finally:
        subprocess.run(remove, capture_output=True, check=False)


def address_of(name: str) -> str:
    """Where the engine's bridge has it; this machine alone reaches it there."""
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run("docker", "inspect", "-f", template, name, what=f"finding {name}").strip()


def _said(name: str) -> str:
    said = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def last_words(name: str) -> str:
    return f"the last words of {name}: {last_line(_said(name))}"


def last_failure(name: str) -> str:
    """What the log of a server says of the last request that it failed or refused."""
    lines = re.findall(r'^.*(?:"status": ?|\\?" )[45]\d\d\b.*$', _said(name), re.MULTILINE)
    return f"{name} logged {lines[-1]}" if lines else f"{name} logged no failure"


@dataclass(frozen=True)
class Usage:
    """Since a container's start, and now."""

    cpu_seconds: float
    # What its processes have of their own (anonymous memory): pages that they share count once,
    # files in the page cache do not.
    memory_bytes: int


def parse_usage(stats: dict[str, Any]) -> Usage:
    """Of the engine's statistics: https://docs.docker.com/reference/api/engine/, ContainerStats.

    Raises Failure when there are none, as of a container that has ended.
    """
    try:
        memory = stats["memory_stats"]["stats"]
        # By its name in the second version of control groups, and in the first.
        own = memory["anon"] if "anon" in memory else memory["total_rss"]
        return Usage(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, own)
    except (KeyError, TypeError):
        raise Failure("the engine has no statistics of the container. Has it ended?") from None


class _Engine(http.client.HTTPConnection):
    """The engine's API by its socket: `docker stats` gives a share of a second, not a sum."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.host)


@functools.cache
def _socket() -> str:
    template = "{{.Endpoints.docker.Host}}"
    ask = ("docker", "context", "inspect", "-f", template)
    host = setting("DOCKER_HOST") or run(*ask, what="finding the engine").strip()
    if not host.startswith("unix://"):
        raise Failure(f"the engine is at {host}: the bench needs one on this machine")
    return host.removeprefix("unix://")


def usage(name: str) -> Usage:
    connection = _Engine(_socket(), timeout=10)
    try:
        connection.request(
            "GET",
            f"/containers/{name}/stats?stream=false&one-shot=true",
            headers={"Host": "engine"},
        )
        return parse_usage(json.loads(connection.getresponse().read()))
    finally:
        connection.close()
