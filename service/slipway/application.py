"""Flask, without what it does anew for every request although the answer never changes."""

from functools import lru_cache
from types import CodeType
from typing import Any

import orjson
from flask import Flask, Request, Response
from flask.json.provider import DefaultJSONProvider
from flask.typing import RouteCallable
from werkzeug.routing import MapAdapter
from werkzeug.wsgi import get_host


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


@lru_cache(maxsize=64)
def _ascii(host: str) -> str:
    """A host as it goes into URLs. Raises UnicodeError for what is none."""
    name, colon, port = host.lower().partition(":")
    return f"{name.encode('idna').decode()}{colon}{port}"


class Application(Flask):
    json_provider_class = Json

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By their ids, as the hash of code goes over all of it.
        self._synchronous: dict[int, CodeType] = {}

    def ensure_sync(self, func: Any) -> RouteCallable:
        """As Flask's, which inspects each hook and view at each request."""
        code = getattr(func, "__code__", None)
        if id(code) in self._synchronous:
            return func  # type: ignore[no-any-return]
        ensured = super().ensure_sync(func)
        if ensured is func and code is not None:
            self._synchronous[id(code)] = code
        return ensured

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """As Flask's, which encodes the host at each request, and asks for what is not set here."""
        is_plain = not (self.config["SERVER_NAME"] or self.config["TRUSTED_HOSTS"])
        if request is None or not is_plain or "HTTP_UPGRADE" in request.environ:
            return super().create_url_adapter(request)
        environ = request.environ
        try:
            request.host = get_host(environ)
            host = _ascii(request.host)
        except UnicodeError:
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            host,
            request.root_path,
            self.url_map.default_subdomain,
            environ["wsgi.url_scheme"],
            # As it came: `request.path` has lost what a redirect would correct.
            environ.get("PATH_INFO", "/").encode("latin1").decode(errors="replace"),
            environ["REQUEST_METHOD"],
            request.query_string.decode(errors="replace"),
        )
