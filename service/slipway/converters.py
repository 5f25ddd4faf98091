"""Path parameters of our own."""

from flask import Flask
from werkzeug.routing import BaseConverter, ValidationError

MAX_ID = 2**63 - 1


class IdConverter(BaseConverter):
    """A positive number of at most 64 bits: beyond, no row can exist, which is a 404."""

    regex = r"[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if not 0 < number <= MAX_ID:
            raise ValidationError
        return number

    def to_url(self, value: object) -> str:
        return str(value)


def init_app(app: Flask) -> None:
    app.url_map.converters["id"] = IdConverter
