"""The JSON endpoints, one module a resource."""

from flask_smorest import Api

from slipway.api import auth, root, tasks, users


def register(api: Api) -> None:
    for resource in (root, auth, users, tasks):
        api.register_blueprint(resource.blueprint)
