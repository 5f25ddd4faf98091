"""How schemathesis logs in to the service that test_openapi.py serves."""

import json
import os
import urllib.request

import schemathesis


def _tokens() -> dict[str, str]:
    request = urllib.request.Request(  # noqa: S310
        f"{os.environ['SERVICE_URL']}/login",
        os.environ["CREDENTIALS"].encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        tokens: dict[str, str] = json.load(answer)
    return tokens


class _Bearer:
    kind = "access_token"

    def get(self, _case: schemathesis.Case, _context: schemathesis.AuthContext) -> str:
        return _tokens()[self.kind]

    def set(self, case: schemathesis.Case, data: str, _context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().skip_for(path=["/refresh", "/logout"])
class Access(_Bearer):
    """One session for all."""


@schemathesis.auth(refresh_interval=None).apply_to(path="/logout")
class AccessOnce(_Bearer):
    """A session for each call, which ends it."""


@schemathesis.auth(refresh_interval=None).apply_to(path="/refresh")
class Refresh(_Bearer):
    """A refresh token for each call, which uses it up."""

    kind = "refresh_token"
