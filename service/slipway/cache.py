"""Answers that are dear to make, kept for a while: in Valkey, or in the process without one.

An answer belongs to a topic, the name of the table that it is made of. A committed change of a row
gives the topic a new generation, in which nothing is kept yet, for all replicas at once. As the
generation is read before an answer is made, what was made of former rows stays in a former one.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from functools import partial, wraps
from threading import Lock
from typing import Any, TypeVar

import orjson
from cachelib.serializers import RedisSerializer
from flask import Flask, Response, current_app, make_response, request
from flask_caching import Cache
from flask_caching.backends import RedisCache
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from slipway.database import db
from slipway.settings import Settings
from slipway.telemetry.saturation import CACHE
from slipway.valkey import AwayError, Valkey

View = TypeVar("View", bound=Callable[..., Any])

# Who comes while an answer is being made waits for it so long, then makes it too, seconds.
WAIT_SECONDS = 5
# When it looks first, and how seldom at last: many who look take the processor from who makes it.
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.02, 0.25
# When somebody who makes an answer must have died over it, seconds.
MAKING_SECONDS = 10
HEADERS = ("Content-Type", "Link", "ETag", "Cache-Control")

cache = Cache()
_topics: set[str] = set()
# Topics whose new generation Valkey did not take: nothing of them counts here until it does.
_owed: dict[str, str] = {}
_owing = Lock()


class _Json(RedisSerializer):
    """Not pickle: who can write to Valkey must not run code here."""

    def dumps(self, value: Any, protocol: int = 0) -> bytes:
        return orjson.dumps(value)

    def loads(self, value: bytes | None) -> Any:
        return None if value is None else orjson.loads(value)


# The current generation, and the answer that is kept in it; an empty one while somebody makes it.
_LOOK = """
local generation, prefix = redis.call('GET', KEYS[1]), ARGV[2]
if not generation then
  generation = ARGV[1]
  redis.call('SET', KEYS[1], generation)
end
local key = ARGV[3] .. ':' .. generation .. ':' .. ARGV[4]
local answer = redis.call('GET', prefix .. key)
if answer then return {key, answer, 0} end
redis.call('SET', prefix .. key, '""', 'EX', ARGV[5])
return {key, false, 1}
"""


class ValkeyCache(RedisCache):
    """Flask-Caching's cache in the Valkey of this application."""

    serializer = _Json()

    @classmethod
    def factory(cls, app: Flask, _config: Any, _args: Any, _kwargs: Any) -> "ValkeyCache":
        return cls(host=app.extensions["valkey"].client, key_prefix="slipway:cache:")

    def look(self, topic: str, asked: str) -> tuple[str, Any, bool]:
        name, fresh = f"{self.key_prefix}generation:{topic}", orjson.dumps(secrets.token_hex(8))
        key, answer, is_ours = self._read_client.eval(
            _LOOK, 1, name, fresh, self.key_prefix, topic, asked, MAKING_SECONDS
        )
        return key.decode(), self.serializer.loads(answer), bool(is_ours)


def _look(topic: str, asked: str) -> tuple[str, Any, bool]:
    """By which key an answer is kept, the answer, or whether it is the caller's to make.

    In one question to Valkey.
    """
    if isinstance(cache.cache, ValkeyCache):
        return cache.cache.look(topic, asked)
    name = f"generation:{topic}"
    cache.add(name, secrets.token_hex(8), timeout=0)
    key = f"{topic}:{cache.get(name)}:{asked}"
    if answer := cache.get(key):
        return key, answer, False
    return key, None, bool(cache.add(key, "", timeout=MAKING_SECONDS))


def _ask(question: Callable[..., Any], *args: Any, insist: bool = False, **kwargs: Any) -> Any:
    """What the cache says, or None while it is away."""
    valkey: Valkey | None = current_app.extensions["valkey"]
    if valkey is None:
        return question(*args, **kwargs)
    try:
        return (valkey.insist if insist else valkey.ask)(question, *args, **kwargs)
    except AwayError:
        return None


def forget(topic: str) -> bool:
    """Let nothing that was kept of `topic` be an answer from now on; whether that is done.

    While Valkey is away other processes may still answer by it, as long as it was to be kept.
    """
    # By chance, not counted: should Valkey lose it, no former one comes back.
    generation = secrets.token_hex(8)
    with _owing:
        _owed[topic] = generation
    if not _ask(cache.set, f"generation:{topic}", generation, timeout=0, insist=True):
        return False
    with _owing:
        if _owed.get(topic) == generation:
            del _owed[topic]
    return True


@event.listens_for(db.session, "after_flush")
def _remember(session: Session, _context: object) -> None:
    """Note the topics that this transaction changes."""
    rows = [*session.new, *session.dirty, *session.deleted]
    changed = {str(inspect(row).mapper.local_table.name) for row in rows}
    session.info.setdefault("changed", set()).update(changed & _topics)


@event.listens_for(db.session, "after_commit")
def _forget_what_changed(session: Session) -> None:
    for topic in session.info.pop("changed", ()):
        forget(topic)


@event.listens_for(db.session, "after_rollback")
def _nothing_changed(session: Session) -> None:
    session.info.pop("changed", None)


def anyone() -> str:
    """The reader of what everybody may see."""
    return "anyone"


def kept(seconds: int, *, topic: str, reader: Callable[[], str]) -> Callable[[View], View]:
    """Keep a GET view's 200s for `seconds` or until `topic` changes, for all who are `reader()`.

    Goes around everything that makes the answer, and inside of what says who may see it.
    """
    _topics.add(topic)
    control = "public, no-cache" if reader is anyone else "private, no-cache"

    def decorate(view: View) -> View:
        @wraps(view)
        def answered(*args: Any, **kwargs: Any) -> Response:
            this = partial(view, *args, **kwargs)
            if request.method not in {"GET", "HEAD"}:
                return make_response(this())
            make = partial(_answer, control, this)
            query = sorted(request.args.items(multi=True), key=lambda item: item[0])
            whole = orjson.dumps([reader(), request.endpoint, request.path, query])
            key, found = _found(topic, hashlib.sha256(whole).hexdigest())
            if key is None:
                CACHE.labels(topic, "away").inc()
                return make()
            if found:
                CACHE.labels(topic, "hit").inc()
                return found
            CACHE.labels(topic, "miss").inc()
            return _made(key, seconds, make)

        return answered  # type: ignore[return-value]

    return decorate


def _answer(control: str, view: Callable[[], Any]) -> Response:
    # What the session has read already may be older than the generation.
    db.session.expire_all()
    response = make_response(current_app.ensure_sync(view)())
    if response.status_code == 200:
        response.add_etag()
        response.headers["Cache-Control"] = control
    return response


def _found(topic: str, asked: str) -> tuple[str | None, Response | None]:
    """The answer, should it be kept or just being made, and its key; no key while nobody can tell.

    Without an answer, it is the caller's to make.
    """
    if topic in _owed and not forget(topic):
        return None, None
    deadline, pause = time.monotonic() + WAIT_SECONDS, POLL_SECONDS
    while looked := _ask(_look, topic, asked):
        key, answer, is_ours = looked
        if answer:
            return key, Response(answer["body"], headers=answer["headers"])
        if is_ours or time.monotonic() > deadline:
            return key, None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_POLL_SECONDS)
    return None, None


def _made(key: str, seconds: int, make: Callable[[], Response]) -> Response:
    answer = None
    try:
        response = make()
        if response.status_code == 200:
            headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
            answer = {"body": response.get_data(as_text=True), "headers": headers}
        return response
    finally:
        # Whoever waits for it must not miss it because another question was silent meanwhile.
        if answer:
            _ask(cache.set, key, answer, timeout=seconds, insist=True)
        else:
            _ask(cache.delete, key, insist=True)


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    url = settings.redis_url
    app.extensions["valkey"] = Valkey(url.get_secret_value()) if url else None
    if url:
        kind = "slipway.cache.ValkeyCache"
    else:
        # Processes that keep for themselves do not see each other's changes.
        kind = "SimpleCache" if settings.web_concurrency == 1 else "NullCache"
    cache.init_app(app, {"CACHE_TYPE": kind, "CACHE_NO_NULL_WARNING": True})
