"""A single-page app of another origin, in a real browser: with a cookie, in memory, in two tabs, and refused."""

import functools
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.browser import SECONDS, wait_for
from tests.support.client import Api, client_of
from tests.support.jwts import forge
from tests.support.logins import claims_of
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import shared_server

APP = Path(__file__).parent / "app"


class Files(http.server.SimpleHTTPRequestHandler):
    """The app's files, without a log."""

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server of the app's files, at `localhost`, which is the service's site, and at 127.0.0.1."""
    handler = functools.partial(Files, directory=APP)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(port: int) -> Iterator[Api]:
    """A service that names the app's origin."""
    settings = {"CORS_ORIGINS": f"http://localhost:{port}", "THROTTLE_ENABLED": "true"}
    with shared_server("sqlite", **settings) as server, client_of(server) as api:
        for name in ("alice", "mallory"):
            api.new_user(name)
        yield api


class App:
    """The app in a tab of the browser."""

    def __init__(self, driver: webdriver.Chrome, service: Api, port: int) -> None:
        self.driver = driver
        self.service = service.server.base_url.replace("127.0.0.1", "localhost")
        self.address = f"http://localhost:{port}/?service={self.service}"

    def open(self) -> None:
        self.driver.get(self.address)
        self.ready()

    def ready(self) -> None:
        wait_for(self.driver, lambda driver: driver.find_elements(By.CSS_SELECTOR, "[data-ready]"), "not ready")

    def reload(self) -> None:
        self.driver.refresh()
        self.ready()

    def call(self, expression: str, *args: Any) -> Any:
        """The value that an expression of the app's promises."""
        script = "const done = arguments[arguments.length - 1]; const args = [...arguments].slice(0, -1);"
        script += f"{expression}.then(done, (error) => done(`failed: ${{error}}`));"
        return self.driver.execute_async_script(script, *args)

    def request(self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> Any:
        return self.call("app.request(...args)", method, path, body, headers or {})

    def log_in(self, *, stay: bool = True, password: str = PASSWORD) -> None:
        """Log in as a person does."""
        find = self.driver.find_element
        for name, text in (("username", "alice"), ("password", password)):
            find(By.ID, name).clear()
            find(By.ID, name).send_keys(text)
        if find(By.ID, "stay").is_selected() != stay:
            find(By.ID, "stay").click()
        find(By.CSS_SELECTOR, "#login button").click()

    def wait_until_logged_in(self, expected: bool = True) -> None:
        home = "#home" if expected else "#login"
        wait_for(self.driver, lambda driver: driver.find_element(By.CSS_SELECTOR, home).is_displayed(), f"no {home}")

    def click(self, element_id: str) -> None:
        self.driver.find_element(By.ID, element_id).click()

    def cookies(self) -> list[dict[str, Any]]:
        found = self.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
        return [cookie for cookie in found if "refresh" in cookie["name"]]


@pytest.fixture
def app(driver: webdriver.Chrome, service: Api, port: int) -> App:
    """The app, logged out."""
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.set_script_timeout(SECONDS)
    app = App(driver, service, port)
    app.open()
    return app


def expired(token: str) -> str:
    """The same token, as it will be later."""
    return forge(claims_of(token) | {"exp": int(time.time()) - 1})


@pytest.mark.slow
class TestCookieMode:
    def test_reload_stays_logged_in_and_no_script_sees_the_token(self, app: App) -> None:
        """S41."""
        app.log_in()
        app.wait_until_logged_in()
        [cookie] = app.cookies()
        assert (cookie["name"], cookie["path"], cookie["sameSite"]) == ("__Host-refresh_token", "/", "Strict")
        assert (cookie["httpOnly"], cookie["secure"]) == (True, True)
        assert app.driver.execute_script("return [document.cookie, localStorage.length]") == ["", 0]
        app.reload()
        app.wait_until_logged_in()
        [renewed] = app.cookies()
        assert renewed["value"] != cookie["value"]

    def test_expired_token_is_renewed_on_the_way(self, app: App) -> None:
        app.log_in()
        app.wait_until_logged_in()
        token = app.driver.execute_script("return app.accessToken()")
        app.driver.execute_script("app.setAccessToken(arguments[0])", expired(token))
        assert app.request("GET", "/users/me")["body"]["username"] == "alice"
        assert app.driver.execute_script("return app.accessToken()") != token

    def test_two_tabs_renew_at_once(self, app: App) -> None:
        """S20: neither is logged out."""
        app.log_in()
        app.wait_until_logged_in()
        first = app.driver.current_window_handle
        app.driver.switch_to.new_window("tab")
        app.open()
        app.wait_until_logged_in()
        second = app.driver.current_window_handle
        at = time.time() * 1000 + 500
        together = "window.racing = new Promise((go) => setTimeout(go, arguments[0] - Date.now())).then(app.refresh)"
        for tab in (first, second):
            app.driver.switch_to.window(tab)
            app.driver.execute_script(together, at)
        for tab in (first, second):
            app.driver.switch_to.window(tab)
            assert app.call("window.racing")["status"] == 200
            assert app.request("GET", "/users/me")["status"] == 200
            app.reload()
            app.wait_until_logged_in()
        app.driver.close()
        app.driver.switch_to.window(first)

    def test_logout_clears_the_cookie(self, app: App) -> None:
        """S1."""
        app.log_in()
        app.wait_until_logged_in()
        app.click("logout")
        app.wait_until_logged_in(expected=False)
        assert app.cookies() == []
        app.reload()
        app.wait_until_logged_in(expected=False)

    def test_logout_everywhere_reaches_other_tabs_and_devices(self, app: App, service: Api) -> None:
        """S1."""
        elsewhere = service.log_in("alice")
        app.log_in()
        app.wait_until_logged_in()
        app.click("everywhere")
        app.wait_until_logged_in(expected=False)
        assert elsewhere.get("/users/me").json()["code"] == "session_ended"
        assert app.cookies() == []

    def test_form_of_another_site_does_nothing(self, app: App, service: Api, port: int) -> None:
        """S38, S41: 127.0.0.1 is another site than localhost."""
        app.log_in()
        app.wait_until_logged_in()
        before = service.sql("SELECT id, generation FROM login_sessions ORDER BY id")
        for path, field in (("revoke", ""), ("token", '<input name="grant_type" value="refresh_token">')):
            app.driver.get(f"http://127.0.0.1:{port}/?service=none")
            form = f'<form id="forged" method="post" action="{app.service}/{path}">{field}</form>'
            app.driver.execute_script(
                "document.body.innerHTML = arguments[0]; document.getElementById('forged').submit()", form
            )
            wait_for(app.driver, lambda driver: "cross_site_refused" in driver.page_source, "not refused")
        assert service.sql("SELECT id, generation FROM login_sessions ORDER BY id") == before
        app.open()
        app.wait_until_logged_in()


@pytest.mark.slow
class TestMemoryMode:
    def test_login_lasts_as_long_as_the_page(self, app: App) -> None:
        app.log_in(stay=False)
        app.wait_until_logged_in()
        assert app.cookies() == []
        assert app.call("app.refresh()")["status"] == 200
        assert app.request("GET", "/users/me")["status"] == 200
        app.click("logout")
        app.wait_until_logged_in(expected=False)
        app.log_in(stay=False)
        app.wait_until_logged_in()
        app.reload()
        app.wait_until_logged_in(expected=False)

    def test_wrong_password_is_told(self, app: App) -> None:
        app.log_in(password=WRONG_PASSWORD)
        problem = "Incorrect username or password"
        wait_for(app.driver, lambda driver: driver.find_element(By.ID, "problem").text == problem, "no problem told")


@pytest.mark.slow
class TestEveryStatus:
    """S37: whatever the answer, a page of a named origin reads its status, its code and its headers."""

    def test_can_be_read_across_origins(self, app: App) -> None:
        app.log_in()
        app.wait_until_logged_in()
        me = app.request("GET", "/users/me")
        assert me["headers"]["etag"]
        expected: list[tuple[int, str | None, str, str, str | None, dict[str, str]]] = [
            (200, None, "GET", "/users/me", None, {}),
            (400, "current_password_required", "PUT", "/users/me", '{"email": "new@example.com"}', {}),
            (400, "bad_request", "DELETE", "/users/me", None, {"If-Match": "x"}),
            (403, "not_enough_permissions", "GET", "/users", None, {}),
            (404, "not_found", "GET", "/nothing", None, {}),
            (404, "session_not_found", "DELETE", "/users/me/sessions/2147483647", None, {}),
            (405, "method_not_allowed", "PUT", "/token", "{}", {}),
            (412, "precondition_failed", "PATCH", "/users/me", '{"age": 7}', {"If-Match": '"99"'}),
            (413, "payload_too_large", "PUT", "/users/me", json.dumps({"x": "x" * 66_000}), {}),
            (415, "unsupported_media_type", "PUT", "/users/me", "x", {"Content-Type": "text/plain"}),
            (422, "validation_error", "PUT", "/users/me", '{"age": 0}', {}),
        ]
        for status, code, method, path, body, headers in expected:
            answer = app.request(method, path, body, headers)
            assert (answer["status"], answer["body"].get("code")) == (status, code), (method, path, answer)
            assert answer["headers"]["x-request-id"]
        app.driver.execute_script("app.setAccessToken('x')")
        refused = app.request("GET", "/users/me")
        assert (refused["status"], refused["body"]["code"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in refused["headers"]["www-authenticate"]

    def test_too_many_attempts(self, app: App) -> None:
        for _ in range(8):
            answer = app.call("app.logIn('mallory', 'Wrong-Horse-7', true)")
        assert (answer["status"], answer["body"]["code"]) == (429, "too_many_attempts")

    def test_failures_of_the_service(self, app: App, service: Api) -> None:
        """A row that cannot be read, a table that is not there, a schema that is not the current one."""
        app.log_in()
        app.wait_until_logged_in()
        [(revision,)] = service.sql("SELECT version_num FROM alembic_version")
        [(created_at,)] = service.sql("SELECT created_at FROM users WHERE username = 'alice'")
        service.sql("UPDATE users SET created_at = 'nonsense' WHERE username = 'alice'")
        service.sql("ALTER TABLE known_devices RENAME TO hidden_devices")
        service.sql("UPDATE alembic_version SET version_num = 'other'")
        try:
            failed = app.request("GET", "/users/me")
            unavailable = app.call("app.logIn('alice', args[0], true)", PASSWORD)
            unready = app.request("GET", "/health/ready")
        finally:
            service.sql("UPDATE users SET created_at = :at WHERE username = 'alice'", at=created_at)
            service.sql("ALTER TABLE hidden_devices RENAME TO known_devices")
            service.sql("UPDATE alembic_version SET version_num = :revision", revision=revision)
        assert (failed["status"], failed["body"]["code"]) == (500, "internal_error")
        assert (unavailable["status"], unavailable["body"]["code"]) == (503, "database_unavailable")
        assert (unready["status"], unready["body"]["code"]) == (503, "not_ready")
        assert unready["headers"]["retry-after"]
