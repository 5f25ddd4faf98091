"""Logging in and out, and tokens of every bad kind."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import jwt
import pytest
from answers import ANN, PASSWORD, problem, settings, signed_in
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from slipway import accounts, create_app, passwords
from slipway.database import db, now
from slipway.models import Identity, SignIn, User
from slipway.settings import DEVELOPMENT_SECRET

KEY, NEXT_KEY = "k" * 40, "n" * 40
LOGIN = {"email": ANN["email"], "password": PASSWORD}
CHALLENGE = 'Bearer realm="slipway"'
Tokens = dict[str, Any]


@pytest.fixture
def ann(anonymous: FlaskClient) -> int:
    """The id of a user with a password."""
    return int(anonymous.post("/api/users", json={**ANN, "password": PASSWORD}).get_json()["id"])


@pytest.fixture
def tokens(ann: int, anonymous: FlaskClient) -> Tokens:
    answer = anonymous.post("/login", json=LOGIN)
    assert answer.status_code == 200
    given: Tokens = answer.get_json()
    return given


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refused(answer: Any, *, is_a_token: bool = True) -> None:
    problem(answer, 401)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith(CHALLENGE)
    assert ('error="invalid_token"' in challenge) == is_a_token


def test_a_login_answers_as_oauth_does(tokens: Tokens, anonymous: FlaskClient, ann: int) -> None:
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    me = anonymous.get("/me", headers=bearer(tokens["access_token"]))
    assert me.get_json()["id"] == ann
    assert me.headers["ETag"]
    assert "password" not in me.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": ANN["email"], "password": PASSWORD + "x"},
        {"email": ANN["email"], "password": ""},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"email": "x", "password": "x"},
    ],
)
def test_a_wrong_login_does_not_say_what_was_wrong(
    ann: int, anonymous: FlaskClient, wrong: dict[str, str]
) -> None:
    answer = anonymous.post("/login", json=wrong)
    refused(answer, is_a_token=False)
    assert answer.get_json(force=True)["detail"] == "E-mail or password are wrong."


def test_who_has_no_password_cannot_log_in_with_any(client: FlaskClient) -> None:
    client.post("/api/users", json=ANN)
    for password in ("", "nobody's password", PASSWORD):
        refused(client.post("/login", json={**LOGIN, "password": password}), is_a_token=False)


def test_a_login_hashes_as_much_for_an_account_that_does_not_exist(
    ann: int, anonymous: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            checked.append(hash)
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(1, 8, 1))
    for email in (ANN["email"], "nobody@example.com"):
        checked.clear()
        anonymous.post("/login", json={"email": email, "password": "wrong"})
        assert len(checked) == 1
        assert str(checked[0]).startswith("$argon2id$v=19$m=8,t=1,p=1$")


def test_a_password_is_the_same_however_it_was_composed(anonymous: FlaskClient) -> None:
    anonymous.post("/api/users", json={**ANN, "password": "caf\u00e9 caf\u00e9 caf\u00e9"})
    composed = {**LOGIN, "password": "cafe\u0301 cafe\u0301 cafe\u0301"}
    assert anonymous.post("/login", json=composed).status_code == 200
    bare = {**LOGIN, "password": "cafe cafe cafe"}
    refused(anonymous.post("/login", json=bare), is_a_token=False)


def test_an_outdated_hash_is_made_anew_at_the_next_login(
    app: Flask, ann: int, anonymous: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(2, 16, 1))
    assert anonymous.post("/login", json=LOGIN).status_code == 200
    with app.app_context():
        kept = db.session.get_one(User, ann).password_hash
    assert kept
    assert "m=16,t=2" in kept
    assert anonymous.post("/login", json=LOGIN).status_code == 200


def test_a_hash_costs_what_owasp_asks_for_and_no_more_than_two_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    kept = passwords.hashed(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.fits(kept, PASSWORD)
    assert not passwords.is_outdated(kept)


def test_a_login_that_gets_no_turn_is_a_503(
    ann: int, anonymous: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "PATIENCE", 0.01)
    turns = [passwords._turns.acquire() for _ in range(passwords.AT_ONCE)]
    try:
        answer = anonymous.post("/login", json=LOGIN)
        problem(answer, 503)
        assert answer.headers["Retry-After"] == "2"
    finally:
        for _ in turns:
            passwords._turns.release()
    assert anonymous.post("/login", json=LOGIN).status_code == 200


def changed(token: str, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token's claims, some of them others, signed with the right key."""
    payload = jwt.decode(token, options={"verify_signature": False})
    payload = {k: v for k, v in {**payload, **claims}.items() if v is not None}
    header = header or {"kid": jwt.get_unverified_header(token)["kid"]}
    return str(jwt.encode(payload, DEVELOPMENT_SECRET, "HS256", headers=header))


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def resigned(token: str, key: str, algorithm: str = "HS256") -> str:
    payload = jwt.decode(token, options={"verify_signature": False})
    return str(jwt.encode(payload, key, algorithm))


BAD: dict[str, Callable[[Tokens], str]] = {
    "malformed": lambda _: "a.b.c",
    "no token at all": lambda _: "x",
    "not ASCII": lambda t: t["access_token"] + "\u00e9",
    "cut": lambda t: t["access_token"][:-2],
    "expired": lambda t: changed(t["access_token"], exp=int(time.time()) - 1),
    "not good yet": lambda t: changed(t["access_token"], nbf=int(time.time()) + 60),
    "unsigned": lambda t: unsigned(t["access_token"]),
    "wrong key": lambda t: resigned(t["access_token"], "w" * 40),
    "wrong algorithm": lambda t: resigned(t["access_token"], DEVELOPMENT_SECRET * 2, "HS512"),
    "a refresh token": lambda t: t["refresh_token"],
    "wrong issuer": lambda t: changed(t["access_token"], iss="else"),
    "no issuer": lambda t: changed(t["access_token"], iss=None),
    "no subject": lambda t: changed(t["access_token"], sub=None),
    "a subject that is a number": lambda t: changed(t["access_token"], sub=1),
    "another's subject": lambda t: changed(t["access_token"], sub="999"),
    "the subject of nobody": lambda t: changed(t["access_token"], sub="0"),
    "no session": lambda t: changed(t["access_token"], sid=None),
    "a session that is a list": lambda t: changed(t["access_token"], sid=["x"]),
    "unknown session": lambda t: changed(t["access_token"], sid="0" * 32),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_a_401_that_says_how_to_log_in(
    anonymous: FlaskClient, tokens: Tokens, kind: str
) -> None:
    refused(anonymous.get("/me", headers=bearer(BAD[kind](tokens))))
    assert anonymous.get("/me", headers=bearer(tokens["access_token"])).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer a b", "bearer"])
def test_no_token_is_a_401_that_says_how_to_log_in(
    anonymous: FlaskClient, header: str | None
) -> None:
    answer = anonymous.get("/me", headers={} if header is None else {"Authorization": header})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith(CHALLENGE)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"),
        ("POST", "/me/password"),
        ("POST", "/refresh"),
        ("POST", "/logout"),
        ("GET", "/api/users"),
        ("POST", "/api/users"),
        ("GET", "/api/users/1"),
        ("PUT", "/api/users/1"),
        ("PATCH", "/api/users/1"),
        ("DELETE", "/api/users/1"),
        ("POST", "/api/tasks/email"),
        ("GET", "/api/tasks/0af76519-16cd-43dd-8448-eb211c80319c"),
    ],
)
def test_a_bad_token_helps_nowhere(anonymous: FlaskClient, method: str, path: str) -> None:
    refused(anonymous.open(path, method=method, headers=bearer("x.y.z")))


@given(junk=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode()))
@hypothesis_settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_authorization_header_makes_a_500(anonymous: FlaskClient, junk: bytes) -> None:
    text = junk.decode("latin-1").translate({0: "", 10: "", 13: ""})
    for token in (text, base64.urlsafe_b64encode(junk).decode() + ".e30.x"):
        answer = anonymous.get("/me", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {token}"})
        problem(answer, 401)


def test_a_refresh_token_is_good_once(anonymous: FlaskClient, tokens: Tokens) -> None:
    first = anonymous.post("/refresh", headers=bearer(tokens["refresh_token"]))
    assert first.status_code == 200
    assert first.get_json()["refresh_token"] != tokens["refresh_token"]
    again = anonymous.post("/refresh", headers=bearer(first.get_json()["refresh_token"]))
    assert again.status_code == 200
    assert anonymous.get("/me", headers=bearer(again.get_json()["access_token"])).status_code == 200


def test_a_refresh_token_that_comes_back_ends_the_session_for_both(
    anonymous: FlaskClient, tokens: Tokens
) -> None:
    fresh = anonymous.post("/refresh", headers=bearer(tokens["refresh_token"])).get_json()
    refused(anonymous.post("/refresh", headers=bearer(tokens["refresh_token"])))
    refused(anonymous.post("/refresh", headers=bearer(fresh["refresh_token"])))
    for access in (fresh["access_token"], tokens["access_token"]):
        refused(anonymous.get("/me", headers=bearer(access)))
    assert anonymous.post("/login", json=LOGIN).status_code == 200


def test_an_access_token_refreshes_nothing(anonymous: FlaskClient, tokens: Tokens) -> None:
    refused(anonymous.post("/refresh", headers=bearer(tokens["access_token"])))
    assert anonymous.get("/me", headers=bearer(tokens["access_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_logout_ends_every_token_of_its_session_and_no_other(
    anonymous: FlaskClient, tokens: Tokens, kind: str
) -> None:
    other = anonymous.post("/login", json=LOGIN).get_json()
    assert anonymous.post("/logout", headers=bearer(tokens[kind])).status_code == 204
    refused(anonymous.get("/me", headers=bearer(tokens["access_token"])))
    refused(anonymous.post("/refresh", headers=bearer(tokens["refresh_token"])))
    refused(anonymous.post("/logout", headers=bearer(tokens["access_token"])))
    assert anonymous.get("/me", headers=bearer(other["access_token"])).status_code == 200


def test_another_password_ends_every_other_session(anonymous: FlaskClient, tokens: Tokens) -> None:
    other = anonymous.post("/login", json=LOGIN).get_json()
    own = bearer(tokens["access_token"])
    wrong = {"current": "not this one", "new": "x" * 12}
    problem(anonymous.post("/me/password", json=wrong, headers=own), 403)
    problem(anonymous.post("/me/password", json={"new": "x" * 12}, headers=own), 403)
    problem(
        anonymous.post("/me/password", json={"current": PASSWORD, "new": "x"}, headers=own), 422
    )
    right = {"current": PASSWORD, "new": "another password"}
    assert anonymous.post("/me/password", json=right, headers=own).status_code == 204
    assert anonymous.get("/me", headers=own).status_code == 200
    refused(anonymous.get("/me", headers=bearer(other["access_token"])))
    refused(anonymous.post("/login", json=LOGIN), is_a_token=False)
    login = anonymous.post("/login", json={**LOGIN, "password": "another password"})
    assert login.status_code == 200


def test_who_has_no_password_may_choose_one(app: Flask) -> None:
    client = signed_in(app, "bo@example.com")
    answer = client.post("/me/password", json={"current": None, "new": PASSWORD})
    assert answer.status_code == 204
    login = {"email": "bo@example.com", "password": PASSWORD}
    assert app.test_client().post("/login", json=login).status_code == 200


def test_a_session_that_is_over_is_forgotten_at_the_next_login(
    app: Flask, anonymous: FlaskClient, tokens: Tokens, ann: int
) -> None:
    with app.app_context():
        sign_in = db.session.scalars(select(SignIn)).one()
        sign_in.expires_at = now() - timedelta(seconds=1)
        db.session.commit()
    refused(anonymous.get("/me", headers=bearer(tokens["access_token"])))
    refused(anonymous.post("/refresh", headers=bearer(tokens["refresh_token"])))
    anonymous.post("/login", json=LOGIN)
    with app.app_context():
        assert len(db.session.scalars(select(SignIn)).all()) == 1


@pytest.fixture
def with_keys(app: Flask, database_url: str) -> Iterator[Callable[..., FlaskClient]]:
    """A client of a replica on the same database, with keys of its own."""
    replicas = []

    def replica(current: str, previous: str | None = None) -> FlaskClient:
        keys = {"jwt_secret_key": current, "jwt_secret_key_previous": previous}
        replicas.append(create_app(settings(database_url=database_url, **keys)))
        return replicas[-1].test_client()

    yield replica
    for other in replicas:
        with other.app_context():
            db.engine.dispose()


def test_keys_rotate_without_logging_anybody_out(
    ann: int, with_keys: Callable[..., FlaskClient]
) -> None:
    before = with_keys(KEY)
    accepting, signing = with_keys(KEY, NEXT_KEY), with_keys(NEXT_KEY, KEY)
    tokens = before.post("/login", json=LOGIN).get_json()
    later = signing.post("/login", json=LOGIN).get_json()
    # While the pods of both steps serve side by side, each takes the other's tokens.
    for replica in (accepting, signing):
        for pair in (tokens, later):
            answer = replica.get("/me", headers=bearer(pair["access_token"]))
            assert answer.status_code == 200
    renewed = signing.post("/refresh", headers=bearer(tokens["refresh_token"])).get_json()
    after = with_keys(NEXT_KEY)
    assert after.get("/me", headers=bearer(renewed["access_token"])).status_code == 200
    refused(after.get("/me", headers=bearer(tokens["access_token"])))


def create_admin(app: Flask, *arguments: str, stdin: str = "") -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["create-admin", *arguments], input=stdin)
    return result.exit_code, result.output


def test_a_command_makes_the_first_admin(app: Flask, anonymous: FlaskClient) -> None:
    code, output = create_admin(app, "Root@Example.com", "--password", "-", stdin=PASSWORD + "\n")
    assert (code, output) == (0, "create-admin: made root@example.com, user 1\n")
    login = {"email": "root@example.com", "password": PASSWORD}
    token = anonymous.post("/login", json=login).get_json()["access_token"]
    assert anonymous.get("/api/users", headers=bearer(token)).status_code == 200


def test_the_command_makes_an_admin_of_a_user_and_ends_their_sessions_and_other_log_ins(
    app: Flask, anonymous: FlaskClient, tokens: Tokens
) -> None:
    with app.app_context():
        other = accounts.add("Bo", "bo@example.com")
        for subject, user_id in (("thief", 1), ("bo", other.id)):
            db.session.add(Identity(issuer="https://id.example", subject=subject, user_id=user_id))
        db.session.commit()
    code, output = create_admin(app, ANN["email"], "--password", "quite another one")
    assert (code, output.split(",")[0]) == (0, "create-admin: changed ann@example.com")
    refused(anonymous.get("/me", headers=bearer(tokens["access_token"])))
    login = anonymous.post("/login", json={**LOGIN, "password": "quite another one"}).get_json()
    me = anonymous.get("/me", headers=bearer(login["access_token"]))
    assert me.get_json()["role"] == "admin"
    with app.app_context():
        assert [left.subject for left in db.session.scalars(select(Identity))] == ["bo"]
        assert db.session.get_one(User, 1).email_verified


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [("nobody", PASSWORD, "email: "), ("a@example.com", "short", "password: ")],
)
def test_the_command_says_in_a_line_what_is_wrong(
    app: Flask, email: str, password: str, said: str
) -> None:
    code, output = create_admin(app, email, "--password", password)
    assert (code, output.count("\n")) == (1, 1)
    assert f"create-admin: {said}" in output


def test_the_command_says_that_there_is_no_schema(tmp_path: Any) -> None:
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/empty.db"))
    code, output = create_admin(app, "a@example.com", "--password", PASSWORD)
    assert (code, output.count("\n")) == (1, 1)
    assert "no such table" in output


def test_a_token_says_nothing_but_whose_it_is(tokens: Tokens, ann: int) -> None:
    payload = json.loads(base64.urlsafe_b64decode(tokens["access_token"].split(".")[1] + "=="))
    assert set(payload) == {"sub", "sid", "type", "jti", "iat", "nbf", "exp", "iss", "fresh"}
    assert payload["sub"] == str(ann)
    assert payload["exp"] - payload["iat"] == 900


def test_nobody_is_the_last_admin_by_accident(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        admin = accounts.by_email("ADMIN@example.com")
        assert admin
        assert accounts.is_last_admin(admin)
        assert accounts.by_email("nobody@example.com") is None
