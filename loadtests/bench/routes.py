"""What contenders are asked for, and who answers what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .data import Data
from .servers import BARE, FASTAPI, FLASK, KIT, OPEN, SILENT

REQUESTS = Path(__file__).parent / "requests.lua"


@dataclass(frozen=True)
class Route:
    title: str
    # Asked without a token; else requests.lua has its requests under this route's name.
    path: str | None
    contenders: tuple[str, ...]


HELLO = (KIT, SILENT, FLASK, BARE, FASTAPI)
DATA = (KIT, SILENT, BARE, OPEN, FASTAPI)

ROUTES = {
    "hello": Route("JSON hello, `/ping`", "/ping", HELLO),
    "index": Route("`/`", "/", HELLO),
    "one": Route("one row by key", None, DATA),
    "list": Route("a page of 20 rows", None, DATA),
    # FastAPI keeps no answers.
    "kept": Route("a page of 20 rows, kept", None, (KIT, SILENT, FASTAPI)),
    "write": Route("a write", None, DATA),
}


def asked(name: str, url: str, data: Data) -> tuple[str, ...]:
    """wrk's options for that route of the server at `url`."""
    if path := ROUTES[name].path:
        return (url + path,)
    return ("--script", str(REQUESTS), url, "--", name, str(data.tokens), str(data.rows))
