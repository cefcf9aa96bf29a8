"""Chromium for tests of the page: real, headless, and listened to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service import until

from api.routes import page

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
"""MapLibre draws without a graphics card by the last two."""
PATIENCE_MS = 60_000
"""For anything that a busy machine may keep waiting."""


def require_page() -> str:
    """Return the path of chromium; skip where it, Playwright or the built page is missing."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a browser: apt-get install chromium")
    if not page.is_built():
        pytest.skip("the page is not built: make ui (needs Node 20)")
    return chromium


@dataclass(slots=True, kw_only=True)
class Tab:
    """A tab that remembers what went wrong in it.

    Attributes:
        page: To be driven.
        base: Address of the service.
        caught: Errors that reached the browser's console, and requests to other addresses.
        screenshots: Where pictures of the page are kept.
    """

    page: "Page"
    base: str
    screenshots: Path
    caught: list[str] = field(default_factory=list)

    def open(self, hash_: str = "") -> None:
        """Open the page at a hash, as if its address had been typed into an empty tab."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/ui/{hash_}")

    def picture(self, name: str) -> None:
        """Keep a picture of what can be seen."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def text(self, selector: str) -> str:
        """Return the text of the first element."""
        return self.page.locator(selector).first.inner_text()

    def count(self, name: str) -> int:
        """Return a count of the legend."""
        return int(self.text(f'[data-count="{name}"]').replace(",", ""))

    def until(self, expression: str, what: str) -> None:
        """Wait until an expression is true; the page's policy keeps the page from doing so."""
        until(lambda: self.page.evaluate(expression), what, patience_s=PATIENCE_MS / 1000)

    def wait_for_map(self) -> None:
        """Wait until list and map are there, and every tile of the map is drawn."""
        self.page.wait_for_selector(".unit-row")
        self.page.wait_for_selector(".map-frame[data-state=drawn]")


@contextmanager
def tab(base: str, folder: Path, **context: Any) -> Iterator[Tab]:
    """Yield a tab of its own browser; nothing outside `base` may be asked for."""
    from playwright.sync_api import sync_playwright

    screenshots = Path(os.environ.get("DAMAGENET_SCREENSHOTS", folder / "screenshots"))
    given = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"} | context
    chromium = require_page()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page_ = browser.new_context(**given).new_page()
        opened = Tab(page=page_, base=base, screenshots=screenshots)
        opened.page.set_default_timeout(PATIENCE_MS)
        opened.page.on("pageerror", lambda error: opened.caught.append(str(error)))
        opened.page.on("console", lambda said: _hear(opened, said))
        opened.page.on("request", lambda request: _watch(opened, request.url))
        try:
            yield opened
        finally:
            browser.close()


def _hear(opened: Tab, said: Any) -> None:
    if said.type in ("error", "warning"):
        opened.caught.append(f"{said.text} {said.location.get('url', '')}")


def _watch(opened: Tab, url: str) -> None:
    if not url.startswith((f"{opened.base}/", "data:", "blob:", "about:")):
        opened.caught.append(f"asked for {url}")
