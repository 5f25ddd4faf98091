"""What the database holds."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from slipway.database import UTCDateTime, db, now


class User(db.Model):  # type: ignore[name-defined,misc]
    """A person: the example resource that a team replaces by its own."""

    __tablename__ = "users"

    # SQLite counts rows in INTEGER primary keys alone.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    name: Mapped[str] = mapped_column(String(100))
    # In lower case always, so that one unique index ignores case in every database.
    email: Mapped[str] = mapped_column(String(254), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now, onupdate=now)

    # Each order that a list offers, with the id to make it total.
    __table_args__ = (
        Index("ix_users_name_id", "name", "id"),
        Index("ix_users_created_at_id", "created_at", "id"),
    )
