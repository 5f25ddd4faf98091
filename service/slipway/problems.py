"""Every error as a problem document (RFC 9457), with its true status and the request's trace id.

What a client cannot mend is logged with the trace id and told without its insides.
"""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import redis.exceptions
import sqlalchemy.exc
from flask import Flask, Response, current_app
from flask_smorest import Api
from kombu.exceptions import OperationalError as BrokerError
from marshmallow import Schema, fields
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from slipway.brand import TITLE
from slipway.telemetry.tracing import trace_id

CONTENT_TYPE = "application/problem+json"
# When a dependency is away, ask again after so many seconds.
RETRY_AFTER = 2


class ProblemSchema(Schema):
    """The shape of every error."""

    type = fields.String(metadata={"example": "about:blank"})
    title = fields.String(metadata={"example": "Not Found"})
    status = fields.Integer(metadata={"example": 404})
    detail = fields.String()
    trace_id = fields.String()
    errors = fields.List(
        fields.Dict(keys=fields.String(), values=fields.String()),
        metadata={"description": "Every wrong field: where it stands, its name, and the reason"},
    )


def members(status: int, detail: str, trace_id: str) -> dict[str, Any]:
    """What every problem document says."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "trace_id": trace_id,
    }


def problem(
    status: int,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """An answer of `status` whose body is a problem document; `more` are extension members."""
    body = {**members(status, detail, trace_id()), **more}
    response = Response(json.dumps(body) + "\n", status, content_type=CONTENT_TYPE)
    response.headers.update(headers or {})
    return response


def _flat(messages: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """marshmallow's nested messages as pairs of a path and a text."""
    if isinstance(messages, dict):
        for key, value in messages.items():
            yield from _flat(value, (*path, str(key)))
    elif isinstance(messages, list):
        for value in messages:
            yield from _flat(value, path)
    else:
        yield path, str(messages)


class ProblemApi(Api):
    """flask-smorest whose errors are problem documents."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        """The documented errors, of the content type that they have."""
        usual = self.DEFAULT_RESPONSE_CONTENT_TYPE  # type: ignore[has-type]
        self.DEFAULT_RESPONSE_CONTENT_TYPE = CONTENT_TYPE
        super()._register_responses()
        self.DEFAULT_RESPONSE_CONTENT_TYPE = usual

    def handle_http_exception(self, error: HTTPException) -> Any:
        if error.code is None or error.code < 400:
            return error
        data = getattr(error, "data", None) or {}
        more: dict[str, Any] = {}
        if messages := data.get("messages"):
            more["errors"] = [
                {"in": path[0], "field": ".".join(path[1:]), "detail": text}
                for path, text in _flat(messages)
            ]
        detail = data.get("message") or error.description or ""
        if more and not data.get("message"):
            detail = "The request has fields that are wrong: see errors."
        response = problem(error.code, detail, **more)
        # Allow, Retry-After and their like, which only the exception knows.
        for name, value in [*error.get_headers(), *(data.get("headers") or {}).items()]:
            if name.lower() != "content-type":
                response.headers[name] = value
        return response


def _away(error: Exception) -> Response:
    """A dependency that is away is a 503: the client may come again."""
    current_app.logger.error("a dependency is away: %s", error)
    return problem(
        503,
        "Something that this request needs does not answer; try again soon.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def _disconnected(error: sqlalchemy.exc.DBAPIError) -> Response:
    """Whatever the database said as it went is an absence too."""
    if not error.connection_invalidated:
        raise error
    return _away(error)


def _overtaken(_error: StaleDataError) -> Response:
    return problem(409, "Somebody has changed it meanwhile: read it again.")


def init_app(app: Flask) -> ProblemApi:
    """Answer every error of `app` with a problem document; gives what blueprints register with."""
    app.config.update(
        API_TITLE=TITLE,
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    for kind in (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
        BrokerError,
        redis.exceptions.ConnectionError,
        redis.exceptions.TimeoutError,
    ):
        app.register_error_handler(kind, _away)
    app.register_error_handler(sqlalchemy.exc.DBAPIError, _disconnected)
    app.register_error_handler(StaleDataError, _overtaken)
    return ProblemApi(app)
