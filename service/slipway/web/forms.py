"""Forms: only our own are taken (CSRF), and what they take is what the API takes."""

from typing import Any, ClassVar

from flask import Flask, request
from flask_smorest import abort
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFError, CSRFProtect
from marshmallow import Schema
from wtforms import BooleanField, EmailField, Field, PasswordField, StringField
from wtforms.validators import InputRequired, Length, Regexp

from slipway.api.auth import LoginSchema
from slipway.api.users import NewUserSchema, UserSchema
from slipway.validation import ADDRESS, PASSWORD_LEAST, PASSWORD_MOST

_csrf = CSRFProtect()

_CHOSEN = f"{PASSWORD_LEAST} to {PASSWORD_MOST} characters; anything goes."


def only_ours() -> None:
    """A 400 for a form that another site sent, or that was given to somebody else."""
    if request.method != "POST":
        return
    # Browsers say where a request began; our pages send no Referer to tell it by.
    elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}
    try:
        _csrf.protect()
    except CSRFError:
        elsewhere = True
    if elsewhere:
        abort(400, message="This form is too old, or it did not come from this page.")


def _required(what: str) -> InputRequired:
    return InputRequired(what)


def _name() -> Field:
    return StringField(
        "Name",
        [_required("Enter a name."), Length(max=100, message="At most 100 characters.")],
        render_kw={"autocomplete": "name"},
    )


def _email(autocomplete: str = "email") -> Field:
    return EmailField(
        "E-mail",
        [
            _required("Enter an e-mail address."),
            Length(max=254, message="At most 254 characters."),
            Regexp(ADDRESS, message="Enter an address such as ann@example.com."),
        ],
        render_kw={"autocomplete": autocomplete, "spellcheck": "false"},
    )


def _chosen_password(label: str) -> Field:
    length = Length(PASSWORD_LEAST, PASSWORD_MOST, message=f"Use {_CHOSEN}")
    return PasswordField(
        label,
        [_required("Enter a password."), length],
        description=_CHOSEN,
        render_kw={"autocomplete": "new-password"},
    )


def _own_password(label: str) -> Field:
    return PasswordField(
        label,
        [_required("Enter your password.")],
        render_kw={"autocomplete": "current-password", "maxlength": PASSWORD_MOST},
    )


class Form(FlaskForm):
    """A form whose fields a schema of the API checks too; `clean` is what it made of them."""

    schema: ClassVar[type[Schema] | None] = None
    clean: dict[str, Any]

    def validate(self, extra_validators: Any = None) -> bool:
        if not super().validate(extra_validators):
            return False
        if self.schema:
            checked = self.schema()
            plain = {name: self.data[name] for name in checked.fields if name in self.data}
            for name, reasons in checked.validate(plain).items():
                self[name].errors = [str(reason) for reason in reasons]
            if self.errors:
                return False
            self.clean = checked.load(plain)
        return True


class SignUp(Form):
    schema = NewUserSchema
    name = _name()
    email = _email()
    password = _chosen_password("Password")


class LogIn(Form):
    schema = LoginSchema
    email = _email("username")
    password = _own_password("Password")


class Profile(Form):
    schema = UserSchema
    name = _name()
    email = _email()


class NewPassword(Form):
    current = _own_password("Current password")
    new = _chosen_password("New password")


class Deletion(Form):
    current = _own_password("Your password")
    sure = BooleanField(
        "Delete my account and all that belongs to it", [_required("Tick this to go on.")]
    )


class Button(Form):
    """A form that is a button alone."""


def init_app(app: Flask) -> None:
    previous = app.config["SECRET_KEY_FALLBACKS"]
    app.config.update(
        # Pages ask for the check themselves: programs have no session that could be misused.
        WTF_CSRF_CHECK_DEFAULT=False,
        # The last one signs.
        WTF_CSRF_SECRET_KEY=[*previous, app.config["SECRET_KEY"]],
        # As long as the session: who comes back to an open page loses nothing of what they wrote.
        WTF_CSRF_TIME_LIMIT=None,
        # Our pages send no Referer.
        WTF_CSRF_SSL_STRICT=False,
    )
    _csrf.init_app(app)
