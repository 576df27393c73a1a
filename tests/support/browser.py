"""A real browser without the Internet."""

import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver

from tests.support.databases import skip_without

SECONDS = 30
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


def read_log(driver: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    """What the browser has logged since the last time."""
    entries: list[dict[str, Any]] = driver.get_log(name)  # type: ignore[no-untyped-call]  # selenium's own gap
    return entries
