"""An admin, if the environment has one: lists users, and removes what a run could not."""

from __future__ import annotations

import os
from datetime import datetime
from urllib.parse import urlencode

from load.account import Account, prefix
from load.asking import Asker

EMAIL, PASSWORD = "LOADTEST_ADMIN_EMAIL", "LOADTEST_ADMIN_PASSWORD"
PAGES = 1000


def credentials() -> tuple[str, str]:
    """E-mail and password; each is empty if there is none."""
    return os.environ.get(EMAIL, ""), os.environ.get(PASSWORD, "")


def is_there() -> bool:
    return all(credentials())


def sweep(ask: Asker, run: str, since: datetime) -> int:
    """Delete the accounts of `run`, made since then by the service's clock; how many there were."""
    admin = Account(ask, *credentials())
    path: str | None = "/api/users?" + urlencode({"created_from": since.isoformat(), "limit": 100})
    removed = 0
    for _ in range(PAGES):
        answer = admin.list_users(path) if path and admin.stay_in() else None
        if answer is None:
            break
        for user in answer.json["items"]:
            if user["email"].startswith(prefix(run)):
                removed += admin.delete_other(user["id"])
        path = answer.json["next"]
    return removed
