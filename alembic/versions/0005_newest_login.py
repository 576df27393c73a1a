"""The newest login is found at once: what a clock says is compared with it."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too


def upgrade() -> None:
    op.create_index("ix_login_sessions_created_at", "login_sessions", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_login_sessions_created_at", "login_sessions")
