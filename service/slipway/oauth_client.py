"""Authlib's client with deadlines, which believes no more than it checked.

A client asks one provider who somebody is: by an authorization code with PKCE and state, and for
OpenID Connect with a nonce and a signed id_token (OpenID Connect Core 1.0, 3.1).
"""

import contextvars
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
from authlib.integrations.flask_client import FlaskOAuth2App
from authlib.integrations.requests_client import OAuth2Session
from flask import g, session

Answer = TypeVar("Answer")

# For each connection and each read, and for all questions of one request together, seconds.
TIMEOUT = 3
PATIENCE = 4
# A key that a provider withdraws must not count for ever, seconds.
KEPT_SECONDS = 3600
# How much clocks may differ, seconds.
LEEWAY = 60
# Log-ins under way in the tabs of one browser: the cookie that holds them has 4 KB.
ATTEMPTS = 3
# By public keys alone: some providers list `none` among theirs, which is no signature at all.
ALGORITHMS = [f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)]


class Person(NamedTuple):
    """Somebody as a provider knows them."""

    issuer: str
    subject: str
    # As they like to be called, unchecked.
    name: object
    # None unless the provider says that it is theirs.
    email: object


def _within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """The answer of `ask`, or a Timeout, whatever it hangs on.

    The timeouts of `requests` limit neither the look-up of a name nor an answer that trickles.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=[run], name="provider", daemon=True).start()
    try:
        return answer.result(timeout=max(0, seconds))
    except TimeoutError:
        raise requests.Timeout("no whole answer in time") from None


class Session(OAuth2Session):
    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        deadline = g.setdefault("provider_deadline", time.monotonic() + PATIENCE)
        ask = super().request
        return _within(deadline - time.monotonic(), lambda: ask(method, url, **kwargs))


class Client(FlaskOAuth2App, ABC):
    """Who somebody is, by one provider."""

    client_cls = Session

    def __init__(self, *args: Any, issuer: str, options: dict[str, Any], **kwargs: Any) -> None:
        always = {"code_challenge_method": "S256", "default_timeout": TIMEOUT}
        super().__init__(*args, client_kwargs={**always, **options}, **kwargs)
        self.issuer = issuer

    def begin(self, redirect_uri: str, then: str | None) -> str:
        """Where to send the browser, which comes back to `redirect_uri` and may go on to `then`."""
        begun = self.create_authorization_url(redirect_uri)
        under_way = [key for key in session if key.startswith("_state_")]
        under_way.sort(key=lambda key: session[key]["exp"])
        for key in under_way[: 1 - ATTEMPTS]:
            del session[key]
        url: str = begun.pop("url")
        self.save_authorize_data(redirect_uri=redirect_uri, then=then, **begun)
        return url

    def begun(self, state: str | None) -> dict[str, Any] | None:
        """What `begin` kept of this `state`, in this browser alone."""
        kept: dict[str, Any] | None = self.framework.get_state_data(session, state)
        return kept

    def end(self, state: str) -> None:
        """The attempt of that `state` is over."""
        self.framework.clear_state_data(session, state)

    @abstractmethod
    def person(self) -> Person:
        """Whom the provider sent here; an error of Authlib, joserfc or requests if that fails."""


class OpenIdClient(Client):
    """An OpenID Connect provider, known by its issuer alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, options={"scope": "openid email profile"}, **kwargs)
        self._known_until = 0.0

    def load_server_metadata(self) -> dict[str, Any]:
        """The places that the provider names; kept for a while once they are seen to be its own."""
        if time.monotonic() > self._known_until:
            self.server_metadata = self._discovered()
            self._known_until = time.monotonic() + KEPT_SECONDS
        known: dict[str, Any] = self.server_metadata
        return known

    def _discovered(self) -> dict[str, Any]:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        with self._get_session() as asked:
            answer = asked.get(url, withhold_token=True)
            answer.raise_for_status()
        said = answer.json()
        # OpenID Connect Discovery 1.0, 4.3: else anybody could speak for somebody else's issuer.
        if said["issuer"] != self.issuer:
            raise ValueError(f"it calls itself {said['issuer']!r:.200}, not {self.issuer!r}")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        places = {name: said[name] for name in needed}
        if "userinfo_endpoint" in said:
            places["userinfo_endpoint"] = said["userinfo_endpoint"]
        for name, place in places.items():
            if self.issuer.startswith("https:") and not place.startswith("https:"):
                raise ValueError(f"its {name} is not https")
        ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        way = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return {
            **places,
            "id_token_signing_alg_values_supported": ALGORITHMS,
            "token_endpoint_auth_method": way,
        }

    def person(self) -> Person:
        try:
            claims = self._claims()
        except Exception:
            # Perhaps because of what it said about itself: ask again next time.
            self._known_until = 0.0
            raise
        email = claims.get("email") if claims.get("email_verified") is True else None
        return Person(self.issuer, claims["sub"], claims.get("name"), email)

    def _claims(self) -> dict[str, Any]:
        # Authlib by itself does not ask whether the token was made for this client.
        options = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
        }
        token = self.authorize_access_token(claims_options=options, leeway=LEEWAY)
        claims: dict[str, Any] = token["userinfo"]
        if "email" in claims or "userinfo_endpoint" not in self.server_metadata:
            return claims
        more = self.userinfo(token=token)
        # OpenID Connect Core 1.0, 5.3.2: it may be somebody else's.
        if more["sub"] != claims["sub"]:
            raise ValueError("its userinfo is of another subject than its id_token")
        return {**more, **claims}


class GitHubClient(Client):
    """GitHub, or a GitHub Enterprise Server: OAuth 2.0 and an API in place of OpenID Connect."""

    def __init__(self, *args: Any, issuer: str, **kwargs: Any) -> None:
        site = issuer.rstrip("/")
        public = urlsplit(site).hostname == "github.com"
        super().__init__(
            *args,
            issuer=site,
            options={"scope": "user:email", "token_endpoint_auth_method": "client_secret_post"},
            authorize_url=f"{site}/login/oauth/authorize",
            access_token_url=f"{site}/login/oauth/access_token",
            api_base_url="https://api.github.com/" if public else f"{site}/api/v3/",
            **kwargs,
        )

    def person(self) -> Person:
        self.authorize_access_token()
        user = self._read("user")
        emails = self._read("user/emails?per_page=100")
        own = [e["email"] for e in emails if e["primary"] is True and e["verified"] is True]
        # A login may be changed, and then be somebody else's; the number stays.
        subject = str(int(user["id"]))
        return Person(self.issuer, subject, user.get("name") or user["login"], *own[:1] or [None])

    def _read(self, path: str) -> Any:
        answer = self.get(path, headers={"Accept": "application/vnd.github+json"})
        answer.raise_for_status()
        return answer.json()
