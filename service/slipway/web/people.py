"""The users, for an admin."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_smorest import abort
from marshmallow import ValidationError
from sqlalchemy import select

from slipway.api.users import ORDERS, UserQuery
from slipway.models import ADMIN, User
from slipway.paging import paginate
from slipway.web import forms
from slipway.web.account import reader

blueprint = Blueprint("people", __name__, url_prefix="/account", template_folder="templates")
blueprint.before_request(forms.only_ours)


@blueprint.get("/users")
def users() -> ResponseReturnValue:
    if reader().role != ADMIN:
        abort(403, message="Only an admin may see who has an account here.")
    asked = {name: value for name, value in request.args.items() if value.strip()}
    try:
        query = UserQuery().load(asked)
    except ValidationError:
        abort(400, message="The address of this list is not one that it gave.")
    rows = select(User)
    if "email" in query:
        rows = rows.where(User.email == query["email"].lower())
    page = paginate(rows, query, ORDERS)
    return render_template("users.html", page=page, query=query)
