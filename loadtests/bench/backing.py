"""What servers wait for: PostgreSQL, Valkey, and a collector of spans; all on the last core."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from deploy.shell import run

from .engine import OTHER_CORE, address_of, container, image_of, last_words
from .net import free_port, until_it_listens

COLLECTOR = {
    "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:PORT"}}}},
    "exporters": {"debug": {"verbosity": "basic"}},
    "service": {
        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
        # Its own, which would take a fixed port.
        "telemetry": {"metrics": {"level": "none"}},
    },
}


@dataclass(frozen=True)
class Database:
    name: str
    url: str

    def sql(self, text: str) -> str:
        psql = ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "slipway", "-d", "slipway"]
        # Each statement by itself: VACUUM takes no transaction.
        statements = [part for one in text.split(";") if one.strip() for part in ("-c", one)]
        command = ["docker", "exec", self.name, *psql, *statements]
        return run(*command, what="asking PostgreSQL").strip()


@contextmanager
def database() -> Iterator[Database]:
    password = secrets.token_hex(16)
    options = ["--env", "POSTGRES_USER=slipway", "--env", f"POSTGRES_PASSWORD={password}"]
    # Ten servers hold connections at once.
    command = ["postgres", "-c", "max_connections=600"]
    image = image_of("postgresql")
    with container("postgres", image, options, command, core=OTHER_CORE) as name:
        address = address_of(name)
        until_it_listens(address, 5432, lambda: last_words(name))
        yield Database(name, f"postgresql://slipway:{password}@{address}:5432/slipway")


@contextmanager
def valkey() -> Iterator[str]:
    """Its URL."""
    with container("valkey", image_of("valkey"), [], [], core=OTHER_CORE) as name:
        address = address_of(name)
        until_it_listens(address, 6379, lambda: last_words(name))
        yield f"redis://{address}:6379/0"


@contextmanager
def collector(shared: Path) -> Iterator[str]:
    """The URL that spans are sent to."""
    port = free_port()
    configuration = yaml.safe_dump(COLLECTOR).replace("PORT", str(port))
    (shared / "collector.yaml").write_text(configuration)
    options = ["--network", "host", "--volume", f"{shared}:/bench:ro"]
    command = ["--config", "/bench/collector.yaml"]
    image = image_of("collector", chart="observability")
    with container("collector", image, options, command, core=OTHER_CORE) as name:
        until_it_listens("127.0.0.1", port, lambda: last_words(name))
        yield f"http://127.0.0.1:{port}"
