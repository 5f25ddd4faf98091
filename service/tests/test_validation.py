"""Lists are written as marshmallow writes them, whatever they are lists of."""

from types import SimpleNamespace
from typing import Any

import pytest
from marshmallow import Schema, fields, post_dump

from slipway.validation import StrictSchema


class Plain(StrictSchema):
    name = fields.String()
    secret = fields.String(load_only=True)
    age = fields.Integer(data_key="years", attribute="lived")


class Computed(Plain):
    shout = fields.Function(lambda row: "!")
    kind = fields.Constant("person")


class Defaulted(Plain):
    city = fields.String(dump_default="Rome")


class Hooked(Plain):
    @post_dump
    def marked(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        return {**data, "marked": True}


ROW = {"name": 1, "secret": "s", "lived": "7"}
ROWS: dict[str, list[Any]] = {
    "none": [],
    "objects": [SimpleNamespace(**ROW), SimpleNamespace(**ROW | {"name": None})],
    "an object that lacks one": [SimpleNamespace(**ROW), SimpleNamespace(name="Ann")],
    "mappings": [ROW, ROW | {"lived": None}],
}


@pytest.mark.parametrize("schema", [Plain, Computed, Defaulted, Hooked])
@pytest.mark.parametrize("rows", ROWS)
def test_a_list_is_written_as_by_marshmallow(schema: type[StrictSchema], rows: str) -> None:
    slowly = Schema.dump(schema(), ROWS[rows], many=True)
    assert schema().dump(ROWS[rows], many=True) == slowly
    assert schema(many=True).dump(ROWS[rows]) == slowly


def test_what_cannot_be_written_fails_as_it_does_there() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Plain().dump([SimpleNamespace(name="Ann", lived="many")], many=True)
