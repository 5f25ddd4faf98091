"""The command: a release, a search for each number of pods, and what is written of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from datetime import date
from typing import Any

from deploy import shell
from deploy.image import ROOT
from deploy.shell import Failure, need, say, setting
from load import slo
from marked import quote

from . import generator
from .measure import Measure, Step, told
from .report import number, short, whole
from .result import result
from .search import search
from .stage import Stage, machine, stage

VARIABLES = """\
environment (or `make` variables):
  PODS                 how many pods, one number after the other ("1 2")
  WORKERS              processes that make the load, each fills a core at most (1)
  VALUES               values files of the chart (helm/evaluation.yaml)
  RELEASE, NAMESPACE   of what is measured, made for it and deleted (slipway, slipway-capacity)
  IMAGE, IMAGE_REPOSITORY, IMAGE_LOAD, BUILD_ARGS, TIMEOUT
                       as for `make deploy`
"""
RESULT = ROOT / "loadtests/capacity.json"
GATE = ROOT / "loadtests/slo.json"
DOCUMENTS = {ROOT / "README.md": short, ROOT / "loadtests/README.md": whole}
WARM_UP, SECONDS = 4, 12
# Of the search for each number of pods.
FIRST, TOLERANCE, STEPS = 40, 0.1, 10
# Neighbours of a shared machine may break a rate: it is broken when it was so each time.
TRIES = 3


def measure(pods: int, on: Stage, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Of so many pods; and the processor that the load generator ran on."""
    on.bring(pods)
    gunicorn = on.gunicorn()
    # Twice as many as can be served at a time: where all threads are busy, somebody waits.
    users = 2 * pods * gunicorn["processes"] * gunicorn["threads"]
    seen: list[Step] = []
    asked: list[float] = []
    say(f"{number(str(pods))}: {users} users sign up")
    with generator.load(on.namespace, on.host, users, options.workers) as load:
        under = Measure(on, load, gunicorn["processes"], WARM_UP, options.seconds, slo.load(GATE))

        def keeps(rate: float) -> bool:
            asked.append(rate)
            for _ in range(TRIES):
                seen.append(under.step(rate))
                say(f"{number(str(pods))}, rate {len(asked)}/{options.steps}: {told(seen[-1])}")
                if seen[-1].is_kept:
                    return True
            return False

        found = search(keeps, pods * options.first, TOLERANCE, options.steps)
        return result(pods, found, seen, gunicorn), load.processor


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    by_pods, processor = {}, ""
    with stage(options.workers) as on:
        for pods in options.pods:
            by_pods[str(pods)], processor = measure(pods, on, options)
            say(summary(str(pods), by_pods[str(pods)]))
    return {
        "made": "Made by `make capacity`, which writes the tables of README.md and "
        "loadtests/README.md from it.",
        "machine": {
            "date": date.today().isoformat(),  # noqa: DTZ011
            **machine(),
            "processor": processor,
        },
        "load": {"warm_up": WARM_UP, "seconds": options.seconds, "tolerance": TOLERANCE},
        "pods": by_pods,
    }


def summary(pods: str, one: dict[str, Any]) -> str:
    limit = f"what ran out: {one['limiting']}"
    if one["kept"] is None:
        return f"{number(pods)}: no rate was kept, from {one['broken']:g} requests/s on; {limit}"
    kept = f"{one['kept']:g} requests/s kept, {one['per_core']:g} for each core"
    return f"{number(pods)}: {kept}; {limit}"


def write(kept: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    for path, block in DOCUMENTS.items():
        path.write_text(quote(path.read_text(), "capacity", block(kept)))


def numbers(text: str) -> list[int]:
    found = text.replace(",", " ").split()
    if not found or not all(one.isdecimal() and int(one) for one in found):
        raise argparse.ArgumentTypeError(f"{text!r} should read like 1 2")
    return [int(one) for one in found]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="PYTHONPATH=loadtests:helm python -m capacity",
        description="Find the highest rate that keeps the SLO, and what it says of sizes.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--first", type=float, default=FIRST, help=f"requests/s a pod ({FIRST})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"rates at the most ({STEPS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of a step ({SECONDS})")
    options = parser.parse_args()
    try:
        options.pods = numbers(setting("PODS", "1 2"))
        (options.workers,) = numbers(setting("WORKERS", "1"))
    except (argparse.ArgumentTypeError, ValueError):
        parser.error("PODS and WORKERS are numbers: PODS='1 2' WORKERS=1")
    if options.steps < 1 or options.first < 1 or options.seconds < 1:
        parser.error("--first, --steps and --seconds: at least 1")
    return options


def main() -> None:
    options = parse_arguments()
    shell.speaker = "capacity"
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.default_int_handler)
    try:
        need("docker", "kubectl")
        kept = measure_all(options)
        print(whole(kept))
        if options.steps < STEPS or options.seconds < SECONDS:
            say("nothing is written: fewer or shorter steps")
        else:
            write(kept)
    except Failure as error:
        sys.exit(f"capacity: {error}")
    except KeyboardInterrupt:
        print("capacity: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
