"""Pages for people: home, account, users and documentation; without JavaScript but for the last.

They share accounts with the JSON endpoints, and nothing else: their cookie is worth nothing there.
"""

from datetime import timedelta

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from slipway import accounts, headers
from slipway.api.root import VERSION
from slipway.brand import TITLE
from slipway.settings import Settings
from slipway.web import account, assets, docs, errors, forms, home, people


class _Sessions(SecureCookieSessionInterface):
    """Flask's, without work for who has no cookie and gets none, as clients of the API.

    In development, on plain HTTP, the cookie goes without `Secure`.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        return super().get_cookie_secure(app) or request.is_secure


def init_app(app: Flask) -> None:
    """To be called after the JSON endpoints: a browser that asks for one of them gets a page."""
    settings: Settings = app.config["SETTINGS"]
    app.config.update(
        SESSION_COOKIE_NAME="slipway_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.environment == "production",
        PERMANENT_SESSION_LIFETIME=timedelta(days=accounts.SIGN_IN_DAYS),
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.session_interface = _Sessions()
    app.jinja_env.globals.update(
        brand=TITLE,
        nonce=headers.nonce,
        release={"version": VERSION, "commit": settings.commit},
    )
    assets.init_app(app)
    errors.init_app(app)
    forms.init_app(app)
    home.init_app(app)
    for part in (account, people, docs):
        app.register_blueprint(part.blueprint)
