"""Work that goes on after the answer: start it, and ask how it went."""

from typing import Any

from celery.result import AsyncResult
from flask import current_app, url_for
from flask_smorest import abort
from marshmallow import Schema, fields, validate

from slipway import tasks
from slipway.converters import MAX_ID
from slipway.database import db
from slipway.limits import limiter
from slipway.models import User
from slipway.validation import Blueprint

blueprint = Blueprint("tasks", __name__, url_prefix="/api/tasks", description="Background work")

# What Celery says of a task that it has never seen.
UNKNOWN = "PENDING"


class EmailSchema(Schema):
    user_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))


class TaskSchema(Schema):
    id = fields.UUID()
    status = fields.String(metadata={"example": "QUEUED"})
    result = fields.String(allow_none=True)


@blueprint.post("/email")
@blueprint.arguments(EmailSchema)
@blueprint.response(202, TaskSchema)
@limiter.limit("30 per minute")
def send_email(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Greet a user by mail, soon; `Location` says how it goes."""
    if db.session.get(User, data["user_id"]) is None:
        abort(422, messages={"json": {"user_id": ["There is no such user."]}})
    task = tasks.enqueue(tasks.send_greeting, data["user_id"])
    return _state(task), {"Location": url_for("tasks.read_task", task_id=task.id)}


@blueprint.get("/<uuid:task_id>")
@blueprint.response(200, TaskSchema)
def read_task(task_id: Any) -> dict[str, Any]:
    """How far a task has come: QUEUED, SUCCESS or FAILURE."""
    task = current_app.extensions["celery"].AsyncResult(str(task_id))
    if task.state == UNKNOWN:
        abort(404, message=f"There is no task {task_id}.")
    return _state(task)


def _state(task: AsyncResult) -> dict[str, Any]:
    state = task.state
    return {"id": task.id, "status": state, "result": task.result if state == "SUCCESS" else None}
