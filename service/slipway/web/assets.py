"""Stylesheet, pictures and Swagger UI: files that a browser keeps for as long as they are the same.

Their addresses carry a digest of what is in them. Asked for by another digest, as happens while
two releases serve side by side, they are given but not kept.
"""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, request, send_from_directory, url_for

_YEAR = 365 * 24 * 3600

_FOLDERS = {
    "site": Path(__file__).parent / "static",
    "swagger-ui": Path(str(files("flask_swagger_ui"))) / "dist",
}

blueprint = Blueprint("assets", __name__)


@cache
def _digest(folder: str, name: str) -> str:
    return hashlib.sha256((_FOLDERS[folder] / name).read_bytes()).hexdigest()[:16]


def address(folder: str, name: str) -> str:
    """Where a browser finds the file."""
    return url_for("assets.show", folder=folder, name=name, v=_digest(folder, name))


@blueprint.get("/assets/<folder>/<name>")
def show(folder: str, name: str) -> Response:
    if folder not in _FOLDERS:
        abort(404)
    response = send_from_directory(_FOLDERS[folder], name, max_age=0)
    if request.args.get("v") == _digest(folder, name):
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    return response


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.jinja_env.globals["asset"] = address
