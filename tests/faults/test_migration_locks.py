"""Migrations that have to wait for somebody who reads."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.alembic import HEAD
from tests.support.crowd import Watch, at_once
from tests.support.databases import sync_engine
from tests.support.faults import LOGIN
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import environment
from tests.support.releases import new_release
from tests.support.servers import serving

__all__ = ["new_release"]

WAITS = 9  # seconds that somebody reads: more than a request waits, and the start of the command


@pytest.mark.slow
class TestLongReader:
    """R17."""

    def test_holds_up_the_migration_and_not_the_service(self, url: str, new_release: Path) -> None:
        """R17: whoever waits for a table's lock makes all wait that come later, so it does so for 2 s at a time."""
        engine = sync_engine(url)
        with serving(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server, engine.connect() as reader:
            token = at_once(server, [LOGIN])[0].body["access_token"]
            reader.execute(sa.text("BEGIN" if engine.dialect.name == "sqlite" else "SELECT 1"))
            assert reader.execute(sa.text("SELECT count(*) FROM users")).scalar() == 1
            with Watch(server, "/users/me", token) as watch:
                migration = subprocess.Popen(
                    [sys.executable, "-m", "userapi", "migrate"],
                    env=environment(url, PYTHONPATH=str(new_release)),
                    cwd=new_release,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                if engine.dialect.name == "sqlite":  # where readers hold up nobody
                    migration.wait(60)
                else:
                    with pytest.raises(subprocess.TimeoutExpired):
                        migration.wait(WAITS)
                reader.rollback()
                printed, _ = migration.communicate(timeout=60)
            assert printed == f"The schema went from {HEAD} to new_release\n"
            watch.assert_answered_within(4)
        engine.dispose()
