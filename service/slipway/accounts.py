"""Accounts: how they come to be, how somebody logs in, and when that ends.

What the JSON endpoints and the pages have in common; neither knows more of it than these functions.
"""

import uuid
from datetime import timedelta

from flask import current_app
from flask_smorest import abort
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from slipway import passwords
from slipway.database import db, now
from slipway.models import ADMIN, Identity, SignIn, User

SIGN_IN_DAYS = 30

# Of every request with a token or a session, so it is put together once.
_SIGNED_IN = select(SignIn).where(
    SignIn.id == bindparam("id"), SignIn.ended_at.is_(None), SignIn.expires_at > bindparam("now")
)


def by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == email.lower()))


def flush() -> None:
    """Write to the database, which alone can tell whether an e-mail is taken in the same moment."""
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        if "email" not in str(error.orig):
            raise
        abort(409, message="A user with this e-mail exists already.")


def add(name: str, email: str, *, password: str | None = None, **more: object) -> User:
    """A new user, not committed yet. A 409 when the e-mail is taken."""
    kept = passwords.hashed(password) if password is not None else None
    user = User(name=name, email=email.lower(), password_hash=kept, **more)
    db.session.add(user)
    flush()
    return user


def log_in(email: str, password: str) -> User | None:
    """Whose e-mail and password these are. It takes as long when there is no such account."""
    user = by_email(email)
    if not passwords.fits(user.password_hash if user else None, password):
        return None
    if user and user.password_hash and passwords.is_outdated(user.password_hash):
        user.password_hash = passwords.hashed(password)
        db.session.commit()
    return user


def is_theirs(user: User, password: str) -> bool:
    """Whether it is the password of `user`."""
    return passwords.fits(user.password_hash, password)


def set_password(user: User, password: str, *, keep: SignIn | None = None) -> None:
    """Change the password, and end every sign-in but `keep`."""
    user.password_hash = passwords.hashed(password)
    end_all(user, keep=keep)
    db.session.commit()


def sign_in(user: User, *, sign_in_id: str | None = None, refresh_jti: str | None = None) -> SignIn:
    """Begin a session of `user`, and forget those that are long over."""
    begun = now()
    db.session.execute(
        delete(SignIn).where(SignIn.user_id == user.id, SignIn.expires_at < begun),
        execution_options={"synchronize_session": False},
    )
    started = SignIn(
        id=sign_in_id or uuid.uuid4().hex,
        user_id=user.id,
        refresh_jti=refresh_jti,
        expires_at=begun + timedelta(days=SIGN_IN_DAYS),
    )
    db.session.add(started)
    db.session.commit()
    return started


def signed_in(sign_in_id: object) -> SignIn | None:
    """The session of that id with its user, unless it has ended."""
    if not isinstance(sign_in_id, str):
        return None
    return db.session.scalar(_SIGNED_IN, {"id": sign_in_id, "now": now()})


def end(sign_in_id: str) -> None:
    """Log out: whatever was given out for this session is worth nothing from now on."""
    _end(SignIn.id == sign_in_id)
    db.session.commit()


def end_all(user: User, *, keep: SignIn | None = None) -> None:
    """Log out everywhere, not committed yet."""
    _end(SignIn.user_id == user.id, SignIn.id != (keep.id if keep else ""))


def evict(user: User) -> None:
    """Take away every way into the account: password, sessions, providers; not committed yet."""
    user.password_hash = None
    end_all(user)
    db.session.execute(delete(Identity).where(Identity.user_id == user.id))


def _end(*which: object) -> None:
    db.session.execute(
        update(SignIn).where(SignIn.ended_at.is_(None), *which).values(ended_at=now())  # type: ignore[arg-type]
    )


def rotate(sign_in_id: str, used_jti: str, next_jti: str) -> bool:
    """Take `next_jti` in place of `used_jti`, once.

    When it is not the one that is good, two have the same token, and one of them is a thief: the
    session ends for both (RFC 9700, 4.14.2).
    """
    taken = db.session.execute(
        update(SignIn)
        .where(
            SignIn.id == sign_in_id,
            SignIn.refresh_jti == used_jti,
            SignIn.ended_at.is_(None),
            SignIn.expires_at > now(),
        )
        .values(refresh_jti=next_jti)
    )
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        current_app.logger.warning("a refresh token was used twice: sign-in %s ends", sign_in_id)
        end(sign_in_id)
        return False
    db.session.commit()
    return True


def is_last_admin(user: User) -> bool:
    if user.role != ADMIN:
        return False
    count = db.session.scalar(select(func.count()).where(User.role == ADMIN))
    return count == 1
