"""The pages, as a browser's requests meet them: forms, sessions, and where they lead."""

import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from answers import MIGRATE, PASSWORD, problem, settings, signed_in
from flask import Flask, session
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from slipway import accounts, create_app
from slipway.database import db, now
from slipway.models import ADMIN, SignIn, User

ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
EMAIL = "ann@example.com"
TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')


def browser(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT"] = ACCEPT
    return client


def made(app: Flask, email: str = EMAIL, **more: object) -> None:
    with app.test_request_context():
        accounts.add("Ann", email, **{"password": PASSWORD, **more})  # type: ignore[arg-type]
        db.session.commit()


def token(page: TestResponse) -> str:
    found = TOKEN.search(page.text)
    assert found, page.text
    return found[1]


def send(client: FlaskClient, path: str, sent_to: str | None = None, **fields: str) -> TestResponse:
    """Fill in the form at `path` and send it."""
    page = client.get(path)
    return client.post(sent_to or path, data={"csrf_token": token(page), **fields})


def log_in(client: FlaskClient, password: str = PASSWORD, query: str = "") -> TestResponse:
    return send(client, f"/account/login{query}", email=EMAIL, password=password)


def copy_session(client: FlaskClient, other: FlaskClient) -> None:
    cookie = client.get_cookie("slipway_session")
    assert cookie
    other.set_cookie("slipway_session", cookie.value)


def goes_to(response: TestResponse) -> str:
    assert response.status_code == 302, response.text
    return response.headers["Location"]


@pytest.fixture
def ann(app: Flask) -> FlaskClient:
    """The browser of somebody who is logged in."""
    made(app)
    client = browser(app)
    assert goes_to(log_in(client)) == "/account"
    return client


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return browser(app)


@pytest.fixture
def replica(app: Flask) -> Iterator[Flask]:
    """Another process of the same service."""
    other = create_app(app.config["SETTINGS"])
    yield other
    with other.app_context():
        db.engine.dispose()


def test_programs_get_json_and_browsers_a_page(app: Flask) -> None:
    client = app.test_client()
    for accept, kind in {
        "": "application/json",
        "*/*": "application/json",
        "application/json, text/html": "application/json",
        ACCEPT: "text/html",
        "text/html;q=0.5, application/json;q=0.4": "text/html",
    }.items():
        answer = client.get("/", headers={"Accept": accept} if accept else {})
        assert answer.mimetype == kind, accept
        assert "Accept" in answer.headers["Vary"]


def test_errors_are_pages_where_a_browser_asks_for_one(app: Flask, stranger: FlaskClient) -> None:
    page = stranger.get("/nowhere")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert page.headers["X-Trace-Id"] in page.text
    assert "Accept" in page.headers["Vary"]
    refused = stranger.get("/login")
    assert (refused.status_code, refused.mimetype) == (405, "text/html")
    assert "POST" in refused.headers["Allow"]
    program = app.test_client().get("/nowhere")
    problem(program, 404)
    assert "Accept" in program.headers["Vary"]


def test_the_api_answers_browsers_in_json_too(stranger: FlaskClient) -> None:
    problem(stranger.get("/api/nowhere"), 404)
    problem(stranger.get("/api/users"), 401)
    problem(stranger.get("/me"), 401)


def test_an_unforeseen_error_has_a_page(app: Flask, stranger: FlaskClient) -> None:
    def fail() -> str:
        raise ValueError("an inside")

    for endpoint, path in (("account.login", "/account/login"), ("root.index", "/")):
        app.view_functions[endpoint] = fail
        page = stranger.get(path)
        assert (page.status_code, page.mimetype) == (500, "text/html")
        assert "inside" not in page.text
        assert page.headers["X-Trace-Id"] in page.text


def test_a_database_that_is_away_has_a_page_and_home_says_so_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        app = create_app(
            settings(
                database_url=f"postgresql://x:secret@127.0.0.1:{port}/x",
                redis_url=f"redis://127.0.0.1:{port}/0",
            )
        )
        client = browser(app)
        with client.session_transaction() as known:
            known["sign_in"] = "f" * 32
        for _ in range(2):
            started = time.monotonic()
            page = client.get("/")
            assert time.monotonic() - started < 1
            assert page.status_code == 200
            assert "Not ready to" in page.text
            assert page.text.count("does not answer") == 2
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/none/slipway.db"))
    client = browser(app)
    away = log_in(client)
    assert (away.status_code, away.mimetype) == (503, "text/html")
    assert "does not answer" in client.get("/").text


def test_home_says_what_the_service_runs_on(app: Flask, stranger: FlaskClient) -> None:
    page = stranger.get("/").text
    assert "Ready to" in page
    assert "Not ready" not in page
    valkey = app.config["SETTINGS"].redis_url is not None
    assert ("Valkey" in page) == valkey
    assert ("in this process" in page) == (not valkey)


def test_home_says_that_the_schema_is_missing(tmp_path: Path) -> None:
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/slipway.db"))
    assert "has schema None, needs 0" in browser(app).get("/").text
    with app.app_context():
        db.engine.dispose()


def test_who_signs_up_is_logged_in(app: Flask, stranger: FlaskClient) -> None:
    done = send(stranger, "/account/signup", name="Ann", email="Ann@Example.com", password=PASSWORD)
    assert goes_to(done) == "/account"
    page = stranger.get("/account").text
    assert EMAIL in page
    assert "Welcome aboard" in page
    assert "Welcome aboard" not in stranger.get("/account").text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "Enter a name."),
        ("name", "  ", "Should not be blank."),
        ("name", "x" * 101, "At most 100 characters."),
        ("email", "", "Enter an e-mail address."),
        ("email", "nobody", "Enter an address such as ann@example.com."),
        ("email", "x" * 250 + "@example.com", "At most 254 characters."),
        ("password", "", "Enter a password."),
        ("password", "short", "Use 12 to 128 characters"),
        ("password", "x" * 129, "Use 12 to 128 characters"),
        ("email", EMAIL, "There is an account with this e-mail. Log in instead."),
    ],
)
def test_a_wrong_field_says_what_is_wrong(
    app: Flask, stranger: FlaskClient, field: str, value: str, said: str
) -> None:
    made(app)
    fields = {"name": "Ann", "email": "new@example.com", "password": PASSWORD, field: value}
    page = send(stranger, "/account/signup", **fields)
    assert page.status_code == 422
    assert "<title>Error: " in page.text
    assert re.search(rf'<p class="error" id="{field}-error">{re.escape(said)}', page.text)
    marked = re.search(rf'<input[^>]* id="{field}"[^>]*>', page.text)
    assert marked
    assert 'aria-invalid="true"' in marked[0]
    assert f"{field}-error" in marked[0]
    assert "autofocus" in marked[0]
    assert page.text.count("autofocus") == 1
    assert value not in page.text or field != "password" or not value


def test_a_wrong_password_and_an_unknown_address_look_the_same(
    app: Flask, stranger: FlaskClient
) -> None:
    made(app)
    pages = []
    for email in (EMAIL, "who@example.com"):
        page = send(stranger, "/account/login", email=email, password="not this one")
        assert page.status_code == 422
        assert "E-mail or password are wrong." in page.text
        pages.append(TOKEN.sub("", page.text).replace(email, ""))
    assert pages[0] == pages[1]


def test_log_ins_are_limited_with_those_of_the_api(app: Flask, stranger: FlaskClient) -> None:
    for _ in range(5):
        app.test_client().post("/login", json={"email": EMAIL, "password": PASSWORD})
    pages = [log_in(stranger) for _ in range(6)]
    assert [page.status_code for page in pages] == [422] * 5 + [429]
    assert pages[-1].mimetype == "text/html"
    assert int(pages[-1].headers["Retry-After"]) <= 60
    assert stranger.get("/account/login").status_code == 200


def test_sign_ups_are_limited_with_those_of_the_api_whoever_signs_up(
    app: Flask, stranger: FlaskClient
) -> None:
    def by_api(number: int) -> int:
        person = {"name": "Ann", "email": f"{number}@example.com", "password": PASSWORD}
        return stranger.post("/api/users", json=person).status_code

    def by_page(number: int) -> int:
        fields = {"name": "Ann", "email": f"{number}@example.com", "password": PASSWORD}
        return send(stranger, "/account/signup", **fields).status_code

    # Each way leaves a session or none, which makes no difference.
    assert [by_api(n) for n in range(10)] == [201] * 10
    assert [by_page(n) for n in range(10, 21)] == [302] * 10 + [429]
    assert by_api(21) == 429


@pytest.mark.parametrize("path", ["/account/login", "/account/signup", "/account/logout"])
def test_a_form_without_its_token_is_refused(ann: FlaskClient, path: str) -> None:
    other = token(browser(ann.application).get("/account/login"))
    for forged in ({}, {"csrf_token": "x"}, {"csrf_token": other}):
        page = ann.post(path, data=forged)
        assert (page.status_code, page.mimetype) == (400, "text/html")
        assert "This form is too old" in page.text
    assert ann.get("/account").status_code == 200


def test_a_form_that_another_site_sends_is_refused(ann: FlaskClient) -> None:
    valid = {"csrf_token": token(ann.get("/account"))}
    for site in ("cross-site", "same-site"):
        refused = ann.post("/account/logout", data=valid, headers={"Sec-Fetch-Site": site})
        assert refused.status_code == 400
    here = ann.post("/account/logout", data=valid, headers={"Sec-Fetch-Site": "same-origin"})
    assert goes_to(here) == "/account/login"


def test_a_form_of_one_replica_is_taken_by_another(
    app: Flask, replica: Flask, stranger: FlaskClient
) -> None:
    made(app)
    form = {"csrf_token": token(stranger.get("/account/login"))}
    other = browser(replica)
    copy_session(stranger, other)
    done = other.post("/account/login", data={**form, "email": EMAIL, "password": PASSWORD})
    assert goes_to(done) == "/account"
    copy_session(other, stranger)
    assert stranger.get("/account").status_code == 200


def test_forms_and_sessions_outlive_a_change_of_the_key(tmp_path: Path) -> None:
    keys = ["a" * 32, "b" * 32, "c" * 32]
    url = f"sqlite:///{tmp_path}/slipway.db"
    first = create_app(settings(database_url=url, secret_key=keys[0]))
    first.test_cli_runner().invoke(args=MIGRATE)
    made(first)
    client = browser(first)
    log_in(client)
    form = {"csrf_token": token(client.get("/account"))}
    for key, previous, status in ((keys[1], keys[0], 200), (keys[2], keys[1], 302)):
        app = create_app(settings(database_url=url, secret_key=key, secret_key_previous=previous))
        other = browser(app)
        copy_session(client, other)
        assert other.get("/account").status_code == status
        if status == 200:
            assert goes_to(other.post("/account/logout", data=form)) == "/account/login"
            copy_session(client, other)
        with app.app_context():
            db.engine.dispose()
    with first.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/account/users?limit=5", "/account/users?limit=5"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/\t/evil.example", "/account"),
        ("https://evil.example", "/account"),
        ("javascript:alert(1)", "/account"),
        ("evil.example", "/account"),
        ("", "/account"),
    ],
)
def test_a_log_in_leads_back_and_never_away(
    app: Flask, stranger: FlaskClient, target: str, goes: str
) -> None:
    made(app)
    page = stranger.get("/account/login", query_string={"next": target})
    done = stranger.post(
        "/account/login",
        query_string={"next": target},
        data={"csrf_token": token(page), "email": EMAIL, "password": PASSWORD},
    )
    assert goes_to(done) == goes


def test_who_is_not_logged_in_is_sent_to_do_so_and_back(stranger: FlaskClient) -> None:
    for path in ("/account", "/account/edit", "/account/password", "/account/delete"):
        assert goes_to(stranger.get(path)) == f"/account/login?next={path}"
    asked = stranger.get("/account/users?limit=5")
    assert goes_to(asked) == "/account/login?next=/account/users?limit%3D5"


def test_a_form_that_comes_too_late_leads_to_the_log_in(ann: FlaskClient) -> None:
    form = {"csrf_token": token(ann.get("/account/edit")), "name": "A", "email": EMAIL}
    with ann.application.app_context():
        db.session.execute(update(SignIn).values(ended_at=now()))
        db.session.commit()
    assert goes_to(ann.post("/account/edit", data=form)) == "/account/login"


def test_a_log_out_ends_the_session_itself(ann: FlaskClient) -> None:
    thief = browser(ann.application)
    copy_session(ann, thief)
    assert thief.get("/account").status_code == 200
    done = send(ann, "/account", "/account/logout")
    assert goes_to(done) == "/account/login"
    assert done.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert goes_to(thief.get("/account")).startswith("/account/login")


def test_a_session_ends_after_thirty_days(ann: FlaskClient) -> None:
    with ann.application.app_context():
        sign_in = db.session.scalars(select(SignIn)).one()
        assert timedelta(days=29) < sign_in.expires_at - now() <= timedelta(days=30)
        sign_in.expires_at = now() - timedelta(seconds=1)
        db.session.commit()
    assert ann.get("/account").status_code == 302


def test_a_session_of_before_the_log_in_is_worth_nothing_after(
    app: Flask, stranger: FlaskClient
) -> None:
    made(app)
    form = token(stranger.get("/account/login"))
    attacker = browser(app)
    copy_session(stranger, attacker)
    log_in(stranger)
    assert token(stranger.get("/account")) != form
    assert attacker.get("/account").status_code == 302


def test_who_logs_in_anew_leaves_no_session_behind(ann: FlaskClient) -> None:
    log_in(ann)
    with ann.application.app_context():
        running = db.session.scalars(select(SignIn).where(SignIn.ended_at.is_(None))).all()
        assert len(running) == 1


def test_the_api_does_not_take_the_session(ann: FlaskClient) -> None:
    problem(ann.get("/me"), 401)
    problem(ann.get("/api/users/1"), 401)


@pytest.mark.parametrize(
    ("environment", "scheme", "secure"),
    [
        ("production", "https", True),
        ("production", "http", True),
        ("development", "https", True),
        ("development", "http", False),
    ],
)
def test_the_cookie_is_only_for_us(
    tmp_path: Path, environment: str, scheme: str, secure: bool
) -> None:
    app = create_app(
        settings(
            environment=environment,
            database_url=f"sqlite:///{tmp_path}/slipway.db",
            secret_key="s" * 32,
            jwt_secret_key="j" * 32,
        )
    )
    app.test_cli_runner().invoke(args=MIGRATE)
    made(app)
    client = browser(app)
    base = f"{scheme}://localhost"
    page = client.get("/account/login", base_url=base)
    name, _, value = page.headers["Set-Cookie"].partition("=")
    assert name == "slipway_session"
    flags = {flag.strip() for flag in value.split(";")[1:]}
    assert flags == {"HttpOnly", "Path=/", "SameSite=Lax"} | ({"Secure"} if secure else set())
    with app.test_request_context("/", base_url=base):
        session.permanent = True
        expires = app.session_interface.get_expiration_time(app, session)
        assert expires
        assert timedelta(days=29) < expires - now() <= timedelta(days=30)
    with app.app_context():
        db.engine.dispose()


def test_a_prefix_of_the_whole_site_stays_in_every_address(app: Flask) -> None:
    made(app)
    client = browser(app)
    base = "http://localhost/harbour"
    for path in ("/", "/account/login", "/docs", "/nowhere"):
        page = client.get(path, base_url=base).text
        links = re.findall(r'(?:href|src|action|data-document)="(/[^"]*)"', page)
        assert links
        assert [link for link in links if not link.startswith("/harbour/")] == []
    asked = client.get("/account", base_url=base)
    assert goes_to(asked) == "/harbour/account/login?next=/harbour/account"
    form = {"csrf_token": token(client.get("/account/login", base_url=base))}
    form |= {"email": EMAIL, "password": PASSWORD}
    assert goes_to(client.post("/account/login", base_url=base, data=form)) == "/harbour/account"


def test_a_changed_e_mail_is_nobodys_until_it_is_verified(app: Flask) -> None:
    made(app, email_verified=True)
    client = browser(app)
    log_in(client)
    assert goes_to(send(client, "/account/edit", name="Anna", email=EMAIL)) == "/account"
    with app.app_context():
        assert db.session.scalars(select(User)).one().email_verified
    send(client, "/account/edit", name="Anna", email="New@Example.com")
    with app.app_context():
        user = db.session.scalars(select(User)).one()
        assert (user.name, user.email, user.email_verified) == ("Anna", "new@example.com", False)
    assert "Your details are saved." in client.get("/account").text


def test_an_e_mail_of_somebody_else_is_refused(ann: FlaskClient) -> None:
    made(ann.application, "taken@example.com")
    page = send(ann, "/account/edit", name="Ann", email="Taken@Example.com")
    assert page.status_code == 422
    assert "Another account has this e-mail." in page.text


def test_what_a_page_changes_the_api_shows(ann: FlaskClient) -> None:
    admin = signed_in(ann.application, "admin@example.com", ADMIN)
    admin.get("/api/users")
    send(ann, "/account/edit", name="Somebody Else", email=EMAIL)
    assert "Somebody Else" in admin.get("/api/users").text


def test_a_new_password_ends_every_other_session(ann: FlaskClient) -> None:
    other = browser(ann.application)
    log_in(other)
    wrong = send(ann, "/account/password", current="not this one", new="another password")
    assert wrong.status_code == 422
    assert "This is not your current password." in wrong.text
    done = send(ann, "/account/password", current=PASSWORD, new="another password")
    assert goes_to(done) == "/account"
    assert ann.get("/account").status_code == 200
    assert other.get("/account").status_code == 302
    assert log_in(other).status_code == 422
    assert log_in(other, "another password").status_code == 302


def test_who_has_no_password_may_set_one_and_leave_without(app: Flask) -> None:
    made(app)
    client = browser(app)
    log_in(client)
    with app.app_context():
        db.session.execute(update(User).values(password_hash=None))
        db.session.commit()
    assert "Set a password" in client.get("/account").text
    assert "Current password" not in client.get("/account/password").text
    assert goes_to(send(client, "/account/password", new="another password")) == "/account"
    with app.app_context():
        db.session.execute(update(User).values(password_hash=None))
        db.session.commit()
    assert goes_to(send(client, "/account/delete", sure="y")) == "/"


def test_an_account_goes_when_its_owner_is_sure(ann: FlaskClient) -> None:
    for fields, said in (
        ({"current": PASSWORD}, "Tick this to go on."),
        ({"sure": "y"}, "Enter your password."),
        ({"sure": "y", "current": "not this one"}, "This is not your password."),
    ):
        page = send(ann, "/account/delete", **fields)
        assert page.status_code == 422
        assert said in page.text
    assert goes_to(send(ann, "/account/delete", sure="y", current=PASSWORD)) == "/"
    assert "Your account is gone." in ann.get("/").text
    assert log_in(ann).status_code == 422


def test_the_last_admin_stays(app: Flask) -> None:
    made(app, role=ADMIN)
    client = browser(app)
    log_in(client)
    page = send(client, "/account/delete", sure="y", current=PASSWORD)
    assert page.status_code == 422
    assert "You are the last admin" in page.text
    assert client.get("/account").status_code == 200


def test_only_an_admin_sees_the_users(ann: FlaskClient) -> None:
    page = ann.get("/account/users")
    assert (page.status_code, page.mimetype) == (403, "text/html")
    assert "/account/users" not in ann.get("/account").text
    with ann.application.app_context():
        db.session.execute(update(User).values(role=ADMIN))
        db.session.commit()
    assert EMAIL in ann.get("/account/users").text
    assert "/account/users" in ann.get("/account").text
    assert "/account/users" in ann.get("/").text


def test_the_users_come_in_pages_and_can_be_looked_for(app: Flask) -> None:
    made(app, role=ADMIN)
    with app.test_request_context():
        for number in range(4):
            accounts.add("<b>Bold</b>", f"user{number}@example.com")
        db.session.commit()
    client = browser(app)
    log_in(client)
    page, seen = "/account/users?limit=2&email=", []
    while page:
        text = client.get(page).text
        seen += re.findall(r"[a-z0-9]+@example\.com", text)
        assert "<b>" not in text
        following = re.search(r'href="([^"]+)" rel="next"', text)
        page = following[1].replace("&amp;", "&") if following else ""
    assert seen == [EMAIL, *(f"user{number}@example.com" for number in range(4))]
    found = client.get("/account/users?email=User2@Example.com").text
    assert "user2@example.com" in found
    assert "user1@example.com" not in found
    assert "Nobody has this address." in client.get("/account/users?email=x@y.example").text
    for query in ("limit=0", "limit=x", "sort=password_hash", "else=1"):
        assert client.get(f"/account/users?{query}").status_code == 400
    assert client.get("/account/users?cursor=forged").status_code == 404


def test_providers_have_buttons_that_lead_back(tmp_path: Path) -> None:
    app = create_app(
        settings(
            database_url=f"sqlite:///{tmp_path}/slipway.db",
            oauth_github_client_id="an-id",
            oauth_github_client_secret="a-secret",
            oauth_oidc_client_id="another",
            oauth_oidc_client_secret="a-secret",
            oauth_oidc_issuer="https://id.example.com",
            oauth_oidc_label="Harbour ID",
        )
    )
    page = browser(app).get("/account/login?next=/account/edit").text
    assert 'href="/oauth/github/login?next=/account/edit">Log in with GitHub' in page
    assert 'href="/oauth/oidc/login?next=/account/edit">Log in with Harbour ID' in page
    assert "Google" not in page
    assert (
        'href="/oauth/oidc/login">Sign up with Harbour ID'
        in browser(app).get("/account/signup").text
    )
