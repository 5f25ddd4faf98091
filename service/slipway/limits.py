"""How often a client may ask: counted in Valkey, or in the process without one or while it is away.

A client is the user whose token or session a request carries, or else an address, of which IPv6
gives everybody 2^64: there it is the network.
"""

import hashlib
import math
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import ApplicationLimit, Limiter
from limits.storage import MemoryStorage, RedisStorage

from slipway import identity
from slipway.settings import Settings
from slipway.telemetry.saturation import LIMITS
from slipway.valkey import AwayError, Valkey

View = TypeVar("View", bound=Callable[..., Any])

# Somebody who tries passwords from many addresses is held up by the account.
FAILED_LOG_INS = "50 per hour"


# Takes an entry, and gives the window that this leaves: by the library's scripts, in one question.
_TAKE = f"""
local taken = (function() {RedisStorage.SCRIPT_ACQUIRE_MOVING_WINDOW.decode()} end)()
local function window(ARGV) {RedisStorage.SCRIPT_MOVING_WINDOW.decode()} end
return {{taken and 1 or 0, window({{ARGV[1] - ARGV[3], ARGV[2]}})}}
"""


class ValkeyElseMemory(RedisStorage):
    """Counts in Valkey; while it is away, each process counts for itself."""

    STORAGE_SCHEME = ["slipway"]  # noqa: RUF012

    def __init__(self, uri: str, *, valkey: Valkey) -> None:
        self._valkey = valkey
        self._memory = MemoryStorage()
        self._take = valkey.client.register_script(_TAKE)
        super().__init__(uri, connection_pool=valkey.client.connection_pool)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        taken_at = time.time()
        arguments = [taken_at, limit, expiry, amount]
        try:
            taken, *window = self._valkey.ask(self._take, [self.prefixed_key(key)], arguments)
        except AwayError:
            return self._memory.acquire_entry(key, limit, expiry, amount)
        # Asked for by `_tell`, of the same request.
        oldest, count = window[0] if window and window[0] else (taken_at, 0)
        g.setdefault("windows", {})[key] = float(oldest), int(count)
        return bool(taken)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        if window := g.get("windows", {}).get(key):
            return window  # type: ignore[no-any-return]
        try:
            return self._valkey.ask(super().get_moving_window, key, limit, expiry)
        except AwayError:
            return self._memory.get_moving_window(key, limit, expiry)


def address() -> str:
    """Whom the request comes from, as far as FORWARDED_HOPS proxies can tell."""
    said = request.remote_addr or ""
    try:
        ip = ip_address(said)
    except ValueError:
        return f"address:{said[:64]}"
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64)
    return f"address:{ip}"


def client() -> str:
    user = identity.claimed()
    return f"user:{user}" if user else address()


def account() -> str:
    """Whose password is tried, without the name."""
    data = request.get_json(silent=True) if request.is_json else request.form
    email = data.get("email") if isinstance(data, dict) else None
    name = str(email).strip().lower()
    return f"account:{hashlib.sha256(name.encode(errors='replace')).hexdigest()}"


def _of(name: str) -> Callable[[], str]:
    """The limit of that setting, of the application that serves."""
    return lambda: str(getattr(current_app.config["SETTINGS"], name))


login_limit = _of("login_limit")


def free(view: View) -> View:
    """A view that may be asked as often as anybody likes."""
    view.is_free = True  # type: ignore[attr-defined]
    return view


def _is_free() -> bool:
    return hasattr(current_app.view_functions.get(request.endpoint or ""), "is_free")


def _unless_free(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Flask-Limiter takes as long to find that nothing limits a view as the view itself."""
    return lambda *given: hook(*given) if not _is_free() else given[0] if given else None


limiter = Limiter(
    key_func=client,
    application_limits=[ApplicationLimit(_of("rate_limit"))],
    # Exact in what `Retry-After` promises, and no double share where two windows meet.
    strategy="moving-window",
    key_prefix="slipway",
)


# Of an address, whether by the API or by the page; an admin's token makes as many as it likes.
sign_ups = limiter.shared_limit(
    _of("signup_limit"),
    scope="sign-up",
    key_func=address,
    methods=["POST"],
    exempt_when=lambda: identity.claimed_by_token() is not None,
)


def log_ins(view: View) -> View:
    """Limit the log-ins of an address, and those of an account that fail."""
    by_account = limiter.shared_limit(
        FAILED_LOG_INS,
        scope="log-in",
        key_func=account,
        methods=["POST"],
        deduct_when=lambda response: response.status_code in {401, 422},
    )
    by_address = limiter.shared_limit(
        login_limit, scope="log-in", key_func=address, methods=["POST"]
    )
    return by_account(by_address(view))  # type: ignore[return-value]


def _tell(response: Response) -> Response:
    """How much is left (draft-ietf-httpapi-ratelimit-headers-07), and when to come again."""
    if limit := limiter.current_limit:
        amount, seconds = limit.limit.amount, limit.limit.get_expiry()
        reset = max(1, math.ceil(limit.window.reset_time - time.time()))
        response.headers["RateLimit-Limit"] = str(amount)
        response.headers["RateLimit-Remaining"] = str(max(0, limit.remaining))
        response.headers["RateLimit-Reset"] = str(reset)
        response.headers["RateLimit-Policy"] = f"{amount};w={seconds}"
        if limit.breached:
            response.headers["Retry-After"] = str(reset)
            LIMITS.labels(str(limit.limit)).inc()
    return response


def client_of_limits(app: Flask) -> Any:
    """What asks Valkey for the limits of an application that has one."""
    with app.app_context():
        storage: Any = limiter.storage
    return storage.storage


def init_app(app: Flask) -> None:
    """After `cache`, whose Valkey it is."""
    settings: Settings = app.config["SETTINGS"]
    uri, options = "memory://", {}
    if settings.redis_url:
        uri, options = "slipway://", {"valkey": app.extensions["valkey"]}
    app.config.update(RATELIMIT_STORAGE_URI=uri, RATELIMIT_STORAGE_OPTIONS=options)
    limiter.init_app(app)
    counts: Callable[..., Any] = app.after_request_funcs[None].pop()
    # After the limiter's own, which counts log-ins by their outcome.
    app.after_request(_unless_free(lambda response: _tell(counts(response))))
    for hooks in (app.before_request_funcs[None], app.teardown_request_funcs[None]):
        hooks.append(_unless_free(hooks.pop()))
