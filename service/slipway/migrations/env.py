"""How Alembic reaches the database: where the application does, without its deadlines."""

from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import NullPool, create_engine, text

from slipway.database import UTCDateTime, db

# Any number, the same for every migration of this service: PostgreSQL's key of the lock below.
LOCK = 7_547_926


def _rendered(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """How a new migration writes a column's type: by what the database has, not by our code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    postgresql = engine.dialect.name == "postgresql"
    if postgresql:
        # A long change is no mistake here.
        engine = create_engine(engine.url, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            render_as_batch=not postgresql,
            compare_server_default=True,
            render_item=_rendered,
        )
        with context.begin_transaction():
            if postgresql:
                # Two migrations at once run one after another.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
                connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            context.run_migrations()


run()
