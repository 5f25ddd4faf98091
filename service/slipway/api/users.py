"""Users, the example resource: a team replaces this module, its model, migration and test."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Response, url_for
from flask_smorest import abort
from marshmallow import Schema, fields, post_load, validate
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from slipway.database import db
from slipway.models import User
from slipway.paging import Page, PageQuery, paginate
from slipway.validation import Blueprint, Text

blueprint = Blueprint("users", __name__, url_prefix="/api/users", description="People")

ORDERS: dict[str, list[InstrumentedAttribute[Any]]] = {
    "id": [User.id],
    "name": [User.name, User.id],
    "email": [User.email],
    "created_at": [User.created_at, User.id],
}


class Moment(fields.AwareDateTime):
    """A time with its zone (ISO 8601), within what every database can hold."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            default_timezone=UTC,
            validate=validate.Range(
                datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
            ),
            **kwargs,
        )


class UserSchema(Schema):
    id = fields.Integer(dump_only=True)
    name = Text(required=True, validate=validate.Length(1, 100))
    email = Text(
        required=True,
        validate=[
            validate.Length(max=254),
            validate.Email(),
            validate.ContainsOnly([chr(code) for code in range(33, 127)], error="Use ASCII."),
        ],
        metadata={"format": "email", "description": "Unique without regard to case"},
    )
    created_at = fields.AwareDateTime(dump_only=True)
    updated_at = fields.AwareDateTime(dump_only=True)

    @post_load
    def _ignore_case(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "email": data["email"].lower()} if "email" in data else data


class UserPatchSchema(UserSchema):
    """Any of a user's fields."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=True, **kwargs)


class UserPageSchema(Schema):
    items = fields.List(fields.Nested(UserSchema))
    next = fields.String(allow_none=True, metadata={"description": "Path of the next page"})


class UserQuery(PageQuery):
    sort = fields.String(
        load_default="id",
        validate=validate.OneOf([*ORDERS, *(f"-{name}" for name in ORDERS)]),
        metadata={"description": "A leading `-` turns the order round"},
    )
    name = Text(metadata={"description": "Exactly this name"})
    email = Text(metadata={"description": "Exactly this address, without regard to case"})
    created_from = Moment(metadata={"description": "Created then or later"})
    created_to = Moment(metadata={"description": "Created before"})


def _found(user_id: int) -> User:
    return db.get_or_404(User, user_id, description=f"There is no user {user_id}.")


def _commit() -> None:
    """Commit, where the database alone can tell whether an e-mail is taken in the same moment."""
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        if "email" not in str(error.orig):
            raise
        abort(409, message="A user with this e-mail exists already.")


@blueprint.get("")
@blueprint.arguments(UserQuery, location="query")
@blueprint.response(200, UserPageSchema)
def list_users(query: dict[str, Any]) -> tuple[Page[User], dict[str, str]]:
    """Users in the order of `sort`, `limit` at a time; `next` continues after the last one."""
    rows = select(User)
    if "name" in query:
        rows = rows.where(User.name == query["name"])
    if "email" in query:
        rows = rows.where(User.email == query["email"].lower())
    if "created_from" in query:
        rows = rows.where(User.created_at >= query["created_from"])
    if "created_to" in query:
        rows = rows.where(User.created_at < query["created_to"])
    page = paginate(rows, query, ORDERS)
    return page, {"Link": f'<{page.next}>; rel="next"'} if page.next else {}


@blueprint.post("")
@blueprint.arguments(UserSchema)
@blueprint.response(201, UserSchema)
@blueprint.alt_response(409, description="The e-mail is taken")
def create_user(data: Mapping[str, Any]) -> tuple[User, dict[str, str]]:
    """A new user; `Location` says where it is."""
    user = User(**data)
    db.session.add(user)
    _commit()
    return user, {"Location": url_for("users.read_user", user_id=user.id)}


@blueprint.get("/<id:user_id>")
@blueprint.response(200, UserSchema)
def read_user(user_id: int) -> User:
    """One user."""
    return _found(user_id)


@blueprint.put("/<id:user_id>")
@blueprint.arguments(UserSchema)
@blueprint.response(200, UserSchema)
@blueprint.alt_response(409, description="The e-mail is taken")
def replace_user(data: Mapping[str, Any], user_id: int) -> User:
    """The user with all fields replaced."""
    return _changed(user_id, data)


@blueprint.patch("/<id:user_id>")
@blueprint.arguments(UserPatchSchema)
@blueprint.response(200, UserSchema)
@blueprint.alt_response(409, description="The e-mail is taken")
def patch_user(data: Mapping[str, Any], user_id: int) -> User:
    """The user with the given fields replaced."""
    return _changed(user_id, data)


def _changed(user_id: int, data: Mapping[str, Any]) -> User:
    user = _found(user_id)
    for name, value in data.items():
        setattr(user, name, value)
    _commit()
    return user


@blueprint.delete("/<id:user_id>")
@blueprint.response(204)
def delete_user(user_id: int) -> Response:
    """The user is gone."""
    db.session.delete(_found(user_id))
    db.session.commit()
    return Response(status=204)
