"""What several tests of the service need: its settings, a user, the shape of an error."""

import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from slipway import accounts, tokens
from slipway.database import db
from slipway.models import USER
from slipway.settings import Settings

ANN = {"name": "Ann", "email": "Ann@Example.com"}
PASSWORD = "correct horse battery"
MIGRATE = ["migrate", "--wait", "0"]


def settings(**values: Any) -> Settings:
    return Settings(**{"environment": "development", **values})


def signed_in(app: Flask, email: str, role: str = USER) -> FlaskClient:
    """A client with the access token of a new user of that e-mail and role."""
    with app.test_request_context():
        user = accounts.add(email.split("@", maxsplit=1)[0], email, role=role)
        db.session.commit()
        token = tokens.first(user)["access_token"]
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """The problem document of an answer that has to be one, of `status`."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert document["status"] == status
    assert document["title"]
    assert document["trace_id"] == response.headers["X-Trace-Id"]
    return document


def until(condition: Callable[[], bool], what: Callable[[], str], seconds: float = 60) -> None:
    """Wait for `condition`; when it does not come, fail with `what` was seen instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
