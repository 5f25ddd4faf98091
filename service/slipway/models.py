"""What the database holds."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from slipway.database import UTCDateTime, db, now

# SQLite counts rows in INTEGER primary keys alone.
Id = BigInteger().with_variant(Integer, "sqlite")

USER, ADMIN = "user", "admin"


class User(db.Model):  # type: ignore[name-defined,misc]
    """A person who may log in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(100))
    # In lower case always, so that one unique index ignores case in every database.
    email: Mapped[str] = mapped_column(String(254), unique=True)
    # Whether a provider that this service trusts said that the address is theirs.
    email_verified: Mapped[bool] = mapped_column(default=False, server_default=false())
    role: Mapped[str] = mapped_column(String(20), default=USER, server_default=USER)
    # None for who logs in with a provider alone.
    password_hash: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now, onupdate=now)
    # Counts changes: the record's ETag, and what tells that somebody else was faster.
    version: Mapped[int] = mapped_column(default=1, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
    # Each order that a list offers, with the id to make it total.
    __table_args__ = (
        Index("ix_users_name_id", "name", "id"),
        Index("ix_users_created_at_id", "created_at", "id"),
    )


class SignIn(db.Model):  # type: ignore[name-defined,misc]
    """From a log-in to its end: a browser's session, or a client's chain of refresh tokens."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    # The one refresh token that is still good; a former one is somebody's copy.
    refresh_jti: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class Identity(db.Model):  # type: ignore[name-defined,misc]
    """Somebody at a provider, and who they are here."""

    __tablename__ = "identities"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class IdempotencyKey(db.Model):  # type: ignore[name-defined,misc]
    """A POST that was done, and its answer, for whoever sends it again."""

    __tablename__ = "idempotency_keys"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # Whose key it is, and for which endpoint.
    scope: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(255))
    # Of method, path and body: another request by the same key is a mistake.
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    body: Mapped[str | None]
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        UniqueConstraint("scope", "key"),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )


class SentMail(db.Model):  # type: ignore[name-defined,misc]
    """A mail that the mail server took: a task that is delivered again must not send it again."""

    __tablename__ = "sent_mails"

    task_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    sent_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now, index=True)
