"""The JSON endpoints, one module a resource."""

from flask_smorest import Api

from slipway.api import auth, root, tasks, users
from slipway.converters import MAX_ID, IdConverter


def register(api: Api) -> None:
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    )
    identifier = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
    api.register_converter(IdConverter, lambda _converter: identifier)
    for resource in (root, auth, users, tasks):
        api.register_blueprint(resource.blueprint)
