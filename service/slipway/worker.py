"""What `celery --app slipway.worker worker` runs."""

import time

from celery.signals import worker_init

from slipway import create_app, schema
from slipway.database import db

# Celery takes a variable named `app` for its own.
flask_app = create_app()
celery = flask_app.extensions["celery"]


@worker_init.connect  # type: ignore[untyped-decorator]
def _wait_for_schema(**_: object) -> None:
    """Take no task before the migration that came with this code is done."""
    with flask_app.app_context():
        while not schema.is_served_by(db.engine):
            flask_app.logger.info("waiting for the database's schema")
            time.sleep(1)
