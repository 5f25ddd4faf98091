"""What `celery --app slipway.worker worker` runs."""

from slipway import create_app

celery = create_app().extensions["celery"]
