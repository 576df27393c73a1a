"""A release that is newer than this one: a copy of the project with another version and one more migration."""

import shutil
from pathlib import Path

import pytest

from tests.support.alembic import HEAD
from tests.support.processes import ROOT
from userapi import __version__

NEW_VERSION = f"{__version__}.1"
EXPAND = '''"""A newer release's column, which may be absent."""

import sqlalchemy as sa

from alembic import op

revision = "new_release"
down_revision = "{head}"
works_from = "{head}"


def upgrade() -> None:
    op.add_column("users", sa.Column("nickname", sa.String(30), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("users") as batch:
        batch.drop_column("nickname")
'''


@pytest.fixture
def new_release(tmp_path: Path) -> Path:
    """A copy of the project with another version and one more migration."""
    project = tmp_path / "new"
    for name in ("userapi", "alembic"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", project)
    (project / "alembic" / "versions" / "new_release.py").write_text(EXPAND.format(head=HEAD))
    version = project / "userapi" / "__init__.py"
    version.write_text(version.read_text().replace(__version__, NEW_VERSION))
    return project
