"""Sign up, log in, log out, and what people may do with their own account."""

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Conflict

from slipway import accounts, identity, oauth
from slipway.database import db
from slipway.limits import limiter, log_ins, login_limit, sign_ups
from slipway.models import User
from slipway.validation import own_path
from slipway.web import forms

blueprint = Blueprint("account", __name__, url_prefix="/account", template_folder="templates")
blueprint.before_request(forms.only_ours)


def reader() -> User:
    """Who reads the page; somebody who is not logged in is sent to do so, and back."""
    sign_in = identity.page_sign_in()
    if sign_in is None:
        here = request.script_root + request.full_path.rstrip("?")
        back = here if request.method == "GET" else None
        abort(redirect(url_for("account.login", next=back)))
    return sign_in.user


def _next() -> str:
    """Where to go once logged in: where they came from, if that is here."""
    return own_path(request.args.get("next")) or url_for("account.show")


def _form(template: str, form: forms.Form, **more: object) -> ResponseReturnValue:
    """The page of a form; when it is shown again, something in it is wrong."""
    page = render_template(template, form=form, **more)
    return page, 422 if form.errors else 200


def _enter(user: User, greeting: str) -> Response:
    """Go on as `user`, whoever was logged in before."""
    identity.close_page_session()
    identity.open_page_session(user)
    flash(greeting)
    return make_response(redirect(_next()))


def _providers() -> list[tuple[str, str]]:
    """Who else tells us who somebody is: where to go for that, and their name."""
    back = request.args.get("next")
    return [
        (url_for("oauth.login", name=provider.name, next=back), provider.label)
        for provider in oauth.providers()
    ]


@blueprint.route("/signup", methods=["GET", "POST"])
@sign_ups
def signup() -> ResponseReturnValue:
    form = forms.SignUp()
    if form.validate_on_submit():
        try:
            user = accounts.add(**form.clean)
        except Conflict:
            form.email.errors = ["There is an account with this e-mail. Log in instead."]
        else:
            db.session.commit()
            return _enter(user, "Welcome aboard: your account is ready.")
    return _form("signup.html", form, providers=_providers())


@blueprint.route("/login", methods=["GET", "POST"])
@log_ins
def login() -> ResponseReturnValue:
    form = forms.LogIn()
    if form.validate_on_submit():
        if user := accounts.log_in(**form.clean):
            return _enter(user, "You are logged in.")
        form.form_errors.append("E-mail or password are wrong.")
    return _form("login.html", form, providers=_providers())


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    identity.close_page_session()
    flash("You are logged out.")
    response = make_response(redirect(url_for("account.login")))
    # Not the cookies: those of other services under this domain would go too.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@blueprint.get("")
def show() -> ResponseReturnValue:
    return render_template("account.html", person=reader(), form=forms.Button())


@blueprint.route("/edit", methods=["GET", "POST"])
def edit() -> ResponseReturnValue:
    user = reader()
    form = forms.Profile(obj=user)
    if form.validate_on_submit():
        try:
            _change(user, **form.clean)
        except Conflict:
            form.email.errors = ["Another account has this e-mail."]
        else:
            flash("Your details are saved.")
            return redirect(url_for(".show"))
    return _form("edit.html", form)


def _change(user: User, *, name: str, email: str) -> None:
    if email != user.email:
        user.email_verified = False
    user.name, user.email = name, email
    accounts.flush()
    db.session.commit()


@blueprint.route("/password", methods=["GET", "POST"])
@limiter.limit(login_limit, methods=["POST"])
def password() -> ResponseReturnValue:
    user = reader()
    form = forms.NewPassword()
    if not user.password_hash:
        del form.current
    if form.validate_on_submit():
        if user.password_hash and not accounts.is_theirs(user, form.current.data):
            form.current.errors = ["This is not your current password."]
        else:
            accounts.set_password(user, form.new.data, keep=identity.page_sign_in())
            flash("Your password is changed. Every other session has ended.")
            return redirect(url_for(".show"))
    return _form("password.html", form, email=user.email)


@blueprint.route("/delete", methods=["GET", "POST"])
@limiter.limit(login_limit, methods=["POST"])
def delete() -> ResponseReturnValue:
    user = reader()
    form = forms.Deletion()
    if not user.password_hash:
        del form.current
    if form.validate_on_submit():
        if user.password_hash and not accounts.is_theirs(user, form.current.data):
            form.current.errors = ["This is not your password."]
        elif accounts.is_last_admin(user):
            form.form_errors.append("You are the last admin: make another one first.")
        else:
            identity.close_page_session()
            db.session.delete(user)
            db.session.commit()
            flash("Your account is gone.")
            return redirect(url_for("root.index"))
    return _form("delete.html", form, email=user.email)
