"""The pod that makes load, and the processes in it that are told each rate."""

from __future__ import annotations

import json
import select
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.image import Image
from deploy.shell import Failure, last_line, run
from load.measured import Measured

NAME = "load"
INSTANCE, COMPONENT = "app.kubernetes.io/instance", "app.kubernetes.io/component"
# How long users may take to sign up and a step may take beyond its time, seconds.
PATIENCE = 120
Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """At a rate, over all processes."""

    routes: Mapping[str, Measured]
    # Requests in the time of the step, and those that were due and had not begun at its end.
    answered: int
    unsent: int
    # What the busiest process used of the one that it can.
    share: float
    # What went wrong, how often.
    errors: Counter[str]


def pod(image: Image, service: str, processes: int) -> Json:
    """Rather on another node than what it loads."""
    web = {INSTANCE: service, COMPONENT: "web"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": {INSTANCE: service, COMPONENT: NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": web},
                            },
                        }
                    ]
                }
            },
            "containers": [
                {
                    "name": NAME,
                    "image": str(image),
                    "command": ["sleep", "infinity"],
                    "resources": {
                        "requests": {"cpu": f"{100 * processes}m", "memory": "96Mi"},
                        "limits": {"cpu": str(processes), "memory": f"{512 * processes}Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def start(namespace: str, manifest: Json) -> None:
    scope = f"--namespace={namespace}"
    run(
        *("kubectl", "apply", scope, "--filename=-"),
        stdin=json.dumps(manifest),
        what="starting the load generator",
    )
    run(
        *("kubectl", "wait", scope, f"pod/{NAME}", "--for=condition=Ready", "--timeout=120s"),
        what="waiting for the load generator",
    )


class Process:
    """Answers each line by one."""

    def __init__(self, namespace: str, host: str, users: int) -> None:
        self._popen = subprocess.Popen(
            [
                *("kubectl", "exec", "--stdin", f"--namespace={namespace}", NAME, "--"),
                *("python", "-m", "load.steps", f"--host={host}", f"--users={users}"),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def tell(self, asked: Mapping[str, float]) -> None:
        assert self._popen.stdin  # noqa: S101
        try:
            self._popen.stdin.write(json.dumps(asked) + "\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def hear(self, seconds: float) -> Json:
        out = self._popen.stdout
        assert out  # noqa: S101
        if not select.select([out], [], [], seconds)[0]:
            raise Failure(f"the load generator has not answered for {seconds:.0f} s")
        if not (line := out.readline()):
            raise self._gone()
        return dict(json.loads(line))

    def end(self) -> None:
        self._popen.terminate()
        self._popen.communicate()

    def _gone(self) -> Failure:
        _, said = self._popen.communicate()
        # kubectl's own last word tells the exit code alone.
        theirs = said.partition("command terminated with exit code")[0]
        return Failure(f"the load generator has ended: {last_line(theirs)}")


class Load:
    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes
        # The model of the processor that it runs on.
        self.processor = [one.hear(PATIENCE) for one in processes].pop()["processor"]

    def begin(self, rate: float, warm_up: float, seconds: float) -> None:
        share = rate / len(self._processes)
        for one in self._processes:
            one.tell({"rate": share, "warm_up": warm_up, "seconds": seconds})

    def seen(self) -> Seen:
        """Of what was begun, when it is over."""
        told = [one.hear(PATIENCE) for one in self._processes]
        routes: dict[str, Measured] = {}
        for route, one in (item for answer in told for item in answer["routes"].items()):
            times = Counter({int(time): number for time, number in one["times"].items()})
            more = Measured(one["requests"], one["failures"], times)
            routes[route] = routes.get(route, Measured()) + more
        return Seen(
            routes,
            sum(answer["answered"] for answer in told),
            sum(answer["unsent"] for answer in told),
            max(answer["cores"] for answer in told),
            sum((Counter(answer["errors"]) for answer in told), Counter()),
        )


@contextmanager
def load(namespace: str, host: str, users: int, processes: int) -> Iterator[Load]:
    """`users` connections, in all, that are signed in."""
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            one = Process(namespace, host, max(1, users // processes))
            stack.callback(one.end)
            started.append(one)
        yield Load(started)
