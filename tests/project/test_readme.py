"""README.md, or a page it leads to, names everything there is: no setting, command or route comes without a word."""

import re

import click
import pytest

from tests.support.insides import Settings, cli, create_app
from tests.support.openapi import operations
from tests.support.processes import ROOT

COMMANDS = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))}
README = ROOT / "README.md"
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    if command
    for parameter in command.params
    for option in parameter.opts
    if isinstance(parameter, click.Option)
]


@pytest.fixture(scope="module")
def readme() -> str:
    """README.md and the pages about capabilities that it leads to."""
    text = README.read_text()
    pages = sorted(set(re.findall(r"\]\((userapi/[A-Z]+\.md)\)", text)) - {"userapi/README.md", "userapi/TUTORIAL.md"})
    return "\n".join([text, *((ROOT / page).read_text() for page in pages)])


class TestReadme:
    @pytest.mark.parametrize("setting", [name.upper() for name in Settings.model_fields])
    def test_names_every_setting(self, readme: str, setting: str) -> None:
        assert re.search(rf"^\| `{setting}` \|", readme, re.MULTILINE)

    def test_names_no_setting_that_is_not_there(self, readme: str) -> None:
        named = set(re.findall(r"^\| `([A-Z_]+)` \|", readme, re.MULTILINE))
        assert named == {name.upper() for name in Settings.model_fields}

    @pytest.mark.parametrize("command", COMMANDS)
    def test_names_every_command(self, readme: str, command: str) -> None:
        assert re.search(rf"^\| `python -m userapi {command}[ `]", readme, re.MULTILINE)

    @pytest.mark.parametrize(("command", "option"), OPTIONS)
    def test_names_every_option_beside_its_command(self, readme: str, command: str, option: str) -> None:
        [row] = re.findall(rf"^\| `python -m userapi {command}.*$", readme, re.MULTILINE)
        assert f"`{option}`" in row

    @pytest.mark.parametrize(("method", "path"), operations())
    def test_names_every_route(self, readme: str, method: str, path: str) -> None:
        assert f"`{method} {path}`" in readme

    def test_names_no_route_that_is_not_there(self, readme: str) -> None:
        app = create_app(Settings(_env_file=None, database_url="sqlite://", registration_enabled=True))
        there = {f"{method.upper()} {path}" for path, item in app.openapi()["paths"].items() for method in item}
        there |= {"GET /docs", "GET /redoc", "GET /openapi.json"}
        assert set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`? ]*)`", readme)) == there
