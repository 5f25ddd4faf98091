"""A database as after some years: a million users, and those whose tokens ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import kit
from .backing import Database
from .routes import BEARERS, ROWS
from .shell import BenchError, say

FILL = """
INSERT INTO users (name, email, role, created_at, updated_at)
  SELECT 'Name ' || i::bigint * 7919 % 1000003, 'user' || i || '@example.org',
    CASE WHEN i <= {bearers} THEN 'admin' ELSE 'user' END, now(), now()
  FROM generate_series(1, {rows}) AS i;
VACUUM ANALYZE users;
"""


def fill(db: Database, image: str, settings: Mapping[str, str], shared: Path) -> Path:
    """The file of the bearers' access tokens, one a line."""
    kit.migrate(image, settings)
    say(f"filling {ROWS:,} rows")
    db.sql(FILL.format(rows=ROWS, bearers=BEARERS))
    made = kit.tokens(image, settings, BEARERS)
    if len(made) != BEARERS:
        raise BenchError(
            f"{len(made)} tokens were made for {BEARERS} users: has the service changed?"
        )
    tokens = shared / "tokens"
    tokens.write_text("".join(f"{token}\n" for token in made))
    return tokens
