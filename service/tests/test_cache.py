"""Answers that are kept: for whom, how long, and that a change is never hidden by them."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import proxy
import pytest
from answers import ANN, MIGRATE, problem, settings, signed_in
from containers import spare
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient
from serving import migrate, serving
from sqlalchemy import select

from slipway import accounts, cache, create_app
from slipway.database import db
from slipway.models import ADMIN, User
from slipway.valkey import AwayError, Valkey


class Counted:
    """A view that tells how often it was asked, and does what the test says before it answers."""

    def __init__(self) -> None:
        self.calls = 0
        self.before: Callable[[], object] = lambda: None

    def __call__(self) -> Response:
        self.calls += 1
        made = self.calls
        self.before()
        return Response(f"answer {made} to {request.query_string.decode()}")


def count(app: Flask, *, topic: str = "users", readers: list[str] | None = None) -> Counted:
    """`/counted` of `app`, kept for each of `readers` who pass the header `Reader`."""
    view = Counted()
    reader = (lambda: request.headers["Reader"]) if readers else cache.anyone
    view.__name__ = "counted"  # type: ignore[attr-defined]
    kept = cache.kept(60, topic=topic, reader=reader)(view)
    app.add_url_rule("/counted", "counted", kept, methods=["GET", "POST"])
    return view


@pytest.fixture
def counted(app: Flask) -> Iterator[Counted]:
    yield count(app)
    with app.app_context():
        cache.cache.clear()


def test_an_answer_is_made_once(counted: Counted, anonymous: FlaskClient) -> None:
    first, second = (anonymous.get("/counted") for _ in range(2))
    assert first.text == second.text
    assert first.headers["ETag"] == second.headers["ETag"]
    assert second.content_type == first.content_type == "text/html; charset=utf-8"
    assert counted.calls == 1


def test_an_answer_is_kept_by_the_query_but_not_by_its_order(
    counted: Counted, anonymous: FlaskClient
) -> None:
    texts = [anonymous.get(f"/counted?{q}").text for q in ("", "a=1&b=2", "b=2&a=1", "a=2&b=1")]
    assert len(set(texts)) == counted.calls == 3
    # Of values of one name the order counts: the first one may be what is asked for.
    assert anonymous.get("/counted?a=1&a=2").text != anonymous.get("/counted?a=2&a=1").text


def test_an_answer_is_kept_for_its_readers_alone(app: Flask, anonymous: FlaskClient) -> None:
    view = count(app, readers=["Ann", "Bo"])
    texts = [anonymous.get("/counted", headers={"Reader": who}).text for who in ("Ann", "Bo")]
    assert texts[0] != texts[1]
    assert anonymous.get("/counted", headers={"Reader": "Ann"}).text == texts[0]
    assert view.calls == 2


def test_a_kept_list_is_not_for_whom_may_not_see_it(
    client: FlaskClient, member: FlaskClient, anonymous: FlaskClient
) -> None:
    assert client.get("/api/users").status_code == 200
    problem(member.get("/api/users"), 403)
    problem(anonymous.get("/api/users"), 401)


@pytest.mark.parametrize("how", [lambda: abort(503), lambda: 1 / 0], ids=["refused", "failed"])
def test_an_error_is_not_kept(
    counted: Counted,
    anonymous: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[], object],
) -> None:
    # Who would wait for it fails.
    monkeypatch.setattr(cache, "POLL_SECONDS", -1)
    counted.before = how
    assert anonymous.get("/counted").status_code in {500, 503}
    counted.before = lambda: None
    assert anonymous.get("/counted").text == "answer 2 to "


def test_an_answer_that_is_no_200_is_not_kept(app: Flask, anonymous: FlaskClient) -> None:
    calls = []

    def refusal() -> tuple[str, int]:
        calls.append(1)
        return "not you", 403

    kept = cache.kept(60, topic="refusals", reader=cache.anyone)(refusal)
    app.add_url_rule("/refusal", "refusal", kept)
    answers = [anonymous.get("/refusal") for _ in range(2)]
    assert [a.status_code for a in answers] == [403, 403]
    assert len(calls) == 2
    assert "ETag" not in answers[0].headers


def test_a_post_is_neither_answered_from_what_is_kept_nor_kept(
    counted: Counted, anonymous: FlaskClient
) -> None:
    assert anonymous.post("/counted").text == "answer 1 to "
    assert anonymous.get("/counted").text == "answer 2 to "
    assert anonymous.post("/counted").text == "answer 3 to "
    assert anonymous.get("/counted").text == "answer 2 to "


def test_head_and_get_share_an_answer(counted: Counted, anonymous: FlaskClient) -> None:
    head, get = anonymous.head("/counted"), anonymous.get("/counted")
    assert (head.text, get.text) == ("", "answer 1 to ")
    assert head.headers["ETag"] == get.headers["ETag"]


@pytest.mark.parametrize(
    ("path", "control"),
    [("/expensive", "public, no-cache"), ("/api/users?limit=1", "private, no-cache")],
)
def test_what_a_client_has_already_is_not_sent_again(
    client: FlaskClient, path: str, control: str
) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == control
    assert not first.headers["ETag"].startswith("W/")
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.text) == (304, "")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_a_single_user_is_not_sent_again_either(client: FlaskClient) -> None:
    path = client.post("/api/users", json=ANN).headers["Location"]
    tag = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, headers=tag).status_code == 304
    client.patch(path, json={"name": "Cy"})
    assert client.get(path, headers=tag).status_code == 200


def test_a_list_that_is_kept_has_its_link(client: FlaskClient) -> None:
    client.post("/api/users", json=ANN)
    links = {client.get("/api/users?limit=1").headers["Link"] for _ in range(2)}
    assert len(links) == 1


def test_every_change_of_a_user_is_in_the_list_at_once(client: FlaskClient) -> None:
    def names() -> list[str]:
        return [u["name"] for u in client.get("/api/users").get_json()["items"]]

    assert names() == ["admin"]
    path = client.post("/api/users", json=ANN).headers["Location"]
    assert names() == ["admin", "Ann"]
    client.patch(path, json={"name": "Cy"})
    assert names() == ["admin", "Cy"]
    client.delete(path)
    assert names() == ["admin"]


def test_a_change_that_is_rolled_back_leaves_what_is_kept(
    app: Flask, counted: Counted, client: FlaskClient
) -> None:
    client.get("/counted")
    with app.test_request_context():
        db.session.add(User(name="Bo", email="dropped@example.com"))
        db.session.flush()
        db.session.rollback()
        db.session.commit()
    assert client.get("/counted").text == "answer 1 to "
    with app.test_request_context():
        db.session.add(User(name="Bo", email="kept@example.com"))
        db.session.commit()
    assert client.get("/counted").text == "answer 2 to "


def test_a_change_of_another_table_leaves_what_is_kept(
    counted: Counted, app: Flask, anonymous: FlaskClient
) -> None:
    with app.app_context():
        db.session.add(User(name="Ann", email="ann@example.com"))
        db.session.commit()
    anonymous.get("/counted")
    with app.app_context():
        accounts.sign_in(db.session.scalars(select(User)).one())
    anonymous.get("/counted")
    assert counted.calls == 1


def test_what_was_made_before_a_change_is_no_answer_after_it(
    counted: Counted, client: FlaskClient, anonymous: FlaskClient
) -> None:
    being_made, changed = threading.Event(), threading.Event()

    def wait() -> None:
        being_made.set()
        assert changed.wait(20)

    counted.before = wait
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(anonymous.get, "/counted")
        assert being_made.wait(20)
        assert client.post("/api/users", json=ANN).status_code == 201
        changed.set()
        assert slow.result().text == "answer 1 to "
    assert anonymous.get("/counted").text == "answer 2 to "


def test_who_keeps_the_list_is_in_it_as_they_are(app: Flask, client: FlaskClient) -> None:
    # Their own row is read before anything is kept, for the token: it may be older than the list.
    look = cache._look

    def changes_first(topic: str, asked: str) -> tuple[str, Any, bool]:
        with app.test_request_context(), db.engine.begin() as other:
            other.exec_driver_sql("UPDATE users SET name = 'renamed'")
        return look(topic, asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "_look", changes_first)
        (user,) = client.get("/api/users").get_json()["items"]
    assert user["name"] == "renamed"


def test_of_200_clients_at_once_one_makes_the_answer(app: Flask, counted: Counted) -> None:
    barrier, waiting = threading.Barrier(200), threading.Event()
    counted.before = lambda: waiting.wait(0.5)

    def ask(_: int) -> str:
        barrier.wait()
        return app.test_client().get("/counted").text

    with ThreadPoolExecutor(200) as pool:
        texts = set(pool.map(ask, range(200)))
    assert (texts, counted.calls) == ({"answer 1 to "}, 1)


@pytest.mark.needs("engine")
def test_of_200_clients_of_several_processes_one_makes_the_answer(
    tmp_path: Path, shared_valkey: str
) -> None:
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
    environment = {
        "REDIS_URL": spare(shared_valkey),
        "WEB_CONCURRENCY": "2",
        "WEB_THREADS": "16",
    }
    with serving(tmp_path, url, **environment) as server:
        barrier = threading.Barrier(200)

        def ask(_: int) -> str:
            barrier.wait()
            return httpx.get(f"http://127.0.0.1:{server.port}/expensive", timeout=30).text

        with ThreadPoolExecutor(200) as pool:
            answers = set(pool.map(ask, range(200)))
    assert len(answers) == 1


def test_an_answer_whose_maker_died_is_made_by_who_waits(
    counted: Counted, anonymous: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.1)
    asked: list[str] = []
    monkeypatch.setattr(cache, "_made", _dies(asked, cache._made))
    with suppress(SystemExit):
        anonymous.get("/counted")
    assert anonymous.get("/counted").text == "answer 1 to "
    assert len(asked) == 2


def _dies(asked: list[str], goes_on: Callable[..., Response]) -> Callable[..., Response]:
    def first(key: str, *more: object) -> Response:
        asked.append(key)
        if len(asked) == 1:
            raise SystemExit
        return goes_on(key, *more)

    return first


@pytest.mark.parametrize("away", ["refuses", "is silent"])
def test_without_valkey_every_answer_is_made(database_url: str, away: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        port = silent.getsockname()[1] if away == "is silent" else 1
        app = create_app(settings(database_url=database_url, redis_url=f"redis://127.0.0.1:{port}"))
        view = count(app)
        client = app.test_client()
        assert [client.get("/counted").text for _ in range(2)] == ["answer 1 to ", "answer 2 to "]
        assert view.calls == 2


@pytest.mark.needs("engine")
def test_a_silence_while_an_answer_is_made_does_not_lose_it(
    database_url: str, shared_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.1)
    app = create_app(settings(database_url=database_url, redis_url=spare(shared_valkey)))
    view, valkey = count(app), app.extensions["valkey"]

    def silent() -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody, suppress(AwayError):
            other = Valkey(f"redis://127.0.0.1:{nobody.getsockname()[1]}")
            valkey.ask(other.client.ping)

    view.before = silent
    client = app.test_client()
    assert [client.get("/counted").text for _ in range(2)] == ["answer 1 to "] * 2


def test_a_silent_valkey_is_left_alone_for_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        valkey = Valkey(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        for _ in range(50):
            with pytest.raises(AwayError):
                valkey.ask(valkey.client.ping)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_one_request_tries_whether_valkey_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.valkey.PAUSE_SECONDS", -1)
    valkey = Valkey("redis://127.0.0.1:1")
    with pytest.raises(AwayError):
        valkey.ask(valkey.client.ping)
    monkeypatch.setattr("slipway.valkey.PAUSE_SECONDS", 60)

    def meanwhile() -> str:
        with pytest.raises(AwayError):
            valkey.ask(lambda: "asked by two")
        return "it is"

    assert valkey.ask(meanwhile) == "it is"
    assert valkey.ask(lambda: "for all") == "for all"


@pytest.mark.needs("engine")
def test_a_change_while_valkey_is_away_is_not_hidden_after(
    shared_valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.valkey.PAUSE_SECONDS", 0)
    with proxy.before(spare(shared_valkey)) as (valkey, redis_url):
        app = create_app(settings(database_url=f"sqlite:///{tmp_path}/s.db", redis_url=redis_url))
        app.test_cli_runner().invoke(args=MIGRATE)
        client = signed_in(app, "admin@example.com", ADMIN)
        assert len(client.get("/api/users").get_json()["items"]) == 1
        valkey.refuse()
        assert client.post("/api/users", json=ANN).status_code == 201
        assert len(client.get("/api/users").get_json()["items"]) == 2
        valkey.restore()
        assert len(client.get("/api/users").get_json()["items"]) == 2


@pytest.mark.needs("engine")
def test_replicas_see_each_others_changes(postgres_url: str, shared_valkey: str) -> None:
    both = [
        create_app(settings(database_url=postgres_url, redis_url=spare(shared_valkey)))
        for _ in range(2)
    ]
    both[0].test_cli_runner().invoke(args=MIGRATE)
    here = signed_in(both[0], "here@example.com", ADMIN)
    there = signed_in(both[1], "there@example.com", ADMIN)
    assert len(here.get("/api/users").get_json()["items"]) == 2
    assert there.post("/api/users", json=ANN).status_code == 201
    assert len(here.get("/api/users").get_json()["items"]) == 3
    for one in both:
        with one.app_context():
            db.engine.dispose()


def test_processes_without_valkey_keep_nothing(tmp_path: Path) -> None:
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/s.db", web_concurrency=2))
    view = count(app)
    for _ in range(2):
        assert app.test_client().get("/counted").headers["ETag"]
    assert view.calls == 2


def test_no_former_generation_comes_back(
    app: Flask, counted: Counted, anonymous: FlaskClient
) -> None:
    anonymous.get("/counted")
    with app.app_context():
        cache.cache.delete("generation:users")
        cache.forget("users")
        cache.cache.delete("generation:users")
    assert anonymous.get("/counted").text == "answer 2 to "
