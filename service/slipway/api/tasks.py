"""Work that goes on after the answer: ask for it, and ask how it went."""

import json
import uuid
from typing import Any

from flask import request, url_for
from flask_smorest import abort
from marshmallow import Schema, fields, validate

from slipway import identity, tasks
from slipway.database import db
from slipway.idempotency import idempotent
from slipway.limits import limiter
from slipway.models import ADMIN, User
from slipway.validation import Blueprint, Id, Lines, StrictSchema, Text

blueprint = Blueprint("tasks", __name__, url_prefix="/api/tasks", description="Background work")

# Any one, for ever: with it, an idempotency key becomes a task's id.
NAMESPACE = uuid.UUID("8f2f9a52-6f0e-4b5e-9a5b-0f3c6c1f7d11")

# In openapi.json: where the id of a task leads.
LINKS = {"read_task": {"operationId": "read_task", "parameters": {"task_id": "$response.body#/id"}}}


class EmailSchema(StrictSchema):
    subject = Text(required=True, validate=validate.Length(1, 200))
    text = Lines(required=True, validate=validate.Length(1, 10_000))
    user_id = Id(
        metadata={"description": "Whom to; the bearer if left out, anybody only for an admin"}
    )


class TaskSchema(Schema):
    id = fields.UUID()
    status = fields.String(
        metadata={"example": "QUEUED", "description": "QUEUED, RETRY, SUCCESS or FAILURE"}
    )
    result = fields.String(allow_none=True, metadata={"description": "What a success says"})


@blueprint.post("/email")
@identity.signed_in
@idempotent
@blueprint.arguments(EmailSchema)
@blueprint.response(202, TaskSchema)
@blueprint.doc(responses={202: {"links": LINKS}})
@limiter.limit("30 per minute")
def send_email(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Send a user a mail, soon; `Location` says how it goes."""
    asked_by = identity.user().id
    user_id = data.get("user_id", asked_by)
    if user_id != asked_by:
        identity.only_admins("Only an admin may have mail sent to somebody else.")
    if db.session.get(User, user_id) is None:
        abort(404, message=f"There is no user {user_id}.")
    task_id = tasks.enqueue(
        tasks.send_email,
        user_id,
        data["subject"],
        data["text"],
        asked_by=asked_by,
        task_id=_task_id(asked_by, data),
    )
    return tasks.state(task_id), {"Location": url_for("tasks.read_task", task_id=task_id)}


def _task_id(asked_by: int, data: dict[str, Any]) -> str:
    """The same for every try of a request: if an answer is lost, the mail is still sent once."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(NAMESPACE, json.dumps([asked_by, key, data], sort_keys=True)))


@blueprint.get("/<uuid:task_id>")
@identity.signed_in
@blueprint.response(200, TaskSchema)
def read_task(task_id: uuid.UUID) -> dict[str, Any]:
    """How far a task has come that the bearer asked for; an admin sees them all."""
    asked_by = tasks.asked_by(str(task_id))
    user = identity.user()
    if asked_by is None or (asked_by != user.id and user.role != ADMIN):
        abort(404, message=f"There is no task {task_id}.")
    return tasks.state(str(task_id))
