"""nginx, and a gunicorn behind it, in containers as the pod runs them."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONF = (HERE.parent / "nginx.conf").read_text()

T = TypeVar("T")


def docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(args)[:400]}: {done.stderr}"
    return done.stdout.strip()


def eventually(look: Callable[[], T | None], what: str, seconds: float = 30) -> T:
    """The first true answer of `look`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds} s: {what}")


def nginx_image() -> str:
    values = yaml.safe_load((ROOT / "helm/slipway/values.yaml").read_text())
    image = values["nginx"]["image"]
    return f"{image['repository']}:{image['tag']}"


def python_image() -> str:
    """What the service's image ends on, which the engine has for its build anyhow."""
    stages = re.findall(r"^FROM (\S+)", (ROOT / "service/Dockerfile").read_text(), re.MULTILINE)
    return str(next(stage for stage in reversed(stages) if stage.startswith("python:")))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, header: str) -> list[str]:
        return self.headers.get_all(header, [])


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Reply(response.status, response.headers, response.read())


@dataclass
class Gunicorn:
    """The application of upstream.py; its socket lies in a volume that nginx shares."""

    name: str

    def start(self) -> None:
        args = ["--name", self.name, "--volume", f"{self.name}:/run/slipway"]
        # Pure Python, so what the tests' own environment has runs on any interpreter.
        for package in ("gunicorn", "packaging"):
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            args += ["--volume", f"{Path(spec.origin).parent}:/lib/python/{package}:ro"]
        args += ["--volume", f"{HERE / 'upstream.py'}:/lib/python/upstream.py:ro"]
        command = ["python", "-m", "gunicorn", "upstream:application", "--keep-alive", "75"]
        command += ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
        command += ["--bind", "unix:/run/slipway/gunicorn.sock", "--umask", "0"]
        command += ["--limit-request-line", "8190", "--no-control-socket"]
        command += ["--limit-request-field_size", "32768"]
        args += ["--env", "PYTHONPATH=/lib/python", "--detach", python_image()]
        docker("run", *args, *command)
        self.wait()

    def wait(self) -> None:
        probe = "import socket; socket.socket(socket.AF_UNIX).connect('/run/slipway/gunicorn.sock')"

        def answers() -> bool:
            command = ["docker", "exec", self.name, "python", "-c", probe]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        eventually(answers, "gunicorn's socket")

    def kill(self) -> None:
        """As the kernel would, master and workers at once: no listener is left."""
        docker("kill", "--signal", "KILL", self.name)

    def restart(self) -> None:
        docker("start", self.name)

    def kill_workers(self) -> None:
        docker("exec", self.name, "python", "-c", KILL_WORKERS)

    def deaths(self) -> list[str]:
        """The methods of the requests to /die that arrived."""
        return docker("exec", self.name, "cat", "/run/slipway/seen").split()


KILL_WORKERS = """
import os, signal
for task in os.listdir("/proc/1/task"):
    for child in open(f"/proc/1/task/{task}/children").read().split():
        os.kill(int(child), signal.SIGKILL)
"""


@dataclass
class Edge:
    """A running nginx; `ports` maps its ports to this machine's."""

    name: str
    ports: dict[int, int] = field(default_factory=dict)

    def connect(self, port: int = 8080, seconds: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout=seconds)

    def connect_tls(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        context = context or trusting()
        return context.wrap_socket(self.connect(8443), server_hostname="slipway.test")

    def exchange(self, request: bytes, port: int = 8080, method: str = "GET") -> Reply:
        """The answer to bytes that need not be a valid request."""
        with self.connect(port) as connection:
            connection.sendall(request)
            return read_reply(connection, method)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        port: int = 8080,
    ) -> Reply:
        with self.connect_tls() if port == 8443 else self.connect(port) as connection:
            headers = {"Host": "slipway.test"} | dict(headers or {})
            lines = [f"{method} {path} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            if body is not None:
                lines.append(f"Content-Length: {len(body)}")
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
            return read_reply(connection, method)

    def ask_http_2(self, path: str, *curl: str) -> tuple[int, str]:
        """Status and content type, by the image's own curl."""
        said = docker(
            *(
                "exec",
                self.name,
                "curl",
                "--silent",
                "--insecure",
                "--http2",
                "--output",
                "/dev/null",
            ),
            *("--write-out", "%{http_version} %{http_code} %{content_type}", *curl),
            f"https://127.0.0.1:8443{path}",
        )
        version, status, content_type = said.split()
        assert version == "2"
        return int(status), content_type

    def log(self) -> list[dict[str, Any]]:
        """The access log, each line of which must be a JSON object."""
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, check=True)
        return [json.loads(line.decode()) for line in done.stdout.splitlines()]

    def errors(self) -> str:
        command = ["docker", "logs", self.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def signal_workers(self, signal: str) -> None:
        script = f"kill -{signal} $(cat /proc/1/task/1/children)"
        docker("exec", self.name, "sh", "-c", script)

    def listens(self) -> bool:
        """Asked inside: the engine's own proxy takes connections while the container lives."""
        table = docker("exec", self.name, "cat", "/proc/net/tcp").splitlines()[1:]
        return any(
            row.split()[1].endswith(f":{8080:X}") and row.split()[3] == "0A" for row in table
        )

    def logged(self, **fields: Any) -> dict[str, Any]:
        """The one line with these fields."""

        def look() -> list[dict[str, Any]]:
            return [line for line in self.log() if fields.items() <= line.items()]

        lines = eventually(look, f"a log line with {fields}")
        assert len(lines) == 1, lines
        return lines[0]


def trusting(*alpn: str) -> ssl.SSLContext:
    """For certificates that the tests made themselves."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([*alpn, "http/1.1"])
    return context


@contextmanager
def running_gunicorn() -> Iterator[Gunicorn]:
    gunicorn = Gunicorn(f"slipway-test-gunicorn-{uuid.uuid4().hex[:8]}")
    try:
        docker("volume", "create", gunicorn.name)
        gunicorn.start()
        yield gunicorn
    finally:
        subprocess.run(["docker", "rm", "-f", gunicorn.name], capture_output=True, check=False)
        subprocess.run(["docker", "volume", "rm", gunicorn.name], capture_output=True, check=False)


@contextmanager
def running_edge(
    sockets: str | Path,
    directory: Path,
    snippets: Mapping[str, str] | None = None,
    conf: str = CONF,
    tls: Path | None = None,
) -> Iterator[Edge]:
    """nginx under the pod's restrictions, its configuration laid out as the chart mounts it.

    Gunicorn's socket is in the volume or the folder `sockets`.
    """
    directory.chmod(0o755)  # pytest's own are for one user
    for name, text in ({"nginx.conf": conf} | dict(snippets or {})).items():
        (directory / name).write_text(text)
    edge = Edge(f"slipway-test-nginx-{uuid.uuid4().hex[:8]}")
    args = ["--name", edge.name, "--read-only", "--cap-drop", "ALL", "--user", "101:101"]
    args += ["--security-opt", "no-new-privileges", "--tmpfs", "/tmp:mode=1777"]  # noqa: S108
    args += ["--volume", f"{directory}:/etc/slipway-nginx:ro"]
    args += ["--volume", f"{sockets}:/run/slipway"]
    if tls:
        args += ["--volume", f"{tls}:/etc/slipway-tls:ro"]
    for port in (8080, 8081, 8443):
        args += ["--publish", f"127.0.0.1::{port}"]
    command = ["nginx", "-e", "stderr", "-c", "/etc/slipway-nginx/nginx.conf"]
    try:
        docker("run", *args, "--entrypoint", "", "--detach", nginx_image(), *command)
        for published in docker("port", edge.name).splitlines():
            inside, outside = published.split("/tcp -> 127.0.0.1:")
            edge.ports[int(inside)] = int(outside)
        eventually(lambda: is_up(edge), "nginx's health")
        yield edge
    finally:
        subprocess.run(["docker", "rm", "-f", edge.name], capture_output=True, check=False)


def is_up(edge: Edge) -> bool:
    try:
        return edge.ask("/nginx-health", port=8081).status == 200
    except KeyError:
        raise AssertionError(f"nginx ended: {edge.errors()}") from None
    except (OSError, http.client.HTTPException):
        return False


@dataclass
class Load:
    """Clients that keep their connections and never retry, until `stop`."""

    edge: Edge
    clients: int = 8
    method: str = "GET"
    pause: float = 0.0
    made: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    # Set before nginx drains: from then on a client that was told to close has finished.
    draining: bool = False

    def __enter__(self) -> Load:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        self.more(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def more(self, requests: int) -> None:
        """Wait until that many more were made."""
        goal = self.made + requests
        eventually(lambda: self.made >= goal, f"{requests} more requests")

    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _client(self) -> None:
        # An answer without a body leaves gunicorn in one piece: README.md says why that matters.
        request = f"{self.method} /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        while not self._end.is_set():
            try:
                with self.edge.connect() as connection:
                    while not self._end.is_set():
                        started = time.monotonic()
                        connection.sendall(request)
                        reply = read_reply(connection, self.method)
                        self.slowest = max(self.slowest, time.monotonic() - started)
                        self.made += 1
                        if reply.status != 200:
                            self.failures.append(f"{reply.status} {reply.body!r}")
                        if reply.headers["Connection"] == "close":
                            break
                        time.sleep(self.pause)
            except (OSError, http.client.HTTPException) as error:
                self.made += 1
                self.failures.append(repr(error))
            if self.draining:
                return
