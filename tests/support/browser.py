"""A real browser without the Internet."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.databases import skip_without

SECONDS = 30
Found = TypeVar("Found")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--window-size=1400,2000",
]


def start(profile: Path) -> webdriver.Chrome:
    """Start a browser with a profile of its own, which logs what it loads; whoever starts it quits it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        skip_without("browser", "there is no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(chromedriver))


def wait_for(driver: webdriver.Chrome, found: Callable[[webdriver.Chrome], Found | None], missing: str) -> Found:
    """What a look at the page finds, once it does.

    A page that changes during a look is looked at again: the driver has several errors for it, some of them nameless.
    """
    result = WebDriverWait(driver, SECONDS, ignored_exceptions=[WebDriverException]).until(found, missing)
    assert result
    return result


def wait_for_next_page(driver: webdriver.Chrome, leave: Callable[[], None]) -> None:
    """Do what leads to another page, and wait until that has come whole."""
    driver.execute_script("window.isLeft = true")
    leave()
    arrived = "return document.readyState === 'complete' && !window.isLeft"
    wait_for(driver, lambda driver: driver.execute_script(arrived), "no next page")


def read_log(driver: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    """What the browser has logged since the last time."""
    entries: list[dict[str, Any]] = driver.get_log(name)  # type: ignore[no-untyped-call]  # selenium's own gap
    return entries
