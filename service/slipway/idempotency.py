"""POSTs that may be sent again: by an `Idempotency-Key`, what was done once is not done twice.

As draft-ietf-httpapi-idempotency-key-header has it. The key is written in the transaction of what
it stands for: both happen or neither does, and who comes meanwhile waits at the key's unique index.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import psycopg.errors
from flask import Response, current_app, make_response, request
from flask_smorest import Blueprint, abort
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError, OperationalError

from slipway import identity
from slipway.database import db, now
from slipway.models import IdempotencyKey
from slipway.problems import RETRY_AFTER

View = TypeVar("View", bound=Callable[..., Any])

KEPT = timedelta(hours=24)
# Printable ASCII; what stands at the ends of a header is never blank.
KEY = r"^[!-~]([ -~]{0,253}[!-~])?$"
HEADERS = ("Content-Type", "Location", "ETag", "Cache-Control")


def idempotent(view: View) -> View:
    """A POST that commits what `view` did once its answer is known, and nothing if it is an error.

    By a key it is done once in 24 hours; whoever sends the same again gets the same answer. Goes
    inside of what says who asks: a token that has ended gets no answer of former times.
    """

    @wraps(view)
    def done(*args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        taken = _take(key) if key is not None else None
        if isinstance(taken, Response):
            return taken
        try:
            response = make_response(current_app.ensure_sync(view)(*args, **kwargs))
            if response.status_code < 400:
                if taken:
                    _write_down(taken, response)
                db.session.commit()
        finally:
            # Nothing is left to roll back after the commit.
            db.session.rollback()
        return response

    return Blueprint.doc(  # type: ignore[no-any-return]
        parameters=[
            {
                "in": "header",
                "name": "Idempotency-Key",
                "description": "The same for every try of one request, another for each other one",
                "schema": {"type": "string", "pattern": KEY},
            }
        ],
        responses={400: "BAD_REQUEST", 409: "CONFLICT"},
    )(done)


def _take(key: str) -> IdempotencyKey | Response:
    """The key, taken for this request, or the answer to the one that had it before."""
    if not re.fullmatch(KEY, key):
        abort(400, message="Idempotency-Key has to be 1 to 255 printable ASCII characters.")
    who = "anonymous" if identity.is_anonymous() else identity.user().id
    scope = f"{who} {request.endpoint}"
    if former := _former(scope, key):
        return _again(former)
    expired = delete(IdempotencyKey).where(
        IdempotencyKey.scope == scope, IdempotencyKey.expires_at < now()
    )
    taken = IdempotencyKey(
        scope=scope, key=key, fingerprint=_fingerprints()[0], expires_at=now() + KEPT
    )
    try:
        db.session.execute(expired, execution_options={"synchronize_session": False})
        db.session.add(taken)
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        # Unless it has just expired, and been deleted.
        if former := _former(scope, key):
            return _again(former)
        _busy()
    except OperationalError as error:
        db.session.rollback()
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            _busy()
        raise
    return taken


def _busy() -> None:
    abort(
        409,
        message="A request with this Idempotency-Key is under way.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def _former(scope: str, key: str) -> IdempotencyKey | None:
    return db.session.scalar(
        select(IdempotencyKey).where(
            IdempotencyKey.scope == scope,
            IdempotencyKey.key == key,
            IdempotencyKey.expires_at >= now(),
        )
    )


def _fingerprints() -> list[str]:
    """What tells this request from others, by each secret key: it must not tell a password."""
    asked = b"\0".join([request.method.encode(), request.path.encode(), request.get_data()])
    config = current_app.config
    keys = [config["SECRET_KEY"], *config["SECRET_KEY_FALLBACKS"]]
    return [hmac.new(key.encode(), asked, hashlib.sha256).hexdigest() for key in keys]


def _write_down(taken: IdempotencyKey, response: Response) -> None:
    taken.status = response.status_code
    taken.headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
    taken.body = response.get_data(as_text=True)


def _again(former: IdempotencyKey) -> Response:
    """The answer that `former` got, if this is the same request."""
    if not any(hmac.compare_digest(former.fingerprint, one) for one in _fingerprints()):
        # The draft says 422, which here always means that the body itself is wrong.
        abort(409, message="This Idempotency-Key was sent with another request before.")
    response = Response(former.body, former.status, headers=former.headers)
    response.headers["Idempotency-Replayed"] = "true"
    return response
