"""Gunicorn with our configuration, as a process, and what it takes to start it."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from answers import MIGRATE, until

SERVICE = Path(__file__).parents[1]


@dataclass
class Server:
    process: "subprocess.Popen[str]"
    port: int
    ops_port: int
    log: Path

    def get(self, path: str, *, ops: bool = False) -> tuple[int, str]:
        port = self.ops_port if ops else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=40)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(tmp_path: Path, database_url: str, **more: str) -> Iterator[Server]:
    server_port, ops_port = free_port(), free_port()
    log = tmp_path / "log"
    environment = {
        **os.environ,
        # As on most machines: Python keeps what goes to a file or pipe until somebody flushes it.
        "PYTHONUNBUFFERED": "",
        "ENVIRONMENT": "development",
        "DATABASE_URL": database_url,
        "BIND": f"127.0.0.1:{server_port}",
        "OPS_PORT": str(ops_port),
        "TMPDIR": str(tmp_path),
        **more,
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn"],
            cwd=SERVICE,
            env=environment,
            stderr=subprocess.STDOUT,
            stdout=output,
            text=True,
        )
    server = Server(process, server_port, ops_port, log)

    def alive() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return server.get("/livez", ops=True)[0] == 200
        except OSError:
            return False

    try:
        until(alive, log.read_text)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def migrate(database_url: str) -> None:
    environment = {**os.environ, "ENVIRONMENT": "development", "DATABASE_URL": database_url}
    command = [sys.executable, "-m", "flask", "--app", "slipway", *MIGRATE]
    subprocess.run(command, env=environment, check=True, capture_output=True)
