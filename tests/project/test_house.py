"""What the layout promises whoever works in it: dependencies can be replaced, misspellings fail, folders can go."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import APIRouter
from pydantic import SecretStr

from tests.support.checked import mypy, mypy_cache
from tests.support.insides import Capability, Client, Settings, client_dependency, create_app
from tests.support.people import PASSWORD
from tests.support.processes import ROOT, SECRET_KEY

__all__ = ["mypy_cache"]

MISSPELT = """
from userapi.main import creat_app
from userapi.models import User, column
from userapi.sessions.rules import Caller
from userapi.users import rules
from userapi.listing import find_pages


def wrong(caller: Caller) -> None:
    caller.user.is_amdin
    column(User.is_activ)
    rules.creat
"""


class TestDependencies:
    async def replaced(self) -> str | None:
        settings = Settings(
            _env_file=None,
            database_url="sqlite://",
            secret_key=SecretStr(SECRET_KEY),
            first_admin_password=SecretStr(PASSWORD),
            bcrypt_rounds=4,
        )
        app = create_app(settings)

        async def elsewhere() -> Client:
            return Client("a test", "192.0.2.7")

        app.dependency_overrides[client_dependency] = elsewhere
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as http,
        ):
            pair = await http.post("/token", data={"username": "admin", "password": PASSWORD})
            headers = {"Authorization": f"Bearer {pair.json()['access_token']}"}
            [session] = (await http.get("/users/me/sessions", headers=headers)).json()
            address: str | None = session["ip"]
            return address

    def test_can_be_overridden(self) -> None:
        assert asyncio.run(self.replaced()) == "192.0.2.7"


class TestRouters:
    def test_with_what_only_include_router_can_do_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(_env_file=None, database_url="sqlite://")
        sockets, limited, nested = APIRouter(), APIRouter(max_body_size=9), APIRouter()
        sockets.add_api_websocket_route("/talk", lambda _: None)
        limited.add_api_route("/small", lambda: None)
        nested.include_router(limited)
        odd: list[APIRouter] = []
        monkeypatch.setattr("userapi.main.CAPABILITIES", [Capability("odd", routers=lambda _: odd)])
        for router in (sockets, limited, nested):
            odd[:] = [router]
            with pytest.raises(TypeError, match="include_router"):
                create_app(settings)


class TestTypes:
    def test_misspelt_column_or_function_fails_mypy(self, tmp_path: Path, mypy_cache: Path) -> None:
        (tmp_path / "misspelt.py").write_text(MISSPELT)
        said = mypy(ROOT, mypy_cache, str(tmp_path / "misspelt.py"))
        found = [line for line in said.splitlines() if "misspelt.py" in line and ": error: " in line]
        words = ("creat_app", "find_pages", "is_amdin", "is_activ", "creat")
        assert [word for word in words if not any(f'"{word}"' in line for line in found)] == [], said


class TestCapability:
    @pytest.mark.parametrize(
        ("gone", "settings"),
        [(["registration"], "RegistrationSettings"), (["events", "activity"], "EventSettings")],
        ids=["registration", "events"],
    )
    def test_is_a_folder_that_can_be_deleted(
        self, gone: list[str], settings: str, tmp_path: Path, mypy_cache: Path
    ) -> None:
        """Without its folder and what names it in the one list, the rest serves and its types are sound."""
        for name in ("userapi", "alembic"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("alembic.ini", ".mypy.ini"):
            shutil.copy(ROOT / name, tmp_path)
        for name in gone:
            shutil.rmtree(tmp_path / "userapi" / name)
        listed = tmp_path / "userapi" / "capabilities.py"
        lines = listed.read_text().replace(f"{settings}, ", "").splitlines(keepends=True)
        listed.write_text("".join(line for line in lines if not any(name in line.lower() for name in gone)))
        assert mypy(tmp_path, mypy_cache, "userapi") == ""
        done = subprocess.run(
            [sys.executable, "-m", "userapi", "migrate"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:///./users.db"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
