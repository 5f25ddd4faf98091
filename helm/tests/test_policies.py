"""What the chart's admission policy keeps out of the release's namespace, and what it lets in.

The cluster tries most of it without making it. The namespace has no Pod Security label, which
would refuse some of it first.
"""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import HELM, containers, flags, pods, render, run
from live import EVALUATION, restricted, until

pytestmark = pytest.mark.needs("helm", "cluster")

Json = dict[str, Any]
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
KINDS = f"{POLICY.lower()},{BINDING.lower()}"
# A pod that finds none needs no image, and stays what it is.
NO_NODE = {"slipway/nowhere": "true"}
DIGEST = "@sha256:" + "a" * 64


def pod(image: str = "registry.example.org:5000/probe:1.2", /, **container: object) -> Json:
    return restricted("probe", image, **container)


def beside(kind: str, *image: str, **container: object) -> Json:
    """A pod whose second container is of that kind."""
    found = pod()
    (other,) = pod(*image, **container)["spec"]["containers"]
    found["spec"].setdefault(kind, []).append(other | {"name": "other"})
    return found


def of_pod(**more: object) -> Json:
    found = pod()
    found["spec"].update(more)
    return found


def security(**more: object) -> Json:
    return {"securityContext": more}


def limits(**amounts: str) -> Json:
    return {"resources": {"requests": {"cpu": "10m"}, "limits": amounts}}


CHANGES = "what these images are may change: "
NODE = "the pod would see the node: "
GAINS = "containers that can gain the rights of the node: "
USES_UP = "containers that can use up the node: "
LIMIT = "Set resources.limits.cpu and resources.limits.memory"
REFUSED = {
    "latest": (pod("probe:latest"), f"{CHANGES}probe:latest (container probe). Tag them"),
    "no tag": (pod("probe"), f"{CHANGES}probe (container probe)"),
    "a port is no tag": (pod("localhost:5000/probe"), f"{CHANGES}localhost:5000/probe"),
    "an init container": (beside("initContainers", "x"), f"{CHANGES}x (container other)"),
    "privileged": (pod(**security(privileged=True)), f"{GAINS}probe. Set securityContext."),
    "escalation": (pod(**security(allowPrivilegeEscalation=True)), f"{GAINS}probe"),
    "escalation, by default": (pod(**security()), f"{GAINS}probe"),
    "an init container's rights": (beside("initContainers", **security()), f"{GAINS}other"),
    "the node's network": (of_pod(hostNetwork=True), f"{NODE}spec.hostNetwork. Leave"),
    "its processes": (of_pod(hostPID=True, hostIPC=True), f"{NODE}spec.hostPID, spec.hostIPC."),
    "no limit": (pod(resources={}), f"{USES_UP}probe. {LIMIT}"),
    "no limit of memory": (pod(**limits(cpu="1")), f"{USES_UP}probe"),
    "no limit of CPU": (pod(**limits(memory="64Mi")), f"{USES_UP}probe"),
    "an init container's limits": (beside("initContainers", resources={}), f"{USES_UP}other"),
    "two at once": (beside("containers", "y:latest"), f"{CHANGES}y:latest (container other)"),
}  # fmt: skip
LET_IN = {
    "all rules kept": pod(),
    "a digest": pod(f"probe{DIGEST}"),
    "a tag that moves, and the digest it had": pod(f"probe:latest{DIGEST}"),
    "a tag that has the word": pod("probe:latest-1"),
}


class Namespace:
    def __init__(self) -> None:
        self.name = f"policies-{uuid.uuid4().hex[:8]}"

    def kubectl(self, *arguments: str, stdin: str = "") -> tuple[bool, str]:
        """Whether it went well, and what was said."""
        done = run("kubectl", f"--namespace={self.name}", *arguments, stdin=stdin)
        return done.returncode == 0, done.stdout + done.stderr

    def refusal(self, *wanted: Json) -> str:
        """Why such pods would not be let in; empty where they would be."""
        made = {"apiVersion": "v1", "kind": "List", "items": list(wanted)}
        done, said = self.kubectl(
            "create", "--dry-run=server", "--filename=-", stdin=json.dumps(made)
        )
        return "" if done else said

    def has(self, *image: str) -> str:
        """A pod that is really there."""
        wanted = pod(*image)
        wanted["spec"]["nodeSelector"] = NO_NODE
        wanted["metadata"]["name"] = name = f"probe-{uuid.uuid4().hex[:8]}"
        done, said = self.kubectl("create", "--filename=-", stdin=json.dumps(wanted))
        assert done, said
        return name


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Namespace]:
    yield from made()


@pytest.fixture(scope="module")
def bare() -> Iterator[Namespace]:
    yield from made()


def made() -> Iterator[Namespace]:
    namespace = Namespace()
    assert namespace.kubectl("create", "namespace", namespace.name)[0]
    yield namespace
    namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")


@pytest.fixture(scope="module")
def older(bare: Namespace) -> str:
    """A pod that was there before the policy."""
    return bare.has("probe:latest")


@pytest.fixture(scope="module")
def guarded(bare: Namespace, older: str) -> Iterator[Namespace]:
    """Where there is a release with the policy on, and the policy is active."""
    values = {
        "admissionPolicy.enabled": True,
        "nodeSelector": NO_NODE,
        "service.nodePorts": {"http": None, "https": None},
    }
    where = ("slipway", f"--namespace={bare.name}")
    done = run("helm", "install", *where, HELM / "slipway", *flags(values, EVALUATION))
    assert done.returncode == 0, done.stderr
    until(lambda: bare.refusal(pod("x")) != "", lambda: "the policy refuses nothing", 60)
    yield bare
    done = run("helm", "uninstall", *where, "--wait", "--cascade=foreground")
    assert done.returncode == 0, done.stderr
    assert bare.name not in run("kubectl", "get", KINDS, "--output=name").stdout


@pytest.mark.parametrize(("wanted", "message"), REFUSED.values(), ids=REFUSED)
def test_a_pod_that_breaks_a_rule_is_refused_with_what_to_do(
    guarded: Namespace, wanted: Json, message: str
) -> None:
    said = guarded.refusal(wanted)
    assert f"denied request: {message}" in said
    assert len(said.splitlines()) == 1


def test_a_pod_that_keeps_all_is_let_in(guarded: Namespace) -> None:
    assert [said for one in LET_IN.values() if (said := guarded.refusal(one))] == []


def test_another_namespace_takes_what_this_one_refuses(
    guarded: Namespace, elsewhere: Namespace
) -> None:
    broken = [wanted for wanted, _ in REFUSED.values()]
    assert [said for one in broken if (said := elsewhere.refusal(one))] == []


@pytest.mark.parametrize(
    ("chart", "arguments"),
    [
        ("slipway", ({"hooks": {"preUpgrade": {"args": ["flask"]}}}, EVALUATION)),
        ("loadtests", ({"host": "http://slipway", "image.tag": "1"},)),
    ],
)
def test_every_pod_of_the_release_is_let_in(
    guarded: Namespace, chart: str, arguments: tuple[Json, *tuple[Path, ...]]
) -> None:
    found = pods(render(*arguments, chart=chart))
    wanted = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-"}, "spec": of["spec"]}
        for of in found.values()
    ]
    assert len(wanted) >= 2
    for one in wanted:
        # A StatefulSet brings it.
        one["spec"].setdefault("volumes", []).append({"name": "data", "emptyDir": {}})
    assert guarded.refusal(*wanted) == ""
    # The control: were its limits missing, each would not be.
    for one in wanted:
        containers(one)[-1].pop("resources")
        assert USES_UP in guarded.refusal(one)


def test_what_is_there_already_may_live_and_end_but_not_change(
    guarded: Namespace, older: str
) -> None:
    done, said = guarded.kubectl("label", "pod", older, "of=old")
    assert done, said
    done, said = guarded.kubectl("set", "image", f"pod/{older}", "probe=other:latest")
    assert not done
    assert CHANGES in said
    done, said = guarded.kubectl("set", "image", f"pod/{older}", "probe=other:1")
    assert done, said


@pytest.mark.parametrize(
    ("image", "profile", "message"),
    [
        ("busybox", "restricted", f"{CHANGES}busybox (container debugger)"),
        ("busybox:1.37", "sysadmin", f"{GAINS}debugger"),
        ("busybox:1.37", "restricted", ""),
    ],
)
def test_who_debugs_a_pod_keeps_the_rules_too_but_needs_no_limits(
    guarded: Namespace, image: str, profile: str, message: str
) -> None:
    debug = ("debug", guarded.has(), f"--image={image}", f"--profile={profile}")
    done, said = guarded.kubectl(*debug, "--container=debugger", "--attach=false")
    assert done == (message == ""), said
    assert message in said


def test_no_two_releases_have_a_policy_of_the_same_name() -> None:
    def name(release: str, namespace: str) -> str:
        where = (release, HELM / "slipway", f"--namespace={namespace}")
        values = flags({"admissionPolicy.enabled": True, "fullnameOverride": release}, EVALUATION)
        rendered = run(
            "helm", "template", *where, *values, "--show-only=templates/admissionpolicy.yaml"
        )
        return str(next(yaml.safe_load_all(rendered.stdout))["metadata"]["name"])

    releases = [("a-b", "c"), ("a", "b-c"), ("a", "c")]
    assert len({name(*one) for one in releases}) == len(releases)
