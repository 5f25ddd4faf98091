"""Who starts and ends faults: `/faults` of the operations port, and the commands that ask it.

`PUT` starts one, `DELETE` ends all, `GET` lists them, for who bears FAULTS_TOKEN.
"""

import hmac
import http.client
import json
import time
from collections.abc import Iterable
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from pydantic import SecretStr, ValidationError
from werkzeug.wrappers import Request, Response

from slipway import faults
from slipway.settings import Settings

PATH = "/faults"
# How long a command waits for the operations port.
SECONDS = 5


def _json(status: int, body: dict[str, Any], **headers: str) -> Response:
    content = json.dumps(body).encode() + b"\n"
    response = Response(content, status, content_type="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def _wrong(error: ValidationError) -> dict[str, str]:
    """What is wrong with which field, a line each."""
    lines = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        # The kind comes first, where there is one.
        name = str(item["loc"][-1]) if item["loc"] else "body"
        if item["type"].startswith("union_tag"):
            name, item["msg"] = "kind", "should be error or latency"
        lines[name] = item["msg"].removeprefix("Value error, ")
    return lines


class FaultControl:
    """The WSGI application of `/faults`."""

    def __init__(self, app: Flask, token: SecretStr) -> None:
        self._token = token.get_secret_value().encode()
        self._faults: faults.Faults = app.extensions["faults"]
        self._routes = {rule.rule for rule in app.url_map.iter_rules()}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if not self._is_allowed(request):
            return _json(401, {"status": "needs the token"}, WWW_Authenticate="Bearer")
        by = request.remote_addr or ""
        match request.method:
            case "GET" | "HEAD":
                pass
            case "PUT":
                try:
                    fault = faults.parse(request.get_data(), self._routes)
                except ValidationError as error:
                    return _json(422, {"status": "wrong", "problems": _wrong(error)})
                self._faults.start(fault, by)
            case "DELETE":
                self._faults.stop(by)
            case _:
                return _json(405, {"status": "unknown"}, Allow="GET, HEAD, PUT, DELETE")
        now = time.monotonic()
        listed = [
            {**one.fault.model_dump(), "seconds_left": round(one.until - now, 1)}
            for one in self._faults.running()
        ]
        return _json(200, {"faults": listed})

    def _is_allowed(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        return is_right and scheme.lower() == "bearer"


commands = AppGroup(
    "faults",
    help="Make requests to this server fail or slow, for a while. In a cluster, in each pod.",
)


def _ask(method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    settings: Settings = current_app.config["SETTINGS"]
    if settings.faults_token is None:
        raise click.ClickException("faults: FAULTS_TOKEN is not set: there can be none")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.ops_host, settings.ops_host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.ops_port, timeout=SECONDS)
    token = settings.faults_token.get_secret_value().encode()
    try:
        connection.request(
            method,
            PATH,
            json.dumps(body) if body else None,
            {"Authorization": b"Bearer " + token},
        )
        answer = connection.getresponse()
        said: dict[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise click.ClickException(
            f"faults: {host}:{settings.ops_port} does not answer: {error}. Does the service run?"
        ) from None
    finally:
        connection.close()
    if answer.status == 422:
        lines = "; ".join(f"{name}: {line}" for name, line in said["problems"].items())
        raise click.ClickException(f"faults: {lines}")
    if answer.status == 401:
        raise click.ClickException("faults: the service has another FAULTS_TOKEN")
    if answer.status != 200:
        raise click.ClickException(
            f"faults: the service answers {answer.status}: it was started without FAULTS_TOKEN"
        )
    return said


def _show(said: dict[str, Any]) -> None:
    for fault in said["faults"]:
        what = f"{fault['milliseconds']} ms" if "milliseconds" in fault else fault["status"]
        click.echo(
            f"faults: {fault['kind']} {what} on {fault['percent']:g} % of {fault['route']},"
            f" seed {fault['seed']}, {fault['seconds_left']:g} s left"
        )
    if not said["faults"]:
        click.echo("faults: none")


@commands.command()
@click.option("--route", required=True, help="A URL rule such as /api/users, or * for all.")
@click.option("--kind", required=True, type=click.Choice(["error", "latency"]))
@click.option("--percent", required=True, type=float, help="Of the route's requests.")
@click.option("--seconds", required=True, type=float, help="How long it lasts, 3600 at most.")
@click.option("--status", type=int, help="Of an error; 500 if not given.")
@click.option("--milliseconds", type=int, help="Of a latency, 10000 at most.")
@click.option("--seed", type=int, help="The same decisions with the same one.")
def start(**fault: Any) -> None:
    """Start one, in place of one of the same kind on the same route."""
    _show(_ask("PUT", {name: value for name, value in fault.items() if value is not None}))


@commands.command("list")
def list_all() -> None:
    """A line each."""
    _show(_ask("GET"))


@commands.command()
def stop() -> None:
    """End all."""
    _show(_ask("DELETE"))
