"""The users' API, on SQLite and on PostgreSQL."""

import json
import string
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from answers import ANN, PASSWORD, problem
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import event
from werkzeug.test import TestResponse

from slipway.database import db
from slipway.models import User


def wrong_fields(response: TestResponse) -> set[tuple[str, str]]:
    return {(e["in"], e["field"]) for e in problem(response, 422)["errors"]}


@pytest.fixture
def ann(client: FlaskClient) -> str:
    """The path of a user who exists."""
    return str(client.post("/api/users", json=ANN).headers["Location"])


def fill(app: Flask, count: int) -> None:
    with app.app_context():
        db.session.add_all(
            User(name=f"user {i % 7}", email=f"user{i:03}@example.com") for i in range(count)
        )
        db.session.commit()


def test_a_created_user_can_be_read_where_location_says(client: FlaskClient) -> None:
    created = client.post("/api/users", json=ANN)
    assert created.status_code == 201
    read = client.get(created.headers["Location"])
    assert read.status_code == 200
    assert read.get_json() == created.get_json()
    assert read.get_json()["email"] == "ann@example.com"
    assert read.get_json()["created_at"].endswith("+00:00")


def test_put_replaces_and_patch_changes_only_what_it_names(client: FlaskClient, ann: str) -> None:
    replaced = client.put(ann, json={"name": "Bo", "email": "bo@example.com"}).get_json()
    assert (replaced["name"], replaced["email"]) == ("Bo", "bo@example.com")
    patched = client.patch(ann, json={"name": "Cy"}).get_json()
    assert (patched["name"], patched["email"]) == ("Cy", "bo@example.com")
    assert patched["updated_at"] > patched["created_at"]
    assert wrong_fields(client.put(ann, json={"name": "only"})) == {("json", "email")}


def test_a_deleted_user_is_gone(client: FlaskClient, ann: str) -> None:
    assert client.delete(ann).status_code == 204
    for call in (client.get, client.delete):
        problem(call(ann), 404)
    problem(client.patch(ann, json={"name": "x"}), 404)


@pytest.mark.parametrize("email", ["ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.com"])
def test_an_email_is_unique_without_regard_to_case(
    client: FlaskClient, ann: str, email: str
) -> None:
    problem(client.post("/api/users", json={"name": "Other", "email": email}), 409)
    other = client.post("/api/users", json={"name": "Bo", "email": "bo@example.com"})
    problem(client.patch(other.headers["Location"], json={"email": email}), 409)
    assert client.patch(ann, json={"email": email}).status_code == 200


def test_of_20_clients_who_sign_up_with_the_same_email_at_once_one_wins(
    app: Flask, client: FlaskClient
) -> None:
    barrier = Barrier(20)

    def create(number: int) -> TestResponse:
        barrier.wait()
        person = {"name": f"racer {number}", "email": "race@example.com", "password": PASSWORD}
        return app.test_client().post("/api/users", json=person)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(create, range(20)))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 19
    listed = client.get("/api/users?email=race@example.com").get_json()["items"]
    assert [u["id"] for u in listed] == [
        a.get_json()["id"] for a in answers if a.status_code == 201
    ]


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_what_is_somebody_elses_is_a_403_whether_or_not_it_exists(
    app: Flask, client: FlaskClient, member: FlaskClient, ann: str, method: str
) -> None:
    for path in (ann, "/api/users/999999"):
        body = {} if method in {"get", "delete"} else {"json": ANN}
        problem(getattr(member, method)(path, **body), 403)
        assert getattr(app.test_client(), method)(path, **body).status_code == 401
    assert client.get(ann).get_json()["name"] == "Ann"


def test_the_list_is_for_admins(app: Flask, member: FlaskClient) -> None:
    problem(member.get("/api/users"), 403)
    problem(app.test_client().get("/api/users"), 401)


def test_who_signs_up_can_log_in_and_change_what_is_theirs(anonymous: FlaskClient) -> None:
    signed_up = anonymous.post("/api/users", json={**ANN, "password": PASSWORD})
    assert signed_up.status_code == 201
    assert "password" not in signed_up.text
    tokens = anonymous.post("/login", json={"email": "ann@EXAMPLE.com", "password": PASSWORD})
    own = {"Authorization": f"Bearer {tokens.get_json()['access_token']}"}
    path = signed_up.headers["Location"]
    assert anonymous.get(path, headers=own).get_json() == signed_up.get_json()
    changed = anonymous.patch(path, json={"name": "Anna"}, headers=own)
    assert changed.get_json()["name"] == "Anna"
    assert anonymous.delete(path, headers=own).status_code == 204
    problem(anonymous.get("/me", headers=own), 401)


def test_only_an_admin_makes_accounts_for_others_and_gives_roles(
    client: FlaskClient, member: FlaskClient, anonymous: FlaskClient, ann: str
) -> None:
    new = {"name": "New", "email": "new@example.com", "password": PASSWORD}
    problem(member.post("/api/users", json=new), 403)
    problem(anonymous.post("/api/users", json={**new, "role": "admin"}), 403)
    own = f"/api/users/{member.get('/me').get_json()['id']}"
    problem(member.patch(own, json={"role": "admin"}), 403)
    assert member.patch(own, json={"role": "user"}).status_code == 200
    assert client.post("/api/users", json={**new, "role": "admin"}).get_json()["role"] == "admin"
    assert client.patch(ann, json={"role": "admin"}).get_json()["role"] == "admin"
    assert client.patch(ann, json={"role": "user"}).get_json()["role"] == "user"
    assert wrong_fields(client.patch(ann, json={"role": "god"})) == {("json", "role")}


def test_who_signs_up_needs_a_password_that_is_long_enough(anonymous: FlaskClient) -> None:
    for password in ("x" * 11, "x" * 129, "\ud800" * 12, 123456789012, None):
        answer = anonymous.post("/api/users", json={**ANN, "password": password})
        assert wrong_fields(answer) == {("json", "password")}
    assert wrong_fields(anonymous.post("/api/users", json=ANN)) == {("json", "password")}


def test_the_last_admin_stays(client: FlaskClient) -> None:
    own = f"/api/users/{client.get('/me').get_json()['id']}"
    problem(client.delete(own), 409)
    problem(client.patch(own, json={"role": "user"}), 409)
    other = client.post("/api/users", json={**ANN, "role": "admin"}).headers["Location"]
    assert client.delete(other).status_code == 204
    client.post("/api/users", json={**ANN, "role": "admin"})
    assert client.patch(own, json={"role": "user"}).status_code == 200
    problem(client.get("/api/users"), 403)


def test_an_address_that_changes_is_proven_no_longer(
    app: Flask, client: FlaskClient, ann: str
) -> None:
    number = int(ann.rsplit("/", 1)[1])

    def verified(value: bool | None = None) -> bool:
        with app.app_context():
            user = db.session.get_one(User, number)
            if value is not None:
                user.email_verified = value
                db.session.commit()
            return user.email_verified

    assert verified(True)
    client.patch(ann, json={"name": "Anna", "email": ANN["email"]})
    assert verified()
    client.patch(ann, json={"email": "elsewhere@example.com"})
    assert not verified()


def test_nothing_is_overwritten_unseen(client: FlaskClient, ann: str) -> None:
    seen = client.get(ann).headers["ETag"]
    changed = client.patch(ann, json={"name": "Anna"}, headers={"If-Match": seen})
    assert changed.headers["ETag"] not in {seen, None}
    for call in (client.put, client.patch, client.delete):
        body = {} if call == client.delete else {"json": ANN}
        problem(call(ann, headers={"If-Match": seen}, **body), 412)
    now = changed.headers["ETag"]
    assert client.get(ann).headers["ETag"] == now
    assert client.put(ann, json=ANN, headers={"If-Match": f'"0", {now}'}).status_code == 200
    weakened = f"W/{client.get(ann).headers['ETag']}"
    assert client.put(ann, json=ANN, headers={"If-Match": weakened}).status_code == 200
    assert client.delete(ann, headers={"If-Match": "*"}).status_code == 204


def test_what_has_not_changed_is_not_sent_again(client: FlaskClient, ann: str) -> None:
    tag = client.get(ann).headers["ETag"]
    for known in (tag, f"W/{tag}", "*", f'"x", {tag}'):
        again = client.get(ann, headers={"If-None-Match": known})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == tag
    client.patch(ann, json={"name": "Anna"})
    assert client.get(ann, headers={"If-None-Match": tag}).get_json()["name"] == "Anna"


def test_every_wrong_field_is_named_in_one_answer(client: FlaskClient) -> None:
    answer = client.post("/api/users", json={"name": "x" * 101, "email": "nobody", "rank": 1})
    assert wrong_fields(answer) == {("json", "name"), ("json", "email"), ("json", "rank")}


@pytest.mark.parametrize("name", ["id", "created_at", "updated_at", "version", "password_hash"])
def test_what_the_service_says_itself_is_taken_from_nobody(
    client: FlaskClient, ann: str, name: str
) -> None:
    value = client.get(ann).get_json().get(name, 1)
    assert wrong_fields(client.post("/api/users", json={**ANN, name: value})) == {("json", name)}
    for call in (client.put, client.patch):
        assert wrong_fields(call(ann, json={**ANN, name: value})) == {("json", name)}


@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"name": "a\x00b"}, id="a NUL"),
        pytest.param({"name": "a\nb"}, id="a newline"),
        pytest.param({"name": "\ud800"}, id="half a surrogate pair"),
        pytest.param({"name": "   "}, id="only blanks"),
        pytest.param({"name": 5}, id="a number"),
        pytest.param({"name": None}, id="null"),
        pytest.param({"name": ["Ann"]}, id="a list"),
        pytest.param({"email": "a\x00@example.com"}, id="a NUL in the e-mail"),
        pytest.param({"email": "\u017fam@example.com"}, id="a letter that lowers to ASCII"),
        pytest.param({"email": f"{'a' * 250}@example.com"}, id="an e-mail too long"),
    ],
)
def test_a_field_that_cannot_be_stored_is_a_422(client: FlaskClient, field: Any) -> None:
    answer = client.post("/api/users", json={**ANN, **field})
    assert wrong_fields(answer) == {("json", *field)}
    assert len(client.get("/api/users").get_json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"name": ', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name": ' + b"1" * 5000 + b"}", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'"text"', "application/json", 422),
        (b"", "application/json", 422),
        (b"name=Ann&email=a@example.com", "application/x-www-form-urlencoded", 415),
        (b'{"name": "Ann"}', "", 415),
        (b'{"name": "' + b"x" * 2_000_000 + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_is_not_a_user_gets_its_4xx(
    client: FlaskClient, body: bytes, content_type: str, status: int
) -> None:
    problem(client.post("/api/users", data=body, content_type=content_type), status)


@pytest.mark.parametrize(
    "number", ["0", "-1", "9223372036854775808", "9" * 5000, "1.5", "%00", "x"]
)
def test_an_id_that_cannot_exist_is_a_404(client: FlaskClient, number: str) -> None:
    problem(client.get(f"/api/users/{number}"), 404)


def test_the_largest_id_is_only_unknown(client: FlaskClient) -> None:
    problem(client.get(f"/api/users/{2**63 - 1}"), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "FOO", "TRACE"])
def test_a_method_that_a_path_has_not_is_a_405_that_names_those_it_has(
    client: FlaskClient, method: str
) -> None:
    answer = client.open("/api/users", method=method)
    problem(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=101", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("limit=ten", "limit"),
        ("limt=10", "limt"),
        ("sort=password", "sort"),
        ("name=%00", "name"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("email=nobody", "email"),
        ("created_from=yesterday", "created_from"),
    ],
)
def test_a_wrong_query_is_a_422_that_names_the_parameter(
    client: FlaskClient, query: str, field: str
) -> None:
    assert wrong_fields(client.get(f"/api/users?{query}")) == {("query", field)}


@pytest.mark.parametrize("forged", ["x", "WyJpZCIsMV0.forged", "0" * 2000])
def test_no_page_is_found_by_a_forged_cursor(client: FlaskClient, forged: str) -> None:
    problem(client.get(f"/api/users?cursor={forged}"), 404)


def test_a_cursor_finds_no_page_of_another_order(app: Flask, client: FlaskClient) -> None:
    fill(app, 3)
    link = client.get("/api/users?limit=1&sort=name").get_json()["next"]
    assert "sort=name" in problem(client.get(link.replace("sort=name", "sort=-id")), 404)["detail"]


@pytest.mark.parametrize("order", ["id", "name", "email", "created_at"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_the_pages_together_are_the_list_in_order(
    app: Flask, client: FlaskClient, order: str, sign: str
) -> None:
    fill(app, 24)
    link, walked, pages = f"/api/users?limit=10&sort={sign}{order}", [], 0
    while link:
        answer = client.get(link)
        page = answer.get_json()
        walked += page["items"]
        pages += 1
        assert answer.headers.get("Link") == (
            f'<{page["next"]}>; rel="next"' if page["next"] else None
        )
        link = page["next"]
    expected = sorted(walked, key=lambda u: (u[order], u["id"]), reverse=sign == "-")
    assert walked == expected
    assert len(walked) == len({u["id"] for u in walked}) == 25
    assert pages == 3


def test_a_page_continues_although_rows_come_and_go(app: Flask, client: FlaskClient) -> None:
    fill(app, 20)
    first = client.get("/api/users?limit=10").get_json()
    for gone in (first["items"][0], first["items"][-1]):
        client.delete(f"/api/users/{gone['id']}")
    second = client.get(first["next"]).get_json()
    assert second["items"][0]["id"] == first["items"][-1]["id"] + 1
    assert len(second["items"]) == 10


def test_a_list_is_filtered_and_its_pages_stay_so(app: Flask, client: FlaskClient) -> None:
    fill(app, 21)
    page = client.get("/api/users?name=user 3&limit=2").get_json()
    rest = client.get(page["next"]).get_json()
    assert [u["name"] for u in page["items"] + rest["items"]] == ["user 3"] * 3
    assert rest["next"] is None
    only = client.get("/api/users?email=USER005@example.com").get_json()["items"]
    assert [u["email"] for u in only] == ["user005@example.com"]
    moment = only[0]["created_at"].replace("+", "%2B")
    since = client.get(f"/api/users?created_from={moment}&limit=100").get_json()["items"]
    until = client.get(f"/api/users?created_to={moment}&limit=100").get_json()["items"]
    assert len(since) + len(until) == 22


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("created_from=0001-01-01T00:00:00%2B14:00", 1),
        ("created_to=0001-01-01T00:00:00%2B14:00", 0),
        ("created_from=9999-12-31T23:59:59-14:00", 0),
        ("created_to=9999-12-31T23:59:59-14:00", 1),
    ],
)
def test_the_edges_of_time_are_times(client: FlaskClient, query: str, count: int) -> None:
    assert len(client.get(f"/api/users?{query}").get_json()["items"]) == count


NASTY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(body=NASTY | st.fixed_dictionaries({"name": NASTY, "email": NASTY}))
@hypothesis_settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_json_makes_a_500(client: FlaskClient, body: Any) -> None:
    answer = client.post("/api/users", data=json.dumps(body), content_type="application/json")
    assert answer.status_code in {201, 409, 422}, answer.text


@given(name=st.text(min_size=1, max_size=100), local=st.text(string.ascii_letters, min_size=1))
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_what_is_accepted_comes_back_as_it_was_sent(
    client: FlaskClient, name: str, local: str
) -> None:
    email = f"{local[:60]}@example.com"
    answer = client.post("/api/users", json={"name": name, "email": email})
    if answer.status_code == 201:
        kept = client.get(answer.headers["Location"]).get_json()
        assert (kept["name"], kept["email"]) == (name.strip(), email.lower())
        client.delete(answer.headers["Location"])


def test_only_what_writes_needs_a_transaction(app: Flask, client: FlaskClient, ann: str) -> None:
    alone: list[bool] = []
    with app.app_context():
        engine = db.engine

    def note(connection: Any, *_: object) -> None:
        is_postgresql = connection.dialect.name == "postgresql"
        alone.append(is_postgresql and connection.connection.dbapi_connection.autocommit)

    event.listen(engine, "after_cursor_execute", note)
    for path in (ann, "/api/users"):
        assert client.get(path).status_code == 200
    assert set(alone) == {engine.dialect.name == "postgresql"}
    alone.clear()
    assert client.patch(ann, json={"name": "Bob"}).status_code == 200
    assert set(alone) == {False}
