"""A release in a real cluster, made by `make deploy` and handled with kubectl and helm."""

import http.client
import json
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVALUATION = ROOT / "helm" / "evaluation.yaml"
# Beside those of evaluation.yaml, which a developer's release may hold; helm/kind.yaml maps them.
HTTP_PORT, HTTPS_PORT = 30081, 30444
NAME = "slipway"
# One admin is all the clients of a test, and every client has one address.
LIMITS = ("RATE_LIMIT", "LOGIN_LIMIT", "SIGNUP_LIMIT")
UNLIMITED = [{"name": name, "value": "100000 per second"} for name in LIMITS]
NEEDS = pytest.mark.needs("engine", "cluster", "helm")
Json = dict[str, Any]
Answer = tuple[int, http.client.HTTPMessage, bytes]


def request(
    method: str,
    path: str,
    body: object = None,
    *,
    token: str = "",
    accept: str = "*/*",
    trusting: ssl.SSLContext | None = None,
) -> Answer:
    """Status, headers and body by a connection of its own; by HTTPS with `trusting`."""
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=10)
    if trusting:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", HTTPS_PORT, timeout=10, context=trusting
        )
    headers = {"Accept": accept, "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.status, response.headers, response.read()
    connection.close()
    return answer


@dataclass(frozen=True)
class Done:
    status: int
    output: str


def run(*command: str, stdin: str | None = None, timeout: int = 300) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def is_spare() -> bool:
    """Tests drain a node: only of a cluster that is said, or by its kind known, to be for that."""
    context = run("kubectl", "config", "current-context")
    made_for_tests = context.startswith(("kind-", "k3d-", "minikube"))
    return made_for_tests or os.environ.get("REQUIRE_CLUSTER") == "1"


def until(condition: Callable[[], bool], what: Callable[[], object], seconds: float = 240) -> None:
    """Wait for `condition`; when it does not come, fail with `what` was seen instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(1)


def with_label(image: str, name: str, *lines: str) -> str:
    """The image again, a little different: another content, and so another tag."""
    dockerfile = "\n".join([f"FROM {image}", f"LABEL test={name}", *lines])
    tag = f"slipway-test:{name}"
    run("docker", "buildx", "build", "--load", "--quiet", f"--tag={tag}", "-", stdin=dockerfile)
    return tag


def restricted(name: str, image: str, **container: object) -> Json:
    """A pod of one container, as a namespace of a release takes it; label `app`."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "1", "memory": "128Mi"},
                    },
                    "securityContext": security,
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
                    **container,
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


class Release:
    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.values = [
            f"service: {{nodePorts: {{http: {HTTP_PORT}, https: {HTTPS_PORT}}}}}",
            f"extraEnvs: {json.dumps(UNLIMITED)}",
        ]

    def make(self, target: str, *settings: str, values: tuple[str, ...] = ()) -> Done:
        """`make TARGET`, with the tests' own ports and further lines of values."""
        extra = self.folder / "values.yaml"
        extra.write_text("\n".join([*self.values, *values]) + "\n")
        command = [
            *("make", "--no-print-directory", target),
            *(f"NAMESPACE={self.namespace}", f"RELEASE={NAME}", "OBSERVABILITY=0"),
            *(f"VALUES={EVALUATION} {extra}", *settings),
        ]
        environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            timeout=1200,
        )  # fmt: skip
        return Done(done.returncode, done.stdout + done.stderr)

    def deploy(self, *settings: str, values: tuple[str, ...] = ()) -> str:
        done = self.make("deploy", *settings, values=values)
        assert done.status == 0, done.output
        return done.output

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return run("kubectl", f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        return run("helm", f"--namespace={self.namespace}", *arguments)

    def items(self, kind: str, component: str = "") -> list[Json]:
        selector = f"app.kubernetes.io/instance={NAME}"
        selector += f",app.kubernetes.io/component={component}" if component else ""
        found = json.loads(self.kubectl("get", kind, f"--selector={selector}", "--output=json"))
        return list(found["items"])

    def revision(self) -> int:
        return int(json.loads(self.helm("history", NAME, "--output=json"))[-1]["revision"])

    def pods(self, component: str = "web") -> list[str]:
        found = self.items("pods", component)
        return [pod["metadata"]["name"] for pod in found]

    def node_of(self, pod: str) -> str:
        return self.kubectl("get", "pod", pod, "--output=jsonpath={.spec.nodeName}")

    def image(self) -> str:
        pod = self.items("deployments", "web")[0]["spec"]["template"]["spec"]
        return next(str(c["image"]) for c in pod["initContainers"] if c["name"] == "gunicorn")

    @cached_property
    def admin(self) -> dict[str, str]:
        """E-mail and password of an admin that the operators' command made."""
        account = {"email": "admin@example.org", "password": secrets.token_hex(16)}
        self.kubectl(
            *("exec", "--stdin", f"deployment/{NAME}", "--container=gunicorn", "--"),
            *("flask", "--app", "slipway", "create-admin", account["email"], "--password", "-"),
            stdin=account["password"] + "\n",
        )
        return account

    def secret(self, name: str) -> dict[str, str]:
        """Its data, each value in base64."""
        found = json.loads(self.kubectl("get", "secret", name, "--output=json"))
        return dict(found["data"])

    def change_secret(self, name: str, data: dict[str, str]) -> None:
        self.kubectl("patch", "secret", name, f"--patch={json.dumps({'data': data})}")

    def token(self) -> str:
        """An access token of the admin. It lasts longer than any test."""
        status, _, body = request("POST", "/login", self.admin)
        assert status == 200, body
        return str(json.loads(body)["access_token"])

    def python(self, code: str, *arguments: str, stdin: str = "") -> str:
        """What a script prints that runs beside gunicorn in a pod, reaching what the pod does."""
        where = ("exec", "--stdin", self.pods()[0], "--container=gunicorn", "--")
        return self.kubectl(*where, "python", "-c", code, *arguments, stdin=stdin)

    def settled(self) -> None:
        """Wait until every pod is there again, and the former ones are gone."""
        self.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=180s")
        going = [
            f"pod/{pod['metadata']['name']}"
            for pod in self.items("pods", "web")
            if "deletionTimestamp" in pod["metadata"]
        ]
        if going:
            self.kubectl("wait", "--for=delete", *going, "--timeout=120s")

    def deleted(self) -> None:
        run("kubectl", "delete", "namespace", self.namespace, "--ignore-not-found", timeout=600)


@contextmanager
def on_spare_cluster(namespace: str, folder: Path, *settings: str) -> Iterator[Release]:
    """A release to be made in that namespace; taken away with `settings` at the end."""
    if not is_spare():
        pytest.skip("needs a cluster that tests may disturb; REQUIRE_CLUSTER=1 says so")
    release = Release(namespace, folder)
    release.deleted()
    yield release
    release.make("undeploy", "PURGE=1", *settings)
    release.deleted()
