"""What several tests of the service need: its settings, a user, the shape of an error."""

from typing import Any

from werkzeug.test import TestResponse

from slipway.settings import Settings

ANN = {"name": "Ann", "email": "Ann@Example.com"}
MIGRATE = ["migrate", "--wait", "0"]


def settings(**values: Any) -> Settings:
    return Settings(**{"environment": "development", **values})


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """The problem document of an answer that has to be one, of `status`."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert document["status"] == status
    assert document["title"]
    assert document["trace_id"] == response.headers["X-Trace-Id"]
    return document
