<%
    steps = upgrades + downgrades
    title = message[:1].upper() + message[1:].rstrip(".")
%>"""${title}."""

% if "sa." in steps:
import sqlalchemy as sa
% endif
% if imports:
${imports}
% endif

% if "op." in steps:
from alembic import op
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
works_from = ${repr(up_revision)}  # the oldest revision whose code works on this schema, too


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
