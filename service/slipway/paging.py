"""Lists by keyset: a page begins after a row, not after a count, so each costs the same.

A cursor is that row's place in the order, signed: it cannot be forged, and it fits one order only.
Source of the method: https://use-the-index-luke.com/no-offset
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from flask import current_app, request
from flask_smorest import abort
from itsdangerous import BadData, URLSafeSerializer
from marshmallow import Schema, fields, validate
from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from slipway.database import UTCDateTime, db
from slipway.validation import StrictSchema, Text

T = TypeVar("T")

MAX_LIMIT = 100


class PageQuery(StrictSchema):
    """What every list takes."""

    limit = fields.Integer(
        load_default=20, validate=validate.Range(1, MAX_LIMIT), metadata={"description": "Rows"}
    )
    cursor = Text(metadata={"description": "Where a page continues: take it from `next`"})


class Sort(fields.String):
    """The name of one of `orders`, by default `id`; a leading `-` turns it round."""

    def __init__(self, orders: Collection[str], **kwargs: Any) -> None:
        super().__init__(
            load_default="id",
            validate=validate.OneOf([*orders, *(f"-{name}" for name in orders)]),
            metadata={"description": "A leading `-` turns the order round"},
            **kwargs,
        )


class PageSchema(Schema):
    """What every list answers with, beside its `items`."""

    next = fields.String(allow_none=True, metadata={"description": "Path of the next page"})


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows in order, and the path of the page after them, if there is one."""

    items: list[T]
    next: str | None

    @property
    def links(self) -> dict[str, str]:
        """The header that leads there too (RFC 8288)."""
        return {"Link": f'<{self.next}>; rel="next"'} if self.next else {}


def _serializer() -> URLSafeSerializer:
    config = current_app.config
    # The last one signs.
    return _signed_by(*config["SECRET_KEY_FALLBACKS"], config["SECRET_KEY"])


@lru_cache(maxsize=8)
def _signed_by(*keys: str) -> URLSafeSerializer:
    return URLSafeSerializer(keys, salt="cursor")


def encode(sort: str, row: Sequence[Any]) -> str:
    """The cursor of the place after the row whose columns of that order hold `row`."""
    plain = [v.isoformat() if isinstance(v, datetime) else v for v in row]
    return str(_serializer().dumps([sort, *plain]))


def decode(cursor: str, sort: str, columns: Sequence[InstrumentedAttribute[Any]]) -> list[Any]:
    """The row that `encode` was given; no page is found by a cursor of anybody else's making."""
    try:
        signed_for, *row = _serializer().loads(cursor)
    except BadData:
        abort(404, message="There is no page of this cursor: start again without one.")
    if signed_for != sort:
        abort(404, message=f"This cursor belongs to sort={signed_for}.")
    return [
        datetime.fromisoformat(value) if isinstance(column.type, UTCDateTime) else value
        for column, value in zip(columns, row, strict=True)
    ]


def paginate(
    rows: Select[tuple[T]],
    query: Mapping[str, Any],
    orders: Mapping[str, Sequence[InstrumentedAttribute[Any]]],
) -> Page[T]:
    """The page of `rows` that `query` (limit, cursor, sort) asks for.

    `orders` gives for each `sort` the columns of an index that make its order total; a `-` before
    the name turns it round.
    """
    sort = query["sort"]
    columns = orders[sort.removeprefix("-")]
    descending = sort.startswith("-")
    if "cursor" in query:
        row = decode(query["cursor"], sort, columns)
        after = tuple_(*(literal(v, c.type) for v, c in zip(row, columns, strict=True)))
        place = tuple_(*columns)
        rows = rows.where(place < after if descending else place > after)
    rows = rows.order_by(*(column.desc() if descending else column for column in columns))
    # One more than asked for tells whether there is a next page.
    items = list(db.session.scalars(rows.limit(query["limit"] + 1)))
    more = len(items) > query["limit"]
    del items[query["limit"] :]
    link = None
    if more:
        cursor = encode(sort, [getattr(items[-1], column.key) for column in columns])
        arguments: dict[str, Any] = {**request.args.to_dict(), "cursor": cursor}
        link = f"{quote(request.script_root + request.path)}?{urlencode(arguments)}"
    return Page(items, link)
