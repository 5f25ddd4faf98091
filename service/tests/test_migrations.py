"""The schema that the migrations make, and releases that meet a schema of another age."""

import os
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from answers import MIGRATE, settings
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import text

from slipway import create_app, schema
from slipway.database import db


def migrate(app: Flask) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=MIGRATE)
    return result.exit_code, result.output.strip()


def test_the_migrations_make_the_models_schema(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []


def test_a_second_migration_changes_nothing(app: Flask) -> None:
    assert migrate(app) == (0, f"migrate: already at {schema.head()}")


def test_every_migration_can_be_undone_and_done_again(app: Flask) -> None:
    with app.app_context():
        downgrade(revision="base")
        assert schema.current(db.engine) is None
    assert migrate(app) == (0, f"migrate: from None to {schema.head()}")


def test_an_older_release_leaves_a_newer_schema_alone(app: Flask) -> None:
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = 'later'"))
        db.session.commit()
        code, output = migrate(app)
        assert (code, "newer than this release" in output) == (0, True), output
        assert schema.current(db.engine) == "later"
        assert schema.serves("later")


@pytest.mark.needs("engine")
def test_two_migrations_at_once_run_one_after_the_other(postgres_url: str) -> None:
    environment = {**os.environ, "ENVIRONMENT": "development", "DATABASE_URL": postgres_url}
    command = [sys.executable, "-m", "flask", "--app", "slipway", *MIGRATE]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs


def test_a_database_that_is_away_is_one_line_and_status_1() -> None:
    app = create_app(settings(database_url="postgresql://x:secret@127.0.0.1:1/x"))
    code, output = migrate(app)
    assert code == 1
    assert output.startswith("Error: migrate: no database after 0 s: ")
    assert "Check DATABASE_URL" in output
    assert "secret" not in output
