"""Passwords, hashed by Argon2id with bounded memory.

A hash takes `MEMORY_KIB` and each process makes at most `AT_ONCE` of them at a time, however many
threads are asked for one. Parameters: OWASP's Password Storage Cheat Sheet.
"""

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask_smorest import abort

MEMORY_KIB = 19 * 1024
AT_ONCE = 2
# How long a log-in waits for its turn, seconds.
PATIENCE = 2

_hasher = PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1)
_turns = threading.BoundedSemaphore(AT_ONCE)


def _same(password: str) -> bytes:
    """Keyboards differ in how they compose a letter (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode()


class _Turn:
    """One of the few hashes at a time; a 503 for whom no turn comes soon."""

    def __enter__(self) -> None:
        if not _turns.acquire(timeout=PATIENCE):
            abort(503, message="Too many log-ins at once.", headers={"Retry-After": "2"})

    def __exit__(self, *_: object) -> None:
        _turns.release()


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody's password")


def hashed(password: str) -> str:
    """What to keep of the password; it says itself how it was made."""
    with _Turn():
        return _hasher.hash(_same(password))


def fits(kept: str | None, password: str) -> bool:
    """Whether `password` is the one that `kept` was made of. Without `kept` it takes as long."""
    # Made at the first log-in of all, not at the first one without an account.
    nobodys = _nobodys()
    with _Turn():
        try:
            return _hasher.verify(kept or nobodys, _same(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(kept)
