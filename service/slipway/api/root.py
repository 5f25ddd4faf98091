"""What the service is, and endpoints that show how it behaves: fast, slow, dear."""

import asyncio
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from flask import current_app, request, url_for
from marshmallow import Schema, fields

from slipway import cache, limits
from slipway.brand import NAME
from slipway.database import now
from slipway.validation import Blueprint

SLOW_SECONDS = 2
EXPENSIVE_SECONDS = 60
VERSION = version("slipway")

Index = Schema.from_dict(
    {
        "name": fields.String(),
        "version": fields.String(),
        "links": fields.Dict(keys=fields.String(), values=fields.String()),
    },
    name="Index",
)
Ping = Schema.from_dict({"ping": fields.String()}, name="Ping")
Slow = Schema.from_dict({"slept_seconds": fields.Integer()}, name="Slow")
Expensive = Schema.from_dict(
    {"primes_below_20000": fields.Integer(), "computed_at": fields.AwareDateTime()},
    name="Expensive",
)
Version = Schema.from_dict(
    {"name": fields.String(), "version": fields.String(), "commit": fields.String()},
    name="Version",
)

blueprint = Blueprint("root", __name__, description="The service itself")


@lru_cache(maxsize=8)
def _index(_root: str) -> dict[str, Any]:
    links = {"users": "users.list_users", "ping": "root.ping", "version": "root.show_version"}
    return {
        "name": NAME,
        "version": VERSION,
        "links": {name: url_for(endpoint) for name, endpoint in links.items()},
    }


@blueprint.get("/")
@limits.free
@blueprint.response(200, Index)
def index() -> dict[str, Any]:
    """Where to go from here."""
    return _index(request.script_root)


@blueprint.get("/ping")
@limits.free
@blueprint.response(200, Ping)
def ping() -> dict[str, str]:
    """The shortest answer there is."""
    return {"ping": "pong"}


@blueprint.get("/slow")
@blueprint.response(200, Slow)
async def slow() -> dict[str, int]:
    """An answer that takes two seconds of waiting: its thread is held, nothing else."""
    await asyncio.sleep(SLOW_SECONDS)
    return {"slept_seconds": SLOW_SECONDS}


@blueprint.get("/expensive")
@cache.kept(EXPENSIVE_SECONDS, topic="expensive", reader=cache.anyone)
@blueprint.response(200, Expensive)
def expensive() -> dict[str, Any]:
    """An answer that takes the processor, made once a minute and kept."""
    primes = sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, 20_000))
    return {"primes_below_20000": primes, "computed_at": now()}


@blueprint.get("/version")
@limits.free
@blueprint.response(200, Version)
def show_version() -> dict[str, str]:
    """Which release this is."""
    settings = current_app.config["SETTINGS"]
    return {"name": NAME, "version": VERSION, "commit": settings.commit}
