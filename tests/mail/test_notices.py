"""Notices: owners of accounts are told, in their language, at their address, what they should know of."""

from pathlib import Path

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.crowd import Call
from tests.support.databases import ON_SQLITE
from tests.support.log_lines import parsed
from tests.support.logins import refresh, refreshed, use
from tests.support.mail import APP, MailServer, read, text_of
from tests.support.people import NEW_PASSWORD, PASSWORD, WRONG_PASSWORD
from tests.support.processes import wait_until
from tests.support.servers import Shared
from tests.support.users import changed_meanwhile


def kinds(api: Api, name: str) -> list[str]:
    """The notices written to a user so far."""
    rows = api.sql("SELECT kind FROM outbox WHERE details LIKE :name ORDER BY id", name=f'%"{name}"%')
    return [row[0] for row in rows]


class TestPassword:
    def test_changed_by_its_owner(self, mailing: Api, postbox: MailServer, name: str) -> None:
        user = mailing.new_actor(name)
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        headers = {"X-Forwarded-For": "192.0.2.77"}
        assert user.patch("/users/me", json=body, headers=headers).status_code == 200
        [mail] = postbox.to(f"{name}@example.com")
        assert mail["Subject"] == "Your password was changed"
        for text in (text_of(mail), text_of(mail, "html")):
            assert name in text
            assert "192.0.2.77" in text
            assert "administrator" not in text
            assert f"{APP}/account/forgot" in text
            assert NEW_PASSWORD not in text

    def test_changed_by_an_admin_or_the_operator(self, mailing: Api, postbox: MailServer, name: str) -> None:
        user = mailing.new_user(name)
        assert mailing.admin.patch(f"/users/{user['id']}", json={"password": NEW_PASSWORD}).status_code == 200
        done = command(
            "set-password", name, "--password-stdin", url=mailing.server.url, stdin=PASSWORD, **postbox.settings
        )
        assert done.returncode == 0, done.stderr
        for mail in postbox.to(f"{name}@example.com", 2):
            assert "by an administrator" in text_of(mail)

    def test_not_changed_tells_nothing(self, mailing: Api, name: str) -> None:
        """The notice is of the same unit: a change that is refused in the end leaves none."""
        user = mailing.new_actor(name)
        taken = mailing.new_user(f"{name}x")["username"]
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD, "username": taken}
        assert_refused(user.patch("/users/me", json=body), "username_taken")
        assert kinds(mailing, name) == []
        assert user.patch("/users/me", json={"age": 42}).status_code == 200
        assert kinds(mailing, name) == []


class TestEmail:
    def test_changed_is_told_to_both_addresses(self, mailing: Api, postbox: MailServer, name: str) -> None:
        user = mailing.new_actor(name)
        body = {"email": f"new_{name}@example.com", "current_password": PASSWORD}
        assert user.patch("/users/me", json=body).status_code == 200
        for address in (f"{name}@example.com", f"new_{name}@example.com"):
            [mail] = postbox.to(address)
            assert mail["Subject"] == "The e-mail address of your account was changed"
            assert f"new_{name}@example.com" in text_of(mail)
        assert f"{name}@example.com" not in mailing.server.text  # addresses stay out of the log


class TestNewDevice:
    def test_is_told_but_not_the_first_nor_one_known(self, mailing: Api, postbox: MailServer, name: str) -> None:
        mailing.new_user(name)
        odd = '<b>eve</b>\t"&amp; http://evil.example'
        for agent in ("first", "first", odd, odd):
            mailing.grant(name, **{"User-Agent": agent, "X-Forwarded-For": "192.0.2.9"})
        [mail] = postbox.to(f"{name}@example.com")
        assert kinds(mailing, name) == ["new_device"]
        assert "192.0.2.9" in text_of(mail)
        assert odd.replace("\t", " ") in text_of(mail)
        assert "&lt;b&gt;eve&lt;/b&gt; &#34;&amp;amp;" in text_of(mail, "html")

    def test_is_another_network_with_the_same_program(self, mailing: Api, postbox: MailServer, name: str) -> None:
        mailing.new_user(name)
        for address in ("192.0.2.9", "198.51.100.9"):
            mailing.grant(name, **{"X-Forwarded-For": address})
        [mail] = postbox.to(f"{name}@example.com")
        assert "198.51.100.9" in text_of(mail)


class TestCopiedToken:
    def test_is_told(self, mailing: Api, postbox: MailServer, name: str) -> None:
        mailing.new_user(name)
        pair = mailing.grant(name)
        use(mailing, refreshed(mailing, pair))
        assert_refused(refresh(mailing, pair["refresh_token"], "a thief"), "invalid_grant")
        [mail] = postbox.to(f"{name}@example.com")
        assert mail["Subject"] == "A copy of your login was used"
        assert "127.0.0.1" in text_of(mail)

    def test_is_ended_after_whatever_changes_its_user(self, mailing: Api, postbox: MailServer, name: str) -> None:
        """R11: who changes a user locks it before its sessions, and this, which writes a mail, does so, too."""
        if mailing.kind == "sqlite":
            pytest.skip("SQLite has no locks of rows")
        user_id = mailing.new_user(name)["id"]
        pair = mailing.grant(name)
        use(mailing, refreshed(mailing, pair))
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        copied = Call("POST", "/token", form=form, headers={"User-Agent": "a thief"})
        locked = "SELECT id FROM {} = :id FOR UPDATE"
        then = locked.format("login_sessions WHERE user_id") + " NOWAIT"
        reply = changed_meanwhile(mailing, copied, locked.format("users WHERE id"), then=then, id=user_id)
        assert (reply.status, reply.body["code"]) == (400, "invalid_grant")
        postbox.to(f"{name}@example.com")


class TestLock:
    def test_is_told_once_a_day(self, mailing: Api, postbox: MailServer, name: str) -> None:
        mailing.new_user(name)
        for _ in range(5):
            assert mailing.http.post("/token", data={"username": name, "password": WRONG_PASSWORD}).status_code == 401
        [mail] = postbox.to(f"{name}@example.com")
        assert mail["Subject"] == "Wrong passwords were tried on your account"
        command("unlock", name, url=mailing.server.url)
        for _ in range(5):
            mailing.http.post("/token", data={"username": name, "password": WRONG_PASSWORD})
        locked = [line for line in map(parsed, list(mailing.server.output)) if line]
        assert sum(line["message"] == "login_locked" for line in locked) >= 2
        assert kinds(mailing, name) == ["account_locked"]

    @ON_SQLITE
    def test_of_nobody_tells_nobody(self, mailing: Api, name: str) -> None:
        for _ in range(6):
            mailing.http.post("/token", data={"username": f"{name}@example.com", "password": WRONG_PASSWORD})
        assert mailing.sql("SELECT count(*) FROM outbox WHERE recipient = :it", it=f"{name}@example.com") == [(0,)]


@ON_SQLITE
class TestLanguage:
    def register(self, api: Api, name: str, header: str, **fields: str) -> str | None:
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **fields}
        answer = api.http.post("/register", json=body, headers={"Accept-Language": header})
        assert answer.status_code == 201, answer.text
        locale: str | None = answer.json()["locale"]
        return locale

    @pytest.mark.parametrize(
        ("header", "locale"),
        [
            ("de-AT,de;q=0.9,en;q=0.8", "de-AT"),
            ("en;q=0.5, fr-CH;q=0.9", "fr-CH"),
            ("*", None),
            ("", None),
            ("de;q=0", None),
            ("de;q=high", None),
            ("x" * 36, None),
            ("../../etc", None),
        ],
    )
    def test_is_the_one_that_the_browser_prefers(
        self, mailing: Api, name: str, header: str, locale: str | None
    ) -> None:
        assert self.register(mailing, name, header) == locale

    def test_can_be_named_changed_and_cleared(self, mailing: Api, name: str) -> None:
        assert self.register(mailing, name, "de", locale="en-GB") == "en-GB"
        user = mailing.log_in(name)
        assert user.patch("/users/me", json={"locale": "pt-BR"}).json()["locale"] == "pt-BR"
        assert user.put("/users/me", json={"locale": None}).json()["locale"] == "pt-BR"
        assert user.patch("/users/me", json={"locale": None}).json()["locale"] is None
        for odd in ("d", "de_AT", "de-", "de\n", "a" * 9, "de-" + "-".join(["abcdefgh"] * 4), 5):
            assert user.patch("/users/me", json={"locale": odd}).status_code == 422

    def test_is_that_of_mails(self, mailing: Api, postbox: MailServer, name: str) -> None:
        self.register(mailing, name, "de-AT")
        user = mailing.log_in(name)
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        assert user.patch("/users/me", json=body).status_code == 200
        [mail] = postbox.to(f"{name}@example.com")
        assert mail["Subject"] == "Ihr Passwort wurde geändert"
        assert mail["Content-Language"] == "de"
        assert text_of(mail).startswith(f"Guten Tag {name},")


class TestLinks:
    @ON_SQLITE
    def test_lead_to_the_socket_that_was_asked(self, shared: Shared, kind: str, tmp_path: Path) -> None:
        """As those of mails with codes do, where nobody has said where people reach the service."""
        with client_of(shared.service(kind, MAIL_URL=f"file://{tmp_path}")) as api:
            user = api.new_actor("alice")
            body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
            assert user.patch("/users/me", json=body, headers={"Host": "evil.example"}).status_code == 200
            wait_until(lambda: read(tmp_path))
            [mail] = read(tmp_path)
            assert f"{api.server.base_url}/account/forgot" in text_of(mail)


@ON_SQLITE
class TestSettings:
    @pytest.mark.parametrize("settings", [{}, {"MAIL_URL": "console:", "MAIL_NOTICES": "none"}])
    def test_turn_notices_off(self, shared: Shared, kind: str, name: str, settings: dict[str, str]) -> None:
        """Nobody who tries the service out is told of each login; who wants no notices gets none."""
        with client_of(shared.service(kind, **settings)) as api:
            user = api.new_actor(name)
            user.patch("/users/me", json={"password": NEW_PASSWORD, "current_password": PASSWORD})
            assert kinds(api, name) == []

    def test_name_those_that_are_sent(self, shared: Shared, kind: str, name: str) -> None:
        settings = {"MAIL_URL": "console:", "MAIL_NOTICES": "email_changed"}
        with client_of(shared.service(kind, **settings)) as api:
            user = api.new_actor(name)
            body = {"email": f"new_{name}@example.com", "password": NEW_PASSWORD, "current_password": PASSWORD}
            assert user.patch("/users/me", json=body).status_code == 200
            assert kinds(api, name) == ["email_changed"] * 2
            wait_until(lambda: api.server.text.count(f"Hello {name},") == 2)  # on standard output
