"""A browser for the pages of the report: Debian's Chromium, or another one that is at hand, driven by Playwright.

`$CHROMIUM` names its executable. One browser serves all tests; every page gets a context of its own that counts what it asks for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """
window.policyBroken = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.policyBroken.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


class Opened(NamedTuple):
    """A page with what it asked for, said and did wrong."""

    page: Any
    requests: list[str]
    trouble: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser; the tests are skipped, with a word, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: run scripts/test browser")
    chosen = os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        if chosen is None and not own.is_file():
            pytest.skip("no browser can be had: install chromium, or name one with CHROMIUM=/path/to/chromium")
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium refuses its sandbox to root
        opened = driver.chromium.launch(executable_path=chosen or str(own), args=sandbox)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Opened]]:
    """`visit(file, "#critiques", width=390, theme="dark")` opens a page from the disk and waits until it is drawn."""
    contexts = []

    def open_page(file: Path, view: str = "", *, width: int = 1280, theme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        context.add_init_script(WATCH)
        page = context.new_page()
        opened = Opened(page, [], [])
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("pageerror", lambda error: opened.trouble.append(str(error)))
        page.on("console", lambda said: opened.trouble.append(said.text) if said.type in {"error", "warning"} else None)

        def dismiss(dialog: Any) -> None:
            opened.trouble.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.goto(f"{file.as_uri()}{view}")
        return opened

    yield open_page
    for context in contexts:
        context.close()
