"""Hashes that other systems made are longer than bcrypt's."""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
works_from = "0003"  # the oldest revision whose code works on this schema, too


def resize(before: int, after: int) -> None:
    """Change how long a hash may be. On SQLite that builds the table anew, which a script (--sql) cannot do."""
    if op.get_context().as_sql and op.get_context().dialect.name == "sqlite":
        return  # where a length bounds nothing
    with op.batch_alter_table("users") as batch:
        batch.alter_column(
            "hashed_password", existing_type=sa.String(before), type_=sa.String(after), existing_nullable=False
        )


def upgrade() -> None:
    resize(100, 255)


def downgrade() -> None:
    # What does not fit is no hash any more: its user needs a new password.
    op.execute("UPDATE users SET hashed_password = '!' WHERE LENGTH(hashed_password) > 100")
    resize(255, 100)
