"""Events: what happened, kept for whoever asks later."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too

TIMESTAMP = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
NAME = (
    sa.String(32)
    .with_variant(sa.String(32, collation="C"), "postgresql")
    .with_variant(sa.String(32, collation="utf8mb4_bin"), "mysql", "mariadb")
)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", TIMESTAMP, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("session_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("changes", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_events_at_id", "events", ["at", "id"])
    for column in ("user_id", "actor_id", "name"):
        op.create_index(f"ix_events_{column}_at_id", "events", [column, "at", "id"])


def downgrade() -> None:
    op.drop_table("events")
