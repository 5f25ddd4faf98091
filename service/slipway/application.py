"""Flask, without what it does anew for every request although the answer never changes."""

from types import CodeType
from typing import Any

import orjson
from flask import Flask, Response
from flask.json.provider import DefaultJSONProvider
from flask.typing import RouteCallable


class Json(DefaultJSONProvider):
    """Answers by orjson; what that cannot write (half of a Unicode pair) goes Python's own way."""

    sort_keys = False

    def response(self, *args: Any, **kwargs: Any) -> Response:
        whole = self._prepare_response_obj(args, kwargs)
        try:
            body: Any = orjson.dumps(whole, self.default, orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            body = f"{self.dumps(whole)}\n"
        return self._app.response_class(body, mimetype=self.mimetype)  # type: ignore[return-value]


class Application(Flask):
    json_provider_class = Json

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._synchronous: set[CodeType] = set()

    def ensure_sync(self, func: Any) -> RouteCallable:
        """As Flask's, which inspects each hook and view at each request."""
        code = getattr(func, "__code__", None)
        if code in self._synchronous:
            return func  # type: ignore[no-any-return]
        ensured = super().ensure_sync(func)
        if ensured is func and code is not None:
            self._synchronous.add(code)
        return ensured
