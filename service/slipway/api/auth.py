"""Log in, stay logged in, log out: tokens for programs; the pages have a session of their own."""

from typing import Any

from flask import Response
from flask_jwt_extended import get_jwt, jwt_required
from flask_smorest import abort
from marshmallow import Schema, fields, validate

from slipway import accounts, conditional, identity, tokens
from slipway.api.users import UserSchema
from slipway.database import reads
from slipway.limits import limiter, log_ins, login_limit
from slipway.models import User
from slipway.validation import Blueprint, Password, StrictSchema, Text

blueprint = Blueprint("auth", __name__, description="Who you are")


class LoginSchema(StrictSchema):
    email = Text(required=True, validate=validate.Length(max=254))
    password = Password(required=True)


class PasswordChangeSchema(StrictSchema):
    current = Password(allow_none=True, metadata={"description": "null if there is none yet"})
    new = Password(required=True, chosen=True)


class TokensSchema(Schema):
    access_token = fields.String()
    token_type = fields.String(metadata={"example": "Bearer"})
    expires_in = fields.Integer(metadata={"description": "Seconds that the access token lasts"})
    refresh_token = fields.String(metadata={"description": "Good for one refresh"})


@blueprint.post("/login")
@blueprint.arguments(LoginSchema)
@blueprint.response(200, TokensSchema)
@blueprint.alt_response(401, "UNAUTHORIZED")
@log_ins
def login(data: dict[str, str]) -> dict[str, Any]:
    """Tokens for an e-mail and its password."""
    if user := accounts.log_in(data["email"], data["password"]):
        return tokens.first(user)
    return abort(  # type: ignore[no-any-return]
        401,
        message="E-mail or password are wrong.",
        headers={"WWW-Authenticate": 'Bearer realm="slipway"'},
    )


@blueprint.post("/refresh")
@identity.documented
@blueprint.response(200, TokensSchema)
@jwt_required(refresh=True)
def refresh() -> dict[str, Any]:
    """New tokens for a refresh token, which is used up by it; a second use ends the session."""
    return tokens.rotated()


@blueprint.post("/logout")
@identity.documented
@blueprint.response(204)
@jwt_required(verify_type=False)
def logout() -> Response:
    """The session of this token, access or refresh, is over, with all its tokens."""
    accounts.end(get_jwt()["sid"])
    return Response(status=204)


@blueprint.get("/me")
@reads
@identity.signed_in
@blueprint.response(200, UserSchema)
def me() -> tuple[User, dict[str, str]]:
    """Whose token this is."""
    return identity.user(), conditional.tag(identity.user().version)


@blueprint.post("/me/password")
@identity.signed_in
@blueprint.arguments(PasswordChangeSchema)
@blueprint.response(204)
@blueprint.alt_response(403, "FORBIDDEN")
@limiter.limit(login_limit)
def change_password(data: dict[str, Any]) -> Response:
    """Another password; every other session of this user ends."""
    user = identity.user()
    if user.password_hash and not accounts.is_theirs(user, data.get("current") or ""):
        abort(403, message="This is not the current password.")
    accounts.set_password(user, data["new"], keep=accounts.signed_in(get_jwt()["sid"]))
    return Response(status=204)
