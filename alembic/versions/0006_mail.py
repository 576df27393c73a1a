"""The outbox, one-time codes, who asked for mails, and the language of a user."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too

TABLE: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_engine": "InnoDB"}
TIMESTAMP = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def key(length: int) -> sa.String:
    """Return a text type that compares by code point on every database."""
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.add_column("users", sa.Column("locale", sa.String(35), nullable=True))
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("recipient", sa.String(254), nullable=True),
        sa.Column("locale", sa.String(35), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("give_up_at", TIMESTAMP, nullable=False),
        sa.Column("due_at", TIMESTAMP, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", TIMESTAMP, nullable=True),
        sa.Column("error", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_outbox_user_id_users", ondelete="CASCADE"),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_index("ix_outbox_user_id_kind_created_at", "outbox", ["user_id", "kind", "created_at"])
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"])
    op.create_table(
        "one_time_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("token_hmac", key(43), nullable=False),
        sa.Column("code_hmac", key(43), nullable=False),
        sa.Column("bound_to", key(43), nullable=True),
        sa.Column("data", sa.String(254), nullable=True),
        sa.Column("tries_left", sa.Integer(), nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("expires_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_one_time_codes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_one_time_codes_user_id_users", ondelete="CASCADE"),
        sa.UniqueConstraint("token_hmac", name="uq_one_time_codes_token_hmac"),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_index("ix_one_time_codes_user_id_purpose", "one_time_codes", ["user_id", "purpose"])
    op.create_index("ix_one_time_codes_expires_at", "one_time_codes", ["expires_at"])
    op.create_table(
        "mail_clients",
        sa.Column("network", key(45), nullable=False),
        sa.Column("since", TIMESTAMP, nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_mail_clients"),
        **TABLE,
    )
    op.create_index("ix_mail_clients_since", "mail_clients", ["since"])


def downgrade() -> None:
    op.drop_table("mail_clients")
    op.drop_table("one_time_codes")
    op.drop_table("outbox")
    op.drop_column("users", "locale")
