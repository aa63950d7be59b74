"""A real Chromium for tests of the page, where there is one: HPO_TEST_CHROMIUM names it, else it is looked for by its names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
SCROLL = "async (top) => { scrollTo(0, top); for (let k = 0; k < 3; k++) await new Promise(requestAnimationFrame); }"
HANG = 900_000  # milliseconds after which something never comes, however busy the machine is


def find_chromium() -> str | None:
    """The path of a browser; None where there is none."""
    return os.environ.get("HPO_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")  # playwright's loop of events runs in this thread until then: `asyncio.run` fails beside it
def chromium() -> Iterator[Browser]:
    """A browser for all tests of a module; where it or playwright is absent they are skipped by name."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'hpo-lm[browser]'")
    path = find_chromium()
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on this machine, and HPO_TEST_CHROMIUM names none")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is looked at: everything that it asked for, and everything that went wrong."""

    def __init__(self, browser: Browser, width: int = 1400, scheme: Any = "light", height: int = 900) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.context.set_default_timeout(HANG)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("dialog", lambda dialog: (self.faults.append(f"a dialog: {dialog.message}"), dialog.dismiss()))

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *rest: object) -> None:
        self.context.close()

    def open(self, url: str) -> Page:
        """Goes there, and waits until the page shows a study."""
        self.page.goto(url)
        self.page.wait_for_selector(".card")
        return self.page

    def scroll(self) -> None:
        """Looks at all of the page, so that every picture is drawn."""
        tall = self.page.evaluate("document.body.scrollHeight")
        for top in range(0, tall, 600):
            self.page.evaluate(SCROLL, top)
        self.page.evaluate("scrollTo(0, 0)")

    def width(self) -> int:
        """How wide the page is, by which it would scroll sideways."""
        return int(self.page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"))
