"""The database: PostgreSQL by psycopg 3, or SQLite for one process on a laptop."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from flask import Flask, current_app, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from psycopg.abc import RV, PQGen
from psycopg.errors import ReadOnlySqlTransaction, _WaitTimeout
from sqlalchemy import Connection, DateTime, Dialect, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from slipway.schema import MIGRATIONS
from slipway.settings import Settings
from slipway.telemetry import saturation

# What a request may wait for, seconds. The worst is an idle connection to a server that has frozen:
# a ping, and then a new connection, which psycopg tries for two seconds at least.
PING_SECONDS = 1
# A connection that answered so lately needs no ping.
FRESH_SECONDS = 0.5
CONNECT_SECONDS = 2
POOL_SECONDS = 2
LOCK_SECONDS = 2
STATEMENT_SECONDS = 4
# For SQLite's one writer at a time, who has no other deadline.
SQLITE_SECONDS = 5
# Just after the server itself should have given up.
ANSWER_SECONDS = 4.5


class Base(DeclarativeBase):
    pass


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


View = TypeVar("View", bound=Callable[..., Any])


def reads(view: View) -> View:
    """A view that changes nothing: each of its statements is a transaction of its own.

    It sees the same, as PostgreSQL takes a new snapshot for each statement anyway (READ COMMITTED),
    and two questions fewer are asked: one that begins a transaction, and one that ends it.
    """
    view.only_reads = True  # type: ignore[attr-defined]
    return view


@lru_cache(maxsize=8)
def _for_reads(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


class _Session(Session):
    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        bind = super().get_bind(*args, **kwargs)
        view = current_app.view_functions.get(request.endpoint or "") if request else None
        if isinstance(bind, Engine) and bind.dialect.name == "postgresql":
            return _for_reads(bind) if hasattr(view, "only_reads") else bind
        return bind


# What was committed is what is answered: it is not read again.
db = SQLAlchemy(model_class=Base, session_options={"class_": _Session, "expire_on_commit": False})
migrate = Migrate()


class Patient(psycopg.Connection[Any]):
    """One that waits so long for an answer and no longer: psycopg by itself waits for ever."""

    _patience = ANSWER_SECONDS
    _answered_at = 0.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            answer = super().wait(gen, interval, self._patience if timeout is None else timeout)
        except _WaitTimeout:
            # What comes now would be taken for the answer to the next question.
            self.close()
            raise psycopg.OperationalError(f"no answer within {self._patience} s") from None
        self._answered_at = time.monotonic()
        return answer

    def answers(self, ping: Callable[["Patient"], bool]) -> bool:
        """Whether it does, which one that answered a moment ago is not asked."""
        if not self.closed and time.monotonic() - self._answered_at < FRESH_SECONDS:
            return True
        self._patience = PING_SECONDS
        try:
            return ping(self)
        finally:
            self._patience = ANSWER_SECONDS


def engine_options(settings: Settings, *, pool_size: int) -> dict[str, Any]:
    """SQLAlchemy's options for the database that `settings` name: deadlines above all."""
    if settings.database_url.get_secret_value().startswith("sqlite"):
        return {"connect_args": {"timeout": SQLITE_SECONDS}, "hide_parameters": True}
    return {
        # An error is logged and reported; what somebody entered is not.
        "hide_parameters": True,
        "poolclass": saturation.Pool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL_SECONDS,
        "pool_pre_ping": True,
        "skip_autocommit_rollback": True,
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            # A peer that vanished is noticed although it never answers, milliseconds.
            "tcp_user_timeout": 5000,
            "application_name": "slipway",
            "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={LOCK_SECONDS}s",
        },
    }


@event.listens_for(Engine, "do_connect")
def _with_deadline(
    dialect: Dialect, _record: object, arguments: Any, options: dict[str, Any]
) -> Patient | None:
    """Connections of our own kind where there are deadlines; else SQLAlchemy goes on as usual."""
    if dialect.driver == "psycopg" and "connect_timeout" in options:
        return Patient.connect(*arguments, **options)
    return None


@event.listens_for(Engine, "handle_error")
def _switched_over(context: ExceptionContext) -> None:
    """A primary that has become read-only is as good as gone: the next connection finds the new."""
    if isinstance(context.original_exception, ReadOnlySqlTransaction):
        context.is_disconnect = True


@event.listens_for(Engine, "connect")
def _sqlite_for_threads(connection: Any, _record: object) -> None:
    """Readers go on beside a writer, and a writer waits for its turn."""
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url.get_secret_value()
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(
        settings, pool_size=settings.web_threads
    )
    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    with app.app_context():
        saturation.watch_pool(db.engine)
        if db.engine.dialect.driver == "psycopg":
            dialect: Any = db.engine.dialect
            ping = dialect.do_ping
            dialect.do_ping = lambda connection: connection.answers(ping)
