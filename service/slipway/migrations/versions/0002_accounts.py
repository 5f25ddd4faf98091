"""Accounts: roles, passwords, sign-ins, providers' identities; answers and mails done once.

Expand only: the former code inserts users without the new columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(
            sa.Column("email_verified", sa.Boolean, nullable=False, server_default=sa.false())
        )
        users.add_column(sa.Column("role", sa.String(20), nullable=False, server_default="user"))
        users.add_column(sa.Column("password_hash", sa.String(255)))
        users.add_column(sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "user_id",
            ID,
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("refresh_jti", sa.String(36)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
    )
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column(
            "user_id",
            ID,
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("scope", sa.String(100), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.String),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.UniqueConstraint("scope", "key"),
    )
    op.create_table(
        "sent_mails",
        sa.Column("task_id", sa.String(36), primary_key=True),
        sa.Column("sent_at", MOMENT, nullable=False, index=True),
    )


def downgrade() -> None:
    for table in ("sent_mails", "idempotency_keys", "identities", "sign_ins"):
        op.drop_table(table)
    with op.batch_alter_table("users") as users:
        for column in ("version", "password_hash", "role", "email_verified"):
            users.drop_column(column)
