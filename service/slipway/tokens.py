"""Access and refresh tokens (JWT) of API clients.

A token names its sign-in (`sid`), which is looked up at each request: a log-out counts at once.
Every one that is no good is a 401 with `WWW-Authenticate` (RFC 6750, 3).
"""

import hashlib
import time
import uuid
from datetime import timedelta
from functools import lru_cache
from typing import Any

from flask import Flask, Response, current_app
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jti,
    get_jwt,
    get_unverified_jwt_headers,
    view_decorators,
)
from flask_smorest import abort

from slipway import accounts
from slipway.models import User
from slipway.problems import problem
from slipway.settings import Settings

ACCESS_SECONDS = 15 * 60


class _Manager(JWTManager):
    def _decode_jwt_from_config(self, *token: Any, **how: Any) -> Any:
        """The claims of a token, whose signature is checked when it is first seen."""
        claims = _claims(tuple(_keys().values()), *token, **how)
        if claims["exp"] <= time.time():
            # In the library's words.
            return super()._decode_jwt_from_config(*token, **how)
        return {**claims}


@lru_cache(maxsize=4096)
def _claims(_keys: tuple[str, ...], *token: Any, **how: Any) -> dict[str, Any]:
    """Of a token that one of the keys has signed: that stays so."""
    return JWTManager._decode_jwt_from_config(jwt, *token, **how)


jwt = _Manager()
# What the signature covers stays as it is, too.
view_decorators.get_unverified_jwt_headers = lru_cache(maxsize=4096)(  # type: ignore[attr-defined]
    get_unverified_jwt_headers
)


def _keys() -> dict[str, str]:
    """What tokens may be signed with, by the id that their header names; the current one first."""
    settings: Settings = current_app.config["SETTINGS"]
    secrets = [settings.jwt_secret_key, settings.jwt_secret_key_previous]
    return {_key_id(key): key for key in (s.get_secret_value() for s in secrets if s)}


@lru_cache(maxsize=8)
def _key_id(key: str) -> str:
    return hashlib.sha256(b"kid " + key.encode()).hexdigest()[:12]


@jwt.encode_key_loader
def _signing_key(_identity: str) -> str:
    return next(iter(_keys().values()))


@jwt.decode_key_loader
def _checking_key(header: dict[str, Any], _payload: dict[str, Any]) -> str:
    keys = _keys()
    return keys.get(str(header.get("kid")), next(iter(keys.values())))


@jwt.user_lookup_loader
def _user(_header: dict[str, Any], payload: dict[str, Any]) -> User | None:
    sign_in = accounts.signed_in(payload.get("sid"))
    return sign_in.user if sign_in and str(sign_in.user_id) == payload["sub"] else None


def refused(reason: str | None = None) -> Response:
    """The 401 for a token that is missing, or that is no good for `reason`."""
    challenge = 'Bearer realm="slipway"'
    if reason:
        challenge += f', error="invalid_token", error_description="{reason}"'
    detail = reason or "Log in first: send an access token as `Authorization: Bearer …`."
    return problem(401, detail, headers={"WWW-Authenticate": challenge})


@jwt.unauthorized_loader
def _missing(_why: str) -> Response:
    return refused()


@jwt.invalid_token_loader
def _invalid(_why: str) -> Response:
    return refused("The token is not one of this service for this purpose.")


@jwt.expired_token_loader
def _expired(_header: dict[str, Any], _payload: dict[str, Any]) -> Response:
    return refused("The token has expired.")


@jwt.user_lookup_error_loader
def _ended(_header: dict[str, Any], _payload: dict[str, Any]) -> Response:
    return refused("The session of this token has ended.")


def _make(create: Any, sign_in_id: str, user_id: object) -> str:
    return str(
        create(
            str(user_id),
            additional_claims={"sid": sign_in_id},
            additional_headers={"kid": next(iter(_keys()))},
        )
    )


def _pair(sign_in_id: str, user_id: object, refresh: str) -> dict[str, Any]:
    """As RFC 6749, 5.1, has it."""
    return {
        "access_token": _make(create_access_token, sign_in_id, user_id),
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "refresh_token": refresh,
    }


def first(user: User) -> dict[str, Any]:
    """The tokens of a new session of `user`."""
    sign_in_id = uuid.uuid4().hex
    refresh = _make(create_refresh_token, sign_in_id, user.id)
    accounts.sign_in(user, sign_in_id=sign_in_id, refresh_jti=get_jti(refresh))
    return _pair(sign_in_id, user.id, refresh)


def rotated() -> dict[str, Any]:
    """New tokens for the refresh token of this request, which is worth nothing from now on."""
    used = get_jwt()
    refresh = _make(create_refresh_token, used["sid"], used["sub"])
    if not accounts.rotate(used["sid"], used["jti"], str(get_jti(refresh))):
        abort(refused("The token was used before: its session has ended."))
    return _pair(used["sid"], used["sub"], refresh)


def init_app(app: Flask) -> None:
    app.config.update(
        JWT_ALGORITHM="HS256",
        JWT_TOKEN_LOCATION=["headers"],
        # For tokens in cookies, of which there are none.
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=ACCESS_SECONDS),
        JWT_REFRESH_TOKEN_EXPIRES=timedelta(days=accounts.SIGN_IN_DAYS),
        JWT_ENCODE_ISSUER="slipway",
        JWT_DECODE_ISSUER="slipway",
    )
    jwt.init_app(app)
