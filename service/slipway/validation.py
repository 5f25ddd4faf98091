"""Input that may be stored: fields and bodies that are what they claim to be."""

import re
import unicodedata
from typing import Any

from flask import Request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE, Schema, ValidationError, fields, validate
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from slipway.converters import MAX_ID

PASSWORD_LEAST, PASSWORD_MOST = 12, 128
# As openapi.json tells what the fields below check: no control character, not only blanks.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
# The same with newlines.
LINES = r"^([^\x00-\x1f\x7f-\x9f]|\r?\n)*[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]|\r?\n)*$"
# What a browser takes for an address (HTML, 4.10.5.1.5), with a dot in its domain.
ADDRESS = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
)
# A path of this service: no host (`//x`, `/\x`), and nothing that browsers drop to make it one.
OWN_PATH = re.compile(r"/(?![/\\])[!-~]{0,499}")


def own_path(target: str | None) -> str | None:
    """`target`, where to go on to, unless that leads away from here."""
    return target if target and OWN_PATH.fullmatch(target) else None


class StrictSchema(Schema):
    """Takes no field that it does not know: a misspelt one is not ignored."""

    class Meta:
        unknown = RAISE

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Of a row or a mapping; marshmallow looks for paths and indexes besides."""
        return obj.get(attr, default) if isinstance(obj, dict) else getattr(obj, attr, default)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """As marshmallow's, which finds out for each value of each row how it is to be read."""
        is_list = isinstance(obj, list) and (self.many if many is None else many)
        if not is_list or any(self._hooks.values()):
            return super().dump(obj, many=many)
        fields = [
            (field.data_key or name, field.attribute or name, field._serialize)
            for name, field in self.dump_fields.items()
        ]
        try:
            return [
                {key: written(getattr(row, name), name, row) for key, name, written in fields}
                for row in obj
            ]
        except AttributeError:
            # Mappings, fields that are no attribute, and rows without one.
            return super().dump(obj, many=many)


class Text(fields.String):
    """A string that every database can hold: valid UTF-8 without control characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": PLAIN, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        # Cc: control characters, NUL among them; Cs: halves of a pair, which UTF-8 cannot write.
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
            raise ValidationError("Control characters are not allowed.")
        if not text.strip():
            raise ValidationError("Should not be blank.")
        return text

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        """The text without blanks around it, which count for its length."""
        value = super().deserialize(*args, **kwargs)
        return value.strip() if isinstance(value, str) else value


class Lines(Text):
    """A text of several lines: no control character but newlines."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": LINES}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            return super()._deserialize(value, attr, data, **kwargs)
        super()._deserialize(value.replace("\r\n", "").replace("\n", ""), attr, data, **kwargs)
        return value.replace("\r\n", "\n")


class Email(fields.String):
    """An e-mail address, in lower case."""

    def __init__(self, **kwargs: Any) -> None:
        rules = [validate.Length(max=254), validate.Regexp(ADDRESS, error="Not an e-mail address.")]
        super().__init__(validate=rules, **kwargs)

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        value = super().deserialize(*args, **kwargs)
        return value.lower() if isinstance(value, str) else value


class Whole(fields.Integer):
    """A JSON number that is whole, however it is written (`2`, `2.0`)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Id(Whole):
    """The number of a row."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(1, MAX_ID), **kwargs)


class Password(fields.String):
    """A password as it was typed: nothing is stripped, nothing is ever sent back.

    A `chosen` one has a length that OWASP's Authentication Cheat Sheet asks for, and no other rule.
    """

    def __init__(self, *, chosen: bool = False, **kwargs: Any) -> None:
        least = PASSWORD_LEAST if chosen else None
        super().__init__(
            load_only=True,
            validate=validate.Length(least, PASSWORD_MOST),
            metadata={"format": "password", **kwargs.pop("metadata", {})},
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if any(unicodedata.category(character) == "Cs" for character in text):
            raise ValidationError("Not valid Unicode.")
        return text


class Parser(FlaskParser):
    """webargs' parser, strict about what it is given."""

    # A misspelt filter that is ignored answers with everything.
    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": RAISE}  # noqa: RUF012

    def load_json(self, req: Request, schema: Any) -> Any:
        if not req.is_json:
            raise UnsupportedMediaType("The body has to be application/json.")
        try:
            return super().load_json(req, schema)
        except (RecursionError, ValueError) as error:
            # Nested too deeply, or a number of thousands of digits.
            raise BadRequest("The body is JSON that is too deep or too large to read.") from error


class Blueprint(SmorestBlueprint):
    """flask-smorest's blueprint with the parser above."""

    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: Any, **options: Any) -> Any:
        """As flask-smorest's, which makes a new schema of a class for each request."""
        return super().arguments(schema() if isinstance(schema, type) else schema, **options)

    def route(self, rule: str, **options: Any) -> Any:
        """As flask-smorest's; in openapi.json an operation has its view's name."""
        register = super().route(rule, **options)
        return lambda view: register(self.doc(operationId=view.__name__)(view))
