"""Requests per second and p99 of the service, beside a bare Flask served by `gunicorn -w 4`.

Everything runs from one image, in one run: the servers on the first core, PostgreSQL, Valkey and
`wrk` on the last, and rounds of all contenders alternate, so that a disturbance meets them alike.
Writes bench.json, and the table in README.md that quotes it. Linux, with a Docker engine and wrk.

The list is asked for by an admin, as in production: each request checks a token, reads session and
user from PostgreSQL, and counts against a limit in Valkey. It is made anew for each, as each asks
in other words for the same rows, and kept like any other; `kept` asks for the kept answer alone.

What telemetry costs is measured after that, in rounds of its own: all of it against none of it, and
each signal alone, with a collector that takes the spans of every tenth request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULT = HERE / "bench.json"

ROUNDS = 10
SECONDS = 2
CONNECTIONS = 16
PROCESSES = 4
LIMIT = 100
PAGE = 10_000
REPEATS = 100

# Of the workers that have ended before a scrape.
ENDED, MAX_REQUESTS = 40, 50

SIGNALS = ("logs", "metrics", "traces", "errors")
# Of the requests, those whose spans are made and sent.
SAMPLED = 0.1
COLLECTOR = {
    "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:PORT"}}}},
    "exporters": {"debug": {"verbosity": "basic"}},
    "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
}

SERVER_CORE = "0"
OTHER_CORE = str((os.cpu_count() or 1) - 1)

HELLO = """
from flask import Flask
app = Flask(__name__)
@app.get("/")
def hello():
    return "Hello, World!"
"""

ROWS = 1_000_000
FILL = """
INSERT INTO users (name, email, created_at, updated_at)
  SELECT 'Name ' || i::bigint * 7919 % 1000003, 'user' || i || '@example.org', now(), now()
  FROM generate_series(1, 1000000) AS i;
VACUUM ANALYZE users;
"""

# An address that nobody has asked for yet, and so no kept answer: all rows are younger than this.
UNKEPT = """
local began, number = os.date("!%Y-%m-%dT%H:%M:%S", os.time() - 1e9), 0
request = function()
  number = number + 1
  return wrk.format(nil, wrk.path .. string.format("&created_from=%s.%06dZ", began, number))
end
"""

# Run inside the image: the cursor after a row, made as the service makes it.
CURSOR = """
from slipway import create_app, paging
with create_app().app_context():
    print(paging.encode({sort!r}, {row!r}))
"""


class BenchError(Exception):
    """What was tried, what was seen, what to do: one line."""


# ── wrk ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Measure:
    """What a round of wrk saw."""

    requests_per_second: float
    p99_ms: float


UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def parse_wrk(report: str) -> Measure:
    """Raises BenchError when a request failed: the rest of the numbers then says nothing."""
    for failure in re.findall(r"Non-2xx or 3xx responses: .*|Socket errors: .*", report):
        raise BenchError(f"wrk: {failure}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    slow = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m) *$", report, re.MULTILINE)
    if not rate or not slow or float(rate[1]) == 0:
        raise BenchError(f"wrk: not a report: {report!r}")
    return Measure(float(rate[1]), round(float(slow[1]) * UNITS[slow[2]], 3))


def wrk(options: Sequence[str], seconds: int) -> str:
    """The report; `options` say what is asked for."""
    command = ["taskset", "-c", OTHER_CORE, "wrk", "--latency", "--threads", "1"]
    command += ["--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "10s"]
    return run([*command, *options])


# ── Containers ───────────────────────────────────────────────────────────────────────────────────


def run(command: Sequence[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        seen = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(command[:3])}: {seen[0] if seen else done.returncode}")
    return done.stdout.strip()


@contextmanager
def container(
    role: str, image: str, options: Sequence[str], command: Sequence[str], core: str = SERVER_CORE
) -> Iterator[str]:
    """A container `slipway-bench-ROLE`, gone with its volumes at the end, however that comes."""
    name = f"slipway-bench-{role}"
    remove = ["docker", "rm", "--force", "--volumes", name]
    subprocess.run(remove, capture_output=True, check=False)
    try:
        start = ["docker", "run", "--detach", "--name", name, "--cpuset-cpus", core]
        run([*start, *options, image, *command])
        yield name
    finally:
        subprocess.run(remove, capture_output=True, check=False)


@dataclass(frozen=True)
class Database:
    name: str
    url: str

    def sql(self, text: str) -> str:
        psql = ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "slipway", "-d", "slipway"]
        # Each statement by itself: VACUUM takes no transaction.
        statements = [part for one in text.split(";") if one.strip() for part in ("-c", one)]
        return run(["docker", "exec", self.name, *psql, *statements])


@contextmanager
def database(image: str) -> Iterator[Database]:
    """PostgreSQL on the engine's bridge, where this machine alone reaches it."""
    password = secrets.token_hex(16)
    options = ["--env", "POSTGRES_USER=slipway", "--env", f"POSTGRES_PASSWORD={password}"]
    # Six servers hold connections at once.
    command = ["postgres", "-c", "max_connections=400"]
    with container("postgres", image, options, command, core=OTHER_CORE) as name:
        address = address_of(name)
        until_it_listens(name, address, 5432)
        yield Database(name, f"postgresql://slipway:{password}@{address}:5432/slipway")


@contextmanager
def valkey(image: str) -> Iterator[str]:
    """Its URL, on the same bridge."""
    with container("valkey", image, [], [], core=OTHER_CORE) as name:
        address = address_of(name)
        until_it_listens(name, address, 6379)
        yield f"redis://{address}:6379/0"


def address_of(name: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run(["docker", "inspect", "-f", template, name])


def settings_of(database_url: str, redis_url: str) -> dict[str, str]:
    """What all processes of the service share. No limit is met; counting costs what it costs."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_hex(32),
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "RATE_LIMIT": "100000 per second",
        "WEB_CONCURRENCY": str(PROCESSES),
    }


def gunicorn_options(
    settings: Mapping[str, str], bind: str, hops: int, ops_port: int = 0
) -> list[str]:
    own = {
        "BIND": bind,
        "OPS_HOST": "127.0.0.1",
        "OPS_PORT": str(ops_port or free_port()),
        "FORWARDED_HOPS": str(hops),
    }
    options = ["--network", "host"]
    for name, value in {**settings, **own}.items():
        options += ["--env", f"{name}={value}"]
    return options


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until_it_listens(name: str, host: str, port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise BenchError(
        f"{name}: does not listen on {host}:{port}; its last words: {last_words(name)}"
    )


def last_words(name: str) -> str:
    said = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
    return ((said.stdout + said.stderr).strip().splitlines() or ["none"])[-1]


def make_admin(name: str) -> dict[str, str]:
    """An account that the service's own command made, in a container of the service."""
    account = {"email": "bench@example.org", "password": secrets.token_hex(16)}
    create = ["flask", "--app", "slipway", "create-admin", account["email"], "--password", "-"]
    run(["docker", "exec", "--interactive", name, *create], stdin=account["password"] + "\n")
    return account


def token_of(account: Mapping[str, str], url: str) -> str:
    """An access token, for a quarter of an hour."""
    return str(json.loads(ask(url, "POST", "/login", json.dumps(account)))["access_token"])


def ask(url: str, method: str, path: str, body: str | None = None) -> bytes:
    """What is answered, by a connection of its own. Raises BenchError for anything but a 200."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {"Connection": "close", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200:
        raise BenchError(f"{url}: {method} {path} is {response.status}: {answer[:200]!r}")
    return answer


def nginx_on(port: int) -> str:
    """The configuration as it is, but for who may connect."""
    conf = (ROOT / "nginx/nginx.conf").read_text()
    conf = conf.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    return conf.replace("listen 8081;", f"listen 127.0.0.1:{free_port()};")


@contextmanager
def contenders(
    image: str, nginx_image: str, settings: Mapping[str, str], shared: Path
) -> Iterator[dict[str, str]]:
    """Each server's base URL, all on the first core."""
    ports = {role: free_port() for role in ("hello", "gunicorn", "nginx")}
    (shared / "hello.py").write_text(HELLO)
    (shared / "nginx.conf").write_text(nginx_on(ports["nginx"]))
    (shared / "run").mkdir()
    (shared / "run").chmod(0o777)
    shared.chmod(0o755)
    mount = ["--volume", f"{shared}:/bench:ro"]
    socket_volume = ["--volume", f"{shared / 'run'}:/run/slipway"]
    # Elsewhere than in /app, where the service's own gunicorn.conf.py would be found.
    hello = ["gunicorn", "--workers", str(PROCESSES), "--bind", f"127.0.0.1:{ports['hello']}"]
    hello += ["--no-control-socket", "hello:app"]
    hello_options = ["--network", "host", "--workdir", "/bench", *mount]
    by_tcp = gunicorn_options(settings, f"127.0.0.1:{ports['gunicorn']}", hops=0)
    by_socket = gunicorn_options(settings, "unix:/run/slipway/gunicorn.sock", hops=1)
    by_socket += socket_volume
    # The group owns gunicorn's socket.
    nginx_options = ["--network", "host", "--user", "101:10001", *mount, *socket_volume]
    nginx = ["nginx", "-e", "stderr", "-c", "/bench/nginx.conf"]
    with (
        container("hello", image, hello_options, hello) as hello_name,
        container("gunicorn", image, by_tcp, []) as gunicorn_name,
        container("behind-nginx", image, by_socket, []),
        container("nginx", nginx_image, [*nginx_options, "--entrypoint", ""], nginx) as nginx_name,
    ):
        for name, role in (
            (hello_name, "hello"),
            (gunicorn_name, "gunicorn"),
            (nginx_name, "nginx"),
        ):
            until_it_listens(name, "127.0.0.1", ports[role])
        yield {role: f"http://127.0.0.1:{port}" for role, port in ports.items()}


# ── What is measured ─────────────────────────────────────────────────────────────────────────────


def spread(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def throughput(base: dict[str, str], token: str, shared: Path) -> dict[str, Any]:
    """Each contender against the bare Flask of the same round."""
    (shared / "unkept.lua").write_text(UNKEPT)
    admin = ["--header", f"Authorization: Bearer {token}"]
    anew = [*admin, "--script", str(shared / "unkept.lua")]
    lists = "/api/users?limit=20"
    asked = {
        "bare Flask, `gunicorn -w 4`": [base["hello"] + "/"],
        "`/` by gunicorn": [base["gunicorn"] + "/"],
        "`/` by nginx": [base["nginx"] + "/"],
        "list of 20 by gunicorn": [*anew, base["gunicorn"] + lists],
        "list of 20 by nginx": [*anew, base["nginx"] + lists],
        "list of 20, kept, by gunicorn": [*admin, base["gunicorn"] + lists],
        "list of 20, kept, by nginx": [*admin, base["nginx"] + lists],
    }
    return compare(asked)


def compare(asked: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Each by its name, against the first one of the same round; options are wrk's."""
    # Not counted: the last workers may still be loading.
    for options in asked.values():
        wrk(options, 2)
    rounds = []
    for number in range(1, ROUNDS + 1):
        rounds.append({name: parse_wrk(wrk(how, SECONDS)) for name, how in asked.items()})
        seen = ", ".join(f"{m.requests_per_second:.0f}/s" for m in rounds[-1].values())
        print(f"bench: round {number} of {ROUNDS}: {seen}", flush=True)
    first = next(iter(asked))
    return {
        name: {
            "requests_per_second": spread([r[name].requests_per_second for r in rounds]),
            "p99_ms": spread([r[name].p99_ms for r in rounds]),
            "ratio": spread(
                [r[name].requests_per_second / r[first].requests_per_second for r in rounds], 2
            ),
        }
        for name in asked
    }


@contextmanager
def signals(
    image: str, collector_image: str, settings: Mapping[str, str], shared: Path
) -> Iterator[dict[str, str]]:
    """The service without telemetry, with all of it, and with each signal alone: their URLs."""
    port = free_port()
    configuration = yaml.safe_dump(COLLECTOR).replace("PORT", str(port))
    (shared / "collector.yaml").write_text(configuration)
    (shared / "silenced.py").write_text((HERE / "silenced.py").read_text())
    mount = ["--volume", f"{shared}:/bench:ro"]
    by_environment = {
        "traces": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
        },
        # Nothing fails, so nothing is sent.
        "errors": {"SENTRY_DSN": "http://key@127.0.0.1:1/1"},
    }
    variants = {"none": set[str](), "all": {*SIGNALS}} | {name: {name} for name in SIGNALS}
    with ExitStack() as stack:
        options = ["--network", "host", *mount]
        command = ["--config", "/bench/collector.yaml"]
        collector = container("collector", collector_image, options, command, core=OTHER_CORE)
        until_it_listens(stack.enter_context(collector), "127.0.0.1", port)
        urls = {}
        for name, on in variants.items():
            own = {"SILENCED": ",".join({*SIGNALS} - on), "PYTHONPATH": "/bench"}
            for signal_ in on & {*by_environment}:
                own |= by_environment[signal_]
            port = free_port()
            bind = f"127.0.0.1:{port}"
            options = gunicorn_options({**settings, **own}, bind, hops=0) + mount
            server = container(
                f"signals-{name}", image, options, ["gunicorn", "silenced:create_app()"]
            )
            until_it_listens(stack.enter_context(server), "127.0.0.1", port)
            urls[name] = f"http://{bind}"
        yield urls


def telemetry(base: Mapping[str, str], token: str) -> dict[str, Any]:
    """What is left of the throughput with telemetry, all of it and each signal alone."""
    kept = ["--header", f"Authorization: Bearer {token}"]
    return {
        "`/`": compare({name: [url + "/"] for name, url in base.items()}),
        "list of 20, kept": compare(
            {name: [*kept, f"{url}/api/users?limit=20"] for name, url in base.items()}
        ),
    }


def scrapes(image: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Milliseconds of a scrape when many workers have ended, whose counters live on."""
    port, ops_port = free_port(), free_port()
    recycled = {"GUNICORN_CMD_ARGS": f"--max-requests={MAX_REQUESTS}"}
    options = gunicorn_options({**settings, **recycled}, f"127.0.0.1:{port}", 0, ops_port)
    with container("recycled", image, options, []) as name:
        until_it_listens(name, "127.0.0.1", port)
        for _ in range(ENDED * MAX_REQUESTS):
            ask(f"http://127.0.0.1:{port}", "GET", "/")
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            ask(f"http://127.0.0.1:{ops_port}", "GET", "/metrics")
            times.append((time.perf_counter() - started) * 1000)
    print(f"bench: a scrape takes {max(times):.0f} ms at most", flush=True)
    return {"ended_workers": ENDED, "ms": spread(times)}


def keyset(db: Database, gunicorn: str, url: str, token: str) -> dict[str, Any]:
    """The first page against the ten-thousandth, by the cursor of the row before it."""
    result: dict[str, Any] = {"rows": ROWS, "limit": LIMIT, "page": PAGE}
    for sort, columns in (("id", "id"), ("name", "name, id")):
        order = f"FROM users ORDER BY {columns} LIMIT 1 OFFSET"
        row = json.loads(
            db.sql(f"SELECT json_build_array({columns}) {order} {(PAGE - 1) * LIMIT - 1}")
        )
        expected = int(db.sql(f"SELECT id {order} {(PAGE - 1) * LIMIT}"))
        script = CURSOR.format(sort=sort, row=row)
        cursor = run(["docker", "exec", gunicorn, "python", "-c", script]).splitlines()[-1]
        first = f"/api/users?sort={sort}&limit={LIMIT}"
        times = alternate(url, token, first, f"{first}&cursor={cursor}", expected)
        result[f"by {sort}"] = times
        print(f"bench: page {PAGE:,} by {sort}: {times['ratio']} times page 1", flush=True)
    return result


def alternate(url: str, token: str, first: str, later: str, expected: int) -> dict[str, Any]:
    """Milliseconds of both pages, made anew, asked for in turn over one connection."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    admin = {"Authorization": f"Bearer {token}"}
    times: dict[str, list[float]] = {first: [], later: []}
    for _ in range(REPEATS + 5):
        for path, measured in times.items():
            long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=9999)
            started = time.perf_counter()
            connection.request("GET", f"{path}&created_from={long_ago.isoformat()}Z", headers=admin)
            body = connection.getresponse().read()
            measured.append((time.perf_counter() - started) * 1000)
            items = json.loads(body).get("items", [])
            if len(items) != LIMIT or (path == later and items[0]["id"] != expected):
                raise BenchError(f"{path}: not the page that was asked for: {body[:200]!r}")
    connection.close()
    # Without the first few, which open connections and fill caches.
    page_1, page_n = (measured[5:] for measured in times.values())
    return {
        "page_1_ms": spread(page_1, 2),
        "page_10000_ms": spread(page_n, 2),
        "ratio": round(statistics.median(page_n) / statistics.median(page_1), 2),
    }


# ── What is written ──────────────────────────────────────────────────────────────────────────────


def table(result: dict[str, Any]) -> str:
    """The block that README.md quotes."""
    lines = [*rows(result["throughput"])]
    pages, on = result["keyset"], result["machine"]
    ratios = ", ".join(f"{pages[f'by {sort}']['ratio']} (by {sort})" for sort in ("id", "name"))
    lines += [
        "",
        f"Median (least to most) of {result['rounds']} rounds on {on['date']}; the servers on one",
        f"core of {on['cpu']}. {result['connections']} connections, {pages['rows']:,} rows.",
        f"Page {pages['page']:,} of {pages['limit']} rows each costs {ratios} times page 1.",
    ]
    for asked, seen in result["telemetry"].items():
        lines += ["", f"What telemetry leaves of it, by gunicorn: {asked}.", "", *rows(seen)]
    scrape = result["scrape"]
    lines += ["", f"After {scrape['ended_workers']} workers have ended, a scrape takes"]
    lines += [f"{cell(scrape['ms'])} ms."]
    return "\n".join(lines)


def rows(seen: dict[str, Any]) -> Iterator[str]:
    yield "| | requests/s | p99, ms | ratio |"
    yield "|---|---|---|---|"
    for name, of in seen.items():
        cells = (cell(of[key]) for key in ("requests_per_second", "p99_ms", "ratio"))
        yield f"| {name} | {' | '.join(cells)} |"


def cell(seen: dict[str, float]) -> str:
    return f"{seen['median']:,g} ({seen['min']:,g} to {seen['max']:,g})"


def quote(readme: str, block: str) -> str:
    """`readme` with what stands between the markers replaced."""
    marked = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
    if not marked.search(readme):
        raise BenchError("README.md has no <!-- bench --> … <!-- /bench --> to fill")
    return marked.sub(lambda match: f"{match[1]}{block}\n{match[2]}", readme)


def machine() -> dict[str, str]:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": date.today().isoformat(),  # noqa: DTZ011
        "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else os.uname().machine}",
    }


# ── The command ──────────────────────────────────────────────────────────────────────────────────


def image_of(component: str, chart: str = "slipway") -> str:
    """As the chart's values name it."""
    values = yaml.safe_load((ROOT / f"helm/{chart}/values.yaml").read_text())
    image = values[component]["image"]
    return f"{image['repository']}:{image['tag']}"


def bench(image: str) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        database(image_of("postgresql")) as db,
        valkey(image_of("valkey")) as redis_url,
    ):
        shared = Path(folder)
        settings = settings_of(db.url, redis_url)
        options = gunicorn_options(settings, "127.0.0.1:0", hops=0)
        migrate = ["flask", "--app", "slipway", "migrate"]
        run(["docker", "run", "--rm", "--name", "slipway-bench-migrate", *options, image, *migrate])
        print(f"bench: filling {ROWS:,} rows", flush=True)
        db.sql(FILL)
        with contenders(image, image_of("nginx"), settings, shared) as base:
            account = make_admin("slipway-bench-gunicorn")
            token = token_of(account, base["gunicorn"])
            result = {
                "machine": machine(),
                "rounds": ROUNDS,
                "seconds": SECONDS,
                "connections": CONNECTIONS,
                "processes": PROCESSES,
                "throughput": throughput(base, token, shared),
                "keyset": keyset(db, "slipway-bench-gunicorn", base["gunicorn"], token),
            }
        collector = image_of("collector", chart="observability")
        with signals(image, collector, settings, shared) as base:
            token = token_of(account, base["none"])
            result["telemetry"] = telemetry(base, token)
        return result | {"scrape": scrapes(image, settings)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service beside a bare Flask.")
    parser.add_argument("image", help="the service's image, such as slipway:latest")
    image = parser.parse_args().image
    # What a closed terminal sends ends like Ctrl-C: containers are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for tool, package in (("docker", "docker"), ("wrk", "wrk"), ("taskset", "util-linux")):
            if not shutil.which(tool):
                raise BenchError(f"{tool} is not installed: apt-get install {package}")
        result = bench(image)
        RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        block = table(result)
        print(block)
        readme = ROOT / "README.md"
        readme.write_text(quote(readme.read_text() if readme.exists() else "", block))
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
