"""Log-ins with a provider: the whole dance of browser, service and provider, over real connections.

The provider is PyPI's `oidc-provider-mock`, and where one has to lie or to be GitHub, our own.
"""

import datetime
import ipaddress
import logging
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from answers import MIGRATE, PASSWORD, settings, until
from authlib.integrations.flask_client import OAuth
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response
from joserfc.jwk import KeySet
from provider import CLIENT, SECRET, StandIn, key_named, served, stand_in, unsigned
from sqlalchemy import func, select

from slipway import accounts, create_app, oauth, tokens
from slipway.database import db
from slipway.models import Identity, SignIn, User

ACCOUNT = "/account"
OIDC = {"oauth_oidc_client_id": CLIENT, "oauth_oidc_client_secret": SECRET}
GITHUB = {"oauth_github_client_id": CLIENT, "oauth_github_client_secret": SECRET}


class Browser:
    """Goes where it is sent, a step at a time."""

    def __init__(self, site: str) -> None:
        # No connection outlives its answer: nobody has to close them.
        alone = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(base_url=site, timeout=20, limits=alone)

    def begin(self, name: str = "oidc", **query: str) -> str:
        """Where the service sends it."""
        answer = self.http.get(f"/oauth/{name}/login", params=query)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def ask(self, there: str) -> str:
        """Where a provider that asks nobody sends it back to."""
        return self.http.get(there).headers["Location"]

    def consent(self, there: str, subject: str) -> str:
        """Where PyPI's provider sends it back to, once the person there said who they are."""
        return self.http.post(there, data={"sub": subject}).headers["Location"]

    def dance(self, name: str = "oidc", **query: str) -> httpx.Response:
        """All of it, with a provider that asks nobody."""
        return self.http.get(self.ask(self.begin(name, **query)))

    def is_logged_in(self) -> bool:
        return self.http.get(ACCOUNT).status_code == 200


def everything(app: Flask) -> tuple[int, int, int]:
    """How many users, identities and sessions there are."""
    with app.app_context():
        counts = [
            db.session.scalar(select(func.count()).select_from(model)) or 0
            for model in (User, Identity, SignIn)
        ]
    return counts[0], counts[1], counts[2]


def the_user(app: Flask) -> User:
    with app.app_context():
        return db.session.scalars(select(User)).one()


def assert_refused(answer: httpx.Response, status: int, app: Flask, browser: Browser) -> None:
    """An error page, and nothing came of it."""
    assert answer.status_code == status, answer.text
    assert everything(app) == (0, 0, 0)
    assert not browser.is_logged_in()


@contextmanager
def site(
    database_url: str, redis_url: str | None = None, **more: Any
) -> Iterator[tuple[Flask, str]]:
    """The service on a port, and its address."""
    more = {"login_limit": "1000 per minute", **more}
    app = create_app(settings(database_url=database_url, redis_url=redis_url, **more))
    result = app.test_cli_runner().invoke(args=MIGRATE)
    assert result.exit_code == 0, result.output
    with served(app) as (host, port):
        yield app, f"http://{host}:{port}"
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@contextmanager
def mock_provider(port: int) -> Iterator[str]:
    """PyPI's provider as a process, strict about the nonce; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", f"--port={port}", "--require-nonce=true"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, "the provider ended"
        try:
            return httpx.get(f"{url}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, lambda: "the provider does not answer")
        yield url
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_provider(free_port()) as url:
        yield url


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with stand_in() as provider:
        yield provider


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/slipway.db"


@pytest.fixture
def at_mock(database_url: str, redis_url: str | None, mock: str) -> Iterator[tuple[Flask, str]]:
    """The service, whose issuer is PyPI's provider."""
    with site(database_url, redis_url, oauth_oidc_issuer=mock, **OIDC) as served_site:
        yield served_site


@pytest.fixture
def at_ours(sqlite: str, provider: StandIn) -> Iterator[tuple[Flask, str]]:
    """The service, whose issuer and whose GitHub are our own."""
    github = {"oauth_github_url": provider.url, **GITHUB}
    with site(sqlite, oauth_oidc_issuer=provider.url, **OIDC, **github) as served_site:
        yield served_site


def known_at(mock: str, subject: str, **claims: Any) -> str:
    """Somebody of these claims at PyPI's provider."""
    httpx.put(f"{mock}/users/{subject}", json=claims).raise_for_status()
    return subject


def test_a_newcomer_gets_an_account_and_is_found_again(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    subject = known_at(mock, "new", email="New@Example.com", email_verified=True, name=" New One ")
    for _ in range(2):
        browser = Browser(address)
        answer = browser.http.get(browser.consent(browser.begin(), subject))
        assert (answer.status_code, answer.headers["Location"]) == (302, ACCOUNT)
        assert browser.is_logged_in()
        kept = browser.http.cookies.get("slipway_session")
        assert kept
        (set_cookie,) = answer.headers.get_list("Set-Cookie")
        assert {"HttpOnly", "SameSite=Lax"} <= set(set_cookie.split("; "))
    assert everything(app) == (1, 1, 2)
    user = the_user(app)
    assert (user.email, user.name) == ("new@example.com", "New One")
    assert (user.email_verified, user.password_hash, user.role) == (True, None, "user")
    with app.app_context():
        identity = db.session.scalars(select(Identity)).one()
        assert (identity.issuer, identity.subject) == (mock, "new")


def test_the_provider_is_asked_with_pkce_state_nonce_and_the_least_scope(
    at_mock: tuple[Flask, str],
) -> None:
    _, address = at_mock
    first, second = (
        {key: value for key, (value,) in parse_qs(urlsplit(Browser(address).begin()).query).items()}
        for _ in range(2)
    )
    assert first["code_challenge_method"] == "S256"
    assert first["scope"] == "openid email profile"
    assert first["redirect_uri"] == f"{address}/oauth/oidc/callback"
    for name in ("code_challenge", "state", "nonce"):
        assert len(first[name]) >= 20
        assert first[name] != second[name]


def test_behind_a_proxy_it_is_the_proxys_address_that_the_provider_sends_back_to(
    sqlite: str, provider: StandIn
) -> None:
    with site(sqlite, oauth_oidc_issuer=provider.url, forwarded_hops=1, **OIDC) as (_, address):
        browser = Browser(address)
        browser.http.headers["X-Forwarded-Proto"] = "https"
        browser.http.headers["X-Forwarded-Host"] = "shop.example"
        there = parse_qs(urlsplit(browser.begin()).query)
        assert there["redirect_uri"] == ["https://shop.example/oauth/oidc/callback"]


@pytest.mark.parametrize(
    ("asked", "then"),
    [
        ("/account/password?a=b", "/account/password?a=b"),
        ("https://evil.example/", ACCOUNT),
        ("//evil.example", ACCOUNT),
        ("/\\evil.example", ACCOUNT),
        ("/\t/evil.example", ACCOUNT),
        ("account", ACCOUNT),
        ("/" + "a" * 500, ACCOUNT),
    ],
)
def test_a_log_in_goes_on_to_a_path_of_this_service_alone(
    at_ours: tuple[Flask, str], asked: str, then: str
) -> None:
    assert Browser(at_ours[1]).dance(next=asked).headers["Location"] == then


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ann@example.com", "email_verified": False},
        {"email": "ann@example.com"},
        {"email": "ann@example.com", "email_verified": "true"},
        {"email_verified": True},
        {"email": "ann@example", "email_verified": True},
        {"email": "a\x00nn@example.com", "email_verified": True},
        {"email": ["ann@example.com"], "email_verified": True},
    ],
    ids=["unverified", "unsaid", "a string", "no address", "no domain", "a NUL", "a list"],
)
def test_nobody_gets_in_without_a_verified_email(
    at_ours: tuple[Flask, str], provider: StandIn, claims: dict[str, Any]
) -> None:
    app, address = at_ours
    provider.claims = {"sub": "ann-1", "name": "Ann", **claims}
    browser = Browser(address)
    assert_refused(browser.dance(), 403, app, browser)


def test_an_unverified_email_leads_to_no_account_that_has_it(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    with app.app_context():
        accounts.add("Ann", "ann@example.com", password=PASSWORD, email_verified=True)
        db.session.commit()
    browser = Browser(address)
    subject = known_at(mock, "ann", email="ann@example.com", email_verified=False)
    answer = browser.http.get(
        browser.consent(browser.begin(), subject), headers={"Accept": "text/html"}
    )
    assert answer.status_code == 403
    assert "does not say that your e-mail is verified" in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    assert everything(app) == (1, 0, 0)


def test_who_proves_the_email_of_a_proven_account_comes_in_beside_its_password(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    with app.test_request_context():
        user = accounts.add("Ann", "ann@example.com", password=PASSWORD, email_verified=True)
        db.session.commit()
        session_before = tokens.first(user)["access_token"]
    subject = known_at(mock, "ann", email="ANN@example.com", email_verified=True, name="Other")
    browser = Browser(address)
    browser.http.get(browser.consent(browser.begin(), subject))
    assert browser.is_logged_in()
    assert (the_user(app).name, everything(app)) == ("Ann", (1, 1, 2))
    with app.test_request_context():
        assert accounts.log_in("ann@example.com", PASSWORD)
    me = browser.http.get("/me", headers={"Authorization": f"Bearer {session_before}"})
    assert me.status_code == 200


def test_who_made_an_account_with_anothers_email_loses_it_when_the_owner_comes(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    # By a provider, so that their own log-in is linked to it; then they take the victim's address.
    thief = Browser(address)
    subject = known_at(mock, "thief", email="thief@example.com", email_verified=True)
    back = thief.consent(thief.begin(), subject)
    assert thief.http.get(back).status_code == 302
    with app.test_request_context():
        user = accounts.by_email("thief@example.com")
        assert user
        user.email, user.email_verified = "owner@example.com", False
        accounts.set_password(user, PASSWORD)
        token = tokens.first(user)["access_token"]
        accounts.sign_in(user)
    bearer = {"Authorization": f"Bearer {token}"}
    assert thief.http.get("/me", headers=bearer).status_code == 200

    owner = Browser(address)
    subject = known_at(mock, "owner", email="owner@example.com", email_verified=True)
    owner.http.get(owner.consent(owner.begin(), subject))
    assert owner.is_logged_in()
    assert thief.http.get("/me", headers=bearer).status_code == 401
    with app.test_request_context():
        assert accounts.log_in("owner@example.com", PASSWORD) is None
        kept = accounts.by_email("owner@example.com")
        assert kept
        assert (kept.password_hash, kept.email_verified) == (None, True)
        open_sessions = select(func.count()).where(SignIn.ended_at.is_(None))
        assert db.session.scalar(open_sessions) == 1
        assert db.session.scalars(select(Identity.subject)).all() == ["owner"]
    # The thief's own log-in leads to an account of their own.
    back = thief.consent(thief.begin(), "thief")
    assert thief.http.get(back).status_code == 302
    assert everything(app)[:2] == (2, 2)


def logged_in(app: Flask, browser: Browser, email: str) -> None:
    """`browser` as somebody who signed up with a password."""
    page = browser.http.get("/account/signup").text
    token = page.split('name="csrf_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
    form = {"csrf_token": token, "name": "Me", "email": email, "password": PASSWORD}
    assert browser.http.post("/account/signup", data=form).status_code == 302
    assert browser.is_logged_in()


def test_who_is_logged_in_links_a_provider_to_their_account_once(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    subject = known_at(mock, "me", email="me@example.com", email_verified=True, name="Me")
    browser = Browser(address)
    logged_in(app, browser, "me@example.com")
    for _ in range(2):
        answer = browser.http.get(browser.consent(browser.begin(), subject))
        assert answer.headers["Location"] == ACCOUNT
        assert browser.is_logged_in()
    assert everything(app) == (1, 1, 1)
    user = the_user(app)
    assert user.email_verified
    assert user.password_hash, "they are logged in: the password is theirs"
    again = Browser(address)
    again.http.get(again.consent(again.begin(), subject))
    assert again.is_logged_in()


def test_a_provider_that_knows_another_email_is_not_linked(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    browser = Browser(address)
    logged_in(app, browser, "me@example.com")
    for number, email in enumerate(("other@example.com", "me@example.org")):
        subject = known_at(mock, f"other-{number}", email=email, email_verified=True)
        answer = browser.http.get(browser.consent(browser.begin(), subject))
        assert answer.status_code == 403
    assert everything(app) == (1, 0, 1)
    assert not the_user(app).email_verified


def test_a_log_in_of_another_account_is_not_linked_to_mine(
    at_mock: tuple[Flask, str], mock: str
) -> None:
    app, address = at_mock
    subject = known_at(mock, "theirs", email="their@example.com", email_verified=True)
    theirs, mine = Browser(address), Browser(address)
    theirs.http.get(theirs.consent(theirs.begin(), subject))
    logged_in(app, mine, "me@example.com")
    assert mine.http.get(mine.consent(mine.begin(), subject)).status_code == 409
    assert everything(app) == (2, 1, 2)


def test_of_8_callbacks_of_one_newcomer_at_once_all_get_in_and_one_makes_the_account(
    database_url: str, redis_url: str | None, provider: StandIn
) -> None:
    together = threading.Barrier(8)

    def at_once(answer: Any) -> Any:
        together.wait(20)
        return answer

    provider.wrong["/token"] = at_once
    options = {"oauth_oidc_issuer": provider.url, **OIDC}
    with site(database_url, redis_url, **options) as (app, address):
        browsers = [Browser(address) for _ in range(8)]
        callbacks = [browser.ask(browser.begin()) for browser in browsers]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda b, there: b.http.get(there), browsers, callbacks))
        assert [answer.status_code for answer in answers] == [302] * 8
        assert all(browser.is_logged_in() for browser in browsers)
        assert everything(app) == (1, 1, 8)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (None, "Ann.B"),
        ("  ", "Ann.B"),
        ("A\x00b", "Ann.B"),
        (["Ann"], "Ann.B"),
        (" Ann ", "Ann"),
        ("x" * 101, "x" * 100),
    ],
)
def test_a_name_is_one_that_anybody_may_have_or_the_emails_first_part(
    at_ours: tuple[Flask, str], provider: StandIn, name: Any, kept: str
) -> None:
    app, address = at_ours
    provider.claims |= {"name": name, "email": "Ann.B@example.com"}
    Browser(address).dance()
    assert the_user(app).name == kept


def test_another_browsers_log_in_is_refused(at_mock: tuple[Flask, str], mock: str) -> None:
    app, address = at_mock
    subject = known_at(mock, "thief", email="thief@example.com", email_verified=True)
    thief, victim = Browser(address), Browser(address)
    sent = thief.consent(thief.begin(), subject)
    assert_refused(victim.http.get(sent), 400, app, victim)
    victim.begin()
    assert_refused(victim.http.get(sent), 400, app, victim)


def test_another_browsers_code_is_refused_by_the_provider_for_want_of_its_verifier(
    at_ours: tuple[Flask, str],
) -> None:
    app, address = at_ours
    thief, victim = Browser(address), Browser(address)
    stolen = parse_qs(urlsplit(victim.ask(victim.begin())).query)["code"][0]
    state = parse_qs(urlsplit(thief.begin()).query)["state"][0]
    answer = thief.http.get("/oauth/oidc/callback", params={"code": stolen, "state": state})
    assert_refused(answer, 400, app, thief)


def test_a_callback_counts_once(at_mock: tuple[Flask, str], mock: str) -> None:
    app, address = at_mock
    subject = known_at(mock, "once", email="once@example.com", email_verified=True)
    browser = Browser(address)
    sent = browser.consent(browser.begin(), subject)
    before = dict(browser.http.cookies)
    assert browser.http.get(sent).status_code == 302
    assert browser.http.get(sent).status_code == 400
    # Not even with the cookie of that time: the provider takes a code once.
    thief = Browser(address)
    thief.http.cookies.update(before)
    assert thief.http.get(sent).status_code == 400
    assert not thief.is_logged_in()
    assert everything(app) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"state": ""}, 400),
        ({"state": "x" * 30}, 400),
        ({"code": ""}, 400),
        ({"code": "made-up"}, 400),
        ({"error": "access_denied", "code": ""}, 403),
        ({"error": "access_denied", "state": ""}, 400),
    ],
)
def test_a_callback_without_what_it_needs_is_refused(
    at_ours: tuple[Flask, str], changed: dict[str, str], status: int
) -> None:
    app, address = at_ours
    browser = Browser(address)
    query = parse_qs(urlsplit(browser.ask(browser.begin())).query)
    sent = {name: value[0] for name, value in query.items()} | changed
    answer = browser.http.get("/oauth/oidc/callback", params={k: v for k, v in sent.items() if v})
    assert_refused(answer, status, app, browser)


def test_a_refusal_at_the_provider_ends_the_attempt(at_ours: tuple[Flask, str]) -> None:
    app, address = at_ours
    browser = Browser(address)
    sent = browser.ask(browser.begin())
    text = "<b>call this number</b>"
    refused = {"error": "access_denied", "error_description": text}
    state = parse_qs(urlsplit(sent).query)["state"][0]
    answer = browser.http.get("/oauth/oidc/callback", params={"state": state, **refused})
    assert_refused(answer, 403, app, browser)
    assert "call this number" not in answer.text
    assert_refused(browser.http.get(sent), 400, app, browser)


def test_a_state_of_one_provider_is_none_of_another(at_ours: tuple[Flask, str]) -> None:
    app, address = at_ours
    browser = Browser(address)
    mixed_up = browser.ask(browser.begin("github")).replace("/github/", "/oidc/")
    assert_refused(browser.http.get(mixed_up), 400, app, browser)


FORGED: dict[str, Callable[[StandIn, dict[str, Any]], str]] = {
    "alg none": lambda _, claims: unsigned(claims),
    "the public key as secret": lambda p, claims: p.signed_by_public_key(claims),
    "no signature": lambda p, claims: p.signed(claims).rpartition(".")[0] + ".",
    "other claims": lambda p, claims: ".".join(
        [p.signed(claims).split(".")[0], *p.signed({**claims, "sub": "boss"}).split(".")[1:2], "x"]
    ),
    "another audience": lambda p, claims: p.signed({**claims, "aud": "other"}),
    "another audience, for us": lambda p, claims: p.signed(
        {**claims, "aud": "other", "azp": CLIENT}
    ),
    "for another party": lambda p, claims: p.signed({**claims, "azp": "other"}),
    "no audience": lambda p, claims: p.signed({k: v for k, v in claims.items() if k != "aud"}),
    "another issuer": lambda p, claims: p.signed({**claims, "iss": "https://evil.example"}),
    "another nonce": lambda p, claims: p.signed({**claims, "nonce": "x" * 20}),
    "no nonce": lambda p, claims: p.signed({k: v for k, v in claims.items() if k != "nonce"}),
    "expired": lambda p, claims: p.signed({**claims, "exp": claims["iat"] - 61}),
    "never expires": lambda p, claims: p.signed({k: v for k, v in claims.items() if k != "exp"}),
    "of tomorrow": lambda p, claims: p.signed({**claims, "iat": claims["iat"] + 86400}),
    "no subject": lambda p, claims: p.signed({**claims, "sub": None}),
    "an empty subject": lambda p, claims: p.signed({**claims, "sub": ""}),
    "too long a subject": lambda p, claims: p.signed({**claims, "sub": "x" * 256}),
    "a NUL in the subject": lambda p, claims: p.signed({**claims, "sub": "a\x00"}),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_id_token_is_refused(
    at_ours: tuple[Flask, str], provider: StandIn, forged: str
) -> None:
    app, address = at_ours
    provider.wrong["id_token"] = lambda claims: FORGED[forged](provider, claims)
    browser = Browser(address)
    assert_refused(browser.dance(), 403, app, browser)
    del provider.wrong["id_token"]
    browser.dance()
    assert browser.is_logged_in(), "nor does the right one get in"


def test_an_id_token_by_a_key_of_nobody_is_refused(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    app, address = at_ours
    browser = Browser(address)
    browser.dance()
    published = KeySet([provider.key]).as_dict(private=False)
    provider.wrong["/jwks"] = lambda _: published
    provider.key = key_named("unheard of")
    asked = provider.asked["/jwks"]
    stranger = Browser(address)
    assert stranger.dance().status_code == 403
    assert provider.asked["/jwks"] - asked == 1, "asked for once more, and not for ever"
    assert everything(app) == (1, 1, 1)


def test_keys_are_asked_for_once_and_again_when_the_provider_takes_a_new_one(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    _, address = at_ours
    for _ in range(3):
        assert Browser(address).dance().status_code == 302
    assert provider.asked["/jwks"] == provider.asked["/.well-known/openid-configuration"] == 1
    provider.key = key_named("second")
    for _ in range(3):
        assert Browser(address).dance().status_code == 302
    assert provider.asked["/jwks"] == 2


def test_what_a_provider_says_of_itself_is_not_believed_for_ever(
    at_ours: tuple[Flask, str], provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = at_ours
    monkeypatch.setattr("slipway.oauth_client.KEPT_SECONDS", 0)
    for _ in range(2):
        Browser(address).dance()
    assert provider.asked["/jwks"] == 2


def test_a_thin_id_token_is_completed_by_the_userinfo(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    app, address = at_ours

    def thin(claims: dict[str, Any]) -> str:
        extra = {"email", "email_verified", "name"}
        return provider.signed({k: v for k, v in claims.items() if k not in extra})

    provider.wrong["id_token"] = thin
    browser = Browser(address)
    browser.dance()
    assert browser.is_logged_in()
    assert the_user(app).name == "Ann"


def test_the_userinfo_of_somebody_else_is_refused(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    app, address = at_ours
    provider.wrong["id_token"] = lambda claims: provider.signed(
        {k: v for k, v in claims.items() if k != "email"}
    )
    provider.wrong["/userinfo"] = lambda claims: {**claims, "sub": "boss"}
    browser = Browser(address)
    assert_refused(browser.dance(), 502, app, browser)


def without(*names: str) -> Callable[[Any], Any]:
    return lambda right: {key: value for key, value in right.items() if key not in names}


PAGE = Response("<html>maintenance</html>")
NONSENSE: list[tuple[str, Callable[[Any], Any]]] = [
    ("/.well-known/openid-configuration", lambda _: PAGE),
    ("/.well-known/openid-configuration", lambda _: ["a list"]),
    ("/.well-known/openid-configuration", without("issuer")),
    ("/.well-known/openid-configuration", without("jwks_uri")),
    ("/.well-known/openid-configuration", lambda right: {**right, "issuer": right["issuer"] + "/"}),
    ("/.well-known/openid-configuration", lambda _: Response("away", 500)),
    ("/jwks", lambda _: {}),
    ("/jwks", lambda _: PAGE),
    ("/jwks", lambda _: ["a list"]),
    ("/jwks", lambda _: Response("away", 503)),
    ("/token", lambda _: PAGE),
    ("/token", lambda _: ["a list"]),
    ("/token", without("id_token")),
    ("/token", lambda _: {"error": "invalid_client"}),
    ("/token", lambda _: Response("away", 503)),
    ("/api/v3/user", lambda _: ["a list"]),
    ("/api/v3/user", lambda _: Response("away", 503)),
    ("/api/v3/user", lambda right: {**right, "id": "x"}),
    ("/api/v3/user/emails", lambda _: {"message": "Not Found"}),
    ("/api/v3/user/emails", lambda _: Response("{}", 403)),
]


@pytest.mark.parametrize(("path", "nonsense"), NONSENSE)
def test_nonsense_of_a_provider_is_a_502_and_is_forgotten(
    at_ours: tuple[Flask, str],
    provider: StandIn,
    path: str,
    nonsense: Callable[[Any], Any],
) -> None:
    app, address = at_ours
    name = "github" if "api" in path else "oidc"
    browser = Browser(address)
    provider.wrong[path] = nonsense
    answer = browser.http.get(f"/oauth/{name}/login")
    if answer.status_code == 302:
        answer = browser.http.get(browser.ask(answer.headers["Location"]))
    assert_refused(answer, 502, app, browser)
    del provider.wrong[path]
    browser.dance(name)
    assert browser.is_logged_in()


def test_a_provider_without_any_key_is_refused_and_asked_again(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    app, address = at_ours
    browser = Browser(address)
    provider.wrong["/jwks"] = lambda _: {"keys": []}
    assert_refused(browser.dance(), 403, app, browser)
    del provider.wrong["/jwks"]
    browser.dance()
    assert browser.is_logged_in()


def test_a_client_secret_is_sent_as_the_provider_takes_it(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    _, address = at_ours
    provider.wrong["/.well-known/openid-configuration"] = lambda right: {
        **right,
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }
    # Ours takes Basic alone.
    assert Browser(address).dance().status_code == 502
    provider.wrong["/.well-known/openid-configuration"] = lambda right: {
        **right,
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    }
    assert Browser(address).dance().status_code == 302


@contextmanager
def silent(port: int) -> Iterator[None]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", port)):
        yield


@contextmanager
def trickling(port: int) -> Iterator[None]:
    """Answers a byte now and then, which no timeout of a single read ever ends."""
    done = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            while not done.wait(0.2):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=trickle, args=[listener])
        thread.start()
        yield
        done.set()
        thread.join()


@contextmanager
def refusing(_port: int) -> Iterator[None]:
    """Nobody listens."""
    yield


@pytest.mark.parametrize("away", [silent, trickling, refusing])
def test_a_provider_that_is_away_is_a_503_in_time_and_works_once_it_is_back(
    sqlite: str, away: Callable[[int], Any]
) -> None:
    port = free_port()
    with site(sqlite, oauth_oidc_issuer=f"http://127.0.0.1:{port}", **OIDC) as (_, address):
        browser = Browser(address)
        with away(port):
            began = time.monotonic()
            answer = browser.http.get("/oauth/oidc/login", headers={"Accept": "text/html"})
            assert time.monotonic() - began < 5
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
        with mock_provider(port) as mock:
            subject = known_at(mock, "late", email="late@example.com", email_verified=True)
            browser.http.get(browser.consent(browser.begin(), subject))
            assert browser.is_logged_in()


def test_a_silent_provider_holds_no_thread(sqlite: str) -> None:
    port = free_port()
    with (
        silent(port),
        site(sqlite, oauth_oidc_issuer=f"http://127.0.0.1:{port}", **OIDC) as (_, address),
    ):
        assert httpx.get(f"{address}/oauth/oidc/login", timeout=20).status_code == 503
        assert "provider" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("path", ["/token", "/jwks", "/userinfo"])
def test_a_provider_that_falls_silent_in_the_middle_is_a_503_in_time(
    at_ours: tuple[Flask, str], provider: StandIn, path: str
) -> None:
    app, address = at_ours
    released = threading.Event()

    def never(right: Any) -> Any:
        released.wait(20)
        return right

    provider.wrong["id_token"] = lambda claims: provider.signed(
        {k: v for k, v in claims.items() if k != "email"}
    )
    provider.wrong[path] = never
    browser = Browser(address)
    sent = browser.ask(browser.begin())
    began = time.monotonic()
    answer = browser.http.get(sent)
    took = time.monotonic() - began
    released.set()
    assert_refused(answer, 503, app, browser)
    assert took < 5
    del provider.wrong[path]
    browser.dance()
    assert browser.is_logged_in()


def test_a_provider_that_is_slow_at_every_step_is_a_503_in_time(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    _, address = at_ours
    ended = threading.Event()

    def slow(right: Any) -> Any:
        ended.wait(2.2)
        return right

    provider.wrong |= dict.fromkeys(["/token", "/jwks", "/userinfo"], slow)
    provider.wrong["id_token"] = lambda claims: provider.signed(
        {k: v for k, v in claims.items() if k != "email"}
    )
    browser = Browser(address)
    sent = browser.ask(browser.begin())
    began = time.monotonic()
    assert browser.http.get(sent).status_code == 503
    assert time.monotonic() - began < 5
    ended.set()


def test_github_knows_somebody_by_number_and_by_the_primary_email(
    database_url: str, redis_url: str | None, provider: StandIn
) -> None:
    provider.emails = [
        {"email": "old@example.com", "primary": False, "verified": True},
        {"email": "Ann@Example.com", "primary": True, "verified": True},
    ]
    options = {"oauth_github_url": provider.url + "/", **GITHUB}
    with site(database_url, redis_url, **options) as (app, address):
        browser = Browser(address)
        there = parse_qs(urlsplit(browser.begin("github")).query)
        assert there["scope"] == ["user:email"]
        assert there["code_challenge_method"] == ["S256"]
        assert browser.dance("github").headers["Location"] == ACCOUNT
        assert browser.is_logged_in()
        assert (the_user(app).email, the_user(app).name) == ("ann@example.com", "Ann")
        # Somebody else takes the name that Ann gave up.
        provider.user = {"id": 7, "login": "ann-b", "name": None}
        Browser(address).dance("github")
        assert everything(app) == (1, 1, 2)
        with app.app_context():
            identity = db.session.scalars(select(Identity)).one()
            assert (identity.issuer, identity.subject) == (provider.url, "7")


@pytest.mark.parametrize(
    "emails",
    [
        [],
        [{"email": "ann@example.com", "primary": True, "verified": False}],
        [{"email": "ann@example.com", "primary": False, "verified": True}],
    ],
)
def test_github_lets_nobody_in_without_a_verified_primary_email(
    at_ours: tuple[Flask, str], provider: StandIn, emails: Any
) -> None:
    app, address = at_ours
    provider.emails = emails
    browser = Browser(address)
    assert_refused(browser.dance("github"), 403, app, browser)


def test_a_code_that_github_does_not_know_is_a_400(at_ours: tuple[Flask, str]) -> None:
    app, address = at_ours
    browser = Browser(address)
    sent = browser.ask(browser.begin("github"))
    again = Browser(address)
    again.http.cookies.update(dict(browser.http.cookies))
    browser.http.get(sent)
    assert again.http.get(sent).status_code == 400
    assert everything(app) == (1, 1, 1)


def test_one_email_at_two_providers_is_one_account(at_ours: tuple[Flask, str]) -> None:
    app, address = at_ours
    for name in ("github", "oidc"):
        Browser(address).dance(name)
    assert everything(app) == (1, 2, 2)


def test_google_and_github_are_asked_where_they_are() -> None:
    google = {"oauth_google_client_id": CLIENT, "oauth_google_client_secret": SECRET}
    app = create_app(settings(**google, **GITHUB))
    with app.app_context():
        assert oauth.providers() == [("google", "Google"), ("github", "GitHub")]
        clients: OAuth = app.extensions["slipway.oauth"]
        assert clients.google.issuer == "https://accounts.google.com"
        assert clients.google.client_kwargs["scope"] == "openid email profile"
        assert clients.google.client_kwargs["code_challenge_method"] == "S256"
        assert clients.github.issuer == "https://github.com"
        assert clients.github.authorize_url == "https://github.com/login/oauth/authorize"
        assert clients.github.access_token_url == "https://github.com/login/oauth/access_token"
        assert clients.github.api_base_url == "https://api.github.com/"
    # GitHub has no document to be asked for first.
    there = app.test_client().get("/oauth/github/login").headers["Location"]
    assert there.startswith("https://github.com/login/oauth/authorize?response_type=code&")


def test_what_is_not_configured_is_not_there(at_mock: tuple[Flask, str]) -> None:
    app, address = at_mock
    with app.app_context():
        assert oauth.providers() == [("oidc", "single sign-on")]
    for name in ("google", "github", "facebook"):
        for step in ("login", "callback"):
            answer = httpx.get(f"{address}/oauth/{name}/{step}")
            assert (answer.status_code, answer.json()["status"]) == (404, 404)


def test_log_ins_that_nobody_ends_do_not_outgrow_the_cookie(at_ours: tuple[Flask, str]) -> None:
    _, address = at_ours
    browser = Browser(address)
    begun = []
    for number in range(30):
        name = ("oidc", "github")[number % 2]
        begun.append(browser.begin(name, next="/" + secrets.token_hex(249)))
    assert len(browser.http.cookies.get("slipway_session") or "") < 3000
    # Three tabs may be open at once.
    for there, status in ((begun[-3], 302), (begun[-4], 400)):
        other = Browser(address)
        other.http.cookies.update(dict(browser.http.cookies))
        assert other.http.get(other.ask(there)).status_code == status


def test_both_steps_are_limited(sqlite: str, provider: StandIn) -> None:
    few = "2 per minute"
    with site(sqlite, oauth_oidc_issuer=provider.url, login_limit=few, **OIDC) as (_, address):
        for step in ("login", "callback"):
            answers = [httpx.get(f"{address}/oauth/oidc/{step}").status_code for _ in range(3)]
            assert answers[-1] == 429
            assert 429 not in answers[:2]


def test_links_and_refusals_are_logged_without_any_secret(
    at_ours: tuple[Flask, str], provider: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    _, address = at_ours
    caplog.set_level(logging.DEBUG)
    Browser(address).dance()
    provider.claims |= {"sub": "eve\nforged line", "email_verified": False}
    Browser(address).dance()
    thief = Browser(address)
    sent = thief.ask(thief.begin())
    again = Browser(address)
    again.http.cookies.update(dict(thief.http.cookies))
    thief.http.get(sent)
    again.http.get(sent)
    ours = [r for r in caplog.records if not r.name.startswith(("werkzeug", "httpx", "httpcore"))]
    said = "\n".join(record.getMessage() for record in ours)
    assert f"{provider.url} ann-1 was linked to user 1" in said
    assert "was refused" in said
    assert "invalid_grant" in said
    assert "\nforged line" not in said
    assert provider.secrets_seen
    for secret in (*provider.secrets_seen, SECRET):
        assert secret not in said


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """The files of a certificate for this machine, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    moment = datetime.datetime.now(datetime.UTC)
    this_machine = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - datetime.timedelta(days=1))
        .not_valid_after(moment + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([this_machine]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "provider.crt", tmp_path / "provider.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(files[0]), str(files[1])


def test_over_https_it_is_the_provider_itself_that_is_asked_and_all_of_it_is_https(
    sqlite: str, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        stand_in(certificate) as provider,
        site(sqlite, oauth_oidc_issuer=provider.url, **OIDC) as (_, address),
    ):
        browser = Browser(address)
        assert browser.http.get("/oauth/oidc/login").status_code == 503, "of an unknown authority"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
        provider.wrong["/.well-known/openid-configuration"] = lambda right: {
            **right,
            "token_endpoint": right["token_endpoint"].replace("https:", "http:"),
        }
        assert browser.http.get("/oauth/oidc/login").status_code == 502
        provider.wrong.clear()
        assert browser.begin().startswith(f"{provider.url}/authorize?")


def test_a_discovery_without_userinfo_is_enough(
    at_ours: tuple[Flask, str], provider: StandIn
) -> None:
    app, address = at_ours
    provider.wrong["/.well-known/openid-configuration"] = without("userinfo_endpoint")
    browser = Browser(address)
    browser.dance()
    assert browser.is_logged_in()
    del provider.claims["email"]
    provider.claims["sub"] = "ann-2"
    assert Browser(address).dance().status_code == 403
    assert everything(app) == (1, 1, 1)
