"""The command: what is measured, compared with what is kept, and written."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from deploy import shell
from deploy.image import check_engine
from deploy.shell import Failure, attempt, need, say
from marked import quote

from . import kit
from .backing import collector, database, valkey
from .changes import changes, short_of_it
from .data import ROWS, fill
from .engine import ROOT
from .keyset import keyset
from .report import short, whole
from .rounds import ROUNDS, SECONDS
from .routes import ROUTES
from .scrape import scrape
from .servers import Stage, servers
from .signals import telemetry, variants
from .throughput import throughput
from .wrk import CONNECTIONS

RESULT = ROOT / "loadtests/bench.json"
# Who quotes it, and which of its tables.
QUOTED = {"README.md": short, "loadtests/README.md": whole}
PARTS = ("throughput", *ROUTES, "keyset", "telemetry", "scrape")


def circumstances(rounds: int) -> dict[str, Any]:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "machine": {
            "date": date.today().isoformat(),  # noqa: DTZ011
            "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else os.uname().machine}",
        },
        "rounds": rounds,
        "seconds": SECONDS,
        "connections": CONNECTIONS,
        "processes": kit.PROCESSES,
        "rows": ROWS,
    }


def measure(image: str, rounds: int, only: str | None) -> dict[str, Any]:
    routes = [only] if only in ROUTES else [*ROUTES] if only in {None, "throughput"} else []
    result = circumstances(rounds)
    with (
        tempfile.TemporaryDirectory() as folder,
        database() as db,
        valkey() as redis_url,
    ):
        shared = Path(folder)
        # Containers have users of their own.
        shared.chmod(0o755)
        settings = kit.settings_of(db.url, redis_url)
        data = fill(db, image, settings, shared)
        with collector(shared) as collector_url:
            stage = Stage(image, settings, collector_url, shared)
            if routes:
                with servers(stage) as up:
                    result["throughput"] = throughput(up, data, routes, rounds)
            if only in {None, "telemetry"}:
                with variants(stage) as up:
                    result["telemetry"] = telemetry(up, data, rounds)
            if only in {None, "keyset"}:
                with kit.gunicorn("keyset", image, settings) as (url, name):
                    result["keyset"] = keyset(db, url, name, data.tokens.read_text().split()[0])
        if only in {None, "scrape"}:
            result["scrape"] = scrape(image, settings)
    return result


def write(result: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for name, block in QUOTED.items():
        document = ROOT / name
        document.write_text(quote(document.read_text(), "bench", block(result)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="PYTHONPATH=loadtests:helm python -m bench",
        description="Measure the kit beside a bare Flask and FastAPI, and tell what changed.",
        epilog=f"bench.json and the README's tables are written by a whole run of {ROUNDS} rounds "
        "or more.",
    )
    parser.add_argument("image", help="the service's image, such as slipway:latest")
    parser.add_argument("--only", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS} by default")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    shell.speaker = "bench"
    # What a closed terminal sends ends like Ctrl-C: containers are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        need("docker", "wrk", "taskset")
        check_engine()
        if attempt("docker", "image", "inspect", arguments.image) is None:
            raise Failure(f"the engine has no image {arguments.image!r}. Build it: make image")
        result = measure(arguments.image, arguments.rounds, arguments.only)
        print(whole(result))
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        for line in changes(kept, result) or ["no ratio is beyond the spread of what is kept"]:
            say(line)
        for line in short_of_it(result):
            say(line)
        if arguments.only or arguments.rounds < ROUNDS:
            say("nothing is written: a part, or fewer rounds")
        else:
            write(result)
    except Failure as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
