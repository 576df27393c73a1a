"""When an address was verified, and the address that waits to be."""

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too

TIMESTAMP = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", TIMESTAMP, nullable=True))
    op.add_column("users", sa.Column("pending_email", sa.String(254), nullable=True))


def downgrade() -> None:
    # Who only claims an address keeps a key that no address has: the older release lets them in by their usernames.
    op.drop_column("users", "pending_email")
    op.drop_column("users", "email_verified_at")
