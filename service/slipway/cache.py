"""Answers that are dear to make, kept for a while: in Valkey, or in the process without one."""

from flask import Flask
from flask_caching import Cache

from slipway.settings import Settings

# A cache that does not answer is slower than no cache, seconds.
TIMEOUT = 0.25

cache = Cache()


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    if settings.redis_url:
        config = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": settings.redis_url.get_secret_value(),
            "CACHE_KEY_PREFIX": "slipway:cache:",
            "CACHE_OPTIONS": {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT},
        }
    else:
        config = {"CACHE_TYPE": "SimpleCache"}
    cache.init_app(app, config)


def kept(seconds, *, topic, reader):
    return lambda view: view


def forget(topic):
    pass
