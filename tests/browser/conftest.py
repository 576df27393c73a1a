"""One browser for the tests of a file."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.support import browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = browser.start(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()
