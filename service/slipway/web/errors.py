"""Errors for people: the page of a problem document, where a browser asked for a page."""

from flask import Flask, Response, current_app, render_template, request
from flask_smorest import Blueprint as JsonBlueprint

from slipway.problems import CONTENT_TYPE

_AGAIN = "Go back, reload the page and try again."
_SOON = "Try again in a few seconds."

_WHAT_TO_DO = {
    400: _AGAIN,
    403: "If you should be let in, ask somebody who administers this service.",
    409: _AGAIN,
    429: "Wait a minute, then try again.",
    500: "It was written down, by the trace id below.",
    502: _SOON,
    503: _SOON,
}


def may_be_page() -> bool:
    """Whether what is asked for has a page: the JSON endpoints have none, but for `/`."""
    if request.endpoint == "root.index":
        return True
    if request.endpoint is None:
        return not request.path.startswith("/api/")
    return not isinstance(current_app.blueprints.get(str(request.blueprint)), JsonBlueprint)


def wants_page() -> bool:
    """Whether the client would rather have a page than JSON, which it gets if it does not care."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > max(accepted["application/json"], accepted[CONTENT_TYPE])


def _as_page(response: Response) -> Response:
    if response.status_code < 400 or response.mimetype != CONTENT_TYPE or not may_be_page():
        return response
    response.vary.add("Accept")
    if wants_page():
        problem = response.get_json()
        advice = _WHAT_TO_DO.get(problem["status"], "")
        response.set_data(render_template("problem.html", problem=problem, advice=advice))
        response.mimetype = "text/html"
    return response


def init_app(app: Flask) -> None:
    app.after_request(_as_page)
