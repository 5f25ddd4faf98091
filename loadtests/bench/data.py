"""A database as after some years: a million users, and those whose tokens ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.shell import Failure, say

from . import kit
from .backing import Database

ROWS = 1_000_000
# Admins, whose tokens take turns: so many that none of them meets a limit.
BEARERS = 1000

FILL = """
INSERT INTO users (name, email, role, created_at, updated_at)
  SELECT 'Name ' || i::bigint * 7919 % 1000003, 'user' || i || '@example.org',
    CASE WHEN i <= {bearers} THEN 'admin' ELSE 'user' END, now(), now()
  FROM generate_series(1, {rows}) AS i;
VACUUM ANALYZE users;
"""


@dataclass(frozen=True)
class Data:
    """Users 1 to `rows`, and a file with access tokens of admins, one a line."""

    rows: int
    tokens: Path


def fill(
    db: Database, image: str, settings: Mapping[str, str], shared: Path, rows: int = ROWS
) -> Data:
    kit.migrate(image, settings)
    say(f"filling {rows:,} rows")
    db.sql(FILL.format(rows=rows, bearers=BEARERS))
    made = kit.tokens(image, settings, BEARERS)
    if len(made) != BEARERS:
        raise Failure(f"{len(made)} of {BEARERS} tokens were made: has the service changed?")
    tokens = shared / "tokens"
    tokens.write_text("".join(f"{token}\n" for token in made))
    return Data(rows, tokens)
