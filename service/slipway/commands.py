"""Commands for operators: `flask --app slipway …`."""

import logging
import sys
import time
from typing import IO, Any

import click
from alembic.util import CommandError
from flask import Flask, current_app
from flask.cli import with_appcontext
from flask_migrate import upgrade
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from slipway import accounts, fault_control, schema
from slipway.api.users import NewUserSchema
from slipway.database import db
from slipway.models import ADMIN
from slipway.settings import Settings
from slipway.telemetry import logs

logger = logging.getLogger(__name__)


def _is_watched() -> bool:
    """Whether a person runs the command, and not a platform, which reads its log."""
    settings: Settings = current_app.config["SETTINGS"]
    return settings.environment == "development" or sys.stderr.isatty()


def _say(text: str) -> None:
    if _is_watched():
        click.echo(text)
    else:
        logger.info(text)


class Failure(click.ClickException):
    """One line for a person, or for the log."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # When it is shown, there is no application any more.
        self._is_watched = _is_watched()

    def show(self, file: IO[Any] | None = None) -> None:
        if self._is_watched:
            super().show(file)
        else:
            logger.error(self.message)


def _wait_for_database(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            db.session.connection()
        except OperationalError as error:
            if time.monotonic() > deadline:
                reason = str(error.orig).strip().splitlines()[-1]
                raise Failure(
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
    if not _is_watched():
        logs.configure(current_app.config["SETTINGS"])
        logging.getLogger("alembic").setLevel(logging.INFO)
    _wait_for_database(wait)
    before = schema.current(db.engine)
    if schema.is_newer(before):
        _say(f"migrate: the schema ({before}) is newer than this release: nothing to do")
        return
    try:
        upgrade()
    except (SQLAlchemyError, CommandError) as error:
        raise Failure(f"migrate: {str(error).splitlines()[0]}") from error
    head = schema.head()
    _say(f"migrate: {'already at' if before == head else f'from {before} to'} {head}")


@click.command("create-admin")
@click.argument("email")
@click.option("--name", default="Admin", show_default=True)
@click.password_option(help="Asked for if not given; `-` reads it from standard input.")
@with_appcontext
def create_admin(email: str, name: str, password: str) -> None:
    """Make an admin of EMAIL; an account that is there already gets the role and the password."""
    if password == "-":  # noqa: S105
        password = sys.stdin.readline().rstrip("\r\n")
    wrong = NewUserSchema().validate({"email": email, "name": name, "password": password})
    if wrong:
        reasons = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in wrong.items())
        raise click.ClickException(f"create-admin: {reasons}")
    try:
        user, done = accounts.by_email(email), "changed"
        if user is None:
            user, done = accounts.add(name, email), "made"
        # Only the operator's word counts: whoever signed up by this address may be a stranger.
        accounts.evict(user)
        user.role, user.email_verified = ADMIN, True
        accounts.set_password(user, password)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise click.ClickException(f"create-admin: {reason}. Was the schema made?") from None
    click.echo(f"create-admin: {done} {user.email}, user {user.id}")


def init_app(app: Flask) -> None:
    app.cli.add_command(create_admin)
    app.cli.add_command(fault_control.commands)
    app.cli.add_command(migrate)
