"""Other programs, run so that their failures can be told to a person."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

HINTS = {
    "cosign": "https://docs.sigstore.dev/cosign/system_config/installation/ (version 3)",
    "docker": "https://docs.docker.com/engine/install/",
    "helm": "https://helm.sh/docs/intro/install/ (version 4)",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "syft": "https://github.com/anchore/syft#installation",
}


class Failure(Exception):  # noqa: N818 - it is told to a person by this name
    """What a person is told; nothing more is printed."""


# Who speaks: the command that a person has given.
speaker = "deploy"


def say(text: str) -> None:
    print(f"{speaker}: {text}", flush=True)


def need(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        where = "; ".join(f"{tool}: {HINTS.get(tool, 'see its manual')}" for tool in missing)
        raise Failure(f"not on the PATH: {', '.join(missing)}. Install {where}")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def run(*command: str, what: str, stdin: str = "") -> str:
    """The command's output; a failure is told as `what`, with the last thing that it said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        raise Failure(f"{what}: `{' '.join(command[:3])} …` failed: {said}")
    return done.stdout


def show(*command: str, what: str) -> None:
    """A command whose output is for the person, as it comes."""
    if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise Failure(f"{what}: `{' '.join(command)}` ended with status {status}; see above")


def attempt(*command: str) -> str | None:
    """The command's output, or nothing when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout


def items(*query: str) -> list[dict[str, Any]]:
    """The objects that `kubectl get` finds; none when it fails."""
    found = attempt("kubectl", "get", *query, "--output=json")
    return list(json.loads(found)["items"]) if found else []


def setting(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def perform(action: str, work: Callable[[], object]) -> int:
    """Do a command's work, tell its failure in one line; the command's exit status."""
    try:
        work()
    except Failure as failure:
        print(f"{action}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{action}: interrupted", file=sys.stderr)
        return 130
    return 0
