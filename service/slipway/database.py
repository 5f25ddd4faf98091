"""The database: PostgreSQL by psycopg 3, or SQLite for one process on a laptop."""

from datetime import UTC, datetime
from typing import Any

import psycopg
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from psycopg.abc import RV, PQGen
from psycopg.errors import ReadOnlySqlTransaction, _WaitTimeout
from sqlalchemy import DateTime, Dialect, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from slipway.schema import MIGRATIONS
from slipway.settings import Settings
from slipway.telemetry import saturation

# What a request may wait for, seconds. The worst is an idle connection to a server that has frozen:
# a ping, and then a new connection, which psycopg tries for two seconds at least.
PING_SECONDS = 1
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


db = SQLAlchemy(model_class=Base)
migrate = Migrate()


class Connection(psycopg.Connection[Any]):
    """One that waits so long for an answer and no longer: psycopg by itself waits for ever."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        # Only SQLAlchemy's pings commit by themselves.
        patience = PING_SECONDS if self.autocommit else ANSWER_SECONDS
        try:
            return super().wait(gen, interval, patience if timeout is None else timeout)
        except _WaitTimeout:
            # What comes now would be taken for the answer to the next question.
            self.close()
            raise psycopg.OperationalError(f"no answer within {patience} s") from None


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
) -> Connection | None:
    """Connections of our own kind where there are deadlines; else SQLAlchemy goes on as usual."""
    if dialect.driver == "psycopg" and "connect_timeout" in options:
        return Connection.connect(*arguments, **options)
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
