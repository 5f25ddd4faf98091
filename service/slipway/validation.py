"""Input that may be stored: fields and bodies that are what they claim to be."""

import unicodedata
from typing import Any

from flask import Request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE, ValidationError, fields, validate
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

PASSWORD_LEAST, PASSWORD_MOST = 12, 128


class Text(fields.String):
    """A string that every database can hold: valid UTF-8 without control characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs).strip()
        # Cc: control characters, NUL among them; Cs: halves of a pair, which UTF-8 cannot write.
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
            raise ValidationError("Control characters are not allowed.")
        return text


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
