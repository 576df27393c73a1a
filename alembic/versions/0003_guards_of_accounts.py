"""Guesses of current passwords, known devices, unlocks."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

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
    op.create_table(
        "password_guesses",
        sa.Column("user_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", TIMESTAMP, nullable=True),
        sa.PrimaryKeyConstraint("user_id", name="pk_password_guesses"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_password_guesses_user_id_users", ondelete="CASCADE"
        ),
        **TABLE,
    )
    op.create_table(
        "known_devices",
        sa.Column("user_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("device", key(32), nullable=False),
        sa.Column("at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device", name="pk_known_devices"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_devices_user_id_users", ondelete="CASCADE"),
        **TABLE,
    )
    op.create_table(
        "unlocks",
        sa.Column("key", key(64), nullable=False),
        sa.Column("at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_unlocks"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("unlocks")
    op.drop_table("known_devices")
    op.drop_table("password_guesses")
