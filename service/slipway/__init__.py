"""Slipway: a compact Flask service with everything that production needs around it."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from slipway import (
    api,
    cache,
    commands,
    conditional,
    converters,
    database,
    headers,
    limits,
    oauth,
    problems,
    tasks,
    tokens,
    web,
)
from slipway.application import Application
from slipway.settings import Settings, load_settings
from slipway.telemetry import logs, metrics, saturation, tracing


def create_app(settings: Settings | None = None) -> Flask:
    """The service as a WSGI application, of `settings` or, without any, of the environment.

    Raises SettingsError when the environment is wrong.
    """
    settings = settings or load_settings()
    app = Application(__name__, static_folder=None)
    app.config.from_mapping(
        SETTINGS=settings,
        SECRET_KEY=settings.secret_key.get_secret_value(),
        SECRET_KEY_FALLBACKS=[
            key.get_secret_value() for key in [settings.secret_key_previous] if key
        ],
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
    )
    app.url_map.strict_slashes = False

    if hops := settings.forwarded_hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    # Each is around the one before: what is logged and counted is what all inside of it have made.
    headers.init_app(app)
    tracing.init_app(app)
    logs.init_app(app)
    metrics.init_app(app)
    saturation.init_app(app)
    database.init_app(app)
    cache.init_app(app)
    limits.init_app(app)
    tasks.init_app(app)
    converters.init_app(app)
    conditional.init_app(app)
    tokens.init_app(app)
    api.register(problems.init_app(app))
    oauth.init_app(app)
    web.init_app(app)
    commands.init_app(app)
    return app
