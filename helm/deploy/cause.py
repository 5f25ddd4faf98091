"""What a rollout is doing, and why it does not get on, from the release's pods."""

from dataclasses import dataclass
from typing import Any

from .shell import attempt, items

Json = dict[str, Any]
BEGINNING = {"ContainerCreating", "PodInitializing"}
EXPLAINS, UNSCHEDULED, NOT_READY = range(3)
LAST_EVENTS = 4
LAST_LOG_LINES = 8


@dataclass(frozen=True, order=True)
class Trouble:
    """A pod that does not get on; the smaller `rank`, the more it explains."""

    rank: int
    pod: str
    container: str
    seen: str


def pods(namespace: str, release: str) -> list[Json]:
    found = items(
        "pods", f"--namespace={namespace}", f"--selector=app.kubernetes.io/instance={release}"
    )
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def progress(found: list[Json]) -> str:
    """How many pods of each component are ready, such as `web 1/2, worker 1/1`."""
    ready: dict[str, list[bool]] = {}
    for pod in found:
        component = pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", "pods")
        ends = pod["spec"].get("restartPolicy") != "Always"
        done = pod["status"].get("phase") == "Succeeded" if ends else _is_true(pod, "Ready")
        ready.setdefault(component, []).append(done)
    counts = sorted(ready.items())
    return ", ".join(f"{name} {sum(states)}/{len(states)}" for name, states in counts)


def _is_true(pod: Json, kind: str) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(item["type"] == kind and item["status"] == "True" for item in conditions)


def troubles(pod: Json) -> list[Trouble]:
    """All that keeps one pod from being ready."""
    name, status = pod["metadata"]["name"], pod["status"]
    if status.get("phase") == "Succeeded" or _is_true(pod, "Ready"):
        return []
    found = [
        Trouble(
            UNSCHEDULED,
            name,
            "",
            f"not scheduled: {condition.get('message', condition.get('reason'))}",
        )
        for condition in status.get("conditions", [])
        if condition["type"] == "PodScheduled" and condition["status"] == "False"
    ]
    for container in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
        trouble = _container_trouble(name, container)
        found += [trouble] if trouble else []
    return found


def _container_trouble(pod: str, container: Json) -> Trouble | None:
    name, state = container["name"], container["state"]
    waiting = state.get("waiting", {}).get("reason", "")
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    exited = f"exited with status {ended['exitCode']}" if ended.get("exitCode") else ""
    if waiting and waiting not in BEGINNING:
        detail = exited or state["waiting"].get("message", "")
        return Trouble(EXPLAINS, pod, name, f"{waiting}: {detail}" if detail else waiting)
    if exited and not container.get("ready"):
        reason = ended.get("reason", "Error")
        return Trouble(EXPLAINS, pod, name, exited if reason == "Error" else f"{exited} ({reason})")
    if "running" in state and not container.get("ready"):
        return Trouble(NOT_READY, pod, name, "runs, but is not ready")
    return None


def worst(found: list[Json]) -> Trouble | None:
    """The trouble that explains most; of equal ones the youngest pod's, which is rolled out."""
    young_first = sorted(
        found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True
    )
    return min(
        (trouble for pod in young_first for trouble in troubles(pod)),
        key=lambda trouble: trouble.rank,
        default=None,
    )


def describe(namespace: str, trouble: Trouble) -> str:
    """The trouble with the pod's last warnings and the container's last lines."""
    where = f"pod {trouble.pod}" + (f", container {trouble.container}" if trouble.container else "")
    parts = [f"{where}: {trouble.seen}"]
    events = warnings(namespace, f"--field-selector=involvedObject.name={trouble.pod}")
    if events:
        parts += ["events:", *(f"  {line}" for line in events)]
    lines = _log(namespace, trouble)
    if lines:
        parts += ["last log lines:", *(f"  {line}" for line in lines)]
    return "\n".join(parts)


def warnings(namespace: str, *selector: str) -> list[str]:
    """The last warnings of the namespace, or of what is selected, each once."""
    found = items("events", f"--namespace={namespace}", *selector)
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime")))
    texts = (
        f"{event['reason']}: {event['message'].strip()}"
        for event in found
        if event.get("type") == "Warning"
    )
    return list(dict.fromkeys(texts))[-LAST_EVENTS:]


def _log(namespace: str, trouble: Trouble) -> list[str]:
    if not trouble.container:
        return []
    query = (
        "kubectl",
        "logs",
        f"--namespace={namespace}",
        trouble.pod,
        f"--container={trouble.container}",
    )
    tail = f"--tail={LAST_LOG_LINES}"
    return (attempt(*query, tail) or attempt(*query, tail, "--previous") or "").splitlines()
