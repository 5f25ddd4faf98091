"""A request under the name of its route, and what is said when it is not answered as expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from locust.contrib.fasthttp import FastHttpSession, FastResponse

# How long a user waits for an answer, seconds.
PATIENCE = 30
# Which setting of the service allows more, where it is another one than RATE_LIMIT too.
LIMITS = {
    ("POST", "/api/users"): "SIGNUP_LIMIT or RATE_LIMIT",
    ("POST", "/login"): "LOGIN_LIMIT or RATE_LIMIT",
}


@dataclass(frozen=True)
class Answer:
    """One that was as expected."""

    status: int
    headers: Any
    text: str
    json: dict[str, Any] = field(default_factory=dict)


@dataclass
class Asker:
    """Who asks, by a session of Locust's, which counts requests and failures."""

    session: FastHttpSession
    # Milliseconds that the next request begins after it was due, of those on a schedule.
    late: float | None = None
    # Of the last answer; 0 if there was none.
    status: int = 0

    def __call__(  # noqa: PLR0913
        self,
        method: str,
        path: str,
        *expected: int,
        route: str | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        wrong: Callable[[dict[str, Any]], str | None] = lambda _: None,
    ) -> Answer | None:
        """The answer if its status is `expected` and `wrong` finds nothing in it, or None.

        `route` is the service's rule where it is not the path itself.
        """
        route = route or path
        context = {} if self.late is None else {"late": self.late}
        with self.session.request(
            method,
            path,
            name=route,
            headers=headers,
            json=json,
            allow_redirects=False,
            catch_response=True,
            context=context,
        ) as response:
            self.status = response.status_code
            if self.status not in expected:
                response.failure(_why(response, method, route))
                return None
            answer = _read(response)
            if reason := wrong(answer.json):
                response.failure(reason)
                return None
            response.success()
            return answer


def _read(response: FastResponse) -> Answer:
    text = response.text or ""
    is_json = "json" in _header(response, "Content-Type")
    return Answer(
        response.status_code, response.headers, text, response.json() if is_json and text else {}
    )


def _header(response: FastResponse, name: str) -> str:
    return str(response.headers.get(name, "")) if response.headers else ""


def _why(response: FastResponse, method: str, route: str) -> str:
    """The same for each request that fails alike: Locust counts by it."""
    status = response.status_code
    if not status:
        error = getattr(response, "error", None)
        return f"no answer: {type(error).__name__}: {error}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        policy = _header(response, "RateLimit-Policy")
        allowed = policy.replace(";w=", " requests in ") + " s" if policy else "less"
        setting = LIMITS.get((method, route), "RATE_LIMIT")
        return f"429: the service allows {allowed}: raise its {setting}, see loadtests/README.md"
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
