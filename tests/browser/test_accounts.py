"""A person follows the links of mails in a real browser; a scanner of mails opens each of them before."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.browser import wait_for, wait_for_next_page
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE, new_database
from tests.support.mail import MailServer, code_in, mail_server, text_of
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.processes import wait_until
from tests.support.schema import migrate
from tests.support.servers import serving


class Walk:
    """A person with a mailbox and a browser, and a scanner that looks into that mailbox first."""

    def __init__(self, driver: webdriver.Chrome, api: Api, postbox: MailServer) -> None:
        self.driver, self.api, self.postbox = driver, api, postbox
        self.seen: list[str] = []

    def link(self, recipient: str, page: str) -> str:
        """The link to a page in the newest mail that has one; the scanner has opened it three times by then."""

        def links() -> list[str]:
            texts = [text_of(mail) for mail in self.postbox.mails if mail["To"] == recipient]
            return re.findall(rf"http://\S+/account/{page}\S*", "\n".join(texts))

        wait_until(links)
        link = links()[-1]
        for method in ("GET", "HEAD", "GET"):
            assert self.api.http.request(method, link).status_code in {200, 405}
        self.seen.append(link)
        return link

    def submit(self, link: str, *says: str, **fields: str) -> str:
        """Click on a link in a mail, read the page, fill its form in, press the button; give what the next page says.

        The mail is read on another site, as in webmail.
        """
        self.driver.get("data:text/html," + quote(f"<a href='{link}'>here</a>"))
        wait_for_next_page(self.driver, self.driver.find_element(By.TAG_NAME, "a").click)
        for words in says:
            assert words in self.text()
        for name, value in fields.items():
            self.driver.find_element(By.NAME, name).send_keys(value)
        wait_for_next_page(self.driver, self.driver.find_element(By.TAG_NAME, "button").click)
        return self.text()

    def text(self) -> str:
        """What the page says; of a page that is replaced meanwhile, what the next one says."""
        return wait_for(self.driver, lambda driver: driver.find_element(By.TAG_NAME, "body").text, "no text")


@pytest.fixture
def walk(driver: webdriver.Chrome, kind: str) -> Iterator[Walk]:
    with mail_server() as postbox, new_database(kind) as url:
        migrate(url)
        settings = {"MAIL_URL": postbox.settings["MAIL_URL"], "EMAIL_VERIFICATION": "required"}
        settings |= {"REGISTRATION_ENABLED": "true", "FIRST_ADMIN_PASSWORD": "Not-Used-1", "FORWARDED_ALLOW_IPS": ""}
        with serving(url, **settings) as server, client_of(server) as api:
            api.sql("UPDATE users SET email_verified_at = created_at")
            yield Walk(driver, api, postbox)


@ON_SQLITE
class TestWalk:
    def test_through_all_pages_and_no_secret_is_left_behind(self, walk: Walk) -> None:
        """S11, S34: registered, verified, password forgotten, address changed, changed back; another is invited."""
        api, mine, new = walk.api, "carol@example.com", "new@example.com"
        body = {"username": "carol", "email": mine, "password": PASSWORD}
        assert api.http.post("/register", json=body).status_code == 202
        link = walk.link(mine, "verify")
        assert link.startswith(api.server.base_url)  # nobody has said where else
        assert "is verified" in walk.submit(link, mine, "carol")
        assert api.log_in("carol").user["email_verified_at"]

        asked = walk.submit(f"{api.server.base_url}/account/forgot", login=mine)
        assert "mail is on its way" in asked
        reset = walk.link(mine, "reset")
        assert "too easily guessed" in walk.submit(reset, "carol", new_password="Password1!")
        assert "Your password is set" in walk.submit(reset, "carol", new_password=NEW_PASSWORD)
        carol = api.log_in("carol", NEW_PASSWORD)

        change = {"email": new, "current_password": NEW_PASSWORD}
        assert carol.patch("/users/me", json=change).json()["pending_email"] == new
        code = next(code_in(mail) for mail in walk.postbox.to(new) if "code" in text_of(mail))
        assert "is verified" in walk.submit(f"{api.server.base_url}/account/verify", login="carol", code=code)
        assert "undone" in walk.submit(walk.link(mine, "undo"), mine, "carol")
        assert api.log_in("carol", NEW_PASSWORD).user["email"] == mine

        invitation = {"username": "dave", "email": "dave@example.com", "send_invitation": True}
        assert api.admin.post("/users", json=invitation).status_code == 201
        link = walk.link("dave@example.com", "invitation")
        assert "Your password is set" in walk.submit(link, "dave", new_password=PASSWORD)
        assert api.log_in("dave").user["email_verified_at"]

        walk.driver.get(link)
        assert "not good any more" in walk.text()
        self.assert_nothing_left(walk, code)

    def assert_nothing_left(self, walk: Walk, code: str) -> None:
        """Check that neither the log nor the database has what the mails brought, nor the passwords."""
        api = walk.api
        wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE secret IS NOT NULL") == [(0,)])
        tables = ("users", "outbox", "one_time_codes", "login_sessions")
        kept = api.server.text + str([api.sql(f"SELECT * FROM {table}") for table in tables])
        tokens = [link.partition("token=")[2] for link in walk.seen]
        assert len(tokens) == 4
        for secret in (*tokens, code, code.replace("-", ""), PASSWORD, NEW_PASSWORD):
            assert secret
            assert secret not in kept
