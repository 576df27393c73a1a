""".env.example shows every setting with its default."""

import re
from pathlib import Path

import pytest

from userapi.capabilities import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


class TestEnvironmentExample:
    def test_names_every_setting_once_and_no_other(self) -> None:
        named = re.findall(r"^#([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)
        assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)

    def test_shows_the_defaults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        uncommented = tmp_path / "all"
        uncommented.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
        assert Settings(_env_file=uncommented) == Settings(_env_file=None)
