"""OAuth clients: services that may ask about tokens."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too

NAME = (
    sa.String(64)
    .with_variant(sa.String(64, collation="C"), "postgresql")
    .with_variant(sa.String(64, collation="utf8mb4_bin"), "mysql", "mariadb")
)


def upgrade() -> None:
    op.create_table(
        "oauth_clients",
        sa.Column("name", NAME, nullable=False),
        sa.Column("secret_digest", sa.String(64), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name="pk_oauth_clients"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    op.drop_table("oauth_clients")
