"""How schemathesis is logged in to the service that test_openapi.py serves.

Each call is an admin's with a session of its own, by the same database: calls change and delete
users, end sessions and use refresh tokens up.
"""

import uuid
from typing import Any

import schemathesis
from answers import settings
from sqlalchemy import select

from slipway import accounts, create_app, tokens
from slipway.database import db
from slipway.models import ADMIN, User

app = create_app(settings())


def _tokens() -> dict[str, str]:
    with app.test_request_context():
        admin = db.session.scalars(select(User).where(User.role == ADMIN).limit(1)).first()
        if admin is None:
            admin = accounts.add("Admin", "admin@example.com", role=ADMIN)
        return tokens.first(admin)


class _Bearer:
    kind = "access_token"

    def get(self, _case: schemathesis.Case[Any], _context: schemathesis.AuthContext) -> str:
        return _tokens()[self.kind]

    def set(
        self, case: schemathesis.Case[Any], data: str, _context: schemathesis.AuthContext
    ) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=None).skip_for(path="/refresh")
class Access(_Bearer):
    """For everything else."""


@schemathesis.auth(refresh_interval=None).apply_to(path="/refresh")
class Refresh(_Bearer):
    """For what takes no access token."""

    kind = "refresh_token"


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """A key for each POST: a story that is tried again would be told of what it then deleted."""
    headers: dict[str, Any] = dict(case.headers or {})
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) <= 200:
        case.headers["Idempotency-Key"] = f"{key}{uuid.uuid4().hex}"
