"""A provider of the tests' own: OpenID Connect, and GitHub's documented API.

It checks what it is sent as strictly as a real one, PKCE included, and says what a test wants it to
say, right or wrong. (The one of PyPI, which the tests use besides, is always right.)
"""

import hashlib
import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "slipway", "s3cret-of-the-client"


@contextmanager
def served(
    app: Flask, port: int = 0, certificate: tuple[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """`app` on a port of this machine, by real connections; its host, and the port."""
    server = make_server("127.0.0.1", port, app, threaded=True, ssl_context=certificate)
    thread = threading.Thread(target=lambda: server.serve_forever(0.05))
    thread.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@cache
def key_named(name: str) -> RSAKey:
    """To sign with; the same for the same name, as making one takes long."""
    return RSAKey.generate_key(2048, {"kid": name})


def unsigned(claims: dict[str, Any]) -> str:
    """An id_token of `alg: none`."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


class StandIn:
    """The provider, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = key_named("first")
        # What it says of who logs in.
        self.claims: dict[str, Any] = {
            "sub": "ann-1",
            "email": "ann@example.com",
            "email_verified": True,
            "name": "Ann",
        }
        self.user: dict[str, Any] = {"id": 7, "login": "ann", "name": "Ann"}
        self.emails: Any = [{"email": "ann@example.com", "primary": True, "verified": True}]
        # Each in place of a right answer: a function of it, by its path.
        self.wrong: dict[str, Callable[[Any], Any]] = {}
        self.asked: Counter[str] = Counter()
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()
        self.secrets_seen: list[str] = []

    def app(self) -> Flask:
        app = Flask(__name__)
        app.before_request(self._count)
        for rule, view in (
            ("/.well-known/openid-configuration", self._discovery),
            ("/jwks", self._jwks),
            ("/userinfo", self._userinfo),
            ("/api/v3/user", self._github_user),
            ("/api/v3/user/emails", self._github_emails),
        ):
            app.add_url_rule(rule, rule, view)
        for rule in ("/authorize", "/login/oauth/authorize"):
            app.add_url_rule(rule, rule, self._authorize)
        app.add_url_rule("/token", "/token", self._token, methods=["POST"])
        app.add_url_rule(
            "/login/oauth/access_token", "github", self._github_token, methods=["POST"]
        )
        return app

    def _count(self) -> None:
        self.asked[request.path] += 1

    def _answer(self, right: Any) -> ResponseReturnValue:
        answer = self.wrong.get(request.path, lambda right: right)(right)
        return answer if isinstance(answer, Response) else jsonify(answer)

    def _discovery(self) -> ResponseReturnValue:
        return self._answer(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
            }
        )

    def _jwks(self) -> ResponseReturnValue:
        return self._answer(KeySet([self.key]).as_dict(private=False))

    def _authorize(self) -> ResponseReturnValue:
        """Ask nobody, and go back with a code."""
        asked = request.args
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self._codes[code] = asked.to_dict()
        self.secrets_seen.append(code)
        return redirect(
            f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        )

    def _redeemed(self) -> dict[str, str] | None:
        """What the code of this request was asked with, if it is the one who asked (RFC 7636)."""
        asked = self._codes.pop(request.form["code"], None)
        verifier = request.form.get("code_verifier", "").encode()
        self.secrets_seen.append(verifier.decode())
        challenge = urlsafe_b64encode(hashlib.sha256(verifier).digest()).decode().rstrip("=")
        if asked is None or challenge != asked["code_challenge"]:
            return None
        return asked if request.form["redirect_uri"] == asked["redirect_uri"] else None

    def _access_token(self) -> dict[str, Any]:
        token = secrets.token_hex(8)
        self._tokens.add(token)
        self.secrets_seen.append(token)
        return {"access_token": token, "token_type": "bearer", "expires_in": 300}

    def _token(self) -> ResponseReturnValue:
        basic = request.authorization
        if not basic or (basic.username, basic.password) != (CLIENT, SECRET):
            return Response(status=401)
        asked = self._redeemed()
        if asked is None:
            return jsonify(error="invalid_grant", error_description=request.form["code"]), 400
        moment = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": moment, "exp": moment + 300}
        claims |= {"nonce": asked["nonce"], **self.claims}
        sign: Callable[[dict[str, Any]], str] = self.wrong.get("id_token", self.signed)
        signed = sign(claims)
        self.secrets_seen.append(signed)
        return self._answer({**self._access_token(), "id_token": signed})

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def signed_by_public_key(self, claims: dict[str, Any]) -> str:
        """The confusion of algorithms: what everybody knows taken for a shared secret."""
        with_public = OctKey.import_key(json.dumps(self.key.as_dict(private=False)))
        return jwt.encode({"alg": "HS256", "kid": self.key.kid}, claims, with_public)

    def _bears_token(self) -> bool:
        return request.headers.get("Authorization", "").partition(" ")[2] in self._tokens

    def _userinfo(self) -> ResponseReturnValue:
        return self._answer(dict(self.claims)) if self._bears_token() else ("", 401)

    def _github_token(self) -> ResponseReturnValue:
        """Errors have status 200; and it is JSON only for who asks for it."""
        assert (request.form["client_id"], request.form["client_secret"]) == (CLIENT, SECRET)
        if self._redeemed() is None:
            answer: dict[str, Any] = {"error": "bad_verification_code"}
        else:
            answer = {**self._access_token(), "scope": "user:email"}
        if request.accept_mimetypes.best != "application/json":
            return urlencode(answer)
        return self._answer(answer)

    def _github_user(self) -> ResponseReturnValue:
        return self._answer(self.user) if self._bears_token() else ("", 401)

    def _github_emails(self) -> ResponseReturnValue:
        return self._answer(self.emails) if self._bears_token() else ("", 401)


@contextmanager
def stand_in(certificate: tuple[str, str] | None = None) -> Iterator[StandIn]:
    provider = StandIn("")
    with served(provider.app(), certificate=certificate) as (host, port):
        provider.url = f"{'https' if certificate else 'http'}://{host}:{port}"
        yield provider
