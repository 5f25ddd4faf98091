"""Which revision the database's schema has, and whether this code can run on it.

Releases expand first and contract later, so code runs on its own schema and on newer ones.
"""

from functools import cache
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def _revisions() -> tuple[str, ...]:
    return tuple(s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def head() -> str:
    """The revision that this code was written for."""
    return _revisions()[0]


def current(engine: Engine) -> str | None:
    """The revision of the schema, or None where there is none yet."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_newer(revision: str | None) -> bool:
    """Whether a later release made the schema: its revision is unknown here."""
    return revision is not None and revision not in _revisions()


def serves(revision: str | None) -> bool:
    """Whether this code can run on a schema of `revision`."""
    return revision == head() or is_newer(revision)


def is_served_by(engine: Engine) -> bool:
    """Whether the database answers with a schema that this code can run on."""
    try:
        return serves(current(engine))
    except SQLAlchemyError:
        return False
