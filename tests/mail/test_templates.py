"""Templates: each kind in each language, those of the operator first, nothing that a value could break out of."""

from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import command
from tests.support.insides import NOTICES, TEMPLATES, Renderer, now
from tests.support.mail import text_of
from tests.support.processes import refused_to_start

LANGUAGES = ["de", "en"]
VALUES = {
    "username": "alice",
    "at": "2026-11-24 12:00 UTC",
    "by_owner": True,
    "ip": "192.0.2.1",
    "session_ip": None,
    "new": "new@example.com",
    "user_agent": "<script>alert(1)</script>",
    "app_url": "https://app.example.com",
}


def rendered(kind: str, locale: str | None = None, folder: Path | None = None, **values: Any) -> EmailMessage:
    folders = [folder, TEMPLATES] if folder else [TEMPLATES]
    renderer = Renderer(folders, "Example <accounts@example.com>")
    return renderer.message(kind, "alice@example.com", locale, VALUES | values, "id", now() - timedelta(hours=1))


class TestShipped:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("kind", NOTICES)
    def test_is_whole_in_each_language(self, kind: str, language: str) -> None:
        mail = rendered(kind, language)
        assert mail["Content-Language"] == language
        assert len(mail["Subject"]) > 10
        for text in (text_of(mail), text_of(mail, "html")):
            assert "alice" in text
            assert "{" not in text.replace('style="', "")
        assert "<script" not in text_of(mail, "html")
        assert f'<html lang="{language}">' in text_of(mail, "html")

    def test_languages_have_the_same_mails(self) -> None:
        kinds = {language: {file.name for file in (TEMPLATES / language).iterdir()} for language in LANGUAGES}
        assert kinds["de"] == kinds["en"] >= {f"{kind}.jinja" for kind in NOTICES}

    @pytest.mark.parametrize(
        ("locale", "language"),
        [
            ("de", "de"),
            ("DE-at", "de"),
            ("de-CH-1996", "de"),
            ("en-GB", "en"),
            ("fr", "en"),
            (None, "en"),
            ("x-y", "en"),
        ],
    )
    def test_language_is_the_nearest_there_is(self, locale: str | None, language: str) -> None:
        """RFC 4647 section 3.4."""
        assert rendered("password_changed", locale)["Content-Language"] == language


class TestOwn:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name, text in {
            "en/password_changed.jinja": "{% block subject %}Mine {{ username }}{% endblock %}",
            "fr-CA/password_changed.jinja": "{% block subject %}Le v\u00f4tre{% endblock %}",
            "frame.html": "<title>{{ subject }}</title><main>{{ body }}</main>",
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            blocks = (
                "{% block text %}Hi {{ user_agent }}{% endblock %}{% block html %}<b>{{ user_agent }}</b>{% endblock %}"
            )
            (tmp_path / name).write_text(text + (blocks if name.endswith("jinja") else ""))
        return tmp_path

    def test_comes_first_and_only_where_it_is(self, folder: Path) -> None:
        mail = rendered("password_changed", folder=folder)
        assert mail["Subject"] == "Mine alice"
        assert text_of(mail) == "Hi <script>alert(1)</script>\n"
        assert text_of(mail, "html").strip() == (
            "<title>Mine alice</title><main><b>&lt;script&gt;alert(1)&lt;/script&gt;</b></main>"
        )
        assert rendered("email_changed", folder=folder)["Subject"] == "The e-mail address of your account was changed"

    def test_may_be_a_language_more(self, folder: Path) -> None:
        assert rendered("password_changed", "fr-ca", folder)["Subject"] == "Le v\u00f4tre"
        assert rendered("email_changed", "fr-ca", folder)["Content-Language"] == "en"

    @pytest.mark.parametrize("odd", ["a\r\nBcc: eve@example.com", "a\nb", "a\0b", "\u2028x"])
    def test_value_in_a_subject_makes_no_header(self, folder: Path, odd: str) -> None:
        mail = rendered("password_changed", folder=folder, username=odd)
        assert mail["Bcc"] is None
        assert b"\r\nBcc:" not in mail.as_bytes()
        assert len(mail["Subject"].splitlines()) == 1


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MAIL_URL", "mail.example.com"),
            ("MAIL_URL", "smtp://"),
            ("MAIL_URL", "smtp://user:Secret-7@host:x"),
            ("MAIL_URL", "smtp://user:Secret-7@host?starttls=no"),
            ("MAIL_URL", "file:mails"),
            ("MAIL_FROM", "Example"),
            ("MAIL_FROM", "a@b\nBcc: c@d"),
            ("APP_URL", "app.example.com"),
            ("APP_URL", "https://app.example.com/?x"),
            ("MAIL_TEMPLATES", "/nowhere"),
            ("MAIL_NOTICES", "password_changed,birthday"),
        ],
    )
    def test_that_cannot_be_used_are_refused_in_a_sentence(self, name: str, value: str) -> None:
        refused = refused_to_start(command("migrate", url="sqlite://", **{name: value}))
        assert refused.startswith(f"{name}: ")
        assert "Secret-7" not in refused
