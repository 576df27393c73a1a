"""What several hosts and the nodes of a cluster need: the last login, in the user's row; the throttle's counters."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too

TIMESTAMP = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
KEY = (
    sa.String(64)
    .with_variant(sa.String(64, collation="C"), "postgresql")
    .with_variant(sa.String(64, collation="utf8mb4_bin"), "mysql", "mariadb")
)


def upgrade() -> None:
    op.add_column("users", sa.Column("logged_in_at", TIMESTAMP, nullable=True))
    op.create_table(
        "throttle_counters",
        sa.Column("key", KEY, nullable=False),
        sa.Column("many", sa.Integer(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_throttle_counters"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_throttle_counters_ends", "throttle_counters", ["ends"])


def downgrade() -> None:
    op.drop_table("throttle_counters")
    with op.batch_alter_table("users") as batch:
        batch.drop_column("logged_in_at")
