"""Who asks, and what they may do: a token's bearer at the API, a session's user on the pages."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import g, request, session
from flask_jwt_extended import current_user, decode_token, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from flask_smorest import Blueprint, abort
from jwt import PyJWTError

from slipway import accounts
from slipway.models import ADMIN, SignIn, User

View = Callable[..., Any]

BEARER: list[dict[str, list[str]]] = [{"bearer": []}]


def documented(
    view: View, *, security: list[dict[str, list[str]]] = BEARER, forbidden: bool = False
) -> View:
    """The view, of which openapi.json says that it takes a token, and what else may come of it."""
    refusals = {401: "UNAUTHORIZED"} | ({403: "FORBIDDEN"} if forbidden else {})
    return Blueprint.doc(security=security, responses=refusals)(view)  # type: ignore[no-any-return]


def user() -> User:
    """The bearer of this request's token; only in views that ask for one."""
    bearer: User = current_user._get_current_object()
    return bearer


def is_anonymous() -> bool:
    """Whether nobody is the bearer; in views for anybody."""
    return not current_user


def claimed_by_token() -> str | None:
    """The id of the user that the request's token was signed for, whether or not it still counts.

    Costs no look-up: for what is counted by user before the view decides.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        return None
    try:
        return str(decode_token(token.strip())["sub"])
    except (PyJWTError, JWTExtendedException):
        return None


def claimed() -> str | None:
    """The same by token or, without one, by the browser's session."""
    if "Authorization" in request.headers:
        return claimed_by_token()
    of_session = session.get("user")
    return str(of_session) if of_session else None


def signed_in(view: View) -> View:
    """A view for bearers of an access token; nobody else gets past its 401."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        verify_jwt_in_request()
        return view(*args, **kwargs)

    return documented(checked)


def anybody(view: View) -> View:
    """A view for all; but a token, where there is one, has to be good."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        verify_jwt_in_request(optional=True)
        return view(*args, **kwargs)

    return documented(checked, security=[{}, *BEARER])


def admins_only(view: View) -> View:
    """A view for admins; a 403 for other users."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        verify_jwt_in_request()
        only_admins("Only an admin may do this.")
        return view(*args, **kwargs)

    return documented(checked, forbidden=True)


def only_admins(message: str) -> None:
    """A 403 that says `message` to any other bearer."""
    if user().role != ADMIN:
        abort(403, message=message)


def owner_or_admin(user_id: int) -> None:
    """A 403 unless it is the bearer's own record or they are an admin, whether or not it exists."""
    if user().id != user_id:
        only_admins("Only an admin may touch what is somebody else's.")


def open_page_session(person: User) -> None:
    """Log the browser of this request in."""
    started = accounts.sign_in(person)
    # A session that somebody may have planted in this browser goes.
    session.clear()
    session.permanent = True
    session["sign_in"] = started.id
    session["user"] = person.id


def close_page_session() -> None:
    """Log the browser of this request out."""
    if sign_in := page_sign_in():
        accounts.end(sign_in.id)
    session.clear()
    g.pop("page_sign_in", None)


def page_sign_in() -> SignIn | None:
    """The sign-in of the browser's session, looked up once a request."""
    if "page_sign_in" not in g:
        g.page_sign_in = accounts.signed_in(session["sign_in"]) if "sign_in" in session else None
    found: SignIn | None = g.page_sign_in
    return found
