"""A Helm release: compared, rolled out, taken away."""

import json
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import cause
from .shell import Failure, attempt, items, need, run, say, setting

HELM = Path(__file__).parents[1]
EVALUATION = HELM / "evaluation.yaml"
# A namespace that bears it was made here, and goes when nothing is left in it.
MADE_HERE = "slipway.dev/made-by-deploy"
RESTRICTED = "pod-security.kubernetes.io/enforce"
POLL_SECONDS = 2
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")


@dataclass(frozen=True)
class Release:
    """What is released where; the chart is the folder `helm/CHART`."""

    name: str
    namespace: str
    chart: str
    values: tuple[str, ...]
    timeout: str
    # Further values, as `path=text`.
    settings: tuple[str, ...] = ()

    @property
    def scope(self) -> tuple[str, str]:
        return (self.name, f"--namespace={self.namespace}")

    @property
    def selector(self) -> tuple[str, str]:
        instance = f"--selector=app.kubernetes.io/instance={self.name}"
        return (f"--namespace={self.namespace}", instance)


def from_environment() -> Release:
    values = files("VALUES") or (str(EVALUATION),)
    name = setting("RELEASE", "slipway")
    return Release(name, setting("NAMESPACE", "slipway"), "slipway", values, timeout())


def files(variable: str) -> tuple[str, ...]:
    """The files that an environment variable names."""
    found = tuple(shlex.split(setting(variable)))
    for path in found:
        if not Path(path).is_file():
            raise Failure(f"{variable} names {path!r}, which is not a file")
    return found


def timeout() -> str:
    given = setting("TIMEOUT", "5m")
    if not DURATION.fullmatch(given):
        raise Failure(f"TIMEOUT={given!r} is not a duration such as 90s or 5m")
    return given


def check_helm() -> None:
    need("helm")
    version = run("helm", "version", "--template={{.Version}}", what="asking Helm").strip()
    if not version.startswith("v4"):
        raise Failure(f"Helm 4 is needed to roll a failed release back; this is Helm {version}")


def history(release: Release) -> list[dict[str, Any]]:
    known = attempt("helm", "history", *release.scope, "--output=json")
    return list(json.loads(known)) if known else []


def check_idle(release: Release) -> None:
    """A Helm that was killed leaves its release locked; only a person knows that it is dead."""
    past = history(release)
    if not past or not past[-1]["status"].startswith("pending-"):
        return
    served = [str(item["revision"]) for item in past if item["status"] == "deployed"]
    way = (
        f"helm rollback {release.name} {served[-1]}" if served else f"helm uninstall {release.name}"
    )
    raise Failure(
        f"release {release.name!r} is {past[-1]['status']}: another Helm works on it, or died. "
        f"If none does: {way} --namespace={release.namespace}"
    )


def make_namespace(release: Release) -> bool:
    """Make the namespace if there is none; tells whether it was made."""
    if attempt("kubectl", "get", "namespace", release.namespace):
        return False
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": release.namespace,
            "labels": {RESTRICTED: "restricted", MADE_HERE: "true"},
        },
    }
    run(
        *("kubectl", "create", "--filename=-"),
        what=f"making the namespace {release.namespace!r}",
        stdin=json.dumps(manifest),
    )
    return True


def upgrade_command(release: Release) -> list[str]:
    return [
        *("helm", "upgrade", "--install", release.name, str(HELM / release.chart)),
        f"--namespace={release.namespace}",
        # The mark by which one that a person installed is told from it.
        f"--labels={MADE_HERE}=true",
        *(f"--values={path}" for path in release.values),
        *(f"--set-string={pair}" for pair in release.settings),
    ]


def bring(release: Release, what: str, prepare: Callable[[], None] = lambda: None) -> None:
    """Roll out `what`, after `prepare`; or say that it is so already."""
    made = make_namespace(release)
    try:
        if revision := unchanged(release):
            say(f"unchanged: revision {revision} serves {what}")
            return
        prepare()
        roll_out(release)
    except (Failure, KeyboardInterrupt):
        if made:
            drop_namespace(release)
        raise


def unchanged(release: Release) -> int | None:
    """The serving revision, when an upgrade would change nothing and nothing of it is missing."""
    past = history(release)
    command = upgrade_command(release)
    wanted = run(*command, "--dry-run=server", "--output=json", what="rendering the chart")
    if not past or past[-1]["status"] != "deployed":
        return None
    manifest = run("helm", "get", "manifest", *release.scope, what="reading the release")
    if json.loads(wanted)["manifest"].strip() != manifest.strip():
        return None
    present = subprocess.run(
        ["kubectl", "get", f"--namespace={release.namespace}", "--filename=-", "--output=name"],
        input=manifest, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if present.returncode else int(past[-1]["revision"])


class Watch:
    """Tells the progress of a rollout, and keeps what was last wrong with it."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.cause = ""
        self._told = ""
        self._trouble: cause.Trouble | None = None

    def look(self) -> None:
        found = cause.pods(self.release.namespace, self.release.name)
        told = cause.progress(found)
        if told and told != self._told:
            say(f"ready: {told}")
            self._told = told
        trouble = cause.worst(found)
        # What runs but is not ready yet has more to say each time.
        if trouble and (trouble != self._trouble or trouble.rank == cause.NOT_READY):
            self.cause = cause.describe(self.release.namespace, trouble)
        self._trouble = trouble or self._trouble

    def explain(self, said: str) -> str:
        """What was last wrong; where no pod came to be, what the namespace warns of."""
        if self.cause or "deadline exceeded" not in said:
            return self.cause
        seen = cause.warnings(self.release.namespace)
        return "\n".join(["events:", *(f"  {line}" for line in seen)]) if seen else ""


def roll_out(release: Release) -> None:
    """Upgrade or install; Helm takes a failed upgrade back to what served before."""
    former = [item["revision"] for item in history(release) if item["status"] == "deployed"]
    kept = leftovers(release)
    command = [
        *upgrade_command(release),
        *("--wait", "--wait-for-jobs", "--rollback-on-failure", f"--timeout={release.timeout}"),
        # Whoever changed a field by hand meanwhile: the chart's word counts.
        *("--hide-notes", "--server-side=true", "--force-conflicts"),
    ]
    say(f"releasing {release.name} to namespace {release.namespace}, for at most {release.timeout}")
    watch = Watch(release)
    with tempfile.TemporaryFile("w+") as log:
        helm = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        status = _wait(helm, log, watch)
        log.seek(0)
        said = _error(log.read())
    if status == 0:
        return
    if not former:
        remove([name for name in leftovers(release) if name not in kept], release)
    outcome = f"revision {former[-1]} serves on" if former else "nothing of it is left"
    explained = watch.explain(said).replace("\n", "\n  ")
    raise Failure(f"release {release.name!r} failed; {outcome}. {said}\n  {explained}".rstrip())


def _wait(helm: subprocess.Popen[bytes], log: IO[str], watch: Watch) -> int:
    """Watch while Helm waits; once it gave up, pods come and go for another reason."""
    try:
        while helm.poll() is None:
            if b"failed" not in os.pread(log.fileno(), 10_000, 0):
                watch.look()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        # The terminal sent it to Helm as well, which takes its release back.
        say("interrupted: waiting for Helm to end")
        helm.wait()
        raise
    return helm.returncode


def _error(log: str) -> str:
    """What Helm said last, in one line."""
    text = log[log.rfind("Error:") :] if "Error:" in log else log
    return " ".join(text.removeprefix("Error:").split())


def leftovers(release: Release) -> list[str]:
    """What outlives the release: data volumes, the secrets that open them, pods of failed tests."""
    kinds = "persistentvolumeclaim,secret,configmap,job,pod"
    return [
        f"{item['kind'].lower()}/{item['metadata']['name']}"
        for item in items(kinds, *release.selector)
        if not {"ownerReferences", "deletionTimestamp"} & item["metadata"].keys()
    ]


def remove(names: list[str], release: Release) -> None:
    if names:
        run(
            *("kubectl", "delete", f"--namespace={release.namespace}", "--ignore-not-found"),
            *names,
            what=f"deleting {', '.join(names)}",
        )


def take_away(release: Release) -> None:
    """Uninstall, and say by name what stays; `PURGE=1` takes that too."""
    if history(release):
        say(f"uninstalling {release.name} from namespace {release.namespace}")
        run(
            *("helm", "uninstall", *release.scope, "--wait", "--cascade=foreground"),
            f"--timeout={release.timeout}",
            what="uninstalling",
        )
    else:
        say(f"there is no release {release.name!r} in namespace {release.namespace!r}")
    kept = leftovers(release)
    if kept and setting("PURGE") == "1":
        remove(kept, release)
        say(f"deleted {', '.join(kept)}")
        kept = []
    if kept:
        say(f"left in namespace {release.namespace}, so that an install finds its data again:")
        for name in kept:
            say(f"  {name}")
        say("PURGE=1 make undeploy deletes these too")
        return
    drop_namespace(release)


def drop_namespace(release: Release) -> None:
    """Delete the namespace if it was made here and nothing is left in it."""
    namespace = f"--namespace={release.namespace}"
    ours = attempt(
        *("kubectl", "get", "namespace", f"--selector={MADE_HERE}=true", "--output=name"),
        f"--field-selector=metadata.name={release.namespace}",
    )
    attempt("kubectl", "wait", "--for=delete", "pod", *release.selector, "--timeout=90s")
    kinds = "all,secret,configmap,persistentvolumeclaim"
    found = (item["metadata"]["name"] for item in items(kinds, namespace))
    if ours and not [name for name in found if name != "kube-root-ca.crt"]:
        run("kubectl", "delete", "namespace", release.namespace, what="deleting the namespace")
        say(f"deleted namespace {release.namespace}")
