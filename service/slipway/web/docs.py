"""The API's documentation, by Swagger UI from our own files."""

from flask import Blueprint, render_template, url_for

from slipway import headers

blueprint = Blueprint("docs", __name__, template_folder="templates")


@blueprint.get("/docs")
def show() -> str:
    """Only here may a page run a script, and ask this service for more."""
    headers.allow("connect-src", "'self'")
    headers.allow("img-src", "'self' data:")
    return render_template("docs.html", document=url_for("api-docs.openapi_json"))
