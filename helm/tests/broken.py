"""A release, broken in the ways of ops/faults.yaml: each begins, and ends, with a call."""

import base64
import json
import time
from pathlib import Path

from certificates import self_signed
from live import NAME, Release

TLS = f"{NAME}-tls"
CERTIFICATE_DAYS = 3
# Longer than it takes to see them; they end by themselves if nobody ends them.
SECONDS = 900


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


class Broken:
    """The faults of one release, by name: `begin` and `end`."""

    def __init__(self, release: Release) -> None:
        # Those that serve: of the new ones of a rollout that crashes, none does.
        self._release, self._pods = release, release.pods()
        self._certificate = release.secret(TLS)

    def begin(self, fault: str) -> float:
        """When it was done: seconds since 1970."""
        match fault:
            case "errors":
                self._start("error", 20)
            case "latency":
                self._start("latency", 100, "--milliseconds=800")
            case "queue":
                self._scale(f"deployment/{NAME}-worker", 0)
            case "crashes":
                wrong = {"name": "gunicorn", "env": [{"name": "WEB_THREADS", "value": "none"}]}
                patch = {"spec": {"template": {"spec": {"initContainers": [wrong]}}}}
                self._release.kubectl("patch", f"deployment/{NAME}", f"--patch={json.dumps(patch)}")
            case "certificate":
                self._release.change_secret(TLS, self._expiring())
            case "database":
                self._scale(f"statefulset/{NAME}-postgresql", 0)
            case _:
                raise AssertionError(f"{fault} is in ops/faults.yaml, and nobody can make it")
        return time.time()

    def end(self, fault: str) -> float:
        match fault:
            case "errors" | "latency":
                # Both: whoever ends one ends all.
                self._in_each_pod("stop")
            case "queue":
                self._scale(f"deployment/{NAME}-worker", 1)
            case "crashes":
                self._release.kubectl("rollout", "undo", f"deployment/{NAME}")
            case "certificate":
                self._release.change_secret(TLS, self._certificate)
            case "database":
                self._scale(f"statefulset/{NAME}-postgresql", 1)
        return time.time()

    def _in_each_pod(self, *command: str) -> None:
        for pod in self._pods:
            where = ("exec", pod, "--container=gunicorn", "--")
            self._release.kubectl(*where, "flask", "--app", "slipway", "faults", *command)

    def _start(self, kind: str, percent: int, *more: str) -> None:
        fault = ("--route=*", f"--kind={kind}", f"--percent={percent}", f"--seconds={SECONDS}")
        self._in_each_pod("start", *fault, *more)

    def _scale(self, what: str, replicas: int) -> None:
        self._release.kubectl("scale", what, f"--replicas={replicas}")

    def _expiring(self) -> dict[str, str]:
        key, certificate = self_signed(self._release.folder, CERTIFICATE_DAYS)
        return {"tls.key": _encoded(key), "tls.crt": _encoded(certificate)}
