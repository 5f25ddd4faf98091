"""The database: PostgreSQL by psycopg 3, or SQLite for one process on a laptop."""

from datetime import UTC, datetime
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, Engine, event
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from slipway.schema import MIGRATIONS
from slipway.settings import Settings

# What a request may wait for, seconds; nginx gives up after 30.
CONNECT_SECONDS = 2
POOL_SECONDS = 2
STATEMENT_SECONDS = 10
LOCK_SECONDS = 5


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


def engine_options(settings: Settings, *, pool_size: int) -> dict[str, Any]:
    """SQLAlchemy's options for the database that `settings` name: deadlines above all."""
    if settings.database_url.get_secret_value().startswith("sqlite"):
        return {"connect_args": {"timeout": LOCK_SECONDS}}
    return {
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
