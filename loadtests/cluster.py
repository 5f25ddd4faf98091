"""A load test from inside the cluster: Locust's master and workers, which are gone afterwards.

The run is made by the image of this folder, beside the release that it loads. Its exit status is
that of `make loadtest`: 0 when the promises were kept, 1 when not, 2 when nobody can tell.
"""

import argparse
import contextlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy import cause, context, image, observability, release, shell, url
from deploy.shell import Failure, run, say, setting

VARIABLES = """\
environment (or `make` variables):
  WORKERS              how many processes make the load (2)
  PROFILE              which load, as for `make loadtest` (smoke)
  HOST                 where the service is; that of the release where it is not said
  USERS, DURATION      another size of the profile, and another length (such as 90s)
  LOADTEST_ADMIN_EMAIL, LOADTEST_ADMIN_PASSWORD
                       an admin of the service, as for `make loadtest`
  RELEASE, NAMESPACE   the release, and the namespace in which the load test runs too (slipway)
  LOADTEST_VALUES      values files of helm/loadtests, such as where workers run and what they get
  TIMEOUT              how long the pods may take to run (5m)
  IMAGE_REPOSITORY, IMAGE_LOAD, BUILD_ARGS
                       as for `make deploy`; the image's name is that of the service and -loadtests
"""
CHART = "loadtests"
SOURCE = image.Source(image.ROOT / "loadtests", image.ROOT, f"-{CHART}")
RESULTS = SOURCE.folder / "results"
UNKNOWN = 2
VERDICT = "verdict.json"
POLL_SECONDS = 2
TRIES = 3
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What somebody wants."""

    workers: int
    profile: str
    host: str
    # Further ones of `python -m load`.
    arguments: list[str]
    release: release.Release

    def values(self, built: image.Image) -> Json:
        """Of the chart."""
        return {
            "image": {"repository": built.repository, "tag": built.tag},
            "host": self.host,
            "profile": self.profile,
            "workers": self.workers,
            "arguments": self.arguments,
            "admin": {
                "email": setting("LOADTEST_ADMIN_EMAIL"),
                "password": setting("LOADTEST_ADMIN_PASSWORD"),
            },
            "serviceMonitor": {"enabled": observability.has_operator()},
        }


def asked() -> Asked:
    of_service = release.from_environment()
    workers = setting("WORKERS", "2")
    if not workers.isdecimal() or int(workers) < 1:
        raise Failure(f"WORKERS={workers!r} is not a number of processes such as 2")
    return Asked(
        int(workers),
        setting("PROFILE", "smoke"),
        setting("HOST") or host(of_service),
        [
            f"{option}={value}"
            for name, option in (("USERS", "--users"), ("DURATION", "--run-time"))
            if (value := setting(name))
        ],
        release.Release(
            f"{of_service.name}-{CHART}",
            of_service.namespace,
            CHART,
            release.files("LOADTEST_VALUES"),
            release.timeout(),
        ),
    )


def host(target: release.Release) -> str:
    """Where pods find the service."""
    try:
        service = url.web_service(target.namespace, target.name)
    except Failure as failure:
        raise Failure(f"{failure}. Deploy it, or say where it is: HOST=http://…") from None
    path = url.prefix(target.namespace, target.name)
    return f"http://{service['metadata']['name']}.{target.namespace}{path}"


def load() -> int:
    where = context.current()
    release.check_helm()
    context.check_answers(where)
    wanted = asked()
    if release.history(wanted.release):
        raise Failure(
            f"{wanted.release.name} is there already: another load test runs, or was killed. "
            f"If none runs: helm uninstall {' '.join(wanted.release.scope)}"
        )
    image.build(SOURCE)
    built = image.by_content(SOURCE.built, SOURCE.suffix)
    image.hand_over(where, built)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as values:
        json.dump(wanted.values(built), values)
        values.flush()
        files = (*wanted.release.values, values.name)
        with installed(replace(wanted.release, values=files)):
            return watch(wanted)


@contextlib.contextmanager
def installed(target: release.Release) -> Iterator[None]:
    """Nothing of it is left, whatever ends the block."""
    release.make_namespace(target)
    try:
        # Helm waits for nothing: a Job that has just begun is not ready, it runs.
        run(*release.upgrade_command(target), what="installing the load test")
        yield
    finally:
        # Whoever is in a hurry now would leave load behind. Programs started from here inherit it.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        release.take_away(target)


def watch(wanted: Asked) -> int:
    """Show the run until it ends, and bring its results; its exit status."""
    target = wanted.release
    pods = Pods(target)
    say(f"{wanted.profile} for {wanted.host} by {wanted.workers} workers in {target.namespace}")
    master = pods.begun()
    with page(target), Log(target, master) as log:
        while (ended := pods.ended()) is None:
            log.go_on()
            time.sleep(POLL_SECONDS)
    folder = RESULTS / f"{datetime.now():%Y%m%d-%H%M%S}-{wanted.profile}"  # noqa: DTZ005
    fetch(target, master, folder)
    if not (folder / VERDICT).exists():
        folder.rmdir()
        seen = f"status {ended['exitCode']} ({ended.get('reason', 'Error')})"
        raise Failure(f"the master ended with {seen} and no verdict; see above")
    say(f"results: {folder}")
    return int(ended["exitCode"])


class Pods:
    """The run's pods: what becomes of them, told once."""

    def __init__(self, target: release.Release) -> None:
        self.target = target
        self._deadline = time.monotonic() + seconds(target.timeout)
        self._told: set[object] = set()

    def begun(self) -> str:
        """The name of the master's pod, once it runs."""
        while True:
            found = self._look()
            for pod in found:
                if component(pod) == "master" and state(pod):
                    return str(pod["metadata"]["name"])
            if time.monotonic() > self._deadline:
                worst = cause.worst(found)
                why = cause.describe(self.target.namespace, worst) if worst else "no pod is there"
                raise Failure(f"the master does not run after {self.target.timeout}: {why}")
            time.sleep(POLL_SECONDS)

    def ended(self) -> Json | None:
        """How the master ended, with its exit code; None while it runs."""
        for pod in self._look():
            if component(pod) == "master":
                return state(pod).get("terminated")
        raise Failure("the master's pod is gone, and its results with it")

    def _look(self) -> list[Json]:
        found = cause.pods(self.target.namespace, self.target.name)
        workers = [pod for pod in found if component(pod) == "worker"]
        if workers:
            self._tell(f"ready: {cause.progress(workers)}")
        for trouble in (trouble for pod in workers for trouble in cause.troubles(pod)):
            if trouble.rank == cause.EXPLAINS:
                self._tell(f"pod {trouble.pod}: {trouble.seen}")
        return found

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            say(text)


def component(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def state(pod: Json) -> Json:
    """Of the master's container: running or terminated; empty before."""
    for container in pod["status"].get("containerStatuses", []):
        if container["name"] == "master" and "waiting" not in container["state"]:
            return dict(container["state"])
    return {}


def seconds(duration: str) -> int:
    """Of a text as TIMEOUT has it."""
    units = {"h": 3600, "m": 60, "s": 1}
    total, number = 0, ""
    for letter in duration:
        if letter in units:
            total, number = total + int(number) * units[letter], ""
        else:
            number += letter
    return total


class Log:
    """What the master says, as it says it."""

    def __init__(self, target: release.Release, pod: str) -> None:
        self._command = ["kubectl", "logs", f"--namespace={target.namespace}", pod]
        self._command += ["--container=master", "--follow"]
        self._process = subprocess.Popen(self._command)

    def __enter__(self) -> "Log":
        return self

    def go_on(self) -> None:
        """A connection to the cluster may end before the run does."""
        if self._process.poll() is not None:
            self._process = subprocess.Popen([*self._command, "--tail=0"])

    def __exit__(self, kind: object, *_: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It ends by itself where the master did.
            self._process.wait(0 if kind else 10)
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def page(target: release.Release) -> Iterator[None]:
    """Locust's own page for as long as the block; a run does without as well."""
    with contextlib.ExitStack() as stack:
        try:
            way = url.port_forward(target.namespace, target.name)
            say(f"web page: {stack.enter_context(way)}")
        except Failure as failure:
            say(f"no web page: {failure}")
        yield


def fetch(target: release.Release, pod: str, folder: Path) -> None:
    """Copy the results out of the master's pod."""
    command = ["kubectl", "exec", f"--namespace={target.namespace}", pod, "--container=results"]
    command += ["--", "tar", "-cf", "-", "-C", "/results", "."]
    for attempts_left in reversed(range(TRIES)):
        done = subprocess.run(command, capture_output=True, check=False)
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                # Python has it from 3.11.4 on; it is our own pod that wrote the archive.
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(folder)  # noqa: S202
            return
        except tarfile.TarError as error:
            if not attempts_left:
                said = shell.last_line(done.stderr.decode())
                raise Failure(f"copying the results of {pod} failed: {error}: {said}") from None
        time.sleep(POLL_SECONDS)


def main() -> int:
    argparse.ArgumentParser(
        prog="loadtest-cluster",
        description=__doc__,
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    shell.speaker = "loadtest"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return load()
    except Failure as failure:
        print(f"loadtest: {failure}", file=sys.stderr)
        return UNKNOWN
    except KeyboardInterrupt:
        print("loadtest: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
