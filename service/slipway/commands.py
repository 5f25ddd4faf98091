"""Commands for operators: `flask --app slipway …`."""

import time

import click
from alembic.util import CommandError
from flask import Flask
from flask.cli import with_appcontext
from flask_migrate import upgrade
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from slipway import schema
from slipway.database import db


def _wait_for_database(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            db.session.connection()
        except OperationalError as error:
            if time.monotonic() > deadline:
                reason = str(error.orig).strip().splitlines()[-1]
                raise click.ClickException(
                    f"migrate: no database after {seconds:g} s: {reason}. Check DATABASE_URL."
                ) from None
            time.sleep(1)
        else:
            db.session.rollback()
            return


@click.command("migrate")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for the database.")
@with_appcontext
def migrate(wait: float) -> None:
    """Bring the database's schema up to this release; a newer one is left as it is."""
    _wait_for_database(wait)
    before = schema.current(db.engine)
    if schema.is_newer(before):
        click.echo(f"migrate: the schema ({before}) is newer than this release: nothing to do")
        return
    try:
        upgrade()
    except (SQLAlchemyError, CommandError) as error:
        raise click.ClickException(f"migrate: {str(error).splitlines()[0]}") from error
    head = schema.head()
    click.echo(f"migrate: {'already at' if before == head else f'from {before} to'} {head}")


def init_app(app: Flask) -> None:
    app.cli.add_command(migrate)
