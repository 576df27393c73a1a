"""The documentation's pages, in a real browser without the Internet."""

import json
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser import read_log, wait_for
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.openapi import openapi
from tests.support.people import ADMIN_PASSWORD
from tests.support.servers import Shared


class Page:
    """A page in the browser, and what it loaded."""

    def __init__(self, driver: webdriver.Chrome, api: Api) -> None:
        self.driver, self.api = driver, api

    def open(self, path: str) -> None:
        self.driver.get(f"{self.api.server.base_url}{path}")

    def find(self, selector: str, inside: WebElement | None = None) -> WebElement:
        """The first visible element, once there is one."""

        def visible(driver: webdriver.Chrome) -> WebElement | None:
            found = (inside or driver).find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in found if element.is_displayed()), None)

        return wait_for(self.driver, visible, f"no {selector}")

    def click(self, selector: str, inside: WebElement | None = None) -> None:
        self.driver.execute_script("arguments[0].click()", self.find(selector, inside))

    def wait_for_text(self, text: str) -> None:
        wait_for(self.driver, lambda driver: text in driver.find_element(By.TAG_NAME, "body").text, f"no {text!r}")

    def log_in(self, username: str, password: str) -> None:
        """Use the dialog behind the button Authorize."""
        self.click(".auth-wrapper .authorize")
        dialog = self.find(".dialog-ux")
        self.find("#oauth_username", dialog).send_keys(username)
        self.find("#oauth_password", dialog).send_keys(password)
        self.click(".auth-btn-wrapper button.authorize", dialog)
        logged_out = ".auth-btn-wrapper button[aria-label='Remove authorization']"
        self.find(logged_out, dialog)
        self.click(".auth-btn-wrapper .btn-done", dialog)

    def try_out(self, operation_id: str, **parameters: str) -> tuple[int, Any]:
        """Open an operation, fill its parameters in, execute it; give the status and the body that the page shows."""
        tag = next(
            item["tags"][0]
            for path in openapi()["paths"].values()
            for item in path.values()
            if item["operationId"] == operation_id
        )
        block = self.find(f"#operations-{tag}-{operation_id}")
        self.click(".opblock-summary-control", block)
        self.click(".try-out__btn", block)
        for name, value in parameters.items():
            # leaving the field takes the value over
            self.find(f"tr[data-param-name='{name}'] input", block).send_keys(value, Keys.TAB)
        self.click("button.execute", block)
        status = self.find(".live-responses-table .response .response-col_status", block).text
        body = self.find(".live-responses-table .response .highlight-code code", block).text
        return int(status.split()[0]), json.loads(body)

    def addresses(self) -> set[str]:
        """Where everything was loaded from, and what the browser complained of."""
        messages = [json.loads(entry["message"])["message"] for entry in read_log(self.driver, "performance")]
        events = [(message["method"], message["params"]) for message in messages]
        blocked = {event["requestId"] for kind, event in events if event.get("blockedReason") == "csp"}
        sent = [event for kind, event in events if kind == "Network.requestWillBeSent"]
        return {event["request"]["url"] for event in sent if event["requestId"] not in blocked}

    def assert_nothing_from_elsewhere(self) -> None:
        addresses = self.addresses()
        assert any(address.startswith(self.api.server.base_url) for address in addresses)
        assert not [
            address for address in addresses if not address.startswith((self.api.server.base_url, "data:", "blob:"))
        ]
        severe = [entry["message"] for entry in read_log(self.driver, "browser") if entry["level"] == "SEVERE"]
        assert not [message for message in severe if "Content Security Policy" not in message]


@pytest.fixture
def page(driver: webdriver.Chrome, api: Api) -> Page:
    driver.get("about:blank")
    storage = {"origin": api.server.base_url, "storageTypes": "local_storage"}  # where a login is kept
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", storage)
    read_log(driver, "performance")
    read_log(driver, "browser")
    return Page(driver, api)


@pytest.mark.slow
@ON_SQLITE
class TestPages:
    def test_docs_show_every_operation_and_load_nothing_from_elsewhere(self, page: Page) -> None:
        page.open("/docs")
        for path in openapi()["paths"].values():
            for declared in path.values():
                page.find(f"#operations-{declared['tags'][0]}-{declared['operationId']}")
        page.assert_nothing_from_elsewhere()

    def test_redoc_shows_the_api_and_loads_nothing_from_elsewhere(self, page: Page) -> None:
        page.open("/redoc")
        page.wait_for_text("Make a user")
        page.assert_nothing_from_elsewhere()

    def test_one_can_log_in_read_oneself_and_make_a_user(self, page: Page) -> None:
        page.open("/docs")
        page.log_in("admin", ADMIN_PASSWORD)
        assert page.try_out("read_user", user_id="me") == (200, page.api.admin.user)
        status, user = page.try_out("create_user")  # with the body that the page proposes
        assert status == 201
        assert page.api.admin.get(f"/users/{user['id']}").json() == user
        page.assert_nothing_from_elsewhere()

    def test_wrong_password_is_told(self, page: Page) -> None:
        page.open("/docs")
        page.click(".auth-wrapper .authorize")
        dialog = page.find(".dialog-ux")
        page.find("#oauth_username", dialog).send_keys("admin")
        page.find("#oauth_password", dialog).send_keys("Wrong-Horse-7")
        page.click(".auth-btn-wrapper button.authorize", dialog)
        page.find(".errors", dialog)

    def test_login_outlives_a_reload(self, page: Page) -> None:
        page.open("/docs")
        page.log_in("admin", ADMIN_PASSWORD)
        page.driver.refresh()
        assert page.try_out("read_user", user_id="me") == (200, page.api.admin.user)

    def test_small_window_is_enough_to_log_in(self, page: Page) -> None:
        """Nothing needs scrolling, and nothing is asked for that the service has no use for."""
        size = page.driver.get_window_size()
        page.driver.set_window_size(800, 600)
        try:
            page.open("/docs")
            page.find("#operations-users-read_user")
            page.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
            page.find(".auth-wrapper .authorize").click()  # as a person would: it must be in sight
            dialog = page.find(".dialog-ux")
            page.find("#oauth_username", dialog).send_keys("admin")
            page.find("#oauth_password", dialog).send_keys(ADMIN_PASSWORD)
            button = page.find(".auth-btn-wrapper button.authorize", dialog)
            height = page.driver.execute_script("return innerHeight")
            assert 0 <= button.rect["y"] - page.driver.execute_script("return scrollY") < height - button.rect["height"]
            for text in ("Scopes are used", "client_id", "client_secret"):
                assert text not in dialog.text
            button.click()
            page.find(".auth-btn-wrapper button[aria-label='Remove authorization']", dialog)
        finally:
            page.driver.set_window_size(size["width"], size["height"])

    def test_root_leads_there(self, page: Page) -> None:
        page.open("/")
        page.find(".auth-wrapper .authorize")
        assert page.driver.current_url == f"{page.api.server.base_url}/docs"

    def test_docs_work_under_a_path(self, page: Page, shared: Shared, kind: str) -> None:
        """Its files, the login and the requests are all found below it."""
        with client_of(shared.service(kind, ROOT_PATH="/api")) as api:
            page = Page(page.driver, api)
            page.open("/api/docs")
            page.log_in("admin", ADMIN_PASSWORD)
            assert page.try_out("read_user", user_id="me") == (200, api.admin.user)
            page.assert_nothing_from_elsewhere()
