"""A release in a real cluster, made by `make deploy` and handled with kubectl and helm."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EVALUATION = ROOT / "helm" / "evaluation.yaml"
# Beside those of evaluation.yaml, which a developer's release may hold; helm/kind.yaml maps them.
HTTP_PORT, HTTPS_PORT = 30081, 30444
NAME = "slipway"
Json = dict[str, Any]


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


def with_label(image: str, name: str, *lines: str) -> str:
    """The image again, a little different: another content, and so another tag."""
    dockerfile = "\n".join([f"FROM {image}", f"LABEL test={name}", *lines])
    tag = f"slipway-test:{name}"
    run("docker", "buildx", "build", "--load", "--quiet", f"--tag={tag}", "-", stdin=dockerfile)
    return tag


class Release:
    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.values = [f"service: {{nodePorts: {{http: {HTTP_PORT}, https: {HTTPS_PORT}}}}}"]

    def make(self, target: str, *settings: str, values: tuple[str, ...] = ()) -> Done:
        """`make TARGET`, with the tests' own ports and further lines of values."""
        extra = self.folder / "values.yaml"
        extra.write_text("\n".join([*self.values, *values]) + "\n")
        command = [
            *("make", "--no-print-directory", target),
            *(f"NAMESPACE={self.namespace}", f"RELEASE={NAME}"),
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
