"""What `celery --app slipway.worker worker` runs."""

import time

from celery.signals import worker_init

from slipway import create_app, schema
from slipway.database import db

app = create_app()
celery = app.extensions["celery"]


@worker_init.connect  # type: ignore[untyped-decorator]
def _wait_for_schema(**_: object) -> None:
    """Take no task before the migration that came with this code is done."""
    with app.app_context():
        while not schema.is_served_by(db.engine):
            app.logger.info("waiting for the database's schema")
            time.sleep(1)
