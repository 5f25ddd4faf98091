"""Where to deploy: the current kube context, and what kind of cluster is behind it."""

import atexit
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .shell import Failure, attempt, last_line, need, run, say, setting, show

KIND_CONFIG = Path(__file__).parents[1] / "kind.yaml"
KIND_CLUSTER = "slipway"
MINIKUBE = "minikube.sigs.k8s.io"


@dataclass(frozen=True)
class Context:
    """A kube context, and the tool and cluster that it belongs to, where one is known."""

    name: str
    tool: str = ""
    cluster: str = ""


def identify(name: str, config: str) -> Context:
    """Tell the tool by the context's name, as kind and k3d make it, or by minikube's own mark."""
    for tool in ("kind", "k3d"):
        if name.startswith(f"{tool}-"):
            return Context(name, tool, name.removeprefix(f"{tool}-"))
    if name == "minikube" or MINIKUBE in config:
        return Context(name, "minikube", name)
    return Context(name)


def current() -> Context:
    """The current context, or that of the setting; where there is none, a new kind cluster."""
    need("kubectl")
    if wanted := setting("CONTEXT"):
        _choose(wanted)
    name = attempt("kubectl", "config", "current-context")
    if name:
        return identify(name.strip(), attempt("kubectl", "config", "view", "--minify") or "")
    if not shutil.which("kind"):
        raise Failure(
            "no kube context is set, and kind is not installed to make a cluster. "
            "Choose one (kubectl config use-context NAME) or install kind: https://kind.sigs.k8s.io"
        )
    return create_cluster()


def _choose(name: str) -> None:
    """Make it the current context of the programs that we start, and of nothing else."""
    if attempt("kubectl", "config", "get-contexts", name, "--output=name") is None:
        raise Failure(
            f"there is no kube context {name!r}, which CONTEXT names. Choose one: "
            "kubectl config get-contexts"
        )
    handle, path = tempfile.mkstemp(prefix="slipway-context-")
    atexit.register(Path(path).unlink)
    with os.fdopen(handle, "w") as file:
        json.dump({"apiVersion": "v1", "kind": "Config", "current-context": name}, file)
    # Of several files, the first that says something counts.
    theirs = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
    os.environ["KUBECONFIG"] = os.pathsep.join([path, theirs])


def create_cluster() -> Context:
    need("docker")
    say(f"no kube context is set: creating the kind cluster {KIND_CLUSTER!r}")
    known = (attempt("kind", "get", "clusters") or "").split()
    if KIND_CLUSTER in known:
        run("kind", "export", "kubeconfig", "--name", KIND_CLUSTER, what="kind has the cluster")
    else:
        show(
            *("kind", "create", "cluster", "--name", KIND_CLUSTER),
            *("--config", str(KIND_CONFIG), "--wait", "180s"),
            what="creating a cluster",
        )
    return Context(f"kind-{KIND_CLUSTER}", "kind", KIND_CLUSTER)


def check_answers(context: Context) -> None:
    """Stop before anything is built when the cluster is away or refuses us."""
    hints = {
        "kind": "kind get clusters",
        "minikube": f"minikube start --profile {context.cluster}",
        "k3d": f"k3d cluster start {context.cluster}",
    }
    try:
        answer = run("kubectl", "--request-timeout=10s", "version", "--output=json", what="asking")
    except Failure as failure:
        hint = hints.get(context.tool, "kubectl cluster-info")
        seen = last_line(str(failure)).split("failed: ", 1)[-1]
        raise Failure(
            f"cluster {context.name!r} does not answer ({seen}). Is it running? {hint}"
        ) from None
    version = json.loads(answer)["serverVersion"]["gitVersion"]
    say(f"context {context.name}, Kubernetes {version}")
