"""Events of a user by their name: of one who has very many, the few of a name are found by an index."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too


def upgrade() -> None:
    op.create_index("ix_events_user_id_name_at_id", "events", ["user_id", "name", "at", "id"])


def downgrade() -> None:
    op.drop_index("ix_events_user_id_name_at_id", "events")
