"""The home page: what this is, how it is, and where to go from here."""

from functools import wraps
from typing import Any

from flask import Flask, Response, current_app, make_response, render_template
from flask.typing import ResponseReturnValue

from slipway import identity
from slipway.web import errors, state


def _page() -> str:
    parts = state.current()
    # Without the database nobody is known, and asking it would take its time.
    sign_in = identity.page_sign_in() if parts["Database"].ok else None
    return render_template("home.html", parts=parts, person=sign_in.user if sign_in else None)


def init_app(app: Flask) -> None:
    state.init_app(app)
    for_programs = app.view_functions["root.index"]

    @wraps(for_programs)
    def for_both(**arguments: Any) -> ResponseReturnValue:
        if errors.wants_page():
            response: Response = make_response(_page())
        else:
            response = make_response(current_app.ensure_sync(for_programs)(**arguments))
        response.vary.add("Accept")
        return response

    app.view_functions["root.index"] = for_both
