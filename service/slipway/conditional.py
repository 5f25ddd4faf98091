"""Conditional requests (RFC 9110, 13): what has not changed is not sent, nor overwritten unseen."""

from flask import Flask, Response, request
from flask_smorest import abort


def tag(version: int) -> dict[str, str]:
    """The ETag header of a record's `version`, and leave to keep it for asking whether it holds."""
    return {"ETag": f'"{version}"', "Cache-Control": "private, no-cache"}


def check(version: int) -> None:
    """A 412 when `If-Match` names another version than this one."""
    # A weak tag counts too: nginx makes one of a strong one when it compresses the answer.
    if request.if_match and not request.if_match.contains_weak(str(version)):
        abort(412, message="Somebody has changed it since: read it again.")


def _not_modified(response: Response) -> Response:
    if response.status_code == 200 and "ETag" in response.headers:
        # Does so for GET and HEAD alone.
        response.make_conditional(request)
    return response


def init_app(app: Flask) -> None:
    app.after_request(_not_modified)
