"""Log in with a provider: Google, GitHub, or any OpenID Connect issuer, as the settings name them.

Who comes from a provider is known by issuer and subject. An e-mail leads them to an account only
if the provider says that it is verified.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import requests
from authlib.integrations.flask_client import OAuth, OAuthError
from flask import Blueprint, Flask, abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from joserfc.errors import JoseError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import Conflict

from slipway import accounts, identity
from slipway.api.users import UserSchema
from slipway.database import db
from slipway.limits import limiter, login_limit
from slipway.models import Identity, User
from slipway.oauth_client import Client, GitHubClient, OpenIdClient, Person
from slipway.problems import RETRY_AFTER
from slipway.settings import Settings
from slipway.validation import own_path

GOOGLE = "https://accounts.google.com"
# What a provider says of a code that is used up, too old, or somebody else's; the latter is GitHub.
USED_UP = {"invalid_grant", "bad_verification_code"}

blueprint = Blueprint("oauth", __name__, url_prefix="/oauth")


class Provider(NamedTuple):
    """Whom people may log in with: `name` for the address, `label` to show."""

    name: str
    label: str


def providers() -> list[Provider]:
    """Those that the settings name."""
    settings: Settings = current_app.config["SETTINGS"]
    named = [
        (settings.oauth_google_client_id, Provider("google", "Google")),
        (settings.oauth_github_client_id, Provider("github", "GitHub")),
        (settings.oauth_oidc_client_id, Provider("oidc", settings.oauth_oidc_label)),
    ]
    return [provider for client_id, provider in named if client_id]


def _client(name: str) -> Client:
    client: Client | None = current_app.extensions["slipway.oauth"].create_client(name)
    if client is None:
        abort(404, description="Nobody can log in with that here.")
    return client


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """The errors of a provider, told as whose they are."""

    def fail(status: int, message: str, error: Exception, **more: Any) -> NoReturn:
        # A provider's error may quote what it was sent, the code above all: its kind is enough.
        why = error.error if isinstance(error, OAuthError) else f"{type(error).__name__}: {error}"
        current_app.logger.warning("oauth: %s: %.300r", name, why)
        abort(status, description=message, **more)

    try:
        yield
    except (requests.ConnectionError, requests.Timeout) as error:
        fail(
            503,
            "The provider does not answer; try again soon.",
            error,
            retry_after=RETRY_AFTER,
        )
    except OAuthError as error:
        if error.error in USED_UP:
            fail(400, "This log-in is used up or too old: start again.", error)
        fail(502, "The provider refused to say who you are.", error)
    except JoseError as error:
        fail(403, "What the provider said about you could not be trusted.", error)
    except (requests.RequestException, AttributeError, LookupError, TypeError, ValueError) as error:
        fail(502, "The provider gave an answer that makes no sense.", error)


@blueprint.get("/<name>/login")
@limiter.limit(login_limit)
def login(name: str) -> ResponseReturnValue:
    """Send the browser to the provider, to come back to `callback`."""
    client = _client(name)
    with _asking(name):
        back = url_for(".callback", name=name, _external=True)
        return redirect(client.begin(back, own_path(request.args.get("next"))))


@blueprint.get("/<name>/callback")
@limiter.limit(login_limit)
def callback(name: str) -> ResponseReturnValue:
    """Back from the provider: log in whom it sent, or link them to whose session this is."""
    client = _client(name)
    state = request.args.get("state", "")
    begun = client.begun(state)
    if begun is None:
        abort(400, description="This log-in was not begun here, or it is over: start again.")
    if "error" in request.args:
        client.end(state)
        abort(403, description="The provider did not let you in, or you did not let it tell us.")
    if not request.args.get("code"):
        abort(400, description="The provider sent no code.")
    with _asking(name):
        person = client.person()

    sign_in = identity.page_sign_in()
    user = _settled(person, sign_in.user if sign_in else None)
    if sign_in is None:
        identity.open_page_session(user)
    return redirect(begun["then"] or url_for("account.show"))


def _settled(person: Person, here: User | None) -> User:
    try:
        return _user(person, here)
    except (IntegrityError, StaleDataError, Conflict):
        # Another callback, or a sign-up, was faster: what it made is found now.
        db.session.rollback()
        return _user(person, here)


def _user(person: Person, here: User | None) -> User:
    """Whose the person is from now on: `here` is who is logged in already, if anybody."""
    # As OpenID Connect Core 1.0, 2, promises them to be.
    if not re.fullmatch("[ -~]{1,255}", person.subject):
        _refuse(person, "The provider knows you by a name that cannot be kept.")
    known = db.session.get(Identity, (person.issuer, person.subject))
    if known and here and known.user_id != here.id:
        abort(409, description="This log-in belongs to another account.")
    if known:
        return known.user
    details = _details(person)
    user = db.session.scalar(
        select(User)
        .where(User.email == details["email"])
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if here and user is not here:
        _refuse(person, "The provider knows you by another e-mail than your account has.")
    if user is None:
        user = accounts.add(**details, email_verified=True)
    elif not user.email_verified:
        if not here:
            # Whoever made it may have waited for its owner to come (Sudhodanan and Paverd,
            # "Pre-hijacked accounts", USENIX Security 2022).
            accounts.evict(user)
            current_app.logger.warning("oauth: user %d lost all former ways in", user.id)
        user.email_verified = True
    db.session.add(Identity(issuer=person.issuer, subject=person.subject, user_id=user.id))
    db.session.commit()
    current_app.logger.info(
        "oauth: %s %s was linked to user %d", person.issuer, person.subject, user.id
    )
    return user


def _details(person: Person) -> dict[str, str]:
    """Name and e-mail, by the rules that hold for everybody."""
    if person.email is None:
        _refuse(person, "The provider does not say that your e-mail is verified.")
    details = {"name": str(person.name)[:100], "email": person.email}
    wrong = UserSchema().validate(details)
    if "email" in wrong:
        _refuse(person, "The provider knows you by an e-mail that cannot be used here.")
    if "name" in wrong or not isinstance(person.name, str):
        details["name"] = str(person.email).partition("@")[0]
    clean: dict[str, str] = UserSchema().load(details)
    return clean


def _refuse(person: Person, why: str) -> NoReturn:
    current_app.logger.warning(
        "oauth: %s %.100r was refused: %s", person.issuer, person.subject, why
    )
    abort(403, description=why)


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    # Below that level it writes down what PKCE keeps secret.
    logging.getLogger("authlib").setLevel(logging.INFO)
    oauth = OAuth(app)
    kinds = [
        ("google", OpenIdClient, GOOGLE),
        ("github", GitHubClient, settings.oauth_github_url),
        ("oidc", OpenIdClient, settings.oauth_oidc_issuer),
    ]
    for name, kind, issuer in kinds:
        client_id = getattr(settings, f"oauth_{name}_client_id")
        secret = getattr(settings, f"oauth_{name}_client_secret").get_secret_value()
        if client_id:
            oauth.register(
                name, client_cls=kind, client_id=client_id, client_secret=secret, issuer=issuer
            )
    app.extensions["slipway.oauth"] = oauth
    app.register_blueprint(blueprint)
