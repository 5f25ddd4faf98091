"""A late page is found by the index, as the first one is."""

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, text

from slipway.api.users import ORDERS
from slipway.database import db
from slipway.models import User
from slipway.paging import encode, paginate

ROWS = 20_000


@pytest.fixture
def filled(app: Flask) -> Flask:
    with app.app_context():
        db.session.execute(
            db.insert(User),
            [{"name": f"user {i % 977}", "email": f"user{i:07}@example.com"} for i in range(ROWS)],
        )
        db.session.commit()
        db.session.execute(text("ANALYZE"))
        db.session.commit()
    return app


def plan(app: Flask, sort: str, row: int) -> str:
    """How the database finds the page that begins after the `row`th user."""
    statements: list[Any] = []
    with app.test_request_context("/api/users"):

        def listen(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            statements.append((statement, parameters))

        columns = ORDERS[sort.removeprefix("-")]
        users = select(User).order_by(User.id).offset(row).limit(1)
        user = db.session.scalars(users).one()
        cursor = encode(sort, [getattr(user, c.key) for c in columns])
        event.listen(db.engine, "before_cursor_execute", listen)
        paginate(select(User), {"sort": sort, "limit": 20, "cursor": cursor}, ORDERS)
        event.remove(db.engine, "before_cursor_execute", listen)
        connection = db.session.connection()
        statement, parameters = statements[-1]
        if connection.dialect.name == "sqlite":
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return "; ".join(step[3] for step in steps)
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        return json.dumps(explained.scalar())


def test_every_page_is_a_seek_in_an_index(filled: Flask) -> None:
    for sort in (sign + order for order in ORDERS for sign in ("", "-")):
        for row in (10, ROWS // 2, ROWS - 100):
            found = plan(filled, sort, row)
            where = f"sort={sort}, after row {row}: {found}"
            if "Plan" in found:
                assert '"Node Type": "Index Scan"' in found, where
                assert '"Index Cond"' in found, where
                assert "Seq Scan" not in found, where
                assert '"Sort' not in found, where
            else:
                assert found.startswith("SEARCH users USING "), where
                assert "TEMP B-TREE" not in found, where


def test_the_path_of_the_next_page_is_one_whatever_it_is_served_under(filled: Flask) -> None:
    with filled.test_request_context("/api/users?limit=1", base_url="http://localhost/büro"):
        page = paginate(select(User), {"sort": "id", "limit": 1}, ORDERS)
    assert str(page.next).startswith("/b%C3%BCro/api/users?limit=1&cursor=")
