"""The built site on loopback, and a browser to look at it."""

import functools
import shutil
import threading
from http.server import ThreadingHTTPServer

import pytest
from built_site import BASE, SITE, Host
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def address():
    """Where the site is served."""
    if not (SITE / "index.html").exists():
        pytest.fail("The book is not built: run make book first.")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{BASE}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("Chromium is not on the path: install the package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


ALL_ARE_DRAWN = """() => [...document.querySelectorAll(".math")]
  .every((formula) => formula.querySelector("mjx-container"))"""


class Visit:
    """A page in the browser, and what it asked for and complained of."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.errors, self.foreign, self.failed = [], [], []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._watch)
        page.on("response", lambda r: self.failed.append(r.url) if r.status >= 400 else None)
        page.on("requestfailed", lambda r: self.failed.append(r.url))

    def _hear(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url')}")

    def _watch(self, request):
        if not request.url.startswith((self.address + "/", "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, path):
        """Loads the page and waits until all of its formulas are drawn, as for print."""
        self.page.goto(f"{self.address}/{path}", wait_until="load")
        self.page.evaluate("() => { dispatchEvent(new Event('beforeprint')) }")
        self.page.wait_for_function(ALL_ARE_DRAWN)
        return self.page

    def show(self, theme):
        """Presses the theme's button until that theme is chosen, and not by the system."""
        button = self.page.locator(".theme-switch-button:visible").first
        for _ in range(3):
            if self._mode() == theme:
                break
            button.click()
        assert self._mode() == theme
        assert self.page.evaluate("() => document.documentElement.dataset.theme") == theme
        self.page.mouse.move(0, 0)

    def _mode(self):
        return self.page.evaluate("() => document.documentElement.dataset.mode")


@pytest.fixture
def visit(chromium, address):
    context = chromium.new_context(
        viewport={"width": 1400, "height": 1000}, color_scheme="light", reduced_motion="reduce"
    )
    context.add_init_script(  # a color that is still on its way would be measured as it passes
        """addEventListener("DOMContentLoaded", () => {
          const style = document.createElement("style");
          style.textContent = "*, *::before, *::after { transition: none !important }";
          document.head.append(style);
        })"""
    )
    page = context.new_page()
    page.set_default_timeout(60_000)  # the machine may have other work
    yield Visit(page, address)
    context.close()
