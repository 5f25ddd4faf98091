"""Servers that tests need, each in a container, gone with the test."""

import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis
import yaml
from answers import until

ROOT = Path(__file__).parents[2]


@contextmanager
def running(image: str, *ports: int, options: Sequence[str] = ()) -> Iterator[list[int]]:
    """The ports on this machine of a server from `image`, for those that it has."""
    name = f"slipway-test-{secrets.token_hex(4)}"
    published = [f"--publish=127.0.0.1::{port}" for port in ports]
    run = ["docker", "run", "-d", "--rm", "--name", name, *published, *options, image]
    subprocess.run(run, check=True, capture_output=True)
    try:
        said = [
            subprocess.check_output(["docker", "port", name, str(port)], text=True)
            for port in ports
        ]
        yield [int(line.rsplit(":", 1)[1]) for line in said]
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=True, capture_output=True)


@contextmanager
def container(service: str, port: int, *options: str) -> Iterator[int]:
    """The port on this machine of a server from the image that the chart takes for `service`."""
    image = yaml.safe_load((ROOT / "helm/slipway/values.yaml").read_text())[service]["image"]
    with running(f"{image['repository']}:{image['tag']}", port, options=options) as ports:
        yield ports[0]


@contextmanager
def postgres_server(password: str) -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database's name."""
    options = ["-e", f"POSTGRES_PASSWORD={password}", "--tmpfs", "/var/lib/postgresql"]
    with container("postgresql", 5432, *options) as port:
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/"
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url + "postgres", connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                break
        yield url


@contextmanager
def valkey_server() -> Iterator[str]:
    """The URL of a Valkey."""

    def answers(url: str) -> bool:
        try:
            with redis.Redis.from_url(url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with container("valkey", 6379, "--tmpfs", "/data") as port:
        url = f"redis://127.0.0.1:{port}/0"
        until(lambda: answers(url), lambda: "Valkey does not answer")
        with redis.Redis.from_url(url) as client:
            # One that cannot write its snapshots refuses everything.
            client.config_set("save", "")
        yield url


@contextmanager
def new_database(postgres: str) -> Iterator[str]:
    """The URL of a new, empty database of that server."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres + "postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres + name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def numbered(valkey: str, number: int) -> str:
    """The URL of that one of a Valkey's databases."""
    return urlsplit(valkey)._replace(path=f"/{number}").geturl()


def spare(valkey: str) -> str:
    """The URL of the database beside that one, emptied."""
    url = numbered(valkey, int(urlsplit(valkey).path[1:]) + 1)
    with redis.Redis.from_url(url) as emptied:
        emptied.flushdb()
    return url
