"""nginx in front of a contender: the kit's own, or a plain proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.shell import Failure

from .engine import ROOT, container, image_of, last_words
from .kit import CONTENDERS
from .net import free_port, until_it_listens


def kits(port: int) -> str:
    """The kit's configuration as it is, but for where it listens."""
    conf = (ROOT / "nginx/nginx.conf").read_text()
    return filled(
        conf,
        {
            "listen 8080;": f"listen 127.0.0.1:{port};",
            "listen 8081;": f"listen 127.0.0.1:{free_port()};",
        },
    )


def plain(port: int, upstream: str, *, log: bool) -> str:
    """A proxy to the server at the URL `upstream`."""
    conf = (CONTENDERS / "nginx.conf").read_text()
    log_to = "/dev/stdout" if log else "off"
    listens = upstream.rsplit(":", 1)[1]
    return filled(conf, {"ACCESS_LOG": log_to, "UPSTREAM": listens, "PORT": str(port)})


def filled(conf: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        if word not in conf:
            raise Failure(f"nginx.conf has no {word!r} to replace: the bench must follow it")
        conf = conf.replace(word, value)
    return conf


@contextmanager
def nginx(
    role: str, conf: str, port: int, shared: Path, options: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Its URL and its container."""
    (shared / f"{role}.conf").write_text(conf)
    # The group owns gunicorn's socket.
    mine = ["--network", "host", "--user", "101:10001", "--entrypoint", ""]
    mine += ["--volume", f"{shared}:/bench:ro", *options]
    command = ["nginx", "-e", "stderr", "-c", f"/bench/{role}.conf"]
    with container(role, image_of("nginx"), mine, command) as name:
        until_it_listens("127.0.0.1", port, lambda: last_words(name))
        yield f"http://127.0.0.1:{port}", name
