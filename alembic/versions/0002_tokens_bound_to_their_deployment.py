"""Tokens fit one deployment and one session; a session knows which generation of its tokens has been used."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NONCE = (
    sa.String(22)
    .with_variant(sa.String(22, collation="C"), "postgresql")
    .with_variant(sa.String(22, collation="utf8mb4_bin"), "mysql", "mariadb")
)


def upgrade() -> None:
    op.execute("DELETE FROM login_sessions")  # nobody can tell their tokens from those of a copy of the key
    with op.batch_alter_table("login_sessions") as batch:
        batch.add_column(sa.Column("nonce", NONCE, nullable=False, server_default=""))
        batch.add_column(sa.Column("used_generation", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "deployment",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_deployment"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    op.drop_table("deployment")
    with op.batch_alter_table("login_sessions") as batch:
        batch.drop_column("used_generation")
        batch.drop_column("nonce")
