"""Schemathesis tries whether the service does what its OpenAPI document says, no more and no less.

All checks are on, in all phases: examples, coverage, fuzzing, stateful. What they cannot know of this service is in
`schemathesis_hooks`, with its reasons. One has nothing to do: `object_level_authorization` compares accounts that live
as long as the run, which ours do not. It calls as an admin, on SQLite; if `USERAPI_TEST_THOROUGH` is set, as CI does,
then on the servers as well, and as a user who is none.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import SERVERS_IF_THOROUGH, THOROUGH
from tests.support.processes import environment
from tests.support.servers import serving

SEED = 1
EXAMPLES = 6  # an operation and a phase, at most
# What takes a code from a mail, which nobody guesses, or an open invitation; and what an admin alone may do.
_INVITATION = "/users/{user_id}/invitation"
BY_MAIL = {"POST /password/reset", "POST /email/verify", "POST /invitation/accept"}
BY_MAIL |= {f"POST {_INVITATION}", f"DELETE {_INVITATION}"}
FOR_ADMINS = {"GET /users", "POST /users", "GET /events"}


@pytest.mark.slow
@SERVERS_IF_THOROUGH
@pytest.mark.parametrize("role", ["admin", "user"])
def test_the_service_does_what_its_document_says(kind: str, url: str, role: str, tmp_path: Path) -> None:
    """S12, and every route answers as documented."""
    if role == "user" and not THOROUGH:
        pytest.skip("USERAPI_TEST_THOROUGH is not set")
    if role == "user" and kind != "sqlite":
        pytest.skip("what a user may not do does not depend on the database")
    report = tmp_path / "report.json"
    command = ["run", "--checks", "all", "--continue-on-failure", "--generation-database", "none", "--no-color"]
    command += ["--seed", str(SEED), "--max-examples", str(EXAMPLES), "--report-json-path", str(report)]
    with serving(
        url, FIRST_ADMIN_PASSWORD="Not-Used-1", REGISTRATION_ENABLED="true", THROTTLE_ENABLED="false"
    ) as server:
        tried = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *command, f"{server.base_url}/openapi.json"],
            env=environment(
                url, BASE_URL=server.base_url, ROLE=role, SCHEMATHESIS_HOOKS="tests.support.schemathesis_hooks"
            )
            | {"PYTHONWARNINGS": "default"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    found = json.loads(report.read_text())
    assert found["complete"]
    assert found["operations"]["tested"] == found["operations"]["total"]
    reached = {
        operation
        for operation, rates in found["valid_rates"].items()
        if any(rate["accepted"] for rate in rates.values())
    }
    assert found["valid_rates"].keys() - reached <= (BY_MAIL | FOR_ADMINS if role == "user" else BY_MAIL)
