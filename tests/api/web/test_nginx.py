"""README's configuration of nginx does what it is for."""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.support.client import Api
from tests.support.databases import skip_without
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import ROOT, free_port, wait_until


def readme_block(language: str) -> str:
    """The one block of code of this language in README."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(block)


@pytest.fixture
def nginx(behind_proxy: Api) -> Iterator[str]:
    """The address of an nginx with README's configuration, in front of a service."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        skip_without("nginx", "there is none")
    port = free_port()
    server = readme_block("nginx").replace("http://127.0.0.1:8000", behind_proxy.server.base_url)
    server, replaced = re.subn(r"listen \d+;", f"listen 127.0.0.1:{port};", server)
    assert replaced == 1
    with tempfile.TemporaryDirectory(prefix="userapi_nginx_") as folder:
        paths = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
            f" events {{}} http {{ access_log off; {paths} {server} }}"
        )
        process = subprocess.Popen([binary, "-p", folder, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, (Path(folder) / "error.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class TestNginx:
    """README's configuration does what it is for."""

    def test_client_is_who_nginx_says_whatever_it_says_itself(self, nginx: str) -> None:
        # Both are on this host, so the client's address tells nothing: what it claims must not show.
        with httpx.Client(base_url=nginx, verify=False) as http:
            form = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = http.post("/token", data=form, headers={"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "forged"})
            assert answer.status_code == 200
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])  # nginx's, in both logs
            assert answer.headers["Cache-Control"] == "no-store"
            token = bearer(answer.json()["access_token"])
            newest = http.get("/users/me/sessions", headers=token).json()[0]
            assert (newest["ip"], newest["current"]) == ("127.0.0.1", True)
            redirect = http.get("/users/?page=1", headers=token)
            assert redirect.headers["Location"] in {"/users?page=1", f"{nginx}/users?page=1"}
            assert http.get("/users?page_size=1", headers=token).headers["Link"].startswith("</users?")

    def test_large_body_ends_at_nginx(self, nginx: str) -> None:
        """S18."""
        with httpx.Client(base_url=nginx, verify=False) as http:
            answer = http.post("/token", content=b"x" * 70_000)
            assert (answer.status_code, "nginx" in answer.text) == (413, True)
