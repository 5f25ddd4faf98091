"""How often a client may ask for what is dear: counted in Valkey, or in the process without one."""

from flask import Flask, current_app
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from slipway.cache import TIMEOUT
from slipway.settings import Settings

limiter = Limiter(key_func=get_remote_address, headers_enabled=True)


def login_limit() -> str:
    settings: Settings = current_app.config["SETTINGS"]
    return settings.login_limit


def signup_limit() -> str:
    settings: Settings = current_app.config["SETTINGS"]
    return settings.signup_limit


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    app.config["RATELIMIT_STORAGE_URI"] = (
        settings.redis_url.get_secret_value() if settings.redis_url else "memory://"
    )
    if settings.redis_url:
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
        }
        # Without Valkey each process counts for itself rather than failing.
        app.config["RATELIMIT_IN_MEMORY_FALLBACK_ENABLED"] = True
    limiter.init_app(app)
