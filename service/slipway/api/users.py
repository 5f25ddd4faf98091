"""Users: who may log in, and the example that a team writes its own resource after."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Response, url_for
from flask_smorest import abort
from marshmallow import fields, validate
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from slipway import accounts, cache, conditional, identity
from slipway.database import db, reads
from slipway.idempotency import idempotent
from slipway.limits import sign_ups
from slipway.models import ADMIN, USER, User
from slipway.paging import Page, PageQuery, PageSchema, Sort, paginate
from slipway.validation import Blueprint, Email, Password, StrictSchema, Text

blueprint = Blueprint("users", __name__, url_prefix="/api/users", description="People")

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# The list is kept so long, or until any user changes.
LIST_SECONDS = 30

# In openapi.json: where the id of a created user leads.
LINKS = {
    operation: {"operationId": operation, "parameters": {"user_id": "$response.body#/id"}}
    for operation in ("read_user", "replace_user", "patch_user", "delete_user")
}

ORDERS: dict[str, list[InstrumentedAttribute[Any]]] = {
    "id": [User.id],
    "name": [User.name, User.id],
    "email": [User.email],
    "created_at": [User.created_at, User.id],
}


class Moment(fields.AwareDateTime):
    """A time with its zone (ISO 8601), brought within what every database can hold."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(*args, **kwargs)
        return min(max(moment, EARLIEST), LATEST)


class UserSchema(StrictSchema):
    id = fields.Integer(dump_only=True)
    name = Text(required=True, validate=validate.Length(1, 100))
    email = Email(required=True, metadata={"description": "Unique without regard to case"})
    role = fields.String(
        validate=validate.OneOf([USER, ADMIN]),
        metadata={"description": "Only an admin may set it"},
    )
    created_at = fields.AwareDateTime(dump_only=True)
    updated_at = fields.AwareDateTime(dump_only=True)


class NewUserSchema(UserSchema):
    password = Password(
        chosen=True, metadata={"description": "May be left out by an admin: a provider's log-in"}
    )


class UserPatchSchema(UserSchema):
    """Any of a user's fields."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=True, **kwargs)


class UserPageSchema(PageSchema):
    items = fields.Nested(UserSchema, many=True)


class UserQuery(PageQuery):
    sort = Sort(ORDERS)
    name = Text(metadata={"description": "Exactly this name"})
    email = Email(metadata={"description": "Exactly this address, without regard to case"})
    created_from = Moment(metadata={"description": "Created then or later"})
    created_to = Moment(metadata={"description": "Created before"})


def _found(user_id: int, *, to_change: bool = False) -> User:
    """The user, if the bearer may see it; to be changed, nobody else changes it meanwhile."""
    identity.owner_or_admin(user_id)
    user: User = db.get_or_404(
        User,
        user_id,
        description=f"There is no user {user_id}.",
        with_for_update=to_change or None,
        populate_existing=to_change,
    )
    if to_change:
        conditional.check(user.version)
    return user


def _committed() -> None:
    accounts.flush()
    db.session.commit()


@blueprint.get("")
@reads
@identity.admins_only
@cache.kept(LIST_SECONDS, topic="users", reader=lambda: identity.user().role)
@blueprint.arguments(UserQuery, location="query")
@blueprint.response(200, UserPageSchema)
def list_users(query: dict[str, Any]) -> tuple[Page[User], dict[str, str]]:
    """Users in the order of `sort`, `limit` at a time; `next` continues after the last one."""
    rows = select(User)
    if "name" in query:
        rows = rows.where(User.name == query["name"])
    if "email" in query:
        rows = rows.where(User.email == query["email"])
    if "created_from" in query:
        rows = rows.where(User.created_at >= query["created_from"])
    if "created_to" in query:
        rows = rows.where(User.created_at < query["created_to"])
    page = paginate(rows, query, ORDERS)
    return page, page.links


@blueprint.post("")
@identity.anybody
@idempotent
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserSchema)
@blueprint.doc(responses={201: {"links": LINKS}})
@blueprint.alt_response(409, "CONFLICT")
@sign_ups
def create_user(data: dict[str, Any]) -> tuple[User, dict[str, str]]:
    """Sign up; or, as an admin, a new user. `Location` says where it is."""
    if not identity.is_anonymous():
        identity.only_admins("Only an admin may create a user for somebody else.")
    elif "role" in data:
        abort(403, message="Only an admin may give a role.")
    elif "password" not in data:
        abort(422, messages={"json": {"password": ["Missing data for required field."]}})
    user = accounts.add(**data)
    return user, {
        "Location": url_for("users.read_user", user_id=user.id),
        **conditional.tag(user.version),
    }


@blueprint.get("/<id:user_id>")
@reads
@identity.signed_in
@blueprint.response(200, UserSchema)
def read_user(user_id: int) -> tuple[User, dict[str, str]]:
    """One user."""
    user = _found(user_id)
    return user, conditional.tag(user.version)


@blueprint.put("/<id:user_id>")
@identity.signed_in
@blueprint.arguments(UserSchema)
@blueprint.response(200, UserSchema)
@blueprint.alt_response(409, "CONFLICT")
def replace_user(data: Mapping[str, Any], user_id: int) -> tuple[User, dict[str, str]]:
    """The user with all fields replaced."""
    return _changed(user_id, data)


@blueprint.patch("/<id:user_id>")
@identity.signed_in
@blueprint.arguments(UserPatchSchema)
@blueprint.response(200, UserSchema)
@blueprint.alt_response(409, "CONFLICT")
def patch_user(data: Mapping[str, Any], user_id: int) -> tuple[User, dict[str, str]]:
    """The user with the given fields replaced."""
    return _changed(user_id, data)


def _changed(user_id: int, data: Mapping[str, Any]) -> tuple[User, dict[str, str]]:
    user = _found(user_id, to_change=True)
    if data.get("role", user.role) != user.role:
        identity.only_admins("Only an admin may give a role.")
        _keep_an_admin(user)
    if data.get("email", user.email) != user.email:
        user.email_verified = False
    for name, value in data.items():
        setattr(user, name, value)
    _committed()
    return user, conditional.tag(user.version)


@blueprint.delete("/<id:user_id>")
@identity.signed_in
@blueprint.response(204)
def delete_user(user_id: int) -> Response:
    """The user is gone, with all sessions."""
    user = _found(user_id, to_change=True)
    _keep_an_admin(user)
    db.session.delete(user)
    _committed()
    return Response(status=204)


def _keep_an_admin(user: User) -> None:
    if accounts.is_last_admin(user):
        abort(409, message="This is the last admin: make another one first.")
